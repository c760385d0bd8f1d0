"""Compression on connections: both ends in step, whoever is cancelled; and who waits for whom."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.protocol import wire
from tests.support.compression import (
    HELLO,
    LARGE,
    RSV1,
    Compression,
    DeflatePeer,
    connected,
    exchange,
    raw_connection,
    served_pair,
)
from tests.support.connections import (
    StreamPair,
    both_roles,
    memory_and_socket,
    socket_pair,
)
from tests.support.servers import (
    MemoryListener,
    cancelled_after,
    echo,
    header,
    pair,
    serving,
    status,
)
from trio_ws import PerMessageDeflate, WebSocketConnection
from trio_ws._facts import Opening
from trio_ws._options import Settings

SENDING = pytest.mark.parametrize("client_sends", [True, False], ids=["client", "server"])


# Agreeing


@pytest.mark.checklist("PD07", "SH17")
@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [
        (
            "deflate",
            "deflate",
            {"server_max_window_bits": "12", "client_max_window_bits": "12"},
        ),
        (
            PerMessageDeflate(server_max_window_bits=15, client_max_window_bits=15),
            PerMessageDeflate(server_max_window_bits=15, client_max_window_bits=15),
            {"client_max_window_bits": "15"},
        ),
        (
            PerMessageDeflate(server_no_context_takeover=True, server_max_window_bits=15),
            PerMessageDeflate(client_max_window_bits=9),
            {"server_no_context_takeover": None, "client_max_window_bits": "9"},
        ),
        (
            PerMessageDeflate(client_no_context_takeover=True, client_max_window_bits=9),
            PerMessageDeflate(server_no_context_takeover=True, server_max_window_bits=10),
            {
                "server_no_context_takeover": None,
                "client_no_context_takeover": None,
                "server_max_window_bits": "10",
                "client_max_window_bits": "9",
            },
        ),
        ("deflate", None, None),
        (None, "deflate", None),
        (None, None, None),
    ],
)
async def test_agreeing(
    client: Compression,
    server: Compression,
    agreed: dict[str, str | None] | None,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both ends know what was agreed on, and exchange messages of any size."""
    async with connected(client, server) as (ours, theirs):
        assert ours.extensions == theirs.extensions
        if agreed is None:
            assert ours.extensions == ()
        else:
            ((name, parameters),) = ours.extensions
            assert (name, dict(parameters)) == ("permessage-deflate", agreed)
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            for message in ("", b"", "é" * 1000, LARGE, b"x"):
                await sender.send(message)
                assert await receiver.receive() == message


async def test_over_tcp() -> None:
    """Compression works through `serve_websocket` and `open_websocket` on a real network."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        async with await request.accept() as connection:
            async for message in connection:
                await connection.send(message)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: trio_ws.serve_websocket(
                handler, "127.0.0.1", 0, None, compression="deflate", task_status=task_status
            )
        )
        async with trio_ws.open_websocket(
            "127.0.0.1", server.port, "/", use_ssl=False, compression=PerMessageDeflate()
        ) as connection:
            assert connection.extensions
            for message in ("hello", LARGE[:500_000], "€" * 100_000):
                await connection.send(message)
                assert await connection.receive() == message
            assert connection.statistics().bytes_sent < 50_000
        nursery.cancel_scope.cancel()


@pytest.mark.checklist("SH18", "SH19")
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (b"permessage-deflate", [b"permessage-deflate"]),
        (b"permessage-deflate; mystery", []),
        (b"permessage-deflate; server_max_window_bits=8", []),
        (
            b"permessage-deflate; client_max_window_bits",
            [b"permessage-deflate; client_max_window_bits=12"],
        ),
    ],
)
async def test_a_server_on_the_wire(
    offer: bytes, answer: list[bytes], torn: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """What a server answers is in its 101, and so it treats RSV1 from then on."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        async with await request.accept() as connection:
            async for message in connection:
                await connection.send(message, compress=False)

    async with serving(handler, torn=torn, compression="deflate") as served:
        peer = served.connect()
        head = await peer.open(b"Sec-WebSocket-Extensions: " + offer)
        assert status(head) == 101
        assert header(head, b"Sec-WebSocket-Extensions") == answer
        await peer.send(wire.build(wire.TEXT, HELLO, rsv=RSV1, mask=wire.KEY))
        opcode, payload = await peer.receive_frame()
        if answer:
            assert (opcode, payload) == (wire.TEXT, b"Hello")
        else:
            assert (opcode, payload[:2]) == (wire.CLOSE, (1002).to_bytes(2, "big"))
        await peer.aclose()


@pytest.mark.checklist("CH11")
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize(
    ("answer", "compression"),
    [
        (b"permessage-deflate; mystery", "deflate"),
        (b"permessage-deflate; client_max_window_bits", "deflate"),
        (b"permessage-deflate; client_max_window_bits=8", "deflate"),
        (b"permessage-deflate; server_max_window_bits=13", "deflate"),
        (b"permessage-deflate", PerMessageDeflate(server_no_context_takeover=True)),
        (b"permessage-deflate", None),
        (b"permessage-deflate, permessage-deflate", "deflate"),
        (b"x-webkit-deflate-frame", "deflate"),
    ],
)
async def test_a_client_refuses(
    answer: bytes,
    compression: Compression,
    torn: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An answer that is not legal is a `HandshakeError`, and the stream is closed."""
    stream, peer = pair(torn=torn)

    async def answer_it() -> None:
        await peer.accept(b"Sec-WebSocket-Extensions: " + answer)
        assert await peer.receive_all() == b""

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_it)
        with pytest.raises(trio_ws.HandshakeError):
            await trio_ws.wrap_client_stream(
                nursery, stream, "server.example", "/", compression=compression
            )


@pytest.mark.parametrize("bad", ["gzip", True, 12, b"deflate"])
async def test_other_compression(bad: Any, nursery: trio.Nursery) -> None:
    """Anything but "deflate", a `PerMessageDeflate` and None is refused before anything is sent."""
    stream, _ = pair()
    with pytest.raises(ValueError, match="compression"):
        await trio_ws.wrap_client_stream(nursery, stream, "example.com", "/", compression=bad)
    with pytest.raises(ValueError, match="compression"):
        trio_ws.WebSocketServer(echo, [MemoryListener()], compression=bad)


# What is compressed


@pytest.mark.checklist("PD10")
@pytest.mark.parametrize(
    ("size", "compress", "rsv"),
    [
        (63, None, 0),
        (64, None, RSV1),
        (63, True, RSV1),
        (0, True, RSV1),
        (1000, False, 0),
        (500_000, None, RSV1),
        (500_000, True, RSV1),
        (500_000, False, 0),
    ],
)
@pytest.mark.parametrize("kind", ["text", "bytes"])
@both_roles
async def test_per_message(
    client: bool,
    kind: str,
    size: int,
    compress: bool | None,
    rsv: int,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A message is compressed from the threshold on, unless `compress` says otherwise."""
    async with raw_connection(client=client) as (connection, peer):
        message: str | bytes = "x" * size if kind == "text" else b"x" * size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: connection.send(message, compress=compress))
            frame = await peer.receive()
        assert frame.rsv == rsv
        assert frame.opcode == (wire.TEXT if kind == "text" else wire.BINARY)
        assert frame.payload == b"x" * size
        assert connection.statistics().messages_sent == 1


@pytest.mark.checklist("PD03", "PD02")
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@both_roles
async def test_receiving(client: bool, torn: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Compressed messages and plain ones are received, whole or byte by byte."""
    async with raw_connection(client=client, torn=torn) as (connection, peer):
        await peer.send(
            peer.compressed(wire.TEXT, ("é" * 20).encode()),
            peer.text("plain"),
            peer.compressed(wire.BINARY, b""),
            peer.close(1000),
        )
        assert [message async for message in connection] == ["é" * 20, "plain", b""]


# Cancellation


async def first_step() -> None:
    """Let a task that was just started take its first step; ready tasks run in any order."""
    for _ in range(2):
        await trio.lowlevel.checkpoint()


@pytest.mark.checklist("PD09")
@pytest.mark.parametrize("takeover", [True, False], ids=["takeover", "none"])
@pytest.mark.parametrize("steps", range(1, 12))
@SENDING
async def test_cancelled_in_a_large_send(
    client_sends: bool, steps: int, takeover: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Wherever a large send is cancelled: it is sent whole or not at all, and so is the rest."""
    client, server = served_pair(takeover=takeover)
    sender, receiver = (client, server) if client_sends else (server, client)
    async with trio.open_nursery() as nursery:
        await client._start(nursery)
        await server._start(nursery)
        await sender.send("before" * 20)
        with cancelled_after(steps) as scope:
            await sender.send(LARGE)
        assert await receiver.receive() == "before" * 20
        # It waits between the steps only, and once before them where other writes are under way.
        assert scope.cancelled_caught is (steps <= len(LARGE) // (128 * 1024))
        if not scope.cancelled_caught:
            assert await receiver.receive() == LARGE
        await exchange(sender, receiver)
        await client.aclose()
        await server.aclose()


@pytest.mark.checklist("PD09")
async def test_cancelled_while_waiting_for_a_turn(autojump_clock: trio.testing.MockClock) -> None:
    """A large send that is cancelled while another has its turn sends nothing."""
    client, server = served_pair()
    async with trio.open_nursery() as nursery:
        await client._start(nursery)
        await server._start(nursery)
        async with trio.open_nursery() as senders:
            senders.start_soon(client.send, LARGE)
            with cancelled_after(1) as scope:
                await client.send(LARGE[::-1])
            assert scope.cancelled_caught
        assert await server.receive() == LARGE
        await exchange(client, server)
        await client.aclose()
        await server.aclose()


@pytest.mark.checklist("PD09")
@memory_and_socket
async def test_those_behind_a_cancelled_send(streams: StreamPair) -> None:
    """When a large send is cancelled, those that waited behind it are sent at once, in order."""
    client, server = served_pair(streams)
    async with trio.open_nursery() as nursery:
        await client._start(nursery)
        await server._start(nursery)
        scope = trio.CancelScope()

        async def send_large() -> None:
            with scope:
                await client.send(LARGE)

        async with trio.open_nursery() as senders:
            senders.start_soon(send_large)
            await first_step()
            scope.cancel()
            for number in range(3):
                await client.send(f"behind {number}")
        with trio.fail_after(60):
            assert [await server.receive() for _ in range(3)] == [
                f"behind {number}" for number in range(3)
            ]
        await exchange(client, server)
        await client.aclose()
        await server.aclose()


@pytest.mark.checklist("PD09", "PD11")
@memory_and_socket
async def test_senders_keep_their_order(streams: StreamPair) -> None:
    """Messages around a stepwise send go out in the order of the calls; so do those compressed."""
    client, server = served_pair(streams)
    messages: list[str | bytes] = ["first" * 30, LARGE, "second", LARGE[::-1], "third" * 100, b""]
    async with trio.open_nursery() as nursery:
        await client._start(nursery)
        await server._start(nursery)
        async with trio.open_nursery() as senders:
            started = trio.Event()

            async def send(message: str | bytes) -> None:
                started.set()
                await client.send(message)

            for message in messages:
                started = trio.Event()
                senders.start_soon(send, message)
                await started.wait()
            received = [await server.receive() for _ in messages]
        assert received == messages
        await client.aclose()
        await server.aclose()


async def test_a_ping_during_a_large_send(autojump_clock: trio.testing.MockClock) -> None:
    """The peer's ping is answered between the steps; this side's waits for its turn."""
    async with raw_connection() as (connection, peer):
        async with trio.open_nursery() as nursery:
            await peer.send(peer.frame(wire.PING, b"theirs"))
            nursery.start_soon(connection.send, LARGE)
            first, second = await peer.receive(), await peer.receive()
        assert [first.opcode, second.opcode] == [wire.PONG, wire.BINARY]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.send, LARGE)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(connection.ping, b"ours")
            frames = [await peer.receive(), await peer.receive()]
            await peer.send(peer.frame(wire.PONG, b"ours"))
        assert {frame.opcode for frame in frames} == {wire.BINARY, wire.PING}


@pytest.mark.checklist("PD09")
@pytest.mark.parametrize("ending", ["local close", "peer's close", "lost"])
@memory_and_socket
async def test_the_end_during_a_large_send(streams: StreamPair, ending: str) -> None:
    """A connection that ends between two steps: the send fails, and nothing of it was sent."""
    async with raw_connection(streams=streams) as (connection, peer):

        async def send() -> None:
            with pytest.raises(trio_ws.ConnectionClosed):
                await connection.send(LARGE)

        async def behind() -> None:
            with pytest.raises(trio_ws.ConnectionClosed):
                await connection.send("behind")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await first_step()
            nursery.start_soon(behind)
            if ending == "local close":
                connection._begin_close(1000)
            elif ending == "peer's close":
                await peer.send(peer.close(1000))
            else:
                await trio.aclose_forcefully(peer.stream)
        assert connection.statistics().messages_sent == 0
        if ending != "lost":
            assert (await peer.receive()).opcode == wire.CLOSE


@pytest.mark.checklist("PD09")
@pytest.mark.skipif(sys.platform == "win32", reason="the fast path is for POSIX")
async def test_a_large_send_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails when all of it is compressed, and goes out at once, is the send."""

    def fail(*args: object) -> int:
        raise BrokenPipeError

    async with raw_connection(streams=socket_pair) as (connection, _):
        monkeypatch.setattr(os, "write", fail)
        monkeypatch.setattr(os, "writev", fail)
        with pytest.raises(trio_ws.ConnectionClosed) as raised:
            await connection.send(LARGE)
        monkeypatch.undo()
        assert isinstance(raised.value, trio.BrokenResourceError)
        assert isinstance(raised.value.__cause__, BrokenPipeError)


# Others run meanwhile


@asynccontextmanager
async def another_task() -> AsyncIterator[Callable[[], int]]:
    """A task that is always ready to run; yields a function that tells how often it has run."""
    turns = 0

    async def run() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.lowlevel.checkpoint()
        yield lambda: turns
        nursery.cancel_scope.cancel()


@pytest.mark.checklist("PD11")
async def test_compressing_yields() -> None:
    """Another task runs for each 128 KiB of a message that is being compressed."""
    async with raw_connection(streams=socket_pair) as (connection, _):
        async with another_task() as turns:
            before = turns()
            await connection.send(LARGE * 4)
            # The other task may have had its last turn just before.
            assert turns() - before >= len(LARGE) * 4 // (128 * 1024) - 1
            before = turns()
            await connection.send(LARGE[: 128 * 1024])
            assert turns() - before <= 1


@pytest.mark.checklist("PD11")
@pytest.mark.parametrize("kind", [wire.TEXT, wire.BINARY], ids=["text", "binary"])
async def test_inflating_yields(kind: int) -> None:
    """Another task runs for each 128 KiB of a message that is being inflated."""
    size = 2**22
    async with raw_connection(streams=socket_pair) as (connection, peer):
        async with another_task() as turns:
            # A few KiB on the wire: they are read at once.
            await peer.send(peer.compressed(kind, b"x" * size))
            before = turns()
            message = await connection.receive()
            assert turns() - before >= size // (128 * 1024) - 2
        assert len(message) == size


# Violations behind messages


def unmasked(peer: DeflatePeer) -> bytes:
    """A frame whose mask bit is that of the other role."""
    return wire.build(wire.TEXT, b"x", mask=None if peer.key else wire.KEY)


def corrupt(peer: DeflatePeer) -> bytes:
    """A compressed message that is no DEFLATE."""
    return wire.build(wire.TEXT, b"\x07", rsv=RSV1, mask=peer.key)


def no_utf8(peer: DeflatePeer) -> bytes:
    """A compressed text that is none."""
    return peer.compressed(wire.TEXT, b"\xff")


VIOLATIONS = pytest.mark.parametrize(
    ("violation", "code"),
    [(unmasked, 1002), (corrupt, 1007), (no_utf8, 1007)],
    ids=["unmasked", "corrupt", "UTF-8"],
)


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("together", [True, False], ids=["at once", "one by one"])
@VIOLATIONS
@both_roles
async def test_a_violation_behind_messages(
    client: bool,
    violation: Callable[[DeflatePeer], bytes],
    code: int,
    together: bool,
    count: int,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Messages before a violation are received and answered before the Close frame goes out."""
    begin = trio.current_time()
    async with raw_connection(client=client) as (connection, peer):
        frames = [peer.compressed(wire.TEXT, b"%d" % number) for number in range(count)]
        frames.append(violation(peer))

        async def echo() -> None:
            with pytest.raises(trio_ws.ConnectionClosed) as caught:
                async for message in connection:
                    await trio.lowlevel.checkpoint()
                    await connection.send(message)
            assert caught.value.reason is not None
            assert caught.value.reason.code == code

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            if together:
                await peer.send(*frames)
            else:
                for frame in frames:
                    await peer.send(frame)
            for number in range(count):
                answer = await peer.receive()
                assert (answer.opcode, answer.payload) == (wire.TEXT, b"%d" % number)
            assert (await peer.receive_close())[0] == code
        assert trio.current_time() == begin


@VIOLATIONS
@both_roles
async def test_a_violation_is_not_held_for_long(
    client: bool,
    violation: Callable[[DeflatePeer], bytes],
    code: int,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """If the application does not answer, a violation is answered after a second."""
    async with raw_connection(client=client) as (connection, peer):
        begin = trio.current_time()
        await peer.send(peer.text("a message"), violation(peer))
        assert (await peer.receive_close())[0] == code
        assert 0 < trio.current_time() - begin <= 1
        # What came before it can still be received.
        assert await connection.receive() == "a message"
        with pytest.raises(trio_ws.ConnectionClosed) as caught:
            await connection.receive()
        assert caught.value.reason is not None
        assert caught.value.reason.code == code


async def test_a_violation_behind_a_full_queue(autojump_clock: trio.testing.MockClock) -> None:
    """A violation behind more messages than the queue takes comes after the last of them."""
    async with raw_connection(message_queue_size=2) as (connection, peer):
        await peer.send(*(peer.text(str(number)) for number in range(7)), unmasked(peer))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio_ws.ConnectionClosed):
            async for message in connection:
                await connection.send(message)
        assert [(await peer.receive()).payload for _ in range(7)] == [b"%d" % n for n in range(7)]
        assert (await peer.receive_close())[0] == 1002


async def test_a_violation_wakes_all_who_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Receivers and pings wait no longer than until the violation is answered."""
    async with raw_connection() as (connection, peer):

        async def receive() -> None:
            with pytest.raises(trio_ws.ConnectionClosed):
                while True:
                    await connection.receive()

        async def ping() -> None:
            with pytest.raises(trio_ws.ConnectionClosed):
                await connection.ping()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)
            nursery.start_soon(ping)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.text("x"), unmasked(peer))


async def test_closing_while_a_violation_is_held(autojump_clock: trio.testing.MockClock) -> None:
    """`aclose` says its own code, once, and does not wait for the second to pass."""
    async with raw_connection() as (connection, peer):
        begin = trio.current_time()
        await peer.send(peer.text("never received"), unmasked(peer))
        await trio.testing.wait_all_tasks_blocked()
        connection._begin_close(4000)
        assert (await peer.receive_close())[0] == 4000
        assert trio.current_time() == begin
        await peer.stream.aclose()
        await connection.aclose()
        assert trio.current_time() == begin
        assert connection.closed is not None


@pytest.mark.parametrize("what", ["nursery", "close"])
async def test_cancelling_while_a_violation_is_held(
    what: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Cancellation ends the connection at once, and the peer gets its goodbye."""
    begin = trio.current_time()
    ours, theirs = socket_pair()
    connection = WebSocketConnection(ours, Opening("/", None, ()), Settings(), client=False)
    peer = DeflatePeer(theirs, client=True)
    async with trio.open_nursery() as nursery:
        await connection._start(nursery)
        await peer.send(peer.text("x"), unmasked(peer))
        await trio.testing.wait_all_tasks_blocked()
        if what == "nursery":
            nursery.cancel_scope.cancel()
        else:
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.aclose(1001)
    assert connection._closed.is_set()
    assert (await peer.receive_close())[0] == 1001
    assert trio.current_time() == begin
    await theirs.aclose()


async def test_losing_the_transport_while_a_violation_is_held(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A peer that has gone needs no answer, and the message before it can be received."""
    async with raw_connection() as (connection, peer):
        await peer.send(peer.text("x"), unmasked(peer))
        await peer.stream.aclose()
        assert await connection.receive() == "x"
        with pytest.raises(trio_ws.ConnectionClosed):
            await connection.receive()
        await connection.wait_closed()
