"""Links between two ends, in memory and over socket pairs, that log what travels.

A write yields after every few bytes, a read gives a slice of what has come; both sizes come from a
seeded source. So a write that is cancelled really is torn, and a read ends anywhere in a frame.
"""

from __future__ import annotations

import random
import select
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

import trio
import trustme

HOST: Final = "harness.test"
# The largest pieces of opening handshakes.
SMALL: Final = {"mem": 96, "tls": 400, "sock": 96}
# What travels at once before `Link.chop` is called: opening handshakes are not always the subject.
_WHOLE: Final = 1 << 20


class Pipe:
    """One direction of a link."""

    def __init__(self, window: int) -> None:
        self.window = window  # bytes that may be under way
        self.under_way = bytearray()
        self.log = bytearray()  # all that was sent
        self.eof = False
        self.broken = False  # nobody will read any more
        self.stalled = False  # nothing is delivered for now
        self.changed = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        """Let both ends look again."""
        self.changed.unpark_all()


class Link:
    """Two pipes and what is known about them.

    Args:
        rng: sizes of writes and reads.
        window: bytes that may be under way in each direction.
        step: the largest write or read once `chop` was called.
        tls: TLS is spoken over it.
    """

    def __init__(self, rng: random.Random, *, window: int, step: int, tls: bool) -> None:
        self.rng = rng
        self.window = window
        self.step = _WHOLE
        self._chopped = step
        # By the role of who sends.
        self.pipes = {"client": Pipe(_WHOLE), "server": Pipe(_WHOLE)}
        # What TLS has decrypted, by the role of who sent it; else None.
        self.plain = {"client": bytearray(), "server": bytearray()} if tls else None
        self.sockets: dict[str, trio.SocketStream] = {}
        self.open_ends: set[trio.abc.AsyncResource] = set()

    def chop(self) -> None:
        """From now on bytes travel in small pieces."""
        self.step = self._chopped
        for pipe in self.pipes.values():
            pipe.window = self.window

    def size(self) -> int:
        """Of the next write or read: often a few bytes, which may end within a frame's head."""
        return self.rng.randint(1, self.step if self.rng.random() < 0.6 else min(self.step, 24))

    def takes_bytes(self, role: str) -> bool:
        """Whether the end `role` could send a frame now without waiting."""
        if role not in self.sockets:
            pipe = self.pipes[role]
            return not (pipe.under_way or pipe.eof or pipe.broken or pipe.stalled)
        descriptor = self.sockets[role].socket.fileno()
        return descriptor >= 0 and bool(select.select([], [descriptor], [], 0)[1])

    def cut(self) -> None:
        """Lose what is under way, and carry nothing more."""
        for pipe in self.pipes.values():
            pipe.under_way.clear()
            pipe.eof = pipe.broken = True
            pipe.wake()
        for stream in self.sockets.values():
            with suppress(OSError):
                stream.socket.shutdown(socket.SHUT_RDWR)

    def log(self, role: str) -> bytes:
        """What the end `role` has sent; under TLS, what of it has arrived and was decrypted."""
        return bytes(self.pipes[role].log if self.plain is None else self.plain[role])


class MemoryEnd(trio.abc.HalfCloseableStream):
    """One end of a link in memory."""

    def __init__(self, link: Link, role: str) -> None:
        self.link = link
        self.role = role
        self._out = link.pipes[role]
        self._in = link.pipes["server" if role == "client" else "client"]
        self._closed = False
        self._send_guard = _Guard("send")
        self._receive_guard = _Guard("receive")
        link.open_ends.add(self)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write piece by piece; cancelled, some of it is on the wire."""
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            view, pipe = memoryview(data), self._out
            while view:
                await self.wait_send_all_might_not_block()
                room = pipe.window - len(pipe.under_way)
                piece = view[: min(room, self.link.size())]
                pipe.log += piece
                pipe.under_way += piece
                view = view[len(piece) :]
                pipe.wake()
                await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        pipe = self._out
        while not self._closed and not pipe.broken and len(pipe.under_way) >= pipe.window:
            await pipe.changed.park()
        if pipe.broken and not self._closed:
            raise trio.BrokenResourceError
        if self._closed or pipe.eof:
            raise trio.ClosedResourceError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read a slice."""
        with self._receive_guard:
            await trio.lowlevel.checkpoint()
            pipe = self._in
            while not self._closed and (pipe.stalled or not (pipe.under_way or pipe.eof)):
                await pipe.changed.park()
            if self._closed:
                raise trio.ClosedResourceError
            size = min(self.link.size(), max_bytes or _WHOLE)
            data = bytes(pipe.under_way[:size])
            del pipe.under_way[:size]
            pipe.wake()
            return data

    async def send_eof(self) -> None:
        """End this direction."""
        if self._closed:
            raise trio.ClosedResourceError
        self._out.eof = True
        self._out.wake()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close; the peer may still read what is under way."""
        self._closed = True
        self._out.eof = True
        self._in.broken = True
        self._out.wake()
        self._in.wake()
        self.link.open_ends.discard(self)
        await trio.lowlevel.checkpoint()


class _Guard:
    """Two tasks must not do the same at once (the rule of `trio.abc.SendStream`)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(f"two tasks {self._what} at once")
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False


class Relay:
    """Carries bytes between two socket pairs and logs them: neither end knows of it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.client, self._near = _socket_pair()
        self.server, self._far = _socket_pair()

    async def run(self) -> None:
        """Carry until both directions have ended, or cancelled."""
        with self._near, self._far:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, "client", self._near, self._far)
                nursery.start_soon(self._carry, "server", self._far, self._near)

    async def _carry(
        self, role: str, source: trio.socket.SocketType, sink: trio.socket.SocketType
    ) -> None:
        pipe = self._link.pipes[role]
        try:
            while True:
                while pipe.stalled:
                    await pipe.changed.park()
                data = await source.recv(self._link.size())
                if not data:
                    break
                pipe.log += data
                while data:
                    data = data[await sink.send(data) :]
        except OSError:
            pass  # an end has gone: nobody is left to carry to, or from
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            source.shutdown(socket.SHUT_RD)


def _socket_pair() -> tuple[trio.SocketStream, trio.socket.SocketType]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that writes are cut
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        trio.socket.from_stdlib_socket(theirs),
    )


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's and the server's context, made once."""
    authority = trustme.CA()
    client, server = (
        ssl.create_default_context(),
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
    )
    authority.configure_trust(client)
    authority.issue_cert(HOST).configure_cert(server)
    return client, server


@contextmanager
def decrypted_is_logged() -> Generator[None, None, None]:
    """Have each TLS stream over a `MemoryEnd` log what it has decrypted."""
    original = trio.SSLStream.receive_some

    async def receive_some(
        self: trio.SSLStream[Any], max_bytes: int | None = None
    ) -> bytes | bytearray:
        data = await original(self, max_bytes)
        end = self.transport_stream
        if isinstance(end, MemoryEnd):
            assert end.link.plain is not None
            end.link.plain["server" if end.role == "client" else "client"] += data
        return data

    trio.SSLStream.receive_some = receive_some  # type: ignore[method-assign]
    try:
        yield
    finally:
        trio.SSLStream.receive_some = original  # type: ignore[method-assign]
