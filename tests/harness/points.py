"""Which points of a case are taken, out of all that an undisturbed run shows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from .faults import fault_kinds
from .injection import Injection
from .scenario import Case
from .world import World


def every_point(case: Case, clean: World) -> Iterator[Injection]:
    """All points of a case that took these steps undisturbed, and moved these bytes."""
    for kind in case.scenario.kinds:
        yield from (Injection(kind, step) for step in _steps(kind, clean))
    yield from (point for points in _faults(case, clean).values() for point in points)


def some_points(case: Case, clean: World) -> Iterator[Injection]:
    """Some of them: up to `Scenario.cap` evenly spread steps of each kind, others for each seed.

    And of each kind of fault up to `Scenario.faults` bytes, drawn at random for the case and seed.
    """
    scenario, seed = case.scenario, clean.seed
    for kind in scenario.kinds:
        steps = _steps(kind, clean)
        stride = max(1, -(-len(steps) // scenario.cap))
        yield from (Injection(kind, step) for step in steps[(seed * 7) % stride :: stride])
    for kind, points in _faults(case, clean).items():
        rng = random.Random(f"{case}/{seed}/{kind}")
        yield from rng.sample(points, min(scenario.faults, len(points)))


def _steps(kind: str, clean: World) -> range:
    injector = clean.injector
    steps = injector.all_steps if kind in {"anywhere", "collapse"} else injector.steps
    # After the victim's last step there is nothing to cancel, before its first neither.
    return range(2, steps + 1) if kind == "woken" else range(1, steps)


def _faults(case: Case, clean: World) -> dict[str, Sequence[Injection]]:
    if not case.scenario.faults:
        return {}
    offsets = {way: clean.fault.offsets(way) for way in ("send", "receive")}
    return {
        kind: [Injection(kind, at) for at in offsets[kind.partition("-")[0]]]
        for kind in fault_kinds(case.transport)
    }
