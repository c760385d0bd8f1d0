import math
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    Steps,
    StreamPair,
    all_streams,
    both_roles,
    connect,
    half_raw_pair,
    lockstep_pair,
    make_connection,
    memory_pair,
    socket_pair,
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed

Clock = trio.testing.MockClock


@both_roles
@all_streams
async def test_messages_leave_as_what_they_are(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """`str` leaves as a text frame, `bytes` as a binary one, under either name of send."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    for opcode, payload in (
        (wire.TEXT, "Grüße".encode()),
        (wire.TEXT, b""),
        (wire.BINARY, b"\0\xff"),
        (wire.BINARY, bytes(70_000)),
    ):
        message = payload.decode() if opcode == wire.TEXT else payload
        for call in (connection.send, connection.send_message):
            nursery.start_soon(call, message)
            frame = await peer.receive()
            assert (frame.opcode, frame.payload) == (opcode, payload)
    assert connection.statistics().messages_sent == 8


@pytest.mark.parametrize(
    "message", [None, 1, bytearray(b"x"), memoryview(b"x"), ["x"], object()], ids=repr
)
async def test_other_types_are_refused(
    nursery: trio.Nursery, autojump_clock: Clock, message: Any
) -> None:
    """Anything but `str` and `bytes` is a ValueError that says so, and nothing is sent."""
    connection, _ = await connect(nursery)
    for call in (connection.send, connection.send_message):
        with pytest.raises(ValueError, match="message must be str or bytes"):
            await call(message)
    assert connection.statistics().bytes_buffered == connection.statistics().bytes_sent == 0


@pytest.mark.checklist("U04")
async def test_a_lone_surrogate_is_refused(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """A text that has no UTF-8 is a ValueError, and the connection goes on."""
    connection, peer = await connect(nursery)
    with pytest.raises(ValueError, match="surrogates"):
        await connection.send("\ud800")
    await connection.send("fine")
    assert (await peer.receive()).payload == b"fine"


@pytest.mark.checklist("FG10", "CA05")
@both_roles
@all_streams
async def test_concurrent_messages_do_not_mix(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """Large messages of many tasks arrive whole, in the order of the calls, pings between them."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    for number in range(5):
        nursery.start_soon(connection.send, bytes([number]) * 200_000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(connection.ping, b"%d" % number)
        await trio.testing.wait_all_tasks_blocked()
    for number in range(5):
        frame = await peer.receive()
        assert (frame.opcode, frame.payload) == (wire.BINARY, bytes([number]) * 200_000)
        frame = await peer.receive()
        assert (frame.opcode, frame.payload) == (wire.PING, b"%d" % number)
    await peer.send(peer.frame(wire.PONG, b"4"))


@pytest.mark.checklist("LM02")
@both_roles
@pytest.mark.parametrize("streams", [lockstep_pair, socket_pair], ids=["lockstep", "socket"])
@pytest.mark.parametrize("cancelled", [None, 0, 3, 7])
async def test_senders_wait_first_come_first_served(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    cancelled: int | None,
) -> None:
    """Under back-pressure senders wait in the order of their calls; one can be cancelled."""
    connection, peer = await connect(
        nursery, client=client, streams=streams, ping_interval=None, write_timeout=math.inf
    )
    await connection.send(bytes(2_000_000))
    finished: list[int] = []
    scopes = [trio.CancelScope() for _ in range(8)]

    async def sender(number: int) -> None:
        with scopes[number]:
            await connection.send(b"%d" % number * 100_000)
            finished.append(number)

    for number in range(8):
        nursery.start_soon(sender, number)
        await trio.testing.wait_all_tasks_blocked()
    assert finished == []
    assert connection.statistics().bytes_buffered <= 2_000_014
    if cancelled is not None:
        scopes[cancelled].cancel()
    await peer.receive()
    expected = [number for number in range(8) if number != cancelled]
    for number in expected:
        assert (await peer.receive()).payload == b"%d" % number * 100_000
    await trio.testing.wait_all_tasks_blocked()
    assert finished == expected
    await connection.send("after")
    assert (await peer.receive()).payload == b"after"


@pytest.mark.checklist("LM02")
@pytest.mark.parametrize(
    ("size", "waits"), [(63, False), (64, False), (65, True), (0, False), (70_000, True)]
)
async def test_the_output_has_a_mark(
    nursery: trio.Nursery, autojump_clock: Clock, size: int, waits: bool
) -> None:
    """`send_buffer_size` bytes may wait in the output; `send` waits when there are more."""
    connection, peer = await connect(
        nursery, streams=lockstep_pair, send_buffer_size=64 + 2, ping_interval=None
    )
    await connection.send(bytes(size))
    with trio.move_on_after(10) as scope:
        await connection.send(b"next")
    assert scope.cancelled_caught is waits
    assert len((await peer.receive()).payload) == size
    if waits:
        await connection.send(b"next")
    assert (await peer.receive()).payload == b"next"


async def test_the_default_mark_is_64_kib(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """By default `send` waits while more than 64 KiB wait."""
    connection, _ = await connect(nursery, streams=lockstep_pair, ping_interval=None)
    await connection.send(bytes(65_536 - 4))
    await connection.send(b"")
    with trio.move_on_after(1) as scope:
        await connection.send(b"")
    assert scope.cancelled_caught
    assert connection.statistics().bytes_buffered == 65_538


@pytest.mark.checklist("LM03")
@both_roles
@pytest.mark.parametrize(
    ("options", "seconds"), [({}, 30), ({"write_timeout": 5}, 5)], ids=["default", "set"]
)
@pytest.mark.parametrize("early", [True, False])
async def test_a_stalled_write_has_a_deadline(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    options: dict[str, Any],
    seconds: float,
    early: bool,
) -> None:
    """A peer that takes no data for `write_timeout` seconds is lost: 1006; just before, not."""
    connection, peer = await connect(
        nursery, client=client, streams=lockstep_pair, ping_interval=None, **options
    )
    await connection.send(bytes(100_000))
    await trio.sleep(seconds + (-0.01 if early else 0.01))
    if early:
        assert len((await peer.receive()).payload) == 100_000
        await trio.sleep(1000)
        assert connection.closed is None
        return
    assert connection.closed == CloseReason(1006)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.send("x")
    assert isinstance(caught.value, ConnectionClosed)
    assert isinstance(caught.value.__cause__, trio.TooSlowError)


@pytest.mark.checklist("LM03")
async def test_a_stalled_socket_has_a_deadline(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A socket that the kernel does not empty for `write_timeout` seconds is lost, senders too."""
    connection, _ = await connect(nursery, streams=socket_pair, ping_interval=None)
    await connection.send(bytes(3_000_000))
    ends: list[ConnectionClosed] = []

    async def waiting() -> None:
        try:
            await connection.send("x")
        except ConnectionClosed as exc:
            ends.append(exc)

    for _ in range(3):
        nursery.start_soon(waiting)
    await connection.wait_closed()
    assert trio.current_time() == 30
    assert [type(end.__cause__) for end in ends] == [trio.TooSlowError] * 3
    assert connection.statistics().bytes_buffered == 0


@pytest.mark.checklist("CT03", "LM03")
@whole_and_torn
@pytest.mark.parametrize(
    ("size", "pongs"), [(50_000, [b"1", b"2"]), (500_000, [b"2"])], ids=["below", "over the mark"]
)
async def test_a_slow_peer_is_not_a_stalled_one(
    nursery: trio.Nursery, autojump_clock: Clock, torn: bool, size: int, pongs: list[bytes]
) -> None:
    """A peer that takes a little now and then keeps the connection, and gets its pongs behind."""
    connection, peer = await connect(nursery, streams=lockstep_pair, torn=torn, ping_interval=None)
    await connection.send(bytes(size))
    await peer.send(peer.frame(wire.PING, b"1"), peer.frame(wire.PING, b"2"))
    data = b""
    with trio.move_on_after(29 * 40):
        while True:
            await trio.sleep(29)
            data += await peer.stream.receive_some(16 * 1024)
    assert connection.closed is None
    frames = [(frame.opcode, frame.payload) for frame in wire.parse(data)]
    assert frames == [(wire.BINARY, bytes(size)), *((wire.PONG, pong) for pong in pongs)]


@pytest.mark.checklist("CA06")
@pytest.mark.parametrize("streams", [memory_pair, socket_pair], ids=["memory", "socket"])
async def test_a_batch_yields_after_32_calls(
    nursery: trio.Nursery, autojump_clock: Clock, streams: StreamPair
) -> None:
    """Sent messages cost no scheduler step each, but one in 32."""
    connection, _ = await connect(nursery, streams=streams)
    steps = Steps()
    longest = since = last = 0
    for _ in range(320):
        await connection.send("x")
        since = 0 if steps.count != last else since + 1
        last = steps.count
        longest = max(longest, since)
    assert steps.stop() == 10
    assert longest == 31


@pytest.mark.checklist("CA06", "CA01")
async def test_send_is_always_a_cancellation_point(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """In a cancelled scope no call sends anything."""
    connection, peer = await connect(nursery)
    for _ in range(50):
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.send("never")
        assert scope.cancelled_caught
    await connection.send("once")
    await connection.aclose()
    assert (await peer.receive_rest())[0] == (wire.TEXT, b"once")


@pytest.mark.checklist("CA02")
async def test_a_goodbye_tries_a_full_socket_again(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """If there is room again when a connection is cancelled, all that was queued leaves: 1001."""
    ours, theirs = half_raw_pair()
    async with trio.open_nursery() as inner:
        connection = make_connection(ours, client=False, ping_interval=None)
        await connection._start(inner)
        await connection.send(bytes(300_000))
        await trio.testing.wait_all_tasks_blocked()
        assert connection.statistics().bytes_buffered
        data = b""
        while connection.statistics().bytes_buffered > len(data):
            data += theirs.recv(2**16)
        inner.cancel_scope.cancel()  # in the turn in which the peer has taken it
    while piece := theirs.recv(2**16):
        data += piece
    theirs.close()
    message, close = wire.parse(data)
    assert message.payload == bytes(300_000)
    assert close.payload == (1001).to_bytes(2, "big")
