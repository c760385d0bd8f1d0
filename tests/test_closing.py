import math
import socket
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    StreamPair,
    all_streams,
    both_roles,
    connect,
    connect_pair,
    lockstep_pair,
    socket_pair,
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed

Clock = trio.testing.MockClock

ACCEPTED = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
REFUSED = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]


@pytest.mark.checklist("CL01", "CL05")
@both_roles
@whole_and_torn
@pytest.mark.parametrize("code", ACCEPTED)
async def test_a_peers_close_is_echoed(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, code: int
) -> None:
    """A Close with a legal code is answered once with the code; the end is a clean one."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(peer.close(code, "Grüße".encode()))
    with pytest.raises(trio.EndOfChannel) as caught:
        await connection.receive()
    assert isinstance(caught.value, ConnectionClosed)
    assert caught.value.reason == connection.closed == CloseReason(code, "Grüße")
    assert caught.value.__cause__ is None
    assert await peer.receive_rest() == [(wire.CLOSE, code.to_bytes(2, "big"))]
    await connection.wait_closed()


@pytest.mark.checklist("CL02")
@both_roles
@whole_and_torn
async def test_an_empty_close_is_1005(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """An empty Close is answered with an empty one and reported as 1005."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(peer.close())
    assert await peer.receive_rest() == [(wire.CLOSE, b"")]
    assert connection.closed == CloseReason(1005)
    assert connection.closed.name == "NO_STATUS_RCVD"


@pytest.mark.checklist("CL03", "CL04", "CL06", "CL07", "CL13")
@both_roles
@whole_and_torn
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", 1002),
        *((code.to_bytes(2, "big"), 1002) for code in REFUSED),
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8\xed\xa0\x80", 1007),
        (b"\x03\xe8abc\xc3", 1007),
    ],
)
async def test_a_bad_close_fails_the_connection(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    payload: bytes,
    code: int,
) -> None:
    """A Close that RFC 6455 does not allow gets 1002 or 1007; nothing after it is looked at."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(
        peer.text("before"),
        peer.frame(wire.CLOSE, payload),
        peer.frame(wire.PING, b"after"),
        peer.text("after"),
        peer.close(1000),
    )
    assert await connection.receive() == "before"
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.receive()
    assert isinstance(caught.value, ConnectionClosed)
    assert caught.value.reason == connection.closed
    ((opcode, close),) = await peer.receive_rest()
    assert opcode == wire.CLOSE and int.from_bytes(close[:2], "big") == code
    assert connection.closed == CloseReason(code, close[2:].decode())


@pytest.mark.checklist("CL08")
@both_roles
@whole_and_torn
@all_streams
@pytest.mark.parametrize("end", [b"", b"\x81", b"\x81\x85a"])
async def test_an_end_without_close_is_1006(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    streams: StreamPair,
    end: bytes,
) -> None:
    """The end of the stream, inside a frame or not, is 1006 and an error with a cause."""
    connection, peer = await connect(nursery, client=client, torn=torn, streams=streams)
    assert connection.closed is None
    await peer.send(end if not client else end.replace(b"\x85", b"\x05"))
    await peer.stream.aclose()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.receive()
    assert isinstance(caught.value, ConnectionClosed)
    assert caught.value.reason == connection.closed == CloseReason(1006)
    assert isinstance(caught.value.__cause__, EOFError)
    await connection.wait_closed()
    assert trio.current_time() == 0


@pytest.mark.checklist("CL08")
async def test_a_read_error_is_1006(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """Whatever a stream raises while it receives ends the connection, as its cause."""

    class Reset(trio.abc.ReceiveStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.sleep(1)
            raise ConnectionResetError

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    ours, theirs = trio.testing.memory_stream_pair()
    faulty = trio.StapledStream(ours.send_stream, Reset())
    connection, _ = await connect(nursery, streams=lambda: (faulty, theirs))
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.receive()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.checklist("CL09")
@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        *((code, None, ValueError) for code in [*REFUSED, -1, 65536]),
        (1000, "x" * 124, ValueError),
        (1000, "ü" * 62, ValueError),
        (1000, "\ud800", ValueError),
        ("1000", None, TypeError),
        (True, None, TypeError),
        (None, None, TypeError),
        (1000.0, None, TypeError),
        (1000, b"bytes", TypeError),
        (1000, 5, TypeError),
    ],
    ids=repr,
)
async def test_a_bad_code_or_reason_is_refused(
    nursery: trio.Nursery, autojump_clock: Clock, code: Any, reason: Any, error: type[Exception]
) -> None:
    """What may not be sent is an error and the connection goes on, or stays closed."""
    connection, peer = await connect(nursery)
    with pytest.raises(error):
        await connection.aclose(code, reason)
    assert connection.closed is None
    await connection.send("still open")
    assert (await peer.receive()).payload == b"still open"
    nursery.start_soon(peer.answer)
    await connection.aclose()
    with pytest.raises(error):
        await connection.aclose(code, reason)
    assert connection.closed == CloseReason(1000)


@pytest.mark.checklist("CL01", "CL09", "CL10")
@both_roles
@all_streams
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, None), (1001, ""), (3000, "x" * 123), (4999, "ü" * 61)]
)
async def test_a_close_of_ours(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    code: int,
    reason: str | None,
) -> None:
    """Our Close carries code and reason; `closed` is ours meanwhile, the peer's echo afterwards."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    nursery.start_soon(connection.aclose, code, reason)
    assert await peer.receive_close() == (code, (reason or "").encode())
    assert connection.closed == CloseReason(code, reason or None)
    for call in (connection.receive, connection.get_message, connection.receive_text):
        with pytest.raises(trio.ClosedResourceError):
            await call()
    await peer.send(peer.close(4321, b"echo"))
    await peer.stream.aclose()
    await connection.wait_closed()
    assert connection.closed == CloseReason(4321, "echo")
    with pytest.raises(trio.ClosedResourceError) as caught:
        await connection.receive()
    assert isinstance(caught.value, ConnectionClosed)
    assert caught.value.reason == CloseReason(4321, "echo")


@pytest.mark.checklist("CL11")
@both_roles
@whole_and_torn
@pytest.mark.parametrize("queue", [1, 16])
async def test_data_after_our_close_is_dropped(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, queue: int
) -> None:
    """What was queued, and what comes between our Close and the peer's, is read and dropped."""
    connection, peer = await connect(nursery, client=client, torn=torn, message_queue_size=queue)
    await peer.send(*(peer.text("before") for _ in range(20)))
    await trio.testing.wait_all_tasks_blocked()
    connection._begin_close(1000)
    statistics = connection.statistics()
    assert (statistics.messages_queued, statistics.bytes_queued) == (0, 0)
    await peer.send(*(peer.text("after") for _ in range(20)), peer.close(1000))
    assert (await peer.receive()).opcode == wire.CLOSE
    await connection.wait_closed()
    assert connection.closed == CloseReason(1000)
    with pytest.raises(trio.ClosedResourceError):
        connection.receive_nowait()


@pytest.mark.checklist("CL15")
@both_roles
@whole_and_torn
async def test_a_close_inside_a_message_is_legal(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """A Close between fragments is echoed; the message is dropped."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(peer.frame(wire.TEXT, b"part", fin=False), peer.close(1000))
    with pytest.raises(trio.EndOfChannel):
        await connection.receive()
    assert await peer.receive_rest() == [(wire.CLOSE, (1000).to_bytes(2, "big"))]


@pytest.mark.checklist("CL16")
@both_roles
@whole_and_torn
@all_streams
async def test_simultaneous_close_is_clean(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, streams: StreamPair
) -> None:
    """When both sides close at once each sends one Close, and records the other's code."""
    connection, peer = await connect(nursery, client=client, torn=torn, streams=streams)
    nursery.start_soon(peer.send, peer.close(4002))
    connection._begin_close(4001)
    assert await peer.receive_close() == (4001, b"")
    await connection.wait_closed()
    assert connection.closed == CloseReason(4002)
    assert await peer.receive_rest() == []


@pytest.mark.checklist("CL16")
async def test_simultaneous_close_of_two_connections(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """Two connections that close each other at once end at once."""
    client, server = await connect_pair(nursery)
    client._begin_close(4001)
    server._begin_close(4002)
    await client.wait_closed()
    await server.wait_closed()
    assert (client.closed, server.closed) == (CloseReason(4002), CloseReason(4001))
    assert trio.current_time() == 0


async def test_what_was_sent_before_a_close_arrives(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A close waits for the output to drain: the messages before it arrive, then the Close."""
    for streams in (lockstep_pair, socket_pair):
        client, server = await connect_pair(nursery, streams=streams, message_queue_size=math.inf)
        for number in range(5):
            nursery.start_soon(client.send, bytes([number]) * 50_000)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(client.aclose)
        assert [message async for message in server] == [
            bytes([number]) * 50_000 for number in range(5)
        ]


async def test_the_output_drains_after_the_peers_close(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A peer that has closed, and half-closed TCP, still gets what was sent before."""
    connection, peer = await connect(nursery, client=True, streams=socket_pair)
    await connection.send(bytes(3_000_000))
    await peer.send(peer.close(1000))
    assert isinstance(peer.stream, trio.SocketStream)
    peer.stream.socket.shutdown(socket.SHUT_WR)
    await trio.sleep(10)
    assert [len(payload) for _, payload in await peer.receive_rest()] == [3_000_000, 2]
    assert connection.closed == CloseReason(1000)
