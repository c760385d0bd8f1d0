"""Runs the world of a plan, with everything that is random or takes time under its control."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import outcome
import trio
import trio.testing

from trio_ws._protocol import _mask

from . import clients, servers, visits
from .judge import judge
from .network import tls_contexts
from .plan import WORLD_LIMIT, Plan
from .trace import Trace
from .world import Session, Visit, World

# Virtual seconds that a wait which cannot be cancelled is given beyond the limit.
_PATIENCE: Final = 20.0


class Stuck(Exception):
    """Raised in tasks that would never end, so that the run does."""


@dataclass
class Outcome:
    """What a run has shown."""

    plan: Plan
    violations: list[str]
    trace: Trace
    messages: int
    connections: int
    losses: int
    answers: int


def run(plan: Plan) -> Outcome:
    """Run a world to its end, and judge it."""
    tls_contexts()  # which take random bytes when they are made
    world = World(plan)
    with _controlled(plan.seed), _watched(world), world.network.installed():
        try:
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(_main, world, clock=clock)
        except BaseException as exc:
            world.violate("undocumented", f"out of the run: {exc!r}")
            if isinstance(exc, KeyboardInterrupt):
                raise
        try:
            judge(world)
        except Exception as exc:  # after a crash, say, there is no telling
            world.violate("undocumented", f"out of the judge: {exc!r}")
        for sockets in world.network.sockets:
            sockets.close()
    sessions = world.sessions.values()
    ends = [end for session in sessions for end in (session.client, session.server) if end.conn]
    return Outcome(
        plan,
        world.violations,
        world.trace,
        messages=sum(len(end.into.received) for end in ends),
        connections=sum(end.role == "client" for end in ends),
        answers=sum(visit.has_ended for visit in world.visits.values()),
        losses=sum(end.conn.closed.code == 1006 for end in ends if end.conn and end.conn.closed),
    )


@contextmanager
def _controlled(seed: int) -> Generator[None, None, None]:
    """Have the order of tasks, and all random bytes of the library, depend on `seed` alone."""
    scheduler: Any = trio._core._run
    state = scheduler._r.getstate()
    scheduler._r.seed(seed)
    _mask.masking_keys.clear()
    urandom = random.Random(f"{seed}/urandom").randbytes
    with (
        mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True),
        mock.patch.object(os, "urandom", urandom),
    ):
        try:
            yield
        finally:
            scheduler._r.setstate(state)
            _mask.masking_keys.clear()


@contextmanager
def _watched(world: World) -> Generator[None, None, None]:
    """Take down warnings, and what nobody could be told of."""
    unraisable: list[str] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda info: unraisable.append(repr(info))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        sys.unraisablehook = hook
    for warning in caught:
        world.violate("warning", f"{warning.category.__name__}: {warning.message}")
    for what in unraisable:
        world.violate("warning", what)


async def _main(world: World) -> None:
    trio.lowlevel.spawn_system_task(_rescue, world)
    baseline = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(WORLD_LIMIT) as limit:
        async with trio.open_nursery() as world.nursery:
            await world.nursery.start(servers.serve, world)
            async with trio.open_nursery() as nursery:
                for event in world.plan.events:
                    world.nursery.start_soon(world.run_event, event)
                for visit in world.plan.visits:
                    nursery.start_soon(visits.visit, world, visit)
                for client in world.plan.clients:
                    nursery.start_soon(clients.run_client, world, client)
            await trio.sleep(2)  # so that handlers can end by themselves
            await world.check_handlers()
            world.trace.add("world", "shut down")
            await world.shut_down()
            world.nursery.cancel_scope.cancel()
    if limit.cancelled_caught:
        world.violate("hang", f"not done after {WORLD_LIMIT} s")
    parties: list[Session | Visit] = [*world.sessions.values(), *world.visits.values()]
    for party in parties:
        if not party.is_over:
            world.violate("hang", f"{party.plan.name} is not over")
    left = trio.lowlevel.current_statistics().tasks_living - baseline
    if left:
        world.violate("tasks", f"{left} are left")


async def _rescue(world: World) -> None:
    """Let a run end in which a wait that cannot be cancelled is for nothing: that is a finding."""
    await trio.sleep(WORLD_LIMIT + _PATIENCE)
    root = trio.lowlevel.current_root_task()
    assert root is not None
    for task in _tasks(root):
        frames = [f"{frame.f_code.co_qualname}:{line}" for frame, line in task.iter_await_frames()]
        world.violate("hang", " < ".join(reversed(frames[-6:])))
    main = trio.lowlevel.current_task().parent_nursery
    assert main is not None
    for task in _tasks(root):
        if not task.child_nurseries and task is not trio.lowlevel.current_task():
            trio.lowlevel.reschedule(task, outcome.Error(Stuck()))


def _tasks(root: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    for nursery in root.child_nurseries:
        for task in nursery.child_tasks:
            yield task
            yield from _tasks(task)
