from typing import Any
from unittest import mock

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
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed

Clock = trio.testing.MockClock


@pytest.mark.checklist("CT03")
@both_roles
@whole_and_torn
@all_streams
async def test_pings_are_answered_in_order(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, streams: StreamPair
) -> None:
    """Each ping gets a pong with its payload, in order, between the fragments of a message too."""
    connection, peer = await connect(nursery, client=client, streams=streams, torn=torn)
    payloads = [b"", b"1", bytes(125), b"\xff" * 125, b"1"]
    frames = [
        peer.frame(wire.TEXT, b"in ", fin=False),
        *(peer.frame(wire.PING, payload) for payload in payloads),
        peer.frame(wire.CONTINUATION, b"two"),
    ]
    nursery.start_soon(peer.send, b"".join(frames))
    for payload in payloads:
        frame = await peer.receive()
        assert (frame.opcode, frame.payload) == (wire.PONG, payload)
    assert await connection.receive() == "in two"


@pytest.mark.checklist("CT04")
@whole_and_torn
async def test_a_flood_of_pings_keeps_one_pong(
    nursery: trio.Nursery, autojump_clock: Clock, torn: bool
) -> None:
    """Of pings that a peer sends without reading, the newest is answered once it reads."""
    connection, peer = await connect(
        nursery, streams=lockstep_pair, torn=torn, ping_interval=None, send_buffer_size=1000
    )
    count = 2_000 if torn else 20_000
    for number in range(0, count, 1000):
        await peer.send(*(peer.frame(wire.PING, b"%d" % (number + i)) for i in range(1000)))
    await peer.send(peer.text("behind"))
    assert await connection.receive() == "behind"
    assert connection.statistics().bytes_buffered <= 1000 + 127
    last = None
    with trio.move_on_after(1):
        while True:
            frame = await peer.receive()
            assert frame.opcode == wire.PONG
            assert last is None or int(frame.payload) > last
            last = int(frame.payload)
    assert last == count - 1


@pytest.mark.checklist("CT05", "CL10", "CL11")
@both_roles
@whole_and_torn
async def test_no_pong_after_close(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """A ping, or a message, behind the peer's Close is neither answered nor delivered."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(
        peer.frame(wire.PING, b"before"),
        peer.close(1000),
        peer.frame(wire.PING, b"after"),
        peer.text("after"),
    )
    with pytest.raises(trio.EndOfChannel):
        await connection.receive()
    assert await peer.receive_rest() == [
        (wire.PONG, b"before"),
        (wire.CLOSE, (1000).to_bytes(2, "big")),
    ]


@pytest.mark.checklist("CT06")
@both_roles
@whole_and_torn
async def test_a_pong_releases_the_pings_before(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """A pong ends its ping and the older ones; an unsolicited or forged pong ends none."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    answered: list[bytes] = []

    async def ping(payload: bytes) -> None:
        await connection.ping(payload)
        answered.append(payload)

    for payload in (b"1", b"2", b"3"):
        nursery.start_soon(ping, payload)
        assert (await peer.receive()).payload == payload
    await peer.send(peer.frame(wire.PONG), peer.frame(wire.PONG, b"forged"))
    await trio.testing.wait_all_tasks_blocked()
    assert answered == [] and connection.latency is None
    await trio.sleep(0.5)
    await peer.send(peer.frame(wire.PONG, b"2"))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(answered) == [b"1", b"2"]
    assert connection.latency == connection.statistics().latency == 0.5
    await peer.send(peer.frame(wire.PONG, b"3"))
    await trio.testing.wait_all_tasks_blocked()
    assert len(answered) == 3


@pytest.mark.checklist("CT07")
async def test_payloads_are_random(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """A ping without a payload, and a keepalive ping, carry 8 bytes of the system's randomness."""
    connection, peer = await connect(nursery)
    with mock.patch("os.urandom", lambda size: b"R" * size):
        nursery.start_soon(connection.ping)
        assert (await peer.receive()).payload == b"R" * 8
        await peer.send(peer.frame(wire.PONG, b"R" * 8))
        frame = await peer.receive()
        assert (frame.opcode, frame.payload) == (wire.PING, b"R" * 8)


@pytest.mark.checklist("CT07")
@pytest.mark.parametrize(
    ("payload", "error"),
    [(bytes(126), ValueError), ("text", TypeError), (bytearray(2), TypeError), (1, TypeError)],
)
async def test_wrong_payloads_are_refused(
    nursery: trio.Nursery, autojump_clock: Clock, payload: Any, error: type[Exception]
) -> None:
    """A payload over 125 bytes is a ValueError, another type a TypeError; nothing is sent."""
    connection, _ = await connect(nursery)
    for call in (connection.ping, connection.pong):
        with pytest.raises(error, match="payload"):
            await call(payload)
    assert connection.statistics().bytes_buffered == 0


@both_roles
async def test_pong_is_sent_unasked(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool
) -> None:
    """`pong` sends a pong with or without a payload, and is a checkpoint."""
    connection, peer = await connect(nursery, client=client)
    for payload in (None, b"", b"beat", bytes(125)):
        with trio.testing.assert_checkpoints():
            await connection.pong(payload)
        frame = await peer.receive()
        assert (frame.opcode, frame.payload) == (wire.PONG, payload or b"")


async def test_a_payload_in_flight_is_refused(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """The payload of a ping in flight is a ValueError, also while that waits for room."""
    connection, peer = await connect(nursery, streams=lockstep_pair)
    await connection.send(bytes(100_000))
    nursery.start_soon(connection.ping, b"1")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(ValueError, match="payload"):
        await connection.ping(b"1")
    await peer.receive()
    await peer.receive()
    with pytest.raises(ValueError, match="payload"):
        await connection.ping(b"1")
    await peer.send(peer.frame(wire.PONG, b"1"))


async def test_a_payload_can_be_used_again(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """Once a ping is answered its payload is free, even before its task has noticed."""
    connection, peer = await connect(nursery)
    answered = 0

    async def ping_again_and_again() -> None:
        nonlocal answered
        while True:
            try:
                await connection.ping(b"same")
                answered += 1
            except ValueError:
                await trio.lowlevel.checkpoint()

    async def answer() -> None:
        while answered < 20:
            frame = await peer.receive()
            await peer.send(peer.frame(wire.PONG, frame.payload))

    async with trio.open_nursery() as pinging:
        pinging.start_soon(ping_again_and_again)
        pinging.start_soon(ping_again_and_again)
        await answer()
        pinging.cancel_scope.cancel()
    assert trio.current_time() == 0


@pytest.mark.checklist("CA04")
@pytest.mark.parametrize("waiting_for_room", [True, False])
async def test_a_cancelled_ping_is_forgotten(
    nursery: trio.Nursery, autojump_clock: Clock, waiting_for_room: bool
) -> None:
    """A cancelled ping leaves its payload free; its late pong answers nothing."""
    connection, peer = await connect(nursery, streams=lockstep_pair)
    if waiting_for_room:
        await connection.send(bytes(100_000))
    with trio.move_on_after(1) as scope:
        await connection.ping(b"1")
    assert scope.cancelled_caught
    if waiting_for_room:
        await peer.receive()
    else:
        assert (await peer.receive()).payload == b"1"
        await peer.send(peer.frame(wire.PONG, b"1"))
    await trio.testing.wait_all_tasks_blocked()
    assert connection.latency is None
    nursery.start_soon(connection.ping, b"1")
    assert (await peer.receive()).payload == b"1"
    await peer.send(peer.frame(wire.PONG, b"1"))
    await trio.testing.wait_all_tasks_blocked()
    assert connection.latency == 0


@both_roles
@pytest.mark.parametrize("cancelled", [1, 2, 63, 64, 100])
async def test_the_pong_of_a_cancelled_ping_releases_those_before(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, cancelled: int
) -> None:
    """A peer may answer the newest ping alone, whether or not somebody still waits for it."""
    connection, peer = await connect(nursery, client=client, ping_interval=None)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(connection.ping, b"old")
        assert (await peer.receive()).payload == b"old"
        for number in range(cancelled):
            with trio.move_on_after(1):
                await connection.ping(b"%d" % number)
            assert (await peer.receive()).payload == b"%d" % number
        await trio.testing.wait_all_tasks_blocked()
        assert len(waiting.child_tasks) == 1
        await peer.send(peer.frame(wire.PONG, b"%d" % (cancelled - 1)))


async def test_cancelled_pings_are_dropped_one_day(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """Of those that nobody waits for the last ones count, so a loop of them takes no memory."""
    connection, peer = await connect(nursery, ping_interval=None)
    nursery.start_soon(connection.ping, b"old")
    for number in range(200):
        with trio.move_on_after(1):
            await connection.ping(b"%d" % number)
    await peer.send(peer.frame(wire.PONG, b"100"))
    await trio.testing.wait_all_tasks_blocked()
    assert connection.latency is None  # as if nobody had sent it
    await peer.send(peer.frame(wire.PONG, b"190"))
    await trio.testing.wait_all_tasks_blocked()
    assert connection.latency == 10


@pytest.mark.checklist("CA05")
@both_roles
@whole_and_torn
@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("close", trio.ClosedResourceError),
        ("peer closes", trio.EndOfChannel),
        ("lost", trio.BrokenResourceError),
        ("failed", trio.BrokenResourceError),
        ("silent", trio.BrokenResourceError),
    ],
)
async def test_the_end_releases_pings(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    end: str,
    kind: type[Exception],
) -> None:
    """However a connection ends, a ping in flight raises the fitting ConnectionClosed."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    released = 0

    async def ping() -> None:
        nonlocal released
        with pytest.raises(kind) as caught:
            await connection.ping()
        assert isinstance(caught.value, ConnectionClosed)
        released += 1

    for _ in range(3):
        nursery.start_soon(ping)
    await trio.testing.wait_all_tasks_blocked()
    if end == "close":
        connection._begin_close(1000)
    elif end == "peer closes":
        await peer.send(peer.close(1000))
    elif end == "lost":
        await peer.stream.aclose()
    elif end == "failed":
        await peer.send(b"\xff\xff")
    await trio.sleep(0 if end != "silent" else 50)
    await trio.testing.wait_all_tasks_blocked()
    assert released == 3


@pytest.mark.checklist("CA06")
@both_roles
async def test_ping_is_a_checkpoint(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool
) -> None:
    """Each ping yields and can be cancelled, and sends nothing in a cancelled scope."""
    connection, peer = await connect(nursery, client=client)
    for call in (connection.ping, connection.pong):
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
    assert connection.statistics().bytes_buffered == 0
    nursery.start_soon(peer.answer)
    with trio.testing.assert_checkpoints():
        await connection.ping()


async def test_latency_between_two_connections(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """Pings of both ends are answered by the other, and keepalive measures the latency too."""
    client, server = await connect_pair(nursery)
    assert client.latency is None
    await client.ping()
    await server.ping(b"hello")
    assert client.latency == server.latency == 0
    await trio.sleep(3600)
    assert client.closed is server.closed is None
    await client.aclose()
    assert server.closed == CloseReason(1000)
