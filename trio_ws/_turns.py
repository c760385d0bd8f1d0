"""Turns: who may queue a message, first come, first served, and when to let others run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from ._protocol._machine import Protocol

# Calls in a row that may succeed without yielding to the scheduler: a batch costs no task switch,
# and yet no task keeps the others from running.
BATCH: Final = 32


class _Turn:
    """A send that waits: what queues its frame, and the task to wake then."""

    __slots__ = ("queue", "queued", "task")

    def __init__(self, queue: Callable[[], None]) -> None:
        self.queue = queue
        self.queued = False
        self.task = trio.lowlevel.current_task()


class Turns:
    """The sends that wait until the output has room, in their order."""

    __slots__ = ("_protocol", "_reserved", "waiting")

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self.waiting: deque[_Turn] = deque()
        self._reserved = False

    @property
    def taken(self) -> bool:
        """Whether a send has to wait."""
        return self._reserved or bool(self.waiting) or not self._protocol.has_room

    async def wait(self, queue: Callable[[], None]) -> bool:
        """Wait for a turn; return whether `queue` was called.

        Whoever makes room calls `queue` at once, and a task that was woken can no longer be
        cancelled: so cancelled means that nothing was queued, and a return that it was, in order
        (invariant 2). False means that the connection has ended.
        """
        turn = _Turn(queue)
        self.waiting.append(turn)

        def abort(_: object) -> trio.lowlevel.Abort:
            self.waiting.remove(turn)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return turn.queued

    def reserve(self) -> None:
        """Take the turn for longer than one call; nobody else gets one until `release`."""
        self._reserved = True

    def release(self) -> None:
        """Let the others have their turns again."""
        self._reserved = False
        self.admit()

    def admit(self) -> None:
        """There may be room: let those queue who have waited for it."""
        protocol = self._protocol
        while self.waiting and not self._reserved and protocol.has_room and protocol.is_open:
            turn = self.waiting.popleft()
            turn.queue()
            turn.queued = True
            trio.lowlevel.reschedule(turn.task)

    def refuse(self) -> None:
        """The connection has ended: nobody gets a turn any more."""
        for turn in self.waiting:
            trio.lowlevel.reschedule(turn.task)
        self.waiting.clear()
