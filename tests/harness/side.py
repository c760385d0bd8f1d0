"""One end of a connection, and a log of what it was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

import trio_ws
from trio_ws import WebSocketConnection

from . import content
from .links import Link

if TYPE_CHECKING:
    from .world import World


@dataclass
class Sent:
    """A message that a task has tried to send, and what came of it."""

    message: str | bytes
    state: str = "pending"  # confirmed, cancelled, failed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, _: object) -> None:
        if exc is None:
            self.state = "confirmed"
        else:
            self.state = "cancelled" if isinstance(exc, trio.Cancelled) else "failed"


class Side:
    """One end of a connection, with a log of what it was asked to do."""

    def __init__(self, world: World, link: Link, role: str) -> None:
        self.world = world
        self.link = link
        self.role = role
        self.conn: WebSocketConnection | None = None
        self.nursery: trio.Nursery | None = None
        self.sent: list[Sent] = []
        self.received: list[str | bytes] = []
        self.has_closed = False  # this end has closed, or its tasks were cancelled
        self.says_close = False  # this end calls aclose itself, so its Close may have come first
        self.goodbye_due = False
        self._arrived = trio.lowlevel.ParkingLot()

    @property
    def peer(self) -> Side:
        """The other end."""
        return self.world.sides[self.link]["server" if self.role == "client" else "client"]

    @property
    def connection(self) -> WebSocketConnection:
        """The connection, which there must be."""
        assert self.conn is not None
        return self.conn

    def text(self, size: int = 20) -> str:
        """A text that is sent only once."""
        name = f"{self.role} {len(self.sent)} "
        return content.text(name, size) if self.world.deflate else name.ljust(size, "é")

    def binary(self, size: int = 20) -> bytes:
        """Bytes that are sent only once."""
        name = f"{self.role} {len(self.sent)} "
        if self.world.deflate:
            return content.binary(name, size)
        return name.encode().ljust(size, b"\xff")

    async def send(self, message: str | bytes, *, compress: bool | None = None) -> None:
        """Send, and write down what came of it."""
        with self.enter(message):
            await self.connection.send(message, compress=compress)

    def enter(self, message: str | bytes) -> Sent:
        """A context for the call that sends `message`."""
        self.sent.append(Sent(message))
        return self.sent[-1]

    async def receive(self) -> str | bytes:
        """Receive, and write it down."""
        return self.note(await self.connection.receive())

    def note(self, message: str | bytes) -> str | bytes:
        """Write down that `message` was received."""
        self.received.append(message)
        self._arrived.unpark_all()
        return message

    async def close(self, code: int = 1000) -> None:
        """Close this end."""
        self.has_closed = self.says_close = True
        await self.connection.aclose(code)

    async def drain(self) -> None:
        """Receive until the end, whatever that is."""
        try:
            while True:
                await self.receive()
        except trio_ws.ConnectionClosed:
            self._arrived.unpark_all()

    async def wait_received(self, count: int) -> None:
        """Wait until so many messages were received, or the connection has ended."""
        while len(self.received) < count and self.connection.closed is None:
            await self._arrived.park()
