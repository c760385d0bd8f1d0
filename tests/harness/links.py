"""Links between two ends, in memory and over socket pairs, that log what travels.

A write yields after every few bytes, a read gives a slice of what has come; both sizes come from a
seeded source. So a write that is cancelled really is torn, and a read ends anywhere in a frame.
"""

from __future__ import annotations

import random
import select
import socket
from contextlib import suppress
from typing import Final

import trio

from .faults import ERRORS, Fault

# The largest pieces of opening handshakes.
SMALL: Final = {"mem": 96, "tls": 400, "sock": 96, "tlssock": 400, "unix": 96}
# The transports whose bytes go through a kernel.
ON_SOCKETS: Final = frozenset({"sock", "tlssock", "unix"})
UNDER_TLS: Final = frozenset({"tls", "tlssock"})
# What travels at once before `Link.chop` is called: opening handshakes are not always the subject.
_WHOLE: Final = 1 << 20


class Pipe:
    """One direction of a link."""

    def __init__(self, window: int) -> None:
        self.window = window  # bytes that may be under way
        self.under_way = bytearray()
        self.log = bytearray()  # all that was sent
        self.taken = 0  # bytes that have arrived; of a socket, that it holds for its reader
        self.eof = False
        self.broken = False  # nobody will read any more
        self.stalled = False  # nothing is delivered for now
        self.full = False  # nothing more is taken, ever
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
        fault: what goes wrong.
    """

    def __init__(
        self, rng: random.Random, *, window: int, step: int, tls: bool, fault: Fault
    ) -> None:
        self.rng = rng
        self.fault = fault
        self.window = window
        self.step = _WHOLE
        self._chopped = step
        # By the role of who sends.
        self.pipes = {"client": Pipe(_WHOLE), "server": Pipe(_WHOLE)}
        # What TLS has decrypted, by the role of who sent it; else None.
        self.plain = {"client": bytearray(), "server": bytearray()} if tls else None
        # What was handed to TLS to be encrypted.
        self.written = {"client": bytearray(), "server": bytearray()}
        self.was_cut = False  # by the harness
        self.resets: set[str] = set()  # ends that have reset their socket, by nobody's order
        self.sockets: dict[str, trio.SocketStream] = {}
        self.open_ends: set[trio.abc.AsyncResource] = set()

    def chop(self) -> None:
        """From now on bytes travel in small pieces."""
        self.step = self._chopped
        for pipe in self.pipes.values():
            pipe.window = self.window

    def widen(self) -> None:
        """From now on everything travels at once."""
        self.step = _WHOLE
        for pipe in self.pipes.values():
            pipe.window = _WHOLE
            pipe.wake()

    def size(self) -> int:
        """Of the next write or read: often a few bytes, which may end within a frame's head."""
        return self.rng.randint(1, self.step if self.rng.random() < 0.6 else min(self.step, 24))

    def takes_bytes(self, role: str) -> bool:
        """Whether the end `role` could send a frame now without waiting."""
        if role not in self.sockets:
            pipe = self.pipes[role]
            stuck = pipe.eof or pipe.broken or pipe.stalled or pipe.full
            return not (pipe.under_way or stuck)
        descriptor = self.sockets[role].socket.fileno()
        return descriptor >= 0 and bool(select.select([], [descriptor], [], 0)[1])

    def cut(self, *, lossy: bool = True) -> None:
        """Carry nothing more; lose what is under way, if `lossy`."""
        self.was_cut = True
        for pipe in self.pipes.values():
            if lossy:
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
        self._failing: dict[str, str] = {}  # one of `ERRORS` each, by direction
        self._flips = False  # the next byte becomes another one
        self._send_guard = _Guard("send")
        self._receive_guard = _Guard("receive")
        link.open_ends.add(self)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write piece by piece; cancelled, some of it is on the wire."""
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            view, pipe, link = memoryview(data), self._out, self.link
            while view:
                await self.wait_send_all_might_not_block()
                size = min(pipe.window - len(pipe.under_way), link.size(), len(view))
                size = link.fault.allow(link, self.role, "send", len(pipe.log), size)
                if not size:
                    self._strike("send")
                    continue
                piece = bytearray(view[:size])
                if self._flips:
                    piece[0] ^= 0xFF
                    self._flips = False
                pipe.log += piece
                pipe.under_way += piece
                view = view[size:]
                pipe.wake()
                await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        pipe = self._out
        while not (self._closed or pipe.broken or "send" in self._failing) and (
            pipe.full or len(pipe.under_way) >= pipe.window
        ):
            await pipe.changed.park()
        self._fail("send")
        if pipe.broken and not self._closed:
            raise trio.BrokenResourceError
        if self._closed or pipe.eof:
            raise trio.ClosedResourceError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read a slice."""
        with self._receive_guard:
            await trio.lowlevel.checkpoint()
            pipe, link = self._in, self.link
            size = 0
            while not size:
                while not (self._closed or "receive" in self._failing) and (
                    pipe.stalled or not (pipe.under_way or pipe.eof)
                ):
                    await pipe.changed.park()
                if self._closed:
                    raise trio.ClosedResourceError
                self._fail("receive")
                if not pipe.under_way:
                    return b""
                size = min(link.size(), max_bytes or _WHOLE, len(pipe.under_way))
                position = len(pipe.log) - len(pipe.under_way)
                size = link.fault.allow(link, self.role, "receive", position, size)
                if not size:
                    self._strike("receive")
            data = bytes(pipe.under_way[:size])
            del pipe.under_way[:size]
            pipe.taken += size
            pipe.wake()
            return data

    def _strike(self, way: str) -> None:
        """The fault happens here and now; who waits, or calls next, will see."""
        fault = self.link.fault
        fault.strike()
        if fault.what in ERRORS:
            self._failing[way] = fault.what
            if way == "send":
                self._out.eof = True  # so the peer hears of it
                self._out.wake()
        elif fault.what == "end":
            if way == "receive":
                self._in.under_way.clear()
            self.link.cut(lossy=False)
        elif fault.what == "stall":
            self._out.full |= way == "send"
            self._in.stalled |= way == "receive"
        else:
            self._flips = True

    def _fail(self, way: str) -> None:
        if way in self._failing and not self._closed:
            error = ERRORS[self._failing[way]]()
            raise error

    async def send_eof(self) -> None:
        """End this direction."""
        if self._closed:
            raise trio.ClosedResourceError
        self._fail("send")
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
