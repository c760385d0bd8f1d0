"""TLS over sockets, and how clients get there."""

import errno
import os
import socket
import struct
import sys
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.connections import make_connection, output, spurious_wakeups
from tests.support.servers import nothing_left, reserved_port
from tests.support.tls import client_context, server_context
from trio_ws import CloseReason
from trio_ws._transport import (
    SocketUnderTLS,
    StreamTransport,
    TLSTransport,
    open_tcp,
    transport_over,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fast path is for POSIX")
NAME = "server.example"
TLS = trio.SSLStream[Any]


def tls_ends(ours: trio.abc.Stream, theirs: trio.abc.Stream) -> tuple[TLS, TLS]:
    """Our client's and the peer's server's TLS over two streams."""
    return (
        trio.SSLStream(ours, client_context(), server_hostname=NAME, https_compatible=True),
        trio.SSLStream(theirs, server_context(NAME), server_side=True, https_compatible=True),
    )


def small_sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two connected sockets that take a few kilobytes at a time."""
    pair = socket.socketpair()
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in pair)
    return ours, theirs


async def receive(stream: trio.abc.Stream, size: int) -> bytes:
    """So many bytes of a stream."""
    data = bytearray()
    while len(data) < size:
        data += await stream.receive_some(size - len(data))
    return bytes(data)


async def test_what_is_under_tls_is_replaced_once() -> None:
    """A socket under TLS loses its detours, whoever asks first; other streams stay as they are."""
    near, far = small_sockets()
    ours, _ = tls_ends(near, far)
    first, second = transport_over(ours, None), transport_over(ours, None)
    assert type(first) is type(second) is TLSTransport
    assert type(ours.transport_stream) is SocketUnderTLS
    near.socket.close()
    far.socket.close()
    memory, _ = tls_ends(*trio.testing.memory_stream_pair())
    assert type(transport_over(memory, None)) is StreamTransport


async def shaken_hands() -> tuple[TLS, TLS, trio.SocketStream]:
    """Our client's and the peer's end of TLS over small sockets, and the peer's socket."""
    near, far = small_sockets()
    ours, theirs = tls_ends(near, far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.do_handshake)
        nursery.start_soon(theirs.do_handshake)
    return ours, theirs, far


async def test_what_the_socket_does_not_take_is_kept() -> None:
    """A write never waits: it returns 0 until all of its piece has left, and nothing is lost."""
    ours, theirs, far = await shaken_hands()
    transport = transport_over(ours, None)
    assert await transport.send(output(b"hi")) == 2
    assert await theirs.receive_some() == b"hi"
    data = os.urandom(100_000)
    out = output(data)
    received = []

    async def peer() -> None:
        received.append(await receive(theirs, len(data)))

    sizes = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer)
        while out.size:
            sizes.append(await transport.send(out))
            out.advance(sizes[-1])
    assert received == [data]
    assert [size for size in sizes if size] == [33 * 1024] * 2 + [100_000 - 66 * 1024]
    assert 0 in sizes
    await trio.aclose_forcefully(ours)
    await trio.aclose_forcefully(far)


async def test_hands_are_shaken_before_anything_is_kept(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """A stream whose handshake nobody has done gets it with the first send, whole.

    Here the socket takes nothing that could be kept: of the handshake that would be for ever.
    """
    near, far = small_sockets()
    ours, theirs = tls_ends(near, far)
    transport = transport_over(ours, None)

    def full(fd: int, data: bytes) -> int:
        raise BlockingIOError

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, theirs, 2)
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", full)
                assert await transport.send(output(b"hi")) == 0
            assert await transport.send(output(b"hi")) == 2
    await trio.aclose_forcefully(ours)
    await trio.aclose_forcefully(far)


async def test_what_tls_sends_by_itself_keeps_its_place() -> None:
    """What comes while a write is kept goes behind it: the records of TLS have an order."""
    ours, theirs, far = await shaken_hands()
    transport = transport_over(ours, None)
    inner = ours.transport_stream
    assert isinstance(inner, SocketUnderTLS)
    out = output(bytes(30_000))
    zeros = 0
    while not inner.unsent:
        zeros += min(out.size, 33 * 1024)
        sent = await transport.send(out)
        out.advance(sent)
        out.append(bytes(30_000))
    received = []

    async def peer() -> None:
        received.append(await receive(theirs, zeros + 4))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, b"more")  # as for a new key
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(peer)
        while inner.unsent:
            await trio.lowlevel.wait_writable(inner.socket)
            inner.flush()
    assert received == [bytes(zeros) + b"more"]
    await trio.aclose_forcefully(ours)
    await trio.aclose_forcefully(far)


async def test_a_failed_write_leaves_reading_alone() -> None:
    """The error is the transport's, not the stream's: the peer's last words can still be read."""
    ours, theirs, far = await shaken_hands()
    transport = transport_over(ours, None)
    await theirs.send_all(b"last words")
    far.socket.close()
    out = output(b"data")
    assert await transport.send(out) == 0
    with pytest.raises(OSError, match=os.strerror(errno.EPIPE)):
        await transport.send(out)
    await transport.wait_readable()
    assert transport.receive_nowait() == b"last words"
    await trio.aclose_forcefully(ours)
    with pytest.raises(trio.ClosedResourceError):
        await transport.send(out)


@pytest.mark.checklist("LM03")
async def test_a_deadline_that_passes_while_the_peer_takes_bytes(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A process that was asleep past the deadline of a write sees first that it went on."""
    ours, _, far = await shaken_hands()
    connection = make_connection(ours, client=True, ping_interval=None)
    await connection._start(nursery)
    await connection.send(bytes(200_000))
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
        os.read(far.socket.fileno(), 2**20)
        autojump_clock.jump(31)
    await trio.sleep(29)
    assert connection.closed is None
    await trio.sleep(2)
    assert connection.closed == CloseReason(1006)
    await connection.wait_closed()
    await trio.aclose_forcefully(far)


@pytest.mark.checklist("LM03")
@pytest.mark.parametrize("slow", [True, False], ids=["a slow peer", "a stalled peer"])
async def test_a_slow_peer_is_no_stalled_one(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, slow: bool
) -> None:
    """Over TLS a peer that takes a little before `write_timeout` is alive; one that stops, not."""
    ours, _, far = await shaken_hands()
    connection = make_connection(ours, client=True, ping_interval=None)
    await connection._start(nursery)
    await connection.send(bytes(1_000_000))
    received = 0
    for _ in range(20 * slow):
        await trio.sleep(29)
        received += len(os.read(far.socket.fileno(), 2**20))
    await trio.sleep(29)
    assert connection.closed is None
    assert not slow or received > 4 * 33 * 1024
    await trio.sleep(2)
    assert connection.closed == CloseReason(1006)
    await connection.wait_closed()
    far.socket.close()


@pytest.mark.parametrize(
    ("end", "error"),
    [("reset", trio.BrokenResourceError), ("closed", trio.ClosedResourceError), ("end", None)],
)
async def test_the_ends_of_a_socket(end: str, error: type[Exception] | None) -> None:
    """A reset, a close here and an end of the peer's are what Trio's own stream makes of them."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    stream = await open_tcp("127.0.0.1", listener.socket.getsockname()[1])
    peer = await listener.accept()
    ours = SocketUnderTLS(stream)
    await ours.wait_send_all_might_not_block()
    await peer.send_all(b"data")
    assert await receive(ours, 4) == b"data"

    async def receiving() -> None:
        if error is None:
            assert await ours.receive_some(1) == b""
            return
        with pytest.raises(error):
            await ours.receive_some(1)
        with pytest.raises(error):
            await ours.send_all(b"data")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiving)
        await trio.testing.wait_all_tasks_blocked()
        if end == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await (ours if end == "closed" else peer).aclose()
    await trio.aclose_forcefully(ours)
    assert ours.socket.fileno() < 0
    await stream.aclose()
    waiting = repr(trio.lowlevel.current_statistics().io_statistics)
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()
    assert repr(trio.lowlevel.current_statistics().io_statistics) == waiting
    await peer.aclose()
    await listener.aclose()


async def test_a_close_leaves_nothing_unread() -> None:
    """Else the kernel would reset the connection, and the peer may lose our last words."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    stream = await open_tcp("127.0.0.1", listener.socket.getsockname()[1])
    peer = await listener.accept()
    ours = SocketUnderTLS(stream)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    await peer.send_all(bytes(100_000))
    await ours.aclose()
    assert await peer.receive_some() == b""
    await peer.aclose()
    await listener.aclose()


async def test_a_tls_connection_that_is_woken_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A spurious wake-up is no end, in the TLS handshake or later; endpoints and all else work."""

    async def echo(request: trio_ws.WebSocketRequest) -> None:
        async with await request.accept() as connection:
            await connection.send(await connection.receive())

    with spurious_wakeups(monkeypatch):
        async with trio.open_nursery() as nursery:
            context = server_context("127.0.0.1")
            server = await nursery.start(trio_ws.serve_websocket, echo, "127.0.0.1", 0, context)
            async with trio_ws.open_websocket(
                "127.0.0.1", server.port, "/", use_ssl=client_context()
            ) as client:
                assert isinstance(client.remote, trio_ws.Endpoint)
                assert client.remote.url == f"wss://127.0.0.1:{server.port}"
                await client.send(bytes(300_000))
                assert await client.receive() == bytes(300_000)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("host", "bound", "raced"),
    [("127.0.0.1", "127.0.0.1", 0), ("::1", "::1", 0), ("localhost", "127.0.0.1", 1)],
)
async def test_an_address_needs_no_race(
    monkeypatch: pytest.MonkeyPatch, host: str, bound: str, raced: int
) -> None:
    """A name leads to all its addresses, in Trio's way; an address is connected to directly."""
    if ":" in bound and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    races = []
    original = trio.open_tcp_stream

    async def race(host: str, port: int) -> trio.SocketStream:
        races.append(host)
        return await original(host, port)

    monkeypatch.setattr(trio, "open_tcp_stream", race)
    (listener,) = await trio.open_tcp_listeners(0, host=bound)
    stream = await open_tcp(host, listener.socket.getsockname()[1])
    assert len(races) == raced
    assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await stream.aclose()
    await listener.aclose()


async def test_an_error_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has gone wrong, and wherever."""

    def too_many(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(trio.socket, "socket", too_many)
    with pytest.raises(OSError, match=r"127\.0\.0\.1 port 8080: ") as caught:
        await open_tcp("127.0.0.1", 8080)
    assert caught.value.errno == errno.EMFILE


async def test_nobody_there() -> None:
    """Whoever is refused at an address hears of the address; nothing stays open, cancelled too."""
    with reserved_port() as port:
        async with nothing_left():
            with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1.*{port}"):
                await open_tcp("127.0.0.1", port)
            with trio.CancelScope() as scope:
                scope.cancel()
                await open_tcp("127.0.0.1", port)
            assert scope.cancelled_caught
