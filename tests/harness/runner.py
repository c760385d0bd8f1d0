"""Runs a scenario once, or once for each of its steps."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from unittest import mock

import trio
import trio.testing

from .checks import check_left_over, check_victim, check_wires, finish
from .injection import Injection
from .links import decrypted_is_logged
from .tally import Tally
from .world import RUN_LIMIT, World

FIRST_SEED: Final = 1
_FDS: Final = "/proc/self/fd"


@dataclass(frozen=True)
class Scenario:
    """A use of the library, one call of which is the victim.

    Args:
        name: for people.
        body: runs it in a world.
        kinds: how it is cancelled.
        transports: over which links.
        roles: on which end the victim is.
        compressed: compression, transport and role of the cases with compression.
        cap: the most points of a kind and a seed; beyond it, evenly spread ones are taken, others
            for each seed. The first seed takes every step of the victim.
        pair: the body gets a connected pair.
        use: a connection that is open afterwards is used, before it is closed.
        survives: the connection must be usable after the call was cancelled.
        step: of the pair's link, the most bytes that travel at once; None leaves it to `STEP`.
        options: of the pair's connections.
    """

    name: str
    body: Callable[[World], Awaitable[None]]
    kinds: tuple[str, ...]
    transports: tuple[str, ...]
    roles: tuple[str, ...]
    cap: int
    compressed: tuple[tuple[str, str, str], ...] = ()
    pair: bool = True
    use: bool = True
    survives: bool = False
    step: int | None = None
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A scenario on one transport and one end, with compression or without."""

    scenario: Scenario
    transport: str
    role: str
    compression: str = "plain"

    def __str__(self) -> str:
        name = f"{self.scenario.name}-{self.transport}-{self.role}"
        return name if self.compression == "plain" else f"{name}-{self.compression}"


def cases(scenario: Scenario) -> Iterator[Case]:
    """All cases of a scenario."""
    for transport in scenario.transports:
        for role in scenario.roles:
            yield Case(scenario, transport, role)
    for compression, transport, role in scenario.compressed:
        yield Case(scenario, transport, role, compression)


def run_once(case: Case, seed: int, injection: Injection | None) -> World:
    """Run a scenario in a world of its own, and check the invariants."""
    scenario = case.scenario
    world = World(case.transport, case.role, seed, injection, case.compression)
    descriptors = _count_descriptors(case)
    unraisable: list[str] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda info: unraisable.append(repr(info))
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            decrypted_is_logged(),
            _scheduled(seed),
        ):
            warnings.simplefilter("always")
            try:
                trio.run(
                    _main,
                    scenario,
                    world,
                    clock=trio.testing.MockClock(autojump_threshold=0),
                    instruments=[world.injector],
                )
            except BaseException as exc:
                world.violate("I8", f"out of the run: {exc!r}")
            check_victim(world)
            check_wires(world, survives=scenario.survives)
            check_left_over(world)
            for sides in world.sides.values():
                for side in sides.values():
                    side.conn = side.nursery = None
            gc.collect()
    finally:
        sys.unraisablehook = hook
    for warning in caught:
        world.violate("I10", f"{warning.category.__name__}: {warning.message}")
    for what in unraisable:
        world.violate("I10", what)
    if (left := _count_descriptors(case) - descriptors) != 0:
        world.violate("I5", f"{left} file descriptors more than before")
    return world


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
    if case.transport != "sock" or not os.path.isdir(_FDS):
        return 0
    return len(os.listdir(_FDS))


async def _rescue(world: World) -> None:
    """Let a run end in which a wait that cannot be cancelled is for nothing: that is a finding."""
    await trio.sleep(RUN_LIMIT + 10)
    for sides in world.sides.values():
        for side in sides.values():
            if side.conn is not None:
                side.conn._closed.set()


async def _main(scenario: Scenario, world: World) -> None:
    trio.lowlevel.spawn_system_task(_rescue, world)
    baseline = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(RUN_LIMIT) as scope:
        async with trio.open_nursery() as world.background:
            if scenario.pair:
                await world.open_pair(scenario.step, **scenario.options)
            await scenario.body(world)
            await finish(world, use=scenario.use)
            world.background.cancel_scope.cancel()
    for resource in world.left_over:
        await trio.aclose_forcefully(resource)
    if scope.cancelled_caught:
        world.violate("I9", f"not done after {RUN_LIMIT} s")
    left = trio.lowlevel.current_statistics().tasks_living - baseline
    if left:
        world.violate("I5", f"{left} tasks are left")


def run_all(case: Case, seed: int, *, every: bool = False) -> Tally:
    """Run a scenario once to count its steps, then once for each of them; see `injections`."""
    tally = Tally()
    gc.collect()
    gc.freeze()  # so that looking for garbage after each run is cheap
    try:
        clean = run_once(case, seed, None)
        _count(tally, case, clean)
        for injection in injections(case.scenario, clean, every=every):
            _count(tally, case, run_once(case, seed, injection))
    finally:
        gc.unfreeze()
    return tally


def _count(tally: Tally, case: Case, world: World) -> None:
    injection = world.injection
    where = f"{case}/{world.seed}"
    if injection is not None:
        where += f"/{injection.kind}:{injection.step}"
        if world.injector.fired_at is None:
            tally.missed += 1
        else:
            tally.points += 1
            tally.deflated += world.deflate is not None
            tally.inflated += world.inflated
    tally.violations += [f"{where}  {what}" for what in world.violations]


def injections(scenario: Scenario, clean: World, *, every: bool = False) -> Iterator[Injection]:
    """Where to cancel a scenario that took these steps undisturbed.

    Args:
        scenario: the scenario.
        clean: the undisturbed run.
        every: take all points, whatever `Scenario.cap` says.
    """
    for kind in scenario.kinds:
        injector = clean.injector
        steps = injector.all_steps if kind in {"anywhere", "collapse"} else injector.steps
        # After the victim's last step there is nothing to cancel, before its first neither.
        points = range(2, steps + 1) if kind == "woken" else range(1, steps)
        every_step = every or (kind == "scope" and clean.seed == FIRST_SEED)
        stride = 1 if every_step else max(1, -(-len(points) // scenario.cap))
        offset = (clean.seed * 7) % stride
        yield from (Injection(kind, step) for step in points[offset::stride])
