"""Runs a scenario once, or once for each of its points."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import islice
from typing import Final
from unittest import mock

import trio
import trio.testing

from .checks import check_left_over, check_victim, check_wires, finish
from .faults import is_fault
from .injection import Injection
from .internals import has_ended
from .links import ON_SOCKETS
from .points import every_point, some_points
from .scenario import Case, Scenario
from .tally import Tally
from .tls import decrypted_is_logged
from .world import RUN_LIMIT, World

FIRST_SEED: Final = 1
_FDS: Final = "/proc/self/fd"
# Points after which garbage is collected: for each of them it would cost as much as the run.
_BATCH: Final = 40


def run_once(case: Case, seed: int, injection: Injection | None, *, collect: bool = True) -> World:
    """Run a scenario in a world of its own, and check the invariants.

    Args:
        case: the scenario, and where.
        seed: of all that is chosen at random.
        injection: what happens when; None for nothing.
        collect: garbage, which may warn.
    """
    world = World(case.transport, case.role, seed, injection, case.compression)
    descriptors = _count_descriptors(case)
    with _complaints() as complaints:
        with decrypted_is_logged(world.links), _scheduled(seed):
            _run(case.scenario, world)
        if collect:
            gc.collect()
    for what in complaints:
        world.violate("I10", what)
    if (left := _count_descriptors(case) - descriptors) != 0:
        world.violate("I5", f"{left} file descriptors more than before")
    return world


def _run(scenario: Scenario, world: World) -> None:
    try:
        trio.run(_main, scenario, world, clock=trio.testing.MockClock(autojump_threshold=0))
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        world.violate("I8", f"out of the run: {exc!r}")
    check_victim(world)
    check_wires(world, survives=scenario.survives)
    check_left_over(world)
    for sides in world.sides.values():
        for side in sides.values():
            side.conn = side.nursery = None


@contextmanager
def _complaints() -> Generator[list[str], None, None]:
    """Collect what Python complains of meanwhile: warnings, errors that nobody gets."""
    complaints: list[str] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda info: complaints.append(repr(info))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield complaints
    finally:
        sys.unraisablehook = hook
        complaints += [f"{warning.category.__name__}: {warning.message}" for warning in caught]


@contextmanager
def _scheduled(seed: int) -> Generator[None, None, None]:
    """Have Trio run each batch of tasks in an order that only `seed` decides.

    pytest-trio does that for all tests; a point has to be the same on the command line.
    """
    scheduler = trio._core._run
    state = scheduler._r.getstate()
    scheduler._r.seed(seed)
    with mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
        try:
            yield
        finally:
            scheduler._r.setstate(state)


def _count_descriptors(case: Case) -> int:
    if case.transport not in ON_SOCKETS or not os.path.isdir(_FDS):
        return 0
    return len(os.listdir(_FDS))


async def _rescue(world: World) -> None:
    """Let a run end in which a wait that cannot be cancelled is for nothing: that is a finding."""
    await trio.sleep(RUN_LIMIT + 10)
    for sides in world.sides.values():
        for side in sides.values():
            if side.conn is not None:
                has_ended(side.conn).set()


async def _main(scenario: Scenario, world: World) -> None:
    trio.lowlevel.spawn_system_task(_rescue, world)
    baseline = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(RUN_LIMIT) as scope:
        async with trio.open_nursery() as world.background:
            if scenario.pair:
                await world.open_pair(scenario.step, **scenario.options)
            await scenario.body(world)
            world.end_of_body()
            await finish(world, use=scenario.use)
            world.background.cancel_scope.cancel()
    for resource in world.left_over:
        await trio.aclose_forcefully(resource)
    if scope.cancelled_caught:
        world.violate("I9", f"not done after {RUN_LIMIT} s")
    left = trio.lowlevel.current_statistics().tasks_living - baseline
    if left:
        world.violate("I5", f"{left} tasks are left")


@contextmanager
def cheap_garbage() -> Generator[None, None, None]:
    """Have what is there now never looked at, and what comes only when somebody asks."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def run_all(
    case: Case,
    seed: int,
    *,
    every: bool = False,
    shard: tuple[int, int] = (0, 1),
    run: bool = True,
) -> Tally:
    """Run a scenario once undisturbed, then once for each of its points, or for some of them.

    Args:
        case: the scenario, and where.
        seed: of all that is chosen at random.
        every: take every point.
        shard: the number of this part of the points, from 0, and the number of parts.
        run: the points; else they are only counted.
    """
    tally = Tally(cases=1)
    clean = run_once(case, seed, None, collect=False)
    tally.count(case, clean)
    points = every_point(case, clean) if every else some_points(case, clean)
    part, parts = shard
    points = islice(points, part, None, parts)
    if not run:
        tally.by_kind.update(point.kind for point in points)
        tally.points = tally.by_kind.total()
        tally.faults = sum(n for kind, n in tally.by_kind.items() if is_fault(kind))
        tally.deflated = tally.points if case.compression != "plain" else 0
        return tally
    while batch := list(islice(points, _BATCH)):
        _run_batch(tally, case, seed, batch)
    return tally


def _run_batch(tally: Tally, case: Case, seed: int, batch: Iterable[Injection]) -> None:
    """Run some points; if their garbage complains, each once more, to see whose it was."""
    with _complaints() as complaints:
        for injection in batch:
            tally.count(case, run_once(case, seed, injection, collect=False))
        gc.collect()
    if not complaints:
        return
    found = len(tally.violations)
    for injection in batch:
        tally.blame(case, run_once(case, seed, injection))
    if len(tally.violations) == found:
        tally.violations += [f"{case}/{seed}  I10: somewhere: {what}" for what in complaints]
