"""Waiting: for a wake-up, for an event, for one's turn to send; and when to let others run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ._protocol._machine import Protocol

# Calls in a row that may succeed without yielding to the scheduler: a batch costs no task switch,
# and yet no task keeps the others from running.
BATCH: Final = 32


class Sleeper:
    """Where one task waits until another wakes it: a `trio.lowlevel.ParkingLot` for one.

    It takes a tenth of the memory, and each connection has some.
    """

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    def sleep(self) -> Awaitable[object]:
        """Wait for `wake`; if cancelled, nobody waits any more."""
        self._task = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - no frame here

    def wake(self) -> None:
        """Wake the task, if one waits."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Latch:
    """A `trio.Event` in a third of the memory, as long as nobody waits."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: trio.Event | None = None

    def is_set(self) -> bool:
        """Whether it happened."""
        return self._is_set

    def set(self) -> None:
        """It happens: wake whoever waits."""
        self._is_set = True
        if self._waiting is not None:
            self._waiting.set()

    async def wait(self) -> None:
        """Wait until it happens; a checkpoint in any case."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
            return
        if self._waiting is None:
            self._waiting = trio.Event()
        await self._waiting.wait()


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
        self.waiting: list[_Turn] = []  # an empty deque takes ten times as much
        self._reserved = False

    def taken(self) -> bool:
        """Whether a send has to wait."""
        protocol = self._protocol
        full = protocol.output.size > protocol.send_buffer_size
        return full or self._reserved or bool(self.waiting)

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
            turn = self.waiting.pop(0)
            turn.queue()
            turn.queued = True
            trio.lowlevel.reschedule(turn.task)

    def refuse(self) -> None:
        """The connection has ended: nobody gets a turn any more."""
        for turn in self.waiting:
            trio.lowlevel.reschedule(turn.task)
        self.waiting.clear()
