"""Connections without an opening handshake, each with a raw peer that speaks frames by itself."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from trio_ws import Limits, WebSocketConnection
from trio_ws._facts import Opening
from trio_ws._options import Settings
from trio_ws._protocol._output import Output

StreamPair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]

_LIMITS = [item.name for item in fields(Limits)]
# Virtual seconds after which a test counts as hung: each wait of the library ends before.
_HUNG = 100_000

both_roles = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
whole_and_torn = pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])


def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two connected sockets: the transport that can write without waiting."""
    ours, theirs = trio.socket.socketpair()
    return trio.SocketStream(ours), trio.SocketStream(theirs)


def half_raw_pair() -> tuple[trio.SocketStream, socket.socket]:
    """A socket stream, and the other end as a socket that needs no scheduler."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours)), theirs


# Over a memory stream nothing ever stalls; over the lockstep one each write waits for its read.
memory_pair: StreamPair = trio.testing.memory_stream_pair
lockstep_pair: StreamPair = trio.testing.lockstep_stream_pair

all_streams = pytest.mark.parametrize(
    "streams", [memory_pair, lockstep_pair, socket_pair], ids=["memory", "lockstep", "socket"]
)
memory_and_socket = pytest.mark.parametrize(
    "streams", [memory_pair, socket_pair], ids=["memory", "socket"]
)


def output(*chunks: bytes) -> Output:
    """What is to be sent."""
    out = Output()
    for chunk in chunks:
        out.append(chunk)
    return out


@contextmanager
def spurious_wakeups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every other read of a descriptor finds nothing; at the end it must have been tried again."""
    read = os.read
    reads = Counter[int]()

    def spurious(fd: int, size: int) -> bytes:
        reads[fd] += 1
        if reads[fd] % 2:
            raise BlockingIOError
        return read(fd, size)

    monkeypatch.setattr(os, "read", spurious)
    yield
    assert min(reads.values()) > 1


class RawPeer:
    """The other end of a connection, which does only what a test tells it.

    Args:
        stream: its end.
        client: it is the client, so its frames are masked and those it receives are not.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool) -> None:
        self.stream = stream
        self._key = wire.KEY if client else None
        self._masked = not client
        self._buffer = bytearray()
        self._sending = trio.StrictFIFOLock()

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
        """A frame of this role."""
        return wire.build(opcode, payload, fin=fin, mask=self._key)

    def text(self, message: str) -> bytes:
        """A frame with a text message."""
        return self.frame(wire.TEXT, message.encode())

    def close(self, code: int | None = None, reason: bytes = b"") -> bytes:
        """A Close frame of this role."""
        return wire.close(code, reason, mask=self._key)

    async def send(self, *data: bytes) -> None:
        """Send bytes as they are, at once."""
        async with self._sending:
            await self.stream.send_all(b"".join(data))

    async def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._buffer += data

    async def receive(self) -> wire.Frame:
        """Receive a frame; EOFError if there is none."""
        await self._need(2)
        second, size, end = self._buffer[1], self._buffer[1] & 127, 2
        if size > 125:
            end += 2 if size == 126 else 8
            await self._need(end)
            size = int.from_bytes(self._buffer[2:end], "big")
        end += size + (4 if second & 128 else 0)
        await self._need(end)
        (frame,) = wire.parse(bytes(self._buffer[:end]))
        del self._buffer[:end]
        assert (frame.key is not None) == self._masked
        assert frame.fin and not frame.rsv
        return frame

    async def receive_close(self) -> tuple[int, bytes]:
        """Receive a Close frame that has a code."""
        frame = await self.receive()
        assert frame.opcode == wire.CLOSE, frame
        return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:]

    async def receive_rest(self) -> list[tuple[int, bytes]]:
        """Receive until the end: whole frames, then nothing."""
        frames: list[tuple[int, bytes]] = []
        while True:
            try:
                frame = await self.receive()
            except EOFError:
                assert not self._buffer, "the last frame is torn"
                return frames
            frames.append((frame.opcode, frame.payload))

    async def answer(self, pongs: bool = True) -> None:
        """Answer pings and the Close until the end, and close."""
        try:
            while True:
                frame = await self.receive()
                if frame.opcode == wire.PING and pongs:
                    await self.send(self.frame(wire.PONG, frame.payload))
                elif frame.opcode == wire.CLOSE:
                    await self.send(self.frame(wire.CLOSE, frame.payload))
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the last as well when the test ends, and its nursery is cancelled
        await trio.aclose_forcefully(self.stream)


async def _guard(stream: trio.abc.Stream) -> None:
    """Close the peer's end after the test, and end a test that hangs."""
    try:
        await trio.sleep(_HUNG)
        pytest.fail("the test hangs")
    finally:
        await trio.aclose_forcefully(stream)


def make_connection(
    stream: trio.abc.Stream, *, client: bool, **options: Any
) -> WebSocketConnection:
    """A connection that is not served yet; the options are those of `Settings` and of `Limits`."""
    limits = {name: options.pop(name) for name in _LIMITS if name in options}
    first = {name: options.pop(name) for name in ("first_in", "first_out") if name in options}
    settings = Settings(limits=Limits(**limits), **options)
    return WebSocketConnection(stream, Opening("/path", None, ()), settings, client=client, **first)


async def connect(
    nursery: trio.Nursery,
    *,
    client: bool = False,
    streams: StreamPair = memory_pair,
    torn: bool = False,
    guard: trio.Nursery | None = None,
    **options: Any,
) -> tuple[WebSocketConnection, RawPeer]:
    """A connection served in `nursery`, and its raw peer.

    Args:
        nursery: for the connection's tasks.
        client: the connection is the client.
        streams: makes the transport.
        torn: the connection receives single bytes.
        guard: the nursery whose end closes the peer's end, if it is another one.
        options: those of `Settings` and of `Limits`.
    """
    ours, theirs = streams()
    if torn:
        options.setdefault("receive_buffer_size", 1)
    connection = make_connection(ours, client=client, **options)
    await connection._start(nursery)
    (guard or nursery).start_soon(_guard, theirs)
    return connection, RawPeer(theirs, client=not client)


async def connect_pair(
    nursery: trio.Nursery, *, streams: StreamPair = memory_pair, **options: Any
) -> tuple[WebSocketConnection, WebSocketConnection]:
    """A client's connection and the server's behind it."""
    ours, theirs = streams()
    nursery.start_soon(_guard, ours)
    client = make_connection(ours, client=True, **options)
    server = make_connection(theirs, client=False, **options)
    await client._start(nursery)
    await server._start(nursery)
    return client, server


class Steps(trio.abc.Instrument):
    """Counts the scheduler steps of the task that made it."""

    def __init__(self) -> None:
        self.count = 0
        self._task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count one."""
        self.count += task is self._task

    def stop(self) -> int:
        """Stop counting; return the count."""
        trio.lowlevel.remove_instrument(self)
        return self.count
