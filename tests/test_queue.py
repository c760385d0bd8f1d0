import math
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    RawPeer,
    StreamPair,
    both_roles,
    connect,
    half_raw_pair,
    lockstep_pair,
    memory_and_socket,
    memory_pair,
    socket_pair,
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed, WebSocketConnection

Clock = trio.testing.MockClock


async def receive_all(connection: WebSocketConnection) -> tuple[list[str | bytes], Exception]:
    """All messages until the end, and how it ended."""
    messages = []
    try:
        while True:
            messages.append(await connection.receive())
    except ConnectionClosed as exc:
        return messages, exc


@pytest.mark.checklist("LM01")
@both_roles
@whole_and_torn
@pytest.mark.parametrize(
    ("options", "size", "fitting"),
    [
        ({"message_queue_size": 3}, 10, 3),
        ({"message_queue_size": 1}, 10, 1),
        ({"message_queue_size": 0}, 10, 1),
        ({}, 10, 16),
        ({"message_queue_size": 100, "message_queue_bytes": 29}, 10, 3),
        ({"message_queue_size": 100, "message_queue_bytes": 30}, 10, 3),
        ({"message_queue_size": 100, "message_queue_bytes": 31}, 10, 4),
        ({"message_queue_size": math.inf, "max_message_size": 1024}, 1024, 256),
        ({"message_queue_size": math.inf}, 2**20, 2),
    ],
)
async def test_the_queue_is_bounded(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    options: dict[str, Any],
    size: int,
    fitting: int,
) -> None:
    """A queue full in messages, or in bytes, stops reading; nothing is lost behind it."""
    if torn and size * fitting > 1000:
        size, fitting, options = 10, 4, {"message_queue_bytes": 40}
    connection, peer = await connect(
        nursery, client=client, streams=lockstep_pair, torn=torn, ping_interval=None, **options
    )
    taken = 0

    async def sender() -> None:
        nonlocal taken
        for number in range(2 * fitting + 1):
            await peer.send(peer.frame(wire.BINARY, bytes([number % 256]) * size))
            taken += 1

    nursery.start_soon(sender)
    await trio.sleep(1000)
    statistics = connection.statistics()
    assert statistics.messages_queued == fitting
    assert statistics.bytes_queued == fitting * size
    assert taken == fitting
    for number in range(2 * fitting + 1):
        message = await connection.receive_bytes()
        assert len(message) == size and message[0] == number % 256
        await trio.testing.wait_all_tasks_blocked()
        assert connection.statistics().messages_queued <= fitting
    assert connection.statistics().bytes_queued == 0


@pytest.mark.checklist("LM01")
@pytest.mark.parametrize(("size", "before"), [(1, 1), (2, 1), (3, 2), (4, 2), (16, 8)])
async def test_a_full_queue_is_filled_when_half_of_it_is_empty(
    nursery: trio.Nursery, autojump_clock: Clock, size: int, before: int
) -> None:
    """To parse on after each message would cost as much as to parse them one by one."""
    connection, peer = await connect(nursery, message_queue_size=size)
    await peer.send(*(peer.text(str(number)) for number in range(10 * size)))
    await trio.testing.wait_all_tasks_blocked()
    for number in range(4 * before):
        parsed = connection.statistics().messages_received
        assert parsed == size + number // before * before
        assert await connection.receive() == str(number)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.checklist("LM01")
@memory_and_socket
@pytest.mark.parametrize("size", [1, 2, 3, 16])
@pytest.mark.parametrize("receivers", [1, 2, 5])
@pytest.mark.parametrize("pieces", ["at once", "between", "torn"])
async def test_the_parser_goes_on_whoever_makes_room(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    streams: StreamPair,
    size: int,
    receivers: int,
    pieces: str,
) -> None:
    """A thousand messages, pings between them, get through a small queue, each once, in order."""
    connection, peer = await connect(nursery, streams=streams, message_queue_size=size)
    count = 1000
    frames = [peer.text(str(number)) for number in range(count)]
    for at in range(0, count, 100):
        frames[at] += peer.frame(wire.PING, b"%d" % at)
    got: list[list[int]] = [[] for _ in range(receivers)]

    async def send() -> None:
        data = b"".join(frames)
        step = {"at once": len(data), "between": 997, "torn": 9}[pieces]
        for at in range(0, len(data), step):
            await peer.send(data[at : at + step])

    async def receive(mine: list[int]) -> None:
        async for message in connection:
            mine.append(int(message))
            if mine[-1] % 10 == 0:  # sometimes they come together, and sometimes one by one
                await trio.lowlevel.checkpoint()

    nursery.start_soon(send)
    for mine in got:
        nursery.start_soon(receive, mine)
    for at in range(0, count, 100):
        assert (await peer.receive()).payload == b"%d" % at
    await trio.sleep(1)
    assert sorted(number for mine in got for number in mine) == list(range(count))
    assert all(mine == sorted(mine) for mine in got)
    assert connection.statistics().messages_received == count


@pytest.mark.checklist("LM01", "CL18")
@both_roles
@whole_and_torn
async def test_a_close_waits_behind_a_full_queue(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """What comes behind a full queue, a ping or a Close, is seen in stream order."""
    connection, peer = await connect(
        nursery, client=client, torn=torn, message_queue_size=2, ping_interval=None
    )
    await peer.send(peer.text("1"), peer.text("2"), peer.frame(wire.PING, b"p"), peer.text("3"))
    await peer.send(peer.close(1001, b"bye"))
    await trio.sleep(1000)
    assert connection.closed is None
    await connection.send("still open")
    assert (await peer.receive()).payload == b"still open"
    assert await connection.receive() == "1"
    frame = await peer.receive()
    assert (frame.opcode, frame.payload) == (wire.PONG, b"p")
    assert connection.closed is None
    assert await connection.receive() == "2"
    await trio.testing.wait_all_tasks_blocked()
    assert connection.closed == CloseReason(1001, "bye")
    assert await peer.receive_close() == (1001, b"")
    assert await connection.receive() == "3"
    with pytest.raises(trio.EndOfChannel):
        await connection.receive()


@pytest.mark.checklist("CL18", "LM03")
async def test_a_loss_behind_a_full_queue_loses_nothing(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """What the parser had already when a write stalled for too long is received afterwards."""
    connection, peer = await connect(nursery, message_queue_size=1, streams=lockstep_pair)
    await peer.send(*(peer.text(str(number)) for number in range(4)), peer.frame(wire.PING))
    await connection.send("nobody reads this")
    await connection.wait_closed()
    assert connection.closed == CloseReason(1006)
    assert (await receive_all(connection))[0] == ["0", "1", "2", "3"]


@pytest.mark.checklist("CL18")
@pytest.mark.parametrize("attempt", range(8))  # the scheduler's order is random
@pytest.mark.parametrize("read_size", [1, 100, None])
async def test_a_write_error_loses_nothing_that_was_sent_before(
    nursery: trio.Nursery, autojump_clock: Clock, attempt: int, read_size: int | None
) -> None:
    """A write that fails, since the peer has gone, leaves what it sent before to be received."""
    ours, theirs = half_raw_pair()
    connection, _ = await connect(
        nursery,
        streams=lambda: (ours, memory_pair()[1]),
        receive_buffer_size=read_size,
        message_queue_size=math.inf,
        ping_interval=None,
    )
    peer = RawPeer(memory_pair()[0], client=True)
    await trio.sleep(1000)
    theirs.send(b"".join(peer.text(str(number)) for number in range(20)))
    theirs.close()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.send("too late")
    assert isinstance(caught.value, ConnectionClosed)
    assert isinstance(caught.value.__cause__, OSError)
    messages, end = await receive_all(connection)
    assert messages == [str(number) for number in range(20)]
    assert isinstance(end.__cause__, OSError)
    assert connection.closed == CloseReason(1006)


@pytest.mark.checklist("CL18")
async def test_a_write_error_behind_a_full_queue_loses_nothing(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A connection that cannot write reads on for as long as the application takes."""
    ours, theirs = socket_pair()
    connection, peer = await connect(
        nursery, streams=lambda: (ours, theirs), message_queue_size=1, receive_buffer_size=10
    )
    await peer.send(*(peer.text(str(number)) for number in range(20)), peer.close(1000))
    await theirs.aclose()
    await trio.sleep(5)
    # With messages to answer its frame is joined to others, and the error comes with their write.
    await connection.send("too late")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError):
        await connection.send("later still")
    messages: list[str | bytes] = []
    for _ in range(20):
        await trio.sleep(100)
        messages.append(await connection.receive())
    assert messages == [str(number) for number in range(20)]
    with pytest.raises(trio.EndOfChannel):
        await connection.receive()
