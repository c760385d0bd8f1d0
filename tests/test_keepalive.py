from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    RawPeer,
    StreamPair,
    all_streams,
    both_roles,
    connect,
    connect_pair,
    half_raw_pair,
    lockstep_pair,
    memory_and_socket,
    memory_pair,
    socket_pair,
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed, WebSocketConnection

Clock = trio.testing.MockClock


async def expect_silence_error(connection: WebSocketConnection) -> None:
    """The next call tells that the peer gave no sign of life."""
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.receive()
    assert isinstance(caught.value, ConnectionClosed)
    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert "no sign of life" in str(caught.value.__cause__)


@pytest.mark.checklist("CT08")
@both_roles
@memory_and_socket
@pytest.mark.parametrize(
    ("options", "interval", "timeout"),
    [
        ({}, 20, 20),
        ({"ping_interval": 5, "ping_timeout": 3}, 5, 3),
        ({"ping_interval": 1, "ping_timeout": 100}, 1, 100),
    ],
    ids=["default", "short", "long"],
)
async def test_a_silent_peer_is_closed(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    options: dict[str, float],
    interval: float,
    timeout: float,
) -> None:
    """A peer that answers no ping in time gets a Close 1011; the application sees 1006."""
    connection, peer = await connect(
        nursery,
        client=client,
        streams=streams,
        ping_interval=options.get("ping_interval", 20),
        ping_timeout=options.get("ping_timeout", 20),
    )
    assert (await peer.receive()).opcode == wire.PING
    assert trio.current_time() == interval
    assert await peer.receive_close() == (1011, b"keepalive timeout")
    assert trio.current_time() == interval + timeout
    await connection.wait_closed()
    assert trio.current_time() == interval + timeout
    assert connection.closed == CloseReason(1006)
    await expect_silence_error(connection)


@pytest.mark.checklist("CT08", "CT10")
@both_roles
@whole_and_torn
@pytest.mark.parametrize("late", [-0.25, 0.25], ids=["just in time", "too late"])
async def test_an_answer_has_its_time(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, late: float
) -> None:
    """A pong counts when it comes within `ping_timeout` seconds, and the next ping follows."""
    connection, peer = await connect(
        nursery, client=client, torn=torn, ping_interval=20, ping_timeout=5
    )
    ping = await peer.receive()
    await trio.sleep(5 + late)
    assert (connection.closed is None) == (late < 0)
    if late < 0:
        await peer.send(peer.frame(wire.PONG, ping.payload))
        following = await peer.receive()
        assert following.opcode == wire.PING and following.payload != ping.payload
        assert trio.current_time() == 40
        assert connection.latency == 5 + late


@pytest.mark.checklist("CT08")
@both_roles
@pytest.mark.parametrize("streams", [lockstep_pair, socket_pair], ids=["lockstep", "socket"])
async def test_a_silent_peer_is_closed_beside_a_stalled_write(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """While a write is stalled no ping can leave, but its time runs: interval plus timeout."""
    connection, _ = await connect(
        nursery, client=client, streams=streams, ping_interval=10, ping_timeout=5, write_timeout=600
    )
    await trio.sleep(9)
    await connection.send(bytes(3_000_000))
    await connection.wait_closed()
    assert trio.current_time() == 15
    await expect_silence_error(connection)


@pytest.mark.checklist("CT10")
@both_roles
async def test_any_byte_counts_beside_a_stalled_write(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool
) -> None:
    """A peer that takes nothing, and says anything, lives until the write's own deadline."""
    connection, peer = await connect(
        nursery, client=client, streams=socket_pair, ping_interval=10, ping_timeout=5
    )
    await connection.send(bytes(3_000_000))
    nursery.start_soon(trickle, peer, 4.0)
    await connection.wait_closed()
    assert trio.current_time() == 30
    with pytest.raises(ConnectionClosed) as caught:
        await connection.receive()
    assert "took no data" in str(caught.value.__cause__)


async def trickle(peer: RawPeer, seconds: float) -> None:
    """Send a large message, a byte at a time."""
    try:
        await peer.send(peer.frame(wire.BINARY, bytes(1_000_000))[:14])
        while True:
            await trio.sleep(seconds)
            await peer.send(b"x")
    except trio.BrokenResourceError:
        pass


@pytest.mark.checklist("CT10")
@both_roles
@all_streams
async def test_a_large_slow_message_is_life(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """A peer that is busy with a large frame cannot send a pong, and is not blamed for that."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    nursery.start_soon(trickle, peer, 19.0)
    with trio.move_on_after(3600):
        await peer.receive()
        await trio.sleep_forever()
    assert connection.closed is None


@pytest.mark.checklist("CT09")
@both_roles
@whole_and_torn
@all_streams
async def test_a_slow_application_is_not_blamed_on_the_peer(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, streams: StreamPair
) -> None:
    """With a full queue the connection stays open for an hour, and works afterwards."""
    connection, peer = await connect(nursery, client=client, streams=streams, torn=torn)
    count = 30

    async def flood() -> None:
        for number in range(count):
            await peer.send(peer.text(str(number)))

    nursery.start_soon(flood)
    with trio.move_on_after(3600):
        beats = [trio.current_time()]
        while True:  # signs of life, often enough for a peer that asks as we do
            assert (await peer.receive()).opcode in {wire.PING, wire.PONG}
            beats.append(trio.current_time())
            assert beats[-1] - beats[-2] <= 20
    assert len(beats) > 300
    assert connection.closed is None
    nursery.start_soon(peer.answer)
    for number in range(count):
        assert await connection.receive() == str(number)
        await trio.sleep(100)
    await connection.ping()


@pytest.mark.checklist("CT09")
@both_roles
@memory_and_socket
async def test_a_slow_application_is_not_taken_for_a_dead_peer(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """Of two ends with keepalive, one that receives nothing for an hour keeps the connection."""
    ends = await connect_pair(nursery, streams=streams, message_queue_size=2)
    slow, other = ends if client else ends[::-1]
    for number in range(3):
        await other.send(str(number))
    await trio.sleep(3600)
    assert slow.closed is other.closed is None
    assert [await slow.receive() for _ in range(3)] == ["0", "1", "2"]
    await slow.ping()
    await other.ping()


@pytest.mark.checklist("CT09")
async def test_an_application_that_only_waits(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """An application that does nothing for an hour keeps its connection, by keepalive alone."""
    client, server = await connect_pair(nursery)
    await trio.sleep(3600)
    await client.send("hello")
    assert await server.receive() == "hello"


@both_roles
async def test_keepalive_goes_on_after_a_full_queue(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool
) -> None:
    """A queue that was full for long and is emptied leaves keepalive at work."""
    connection, peer = await connect(nursery, client=client, message_queue_size=1)
    await peer.send(peer.text("1"), peer.text("2"))
    await trio.sleep(500)
    assert await connection.receive() == "1"
    assert await connection.receive() == "2"
    while (await peer.receive()).opcode != wire.PING:
        pass  # heartbeats
    assert trio.current_time() <= 520
    await connection.wait_closed()
    assert trio.current_time() <= 540


@pytest.mark.checklist("CT09")
@both_roles
@pytest.mark.parametrize("streams", [lockstep_pair, socket_pair], ids=["lockstep", "socket"])
async def test_an_endless_stream_is_interrupted_by_pings(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """A connection that sends without pause still pings, so that it knows that the peer lives."""
    connection, peer = await connect(nursery, client=client, streams=streams)

    async def stream() -> None:
        with pytest.raises(ConnectionClosed):
            while True:
                await connection.send(bytes(60_000))

    nursery.start_soon(stream)
    pings = 0
    while trio.current_time() < 300:
        frame = await peer.receive()
        if frame.opcode == wire.PING:
            pings += 1
            await peer.send(peer.frame(wire.PONG, frame.payload))
        await trio.sleep(0.5)
    assert connection.closed is None
    assert 10 <= pings <= 15
    await trio.aclose_forcefully(peer.stream)


@both_roles
async def test_an_answered_ping_is_no_debt_of_a_stalled_write(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool
) -> None:
    """A pong that comes during a stalled write moves that write's deadline, too."""
    connection, peer = await connect(nursery, client=client, streams=lockstep_pair)
    ping = await peer.receive()
    await connection.send(bytes(100_000))
    await trio.sleep(1)
    await peer.send(peer.frame(wire.PONG, ping.payload))
    await trio.sleep(24)
    assert connection.closed is None
    assert len((await peer.receive()).payload) == 100_000


@pytest.mark.checklist("CT09")
@both_roles
@pytest.mark.parametrize("sends", [False, True], ids=["idle", "sends"])
@pytest.mark.parametrize("pinged", [False, True])
@pytest.mark.parametrize("attempt", range(4))  # the scheduler's order is random
async def test_a_process_that_slept_does_not_blame_the_peer(
    nursery: trio.Nursery,
    mock_clock: Clock,
    client: bool,
    sends: bool,
    pinged: bool,
    attempt: int,
) -> None:
    """After a pause of the whole process the peer's answer, which waits, is looked at first."""
    ours, theirs = half_raw_pair()
    connection, peer = await connect(
        nursery, client=client, streams=lambda: (ours, memory_pair()[1])
    )
    await trio.testing.wait_all_tasks_blocked()
    if pinged:
        mock_clock.jump(20)
        await trio.testing.wait_all_tasks_blocked()
        (ping,) = wire.parse(theirs.recv(100))
        theirs.send(peer.frame(wire.PONG, ping.payload))
    mock_clock.jump(1000)
    if sends:
        await connection.send("x")
    await trio.testing.wait_all_tasks_blocked()
    assert connection.closed is None
    theirs.close()
    await connection.wait_closed()


@pytest.mark.checklist("CT09")
@both_roles
async def test_an_answer_that_is_read_late_is_in_time(
    nursery: trio.Nursery, mock_clock: Clock, client: bool
) -> None:
    """Before a process that has slept writes, it lets the reader see what came meanwhile."""
    ours, theirs = trio.testing.memory_stream_pair()
    connection, peer = await connect(nursery, client=client, streams=lambda: (ours, theirs))
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(20)
    ping = await peer.receive()
    mock_clock.jump(1000)
    await connection.send("x")

    async def arrive() -> None:
        assert isinstance(ours.receive_stream, trio.testing.MemoryReceiveStream)
        ours.receive_stream.put_data(peer.frame(wire.PONG, ping.payload))

    nursery.start_soon(arrive)
    await trio.testing.wait_all_tasks_blocked()
    assert connection.closed is None
    assert (await peer.receive()).payload == b"x"


async def test_a_peer_that_is_silent_after_all_is_lost_before_the_next_write(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    """When the process wakes with something to send, and no answer waits, the peer is gone."""
    connection, peer = await connect(nursery)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(20)
    await peer.receive()
    mock_clock.jump(1000)
    await connection.send("x")
    await connection.wait_closed()
    await expect_silence_error(connection)


@pytest.mark.parametrize(
    "options", [{"ping_interval": None}, {"ping_timeout": None}], ids=["no pings", "no timeout"]
)
async def test_keepalive_can_be_off(
    nursery: trio.Nursery, autojump_clock: Clock, options: dict[str, None]
) -> None:
    """Without an interval there are no pings, without a timeout a silent peer is kept."""
    keywords: dict[str, Any] = {**options}
    connection, peer = await connect(nursery, **keywords)
    await trio.sleep(10_000)
    assert connection.closed is None
    connection._begin_close(1000)
    frame = await peer.receive()
    assert frame.opcode == (wire.CLOSE if "ping_interval" in options else wire.PING)


@memory_and_socket
@pytest.mark.parametrize("attempt", range(12))  # the scheduler's order is random
@pytest.mark.parametrize("seconds", [10, 20, 40])
async def test_a_close_in_the_turn_in_which_something_is_due(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    streams: StreamPair,
    attempt: int,
    seconds: float,
) -> None:
    """Whichever is first, the look at the pauses, the ping or its timeout: all is over once."""
    connection, peer = await connect(nursery, streams=streams)
    nursery.start_soon(peer.answer, False)
    await trio.sleep_until(seconds)
    await connection.aclose()
    assert trio.current_time() == seconds
    timed_out = connection.closed == CloseReason(1006)
    assert connection.closed == CloseReason(1000) or (timed_out and seconds == 40)


@pytest.mark.checklist("CT08")
@both_roles
@pytest.mark.parametrize("timeout", [1, 5, None])
async def test_pings_go_on_when_they_are_answered(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, timeout: float | None
) -> None:
    """After a pong the next ping is due an interval after the last, however long the timeout is."""
    connection, peer = await connect(nursery, client=client, ping_interval=1, ping_timeout=timeout)
    for second in range(1, 10):
        ping = await peer.receive()
        assert (ping.opcode, trio.current_time()) == (wire.PING, second)
        await peer.send(peer.frame(wire.PONG, ping.payload))
    assert connection.latency == 0
