"""Cancelling a task exactly at its n-th step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from .faults import is_fault

# scope     the scope around the call is cancelled when the task has just blocked
# woken     the same when the task is about to go on: what woke it and the cancellation cross
# deadline  the scope's deadline has passed when the task has just blocked
# nursery   the nursery that serves the connection is cancelled when the task has just blocked
# anywhere  the scope is cancelled after a step of any task at all
# collapse  the nursery is cancelled after a step of any task at all
# break     nothing is cancelled: the link breaks when the task has just blocked
KINDS: Final = ("scope", "woken", "deadline", "nursery", "anywhere", "collapse", "break")
# Those after which the connection's own tasks go on.
CALL_KINDS: Final = ("scope", "woken", "deadline", "anywhere")


@dataclass(frozen=True)
class Injection:
    """Where to cancel, or where the stream fails.

    Args:
        kind: one of `KINDS`, or of `faults.fault_kinds`.
        step: counted from 1 since the call began; of a fault, the bytes that pass before it.
    """

    kind: str
    step: int


class Injector(trio.abc.Instrument):
    """Counts the steps of the victim, and of all tasks meanwhile; cancels at the chosen one."""

    def __init__(self, injection: Injection | None) -> None:
        self.steps = 0  # of the victim
        self.all_steps = 0
        self.fired_at: float | None = None  # virtual time
        self.delivered = False  # Cancelled was put into the victim there and then
        self._kind = "" if injection is None else injection.kind
        self._step = 0 if injection is None else injection.step
        self.targets_nursery = self._kind in {"nursery", "collapse"}
        self.breaks = self._kind == "break" or is_fault(self._kind)
        self._counts = self._kind not in {"anywhere", "collapse"}
        self._victim: trio.lowlevel.Task | None = None
        self._scope: trio.CancelScope | None = None
        self._nursery: trio.CancelScope | None = None
        self._installed = False
        self._firing = False
        self.before_firing: list[Callable[[], None]] = []

    def watch(self, scope: trio.CancelScope, nursery: trio.CancelScope | None) -> None:
        """The current task is the victim from now on."""
        self._victim = trio.lowlevel.current_task()
        self._scope, self._nursery = scope, nursery
        if not self._installed and not is_fault(self._kind):
            self._installed = True
            trio.lowlevel.add_instrument(self)

    def release(self) -> None:
        """The call has ended."""
        self._victim = None
        self._remove()

    def strike(self) -> None:
        """A fault has happened."""
        self._note()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio's hook."""
        if task is self._victim and self._kind == "woken" and self.steps + 1 == self._step:
            self._fire()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio's hook."""
        if self._victim is None:
            return
        self.all_steps += 1
        if task is self._victim:
            self.steps += 1
            if self._counts and self.steps == self._step and self._kind != "woken":
                self._fire()
        if not self._counts and self.all_steps == self._step:
            self._fire()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Trio's hook."""
        if self._firing and task is self._victim:
            self.delivered = True

    def _fire(self) -> None:
        if not self._note():
            return
        if not self.breaks:
            assert self._scope is not None
            self._firing = True
            if self.targets_nursery:
                assert self._nursery is not None
                self._nursery.cancel()
            elif self._kind == "deadline":
                self._scope.deadline = -math.inf
            else:
                self._scope.cancel()
            self._firing = False
        self._remove()

    def _note(self) -> bool:
        """Write down that it has happened; whether for the first time."""
        if self.fired_at is not None:
            return False
        self.fired_at = trio.current_time()
        for hook in self.before_firing:
            hook()
        return True

    def _remove(self) -> None:
        if self._installed:
            self._installed = False
            trio.lowlevel.remove_instrument(self)
