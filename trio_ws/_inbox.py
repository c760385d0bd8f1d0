"""The receive queue: messages between the parser and ``receive``, bounded both ways."""

from __future__ import annotations

from collections import deque

import trio

from ._protocol._machine import Protocol


class Inbox:
    """Messages that were parsed and not received yet, and the tasks that wait for one.

    Args:
        max_messages: messages above which it is full; at least one always fits.
        max_bytes: bytes at which it is full.
    """

    __slots__ = (
        "_idle", "_max_bytes", "_max_messages", "_receivers", "answered", "closed", "messages",
        "size",
    )  # fmt: skip

    def __init__(self, max_messages: float, max_bytes: int) -> None:
        self._max_bytes = max(1, max_bytes)
        # An empty message takes memory, too: also with math.inf there is an end.
        self._max_messages = max(1, min(max_messages, max(1024, max_bytes // 64)))
        self.messages: deque[tuple[str | bytes, int]] = deque()
        self._receivers: deque[trio.lowlevel.Task] = deque()
        self._idle = trio.lowlevel.ParkingLot()
        self.size = 0  # bytes
        self.closed = False
        self.answered = True  # the application waits again, after the last message that it got

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def full(self) -> bool:
        """Whether the parser has to stop."""
        return len(self.messages) >= self._max_messages or self.size >= self._max_bytes

    @property
    def low(self) -> bool:
        """Whether it is worth while to let the parser, which has stopped, go on."""
        return 2 * len(self.messages) <= self._max_messages and self.size < self._max_bytes

    def fill(self, protocol: Protocol) -> None:
        """Take over the messages that are next, as far as there is room."""
        messages = self.messages
        before = len(messages)
        self.size += protocol.next_messages(
            messages, self._max_messages - before, self._max_bytes - self.size
        )
        if len(messages) > before:
            self.answered = False
            if self._receivers:
                self._wake(len(messages) - before)

    def put(self, message: str | bytes, size: int) -> None:
        """Add a message of `size` bytes, and wake a task that waits for it."""
        self.messages.append((message, size))
        self.size += size
        self.answered = False
        self._wake(1)

    def close(self) -> None:
        """Drop all messages: the application wants no more, and `put` is not called again."""
        self.closed = True
        self.messages.clear()
        self.size = 0
        self.wake_all()

    async def wait(self) -> None:
        """Wait until there may be a message, or none will come."""
        self.answered = True
        if self._idle:
            self._idle.unpark_all()
        task = trio.lowlevel.current_task()
        self._receivers.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._receivers.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def wait_answered(self) -> None:
        """Wait until the application has taken all messages and waits for the next."""
        await self._idle.park()

    def wake_all(self) -> None:
        """Wake every waiting task: no more messages will come."""
        self._idle.unpark_all()
        self._wake(len(self._receivers))

    def _wake(self, count: int) -> None:
        receivers = self._receivers
        while receivers and count:
            trio.lowlevel.reschedule(receivers.popleft())
            count -= 1
