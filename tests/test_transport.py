import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.connections import RawPeer, half_raw_pair, output, socket_pair, spurious_wakeups
from trio_ws import WebSocketRequest, open_websocket, serve_websocket
from trio_ws._transport import (
    SocketTransport,
    StreamTransport,
    close_after_reply,
    transport_over,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="the fast path is for POSIX")


class FaultyStream(trio.abc.HalfCloseableStream):
    """A stream each of whose calls does what a test sets, or waits for ever."""

    def __init__(self, **calls: Callable[[], Any]) -> None:
        self.calls = calls
        self.closed = 0

    async def _call(self, name: str) -> Any:
        await trio.lowlevel.checkpoint()
        if name in self.calls:
            return self.calls[name]()
        return await trio.sleep_forever()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive."""
        return bytes(await self._call("receive"))

    async def send_all(self, data: object) -> None:
        """Send."""
        await self._call("send")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait."""

    async def send_eof(self) -> None:
        """End."""
        await self._call("eof")

    async def aclose(self) -> None:
        """Close."""
        self.closed += 1
        await self._call("close")


def broken() -> None:
    """The peer has gone."""
    raise trio.BrokenResourceError


async def take(transport: StreamTransport) -> bytes:
    """What comes next; b"" is the end."""
    data = None
    while data is None:
        await transport.wait_readable()
        data = transport.receive_nowait()
    return data


async def test_any_stream_has_a_transport() -> None:
    """Over a stream a send is all or nothing and nothing goes without waiting."""
    ours, theirs = trio.testing.memory_stream_pair()
    transport = transport_over(ours, None)
    assert type(transport) is StreamTransport
    assert transport.send_nowait(output(b"data")) == 0
    out = output(b"da", b"ta")
    assert await transport.send(out) == 4
    assert await theirs.receive_some() == b"data"
    assert out.size == 4  # whoever knows what the bytes are takes note that they have gone
    await theirs.send_all(b"answer")
    data = await take(transport)
    assert data == b"answer" and isinstance(data, bytes)
    await transport.send_eof()
    assert await theirs.receive_some() == b""
    await transport.aclose(force=False)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")


@pytest.mark.parametrize("make", [trio.testing.memory_stream_pair, socket_pair])
@pytest.mark.parametrize(("read_size", "sizes"), [(4, [4, 4, 2]), (None, [10])])
async def test_reads_have_the_size_that_was_asked_for(
    make: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]],
    read_size: int | None,
    sizes: list[int],
) -> None:
    """``receive_buffer_size`` is the size of one read; by default one takes a burst."""
    ours, theirs = make()
    transport = transport_over(ours, read_size)
    await theirs.send_all(b"0123456789")
    assert [len(await take(transport)) for _ in sizes] == sizes
    await theirs.aclose()
    assert await take(transport) == b""
    await transport.aclose(force=True)


async def test_a_stream_gets_a_record_at_a_time() -> None:
    """Progress is seen after each 16 KiB, whatever waits behind them."""
    ours, theirs = trio.testing.memory_stream_pair()
    transport = transport_over(ours, None)
    out = output(b"head", bytes(40_000), b"next")
    sizes = []
    while out.size:
        sizes.append(await transport.send(out))
        out.advance(sizes[-1])
    assert sum(sizes) == 40_008 and max(sizes) == 16 * 1024
    assert bytes(await theirs.receive_some()) == b"head" + bytes(40_000) + b"next"


@posix
async def test_a_socket_is_written_without_waiting() -> None:
    """Over a plain socket a send needs no scheduler, and takes what the kernel takes."""
    ours, theirs = half_raw_pair()
    transport = transport_over(ours, None)
    assert type(transport) is SocketTransport
    assert transport.send_nowait(output(b"data")) == 4
    assert theirs.recv(10) == b"data"
    taken = 0
    while sent := transport.send_nowait(output(bytes(100_000))):
        taken += sent
    with trio.move_on_after(0):
        await transport.send(output(b"more"))
    received = 0
    while received < taken:
        received += len(theirs.recv(taken - received))
    assert await transport.send(output(b"more")) == 4
    assert theirs.recv(10) == b"more"
    theirs.close()
    with pytest.raises(OSError, match=os.strerror(errno.EPIPE)):
        transport.send_nowait(output(b"data"))
    await transport.aclose(force=False)


@posix
@pytest.mark.parametrize("waiting", [False, True], ids=["send_nowait", "send"])
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"a", b"bc", b"def"], id="small"),
        pytest.param([b"head", bytes(20_000)], id="a head and its payload"),
        pytest.param([b"a", bytes(30_000), b"b", bytes(30_000), b"c"], id="mixed"),
        pytest.param([b"%5d" % at + bytes(400) for at in range(50)], id="more than 16 KiB"),
    ],
)
async def test_what_is_queued_leaves_in_one_write(
    monkeypatch: pytest.MonkeyPatch, waiting: bool, chunks: list[bytes]
) -> None:
    """Chunks, joined or beside one another, cost one system call."""
    ours, theirs = half_raw_pair()
    transport = transport_over(ours, None)
    calls = []
    write, writev = os.write, getattr(os, "writev")  # noqa: B009 - which Windows has not

    def count(fd: int, buffers: list[bytes]) -> Any:
        calls.append(len(buffers))
        return writev(fd, buffers)

    def count_one(fd: int, data: bytes) -> int:
        calls.append(1)
        return write(fd, data)

    monkeypatch.setattr(os, "writev", count)
    monkeypatch.setattr(os, "write", count_one)
    out = output(*chunks)
    sent = await transport.send(out) if waiting else transport.send_nowait(out)
    assert sent == out.size and len(calls) == 1
    assert theirs.recv(2**20) == b"".join(chunks)
    await transport.aclose(force=True)
    theirs.close()


@posix
async def test_nothing_there() -> None:
    """A socket that is said to be readable, and is not, which may happen: wait again."""
    ours, theirs = half_raw_pair()
    transport = transport_over(ours, None)
    assert transport.receive_nowait() is None
    theirs.send(b"data")
    assert await take(transport) == b"data"
    await transport.aclose(force=True)
    theirs.close()


@posix
async def test_a_connection_that_is_woken_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spurious wake-up of a client or a server, in the opening handshake or later, is no end."""

    async def echo(request: WebSocketRequest) -> None:
        async with await request.accept() as connection:
            await connection.send(await connection.receive())

    with spurious_wakeups(monkeypatch):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, None)
            async with open_websocket("127.0.0.1", server.port, "/", use_ssl=False) as client:
                await client.send("hello")
                assert await client.receive() == "hello"
            nursery.cancel_scope.cancel()


@posix
async def test_a_write_has_a_limited_number_of_chunks() -> None:
    """The kernel takes 1024 buffers at most; those behind wait for the next write."""
    ours, theirs = half_raw_pair()
    transport = transport_over(ours, None)
    out = output(*(bytes([at % 256]) * 4096 for at in range(2000)))
    received = b""
    while out.size:
        out.advance(transport.send_nowait(out))
        received += theirs.recv(2**20)
    assert received == b"".join(bytes([at % 256]) * 4096 for at in range(2000))
    await transport.aclose(force=True)
    theirs.close()


@posix
@pytest.mark.parametrize(
    ("read_size", "asked"),
    [
        (None, [65_536, 131_072, 131_072, 65_536, 131_072]),
        (100, [100] * 5),
    ],
)
async def test_a_full_read_is_followed_by_a_larger_one(
    monkeypatch: pytest.MonkeyPatch, read_size: int | None, asked: list[int]
) -> None:
    """More is likely to be there; but ``receive_buffer_size`` is never exceeded."""
    ours, theirs = half_raw_pair()
    transport = transport_over(ours, read_size)
    ready = iter([2**20, 2**20, 1000, 65_536, 1000])  # bytes that wait in the kernel
    sizes = []

    def read(fd: int, size: int) -> bytes:
        sizes.append(size)
        return bytes(min(size, next(ready)))

    theirs.send(b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        received = [len(await take(transport)) for _ in asked]
    assert sizes == asked
    assert received == list(map(min, asked, [2**20, 2**20, 1000, 65_536, 1000]))
    await transport.aclose(force=True)
    theirs.close()


@posix
@pytest.mark.parametrize("force", [False, True])
async def test_unread_data_is_drained_before_a_close(force: bool) -> None:
    """A socket is emptied before it is closed, so that no reset overtakes the Close frame."""
    ours, theirs = half_raw_pair()
    transport = transport_over(ours, 10)
    theirs.send(b"unread" * 5)
    transport.send_nowait(output(b"last words"))
    await transport.aclose(force=force)
    assert theirs.recv(100) == b"last words"
    assert theirs.recv(100) == b""
    theirs.close()
    await transport.aclose(force=force)  # again: nothing happens


@posix
@pytest.mark.parametrize("size", [15, 200])
async def test_draining_is_bounded(size: int) -> None:
    """A peer that ends, or sends without end, does not hold up the close."""
    ours, theirs = half_raw_pair()
    transport = transport_over(ours, 10)
    theirs.send(bytes(size))
    theirs.shutdown(socket.SHUT_WR)
    await transport.aclose(force=True)
    theirs.close()
    assert ours.socket.fileno() == -1


@pytest.mark.parametrize("force", [False, True])
async def test_a_close_is_bounded_and_raises_nothing(
    autojump_clock: trio.testing.MockClock, force: bool
) -> None:
    """A stream that hangs or fails in its own close does not get far."""
    for stream in (FaultyStream(), FaultyStream(close=broken)):
        await transport_over(stream, None).aclose(force=force)
        assert stream.closed == 1
    assert trio.current_time() == (0 if force else StreamTransport.grace)


async def test_the_end_of_sending_is_best_effort() -> None:
    """`send_eof` neither raises nor needs a stream that has it."""
    await transport_over(FaultyStream(eof=broken), None).send_eof()
    tls = trio.SSLStream(FaultyStream(), ssl.create_default_context(), server_hostname="x")
    await transport_over(tls, None).send_eof()


async def test_the_reply_is_read_before_the_reset(autojump_clock: trio.testing.MockClock) -> None:
    """After the last reply this side ends first and reads what the peer still sends."""
    ours, theirs = socket_pair()
    await ours.send_all(b"reply")
    await theirs.send_all(b"more of the request")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(close_after_reply, ours)
        assert await theirs.receive_some() == b"reply"
        assert await theirs.receive_some() == b""
        await theirs.aclose()
    assert ours.socket.fileno() == -1


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [
        ({}, 1),
        ({"eof": broken}, 0),
        ({"eof": bytes, "receive": lambda: b"x", "close": bytes}, 0),
        ({"eof": bytes, "receive": bytes, "close": broken}, 0),
        ({"eof": bytes}, 1),
        ({"eof": bytes, "receive": bytes}, 1),
    ],
    ids=["hangs", "broken", "sends for ever", "breaks last", "is silent", "never closes"],
)
async def test_closing_after_a_reply_is_bounded(
    autojump_clock: trio.testing.MockClock, calls: dict[str, Callable[[], Any]], seconds: float
) -> None:
    """Whatever the peer does, the stream is closed within a second."""
    stream = FaultyStream(**calls)
    with trio.move_on_after(10) as scope:
        await close_after_reply(stream)
    assert trio.current_time() == seconds and not scope.cancelled_caught
    assert stream.closed


async def test_a_stream_without_halves_is_just_closed() -> None:
    """TLS has no half-close: the stream is closed."""
    inner = FaultyStream(send=broken, close=bytes)
    tls = trio.SSLStream(inner, ssl.create_default_context(), server_hostname="x")
    await close_after_reply(tls)
    assert inner.closed


def test_the_raw_peer_is_independent() -> None:
    """The tests' own frames are those of RFC 6455 section 5.7."""
    peer = RawPeer(FaultyStream(), client=True)
    assert peer.text("Hello").hex() == "818537fa213d7f9f4d5158"
    peer = RawPeer(FaultyStream(), client=False)
    assert peer.text("Hello").hex() == "810548656c6c6f"
