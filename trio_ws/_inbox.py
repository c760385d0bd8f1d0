"""The receive queue: messages between the parser and ``receive``, bounded both ways."""

from __future__ import annotations

from collections import deque

import trio


class Inbox:
    """Messages that were parsed and not received yet, and the tasks that wait for one.

    Args:
        max_messages: messages above which it is full; at least one always fits.
        max_bytes: bytes at which it is full.
    """

    __slots__ = (
        "_idle",
        "_max_bytes",
        "_max_messages",
        "_messages",
        "_receivers",
        "answered",
        "closed",
        "size",
    )

    def __init__(self, max_messages: float, max_bytes: int) -> None:
        self._max_bytes = max(1, max_bytes)
        # An empty message takes memory, too: also with math.inf there is an end.
        self._max_messages = max(1, min(max_messages, max(1024, max_bytes // 64)))
        self._messages: deque[tuple[str | bytes, int]] = deque()
        self._receivers = trio.lowlevel.ParkingLot()
        self._idle = trio.lowlevel.ParkingLot()
        self.size = 0  # bytes
        self.closed = False
        self.answered = True  # the application waits again, after the last message that it got

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether the parser has to stop."""
        return len(self._messages) >= self._max_messages or self.size >= self._max_bytes

    def put(self, message: str | bytes, size: int) -> None:
        """Add a message of `size` bytes, and wake a task that waits for it."""
        self._messages.append((message, size))
        self.answered = False
        self.size += size
        if self._receivers:
            self._receivers.unpark()

    def get(self) -> str | bytes:
        """Take the oldest message out."""
        message, size = self._messages.popleft()
        self.size -= size
        return message

    def close(self) -> None:
        """Drop all messages: the application wants no more, and `put` is not called again."""
        self.closed = True
        self._messages.clear()
        self.size = 0
        self.wake_all()

    async def wait(self) -> None:
        """Wait until there may be a message, or none will come."""
        self.answered = True
        self._idle.unpark_all()
        await self._receivers.park()

    async def wait_answered(self) -> None:
        """Wait until the application has taken all messages and waits for the next."""
        await self._idle.park()

    def wake_all(self) -> None:
        """Wake every waiting task: no more messages will come."""
        self._idle.unpark_all()
        self._receivers.unpark_all()
