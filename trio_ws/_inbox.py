"""The receive queue: messages between the parser and ``receive``, bounded both ways."""

from __future__ import annotations

from collections.abc import Awaitable

import trio

from ._protocol._machine import Protocol
from ._turns import Sleeper


class Inbox:
    """Messages that were parsed and not received yet, and the tasks that wait for one.

    Args:
        max_messages: messages above which it is full; at least one always fits.
        max_bytes: bytes at which it is full.
    """

    __slots__ = (
        "_arrived", "_idle", "_max_bytes", "_max_messages", "_next", "_receivers", "answered",
        "closed", "count", "size",
    )  # fmt: skip

    def __init__(self, max_messages: float, max_bytes: int) -> None:
        self._max_bytes = max(1, max_bytes)
        # An empty message takes memory, too: also with math.inf there is an end.
        self._max_messages = int(max(1, min(max_messages, max(1024, max_bytes // 64))))
        # Two lists: an empty deque takes ten times as much. What arrives is appended to one; the
        # next message is the last of the other, which is the first one turned round.
        self._arrived: list[tuple[str | bytes, int]] = []
        self._next: list[tuple[str | bytes, int]] = []
        self._receivers: list[trio.lowlevel.Task] = []
        self.count = 0  # messages
        self._idle = Sleeper()  # the reader, while it waits for `answered`
        self.size = 0  # bytes
        self.closed = False
        self.answered = True  # the application waits again, after the last message that it got

    @property
    def full(self) -> bool:
        """Whether the parser has to stop."""
        return self.count >= self._max_messages or self.size >= self._max_bytes

    @property
    def low(self) -> bool:
        """Whether it is worth while to let the parser, which has stopped, go on."""
        return 2 * self.count <= self._max_messages and self.size < self._max_bytes

    def fill(self, protocol: Protocol) -> bool:
        """Take over the messages that are next; return whether there is room for more."""
        room, space = self._max_messages - self.count, self._max_bytes - self.size
        if room <= 0 or space <= 0:
            return False
        arrived = self._arrived
        before = len(arrived)
        taken = protocol.next_messages(arrived, room, space)
        count = len(arrived) - before
        if count:
            self.count += count
            self.size += taken
            self.answered = False
            if self._receivers:
                self._wake(count)
        return count < room and taken < space

    def put(self, message: str | bytes, size: int) -> None:
        """Add a message of `size` bytes, and wake a task that waits for it."""
        self._arrived.append((message, size))
        self.count += 1
        self.size += size
        self.answered = False
        self._wake(1)

    def take(self) -> str | bytes:
        """The next message, which there must be."""
        if not self._next:
            self._next, self._arrived = self._arrived, self._next
            self._next.reverse()
        message, size = self._next.pop()
        self.count -= 1
        self.size -= size
        return message

    def close(self) -> None:
        """Drop all messages: the application wants no more, and `put` is not called again."""
        self.closed = True
        self._arrived.clear()
        self._next.clear()
        self.count = self.size = 0
        self.wake_all()

    def wait(self) -> Awaitable[object]:
        """Wait until there may be a message, or none will come."""
        self.answered = True
        self._idle.wake()
        task = trio.lowlevel.current_task()
        self._receivers.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._receivers.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        return trio.lowlevel.wait_task_rescheduled(abort)  # noqa: ASYNC105 - no frame of its own

    def wait_answered(self) -> Awaitable[object]:
        """Wait until the application has taken all messages and waits for the next."""
        return self._idle.sleep()

    def wake_reader(self) -> None:
        """End its `wait_answered`."""
        self._idle.wake()

    def wake_all(self) -> None:
        """Wake every waiting task: no more messages will come."""
        self._idle.wake()
        self._wake(len(self._receivers))

    def _wake(self, count: int) -> None:
        receivers = self._receivers
        while receivers and count:
            trio.lowlevel.reschedule(receivers.pop(0))
            count -= 1
