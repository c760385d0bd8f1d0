"""Raw peers, listeners in memory, and the count of what must not be left behind."""

import base64
import gc
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

import trio_ws

if TYPE_CHECKING:  # the soak and others go without
    import pytest

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GOING_AWAY = (1001).to_bytes(2, "big")
NORMAL = (1000).to_bytes(2, "big")
INTERNAL_ERROR = (1011).to_bytes(2, "big")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class TornStream(trio.abc.HalfCloseableStream):
    """A stream that receives one byte at a time."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive one byte, or the end."""
        return await self.stream.receive_some(1)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all."""
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End the sending half."""
        await self.stream.send_eof()

    async def aclose(self) -> None:
        """Close both halves."""
        await self.stream.aclose()


class WholeStream(trio.abc.Stream):
    """A stream that is no `HalfCloseableStream`, as TLS is none."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive some."""
        return await self.stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all."""
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close."""
        self.closed = True
        await self.stream.aclose()


def pair(*, torn: bool = False) -> tuple[trio.abc.Stream, "Peer"]:
    """A stream for the library, torn to single bytes if asked, and the raw peer behind it."""
    stream, other = trio.testing.memory_stream_pair()
    return (TornStream(stream) if torn else stream), Peer(other)


def frame(opcode: int, payload: bytes = b"", *, mask: bool) -> bytes:
    """A final frame of up to 125 bytes; masked as a client's is."""
    assert len(payload) <= 125
    key = b"\x11\x22\x33\x44" if mask else b""
    if mask:
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | opcode, (0x80 if mask else 0) | len(payload)]) + key + payload


class Peer:
    """The raw other end of a connection: what the tests know of HTTP and frames by themselves."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def _fill(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError(bytes(self._buffer))
        self._buffer += data

    async def receive_exactly(self, size: int) -> bytes:
        """Receive so many bytes; EOFError if there are fewer."""
        while len(self._buffer) < size:
            await self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def receive_head(self) -> bytes:
        """Receive an HTTP head, with its blank line."""
        while b"\r\n\r\n" not in self._buffer:
            await self._fill()
        return await self.receive_exactly(self._buffer.index(b"\r\n\r\n") + 4)

    async def receive_frame(self) -> tuple[int, bytes]:
        """Receive a final frame: opcode and unmasked payload."""
        first, second = await self.receive_exactly(2)
        assert first & 0xF0 == 0x80
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(await self.receive_exactly(2 if length == 126 else 8), "big")
        key = await self.receive_exactly(4) if second & 0x80 else bytes(4)
        payload = await self.receive_exactly(length)
        return first & 0x0F, bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))

    async def receive_all(self) -> bytes:
        """Receive until the end; a reset is an end."""
        while True:
            try:
                await self._fill()
            except (EOFError, trio.BrokenResourceError):
                data = bytes(self._buffer)
                self._buffer.clear()
                return data

    async def accept(self, *lines: bytes) -> bytes:
        """Be a server: read the request, answer 101; return the request."""
        request = await self.receive_head()
        await self.send(switching(request, *lines))
        return request

    async def open(self, *lines: bytes, **keywords: bytes) -> bytes:
        """Be a client: send a request, return the head of the answer."""
        await self.send(upgrade(*lines, **keywords))
        return await self.receive_head()

    async def aclose(self) -> None:
        """Hang up."""
        await self.stream.aclose()


def header(head: bytes, name: bytes) -> list[bytes]:
    """The values of a header in a head."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip() for key, _, value in lines if key.lower() == name.lower()]


def status(head: bytes) -> int:
    """The status of a response."""
    version, code, _ = head.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(code)


def accept_value(request: bytes) -> bytes:
    """The Sec-WebSocket-Accept for a request."""
    (key,) = header(request, b"sec-websocket-key")
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def switching(request: bytes, *lines: bytes) -> bytes:
    """The 101 for a request, with further header lines."""
    head = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_value(request),
    ]
    return b"\r\n".join([*head, *lines, b"", b""])


def upgrade(*lines: bytes, path: bytes = b"/", host: bytes = b"server.example") -> bytes:
    """A request for a WebSocket, with further header lines."""
    head = [
        b"GET " + path + b" HTTP/1.1",
        b"Host: " + host,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    ]
    return b"\r\n".join([*head, *lines, b"", b""])


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose clients connect in memory; an exception in its queue is raised."""

    def __init__(self, *, torn: bool = False) -> None:
        self._torn = torn
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream | Exception](1000)
        self.closed = False
        self.peers: list[Peer] = []

    async def accept(self) -> trio.abc.Stream:
        """The next client."""
        item = await self._receive.receive()
        if isinstance(item, Exception):
            raise item
        return item

    async def aclose(self) -> None:
        """Close."""
        self.closed = True
        self._send.close()
        self._receive.close()
        await trio.lowlevel.checkpoint()

    def fail(self, exc: Exception) -> None:
        """Let a call of `accept` raise."""
        self._send.send_nowait(exc)

    def deliver(self, stream: trio.abc.Stream) -> None:
        """Let a call of `accept` return this stream."""
        self._send.send_nowait(stream)

    def connect(self) -> Peer:
        """A raw client."""
        stream, peer = pair(torn=self._torn)
        self.deliver(stream)
        self.peers.append(peer)
        return peer

    def connect_stream(self) -> trio.abc.Stream:
        """A client's stream, for the library."""
        return self.connect().stream


class Served:
    """A server that runs, and how to reach it."""

    def __init__(self, server: trio_ws.WebSocketServer, listener: MemoryListener) -> None:
        self.server = server
        self.listener = listener

    def connect(self) -> Peer:
        """A raw client."""
        return self.listener.connect()

    async def open(self, *lines: bytes, **keywords: bytes) -> Peer:
        """A raw client whose request was accepted."""
        peer = self.connect()
        head = await peer.open(*lines, **keywords)
        assert status(head) == 101, head
        return peer

    async def check(self) -> None:
        """Check that the server, whose handler echoes, serves."""
        peer = await self.open()
        await peer.send(frame(TEXT, b"alive?", mask=True))
        assert await peer.receive_frame() == (TEXT, b"alive?")
        await peer.send(frame(CLOSE, NORMAL, mask=True))
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        assert await peer.receive_all() == b""


@asynccontextmanager
async def serving(
    handler: trio_ws._server.Handler, *, torn: bool = False, **options: object
) -> AsyncIterator[Served]:
    """Run a server in memory for the length of a block; then all peers leave, and it is closed."""
    listener = MemoryListener(torn=torn)
    server = trio_ws.WebSocketServer(handler, [listener], **options)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.run))
        yield Served(server, listener)
        for peer in listener.peers:
            await peer.aclose()
        await server.aclose()


async def echo(request: trio_ws.WebSocketRequest) -> None:
    """Send back what comes."""
    async with await request.accept() as websocket:
        async for message in websocket:
            await websocket.send(message)


def descriptors() -> int:
    """How many file descriptors are open; 0 where nobody can tell."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def tasks() -> int:
    """How many tasks live."""
    return trio.lowlevel.current_statistics().tasks_living


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Check that a block leaves neither task nor file descriptor, nor garbage that holds one."""
    before = tasks(), descriptors()
    yield
    await trio.testing.wait_all_tasks_blocked()
    if (tasks(), descriptors()) != before:
        gc.collect()
    assert (tasks(), descriptors()) == before


@contextmanager
def reserved_port(*, to_listen: bool = False) -> Iterator[int]:
    """A TCP port of the loopback that nothing listens on, and that no other program is given.

    Args:
        to_listen: someone is to listen on it, which Linux allows beside a socket that does not.
    """
    with socket.socket() as sock:
        if sys.platform == "linux":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Trio's listeners do
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        if to_listen and sys.platform != "linux":
            sock.close()
        yield port


class _CancelAfter(trio.abc.Instrument):
    """Cancels a scope after the current task's n-th step from now, of those that count."""

    def __init__(self, scope: trio.CancelScope, steps: int, counts: Callable[[], bool]) -> None:
        self._scope = scope
        self._left = steps
        self._counts = counts
        self._task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        if task is self._task and self._counts():
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


@contextmanager
def cancelled_after(
    steps: int, counts: Callable[[], bool] = lambda: True
) -> Iterator[trio.CancelScope]:
    """A scope that is cancelled where the task waits for the n-th time, unless it was left.

    Args:
        steps: how often it waits.
        counts: whether it counts that it waits now.
    """
    with trio.CancelScope() as scope:
        instrument = _CancelAfter(scope, steps, counts)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield scope
        finally:
            trio.lowlevel.remove_instrument(instrument)


class Dial:
    """Stands in for what opens TCP connections: connects in memory, or does what it is told to."""

    def __init__(self, *, torn: bool = False) -> None:
        self.addresses: list[tuple[object, object]] = []
        self._torn = torn
        self._send, self._receive = trio.open_memory_channel[Peer](100)

    def install(self, monkeypatch: "pytest.MonkeyPatch") -> None:
        """Let every client dial here, to a name or an address."""
        monkeypatch.setattr("trio_ws._client.open_tcp", self)

    async def __call__(self, host: object, port: object) -> trio.abc.Stream:
        """Connect."""
        self.addresses.append((host, port))
        await trio.lowlevel.checkpoint()
        stream, peer = pair(torn=self._torn)
        self._send.send_nowait(peer)
        return stream

    async def peer(self) -> Peer:
        """The server's end of the next connection."""
        return await self._receive.receive()
