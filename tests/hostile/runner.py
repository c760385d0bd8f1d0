"""Runs attacks, and judges them."""

from __future__ import annotations

import gc
import logging
import time
import tracemalloc
from dataclasses import dataclass

import trio

from .arena import GUARD, running
from .clock import OwnClock
from .raw import close_all
from .table import KIB, Attack


@dataclass(frozen=True)
class Result:
    """What came of an attack.

    Args:
        attack: which.
        outcome: what its script told, or the exception that came instead.
        memory: bytes at the peak.
        served: echoes of the honest connection meanwhile.
        seconds: of the processor.
    """

    attack: Attack
    outcome: str
    memory: int
    served: int
    seconds: float

    @property
    def faults(self) -> list[str]:
        """What was not as it must be."""
        faults = []
        if self.outcome != self.attack.outcome:
            faults.append(f"the outcome is {self.outcome!r}, and must be {self.attack.outcome!r}")
        if self.memory > self.attack.memory:
            allowed = self.attack.memory // KIB
            faults.append(f"it took {self.memory // KIB} KiB of memory; {allowed} are allowed")
        if not self.served:
            faults.append("the honest connection was not served during it")
        return faults


def run(attack: Attack, *, guard: float = GUARD) -> Result:
    """Run one attack; `guard` is the seconds after which it counts as hanging."""
    log = logging.getLogger("trio_ws.server")
    propagate, log.propagate = log.propagate, False  # a refused request is nothing to report here
    handler = logging.NullHandler()
    log.addHandler(handler)
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    gc.freeze()  # what is there already makes no collection longer
    began = time.process_time()
    try:
        outcome, memory, served = trio.run(_run, attack, guard, clock=OwnClock())
    finally:
        gc.collect()
        gc.unfreeze()
        if not traced:
            tracemalloc.stop()
        log.removeHandler(handler)
        log.propagate = propagate
    return Result(attack, outcome, memory, served, time.process_time() - began)


async def _run(attack: Attack, guard: float) -> tuple[str, int, int]:
    outcome, arena = "", None
    with trio.move_on_after(guard) as scope:
        try:
            async with running(attack) as arena:
                await arena.beside()
                arena.served = 0
                arena.measure()
                outcome = await attack.script(arena)
                arena.stop()
                served = arena.served
                await arena.beside()  # after all of it, on the connection that was there before
                arena.served = served
        except Exception as exc:
            outcome = f"{outcome} and then {_leaf(exc)!r}".strip()
    close_all()
    if scope.cancelled_caught:
        outcome = f"{outcome} and then it hangs".strip()
    return (outcome, arena.cost, arena.served) if arena else (outcome, 0, 0)


def _leaf(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
