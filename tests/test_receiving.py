import math

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
    connect_pair,
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


@both_roles
@whole_and_torn
@all_streams
async def test_messages_arrive_as_what_they_are(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, streams: StreamPair
) -> None:
    """Text arrives as `str`, binary as `bytes`, whole and in order, by either name of receive."""
    connection, peer = await connect(nursery, client=client, streams=streams, torn=torn)
    await peer.send(
        peer.text("Grüße"),
        peer.frame(wire.BINARY, b"\0\xff"),
        peer.frame(wire.TEXT, b"in ", fin=False),
        peer.frame(wire.CONTINUATION, b"two"),
        peer.text(""),
    )
    assert await connection.receive() == "Grüße"
    assert await connection.get_message() == b"\0\xff"
    assert await connection.receive_text() == "in two"
    assert await connection.receive() == ""
    await peer.send(peer.frame(wire.BINARY, b"x" * 1000))
    assert await connection.receive_bytes() == b"x" * 1000


@pytest.mark.checklist("CL18")
@both_roles
@whole_and_torn
@pytest.mark.parametrize("clean", [True, False], ids=["Close", "EOF"])
async def test_iteration_ends_cleanly_or_raises(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, clean: bool
) -> None:
    """``async for`` yields what came before; then a Close ends it, and a loss raises."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(peer.text("1"), peer.text("2"), peer.close(1001) if clean else b"")
    await peer.stream.aclose()
    await connection.wait_closed()
    messages = []
    if clean:
        messages = [message async for message in connection]
    else:
        with pytest.raises(trio.BrokenResourceError) as caught:
            async for message in connection:
                messages.append(message)
        assert isinstance(caught.value, ConnectionClosed)
        assert isinstance(caught.value.__cause__, EOFError)
    assert messages == ["1", "2"]
    assert connection.closed == CloseReason(1001 if clean else 1006)


@both_roles
@whole_and_torn
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
async def test_the_other_type_is_refused(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, binary: bool
) -> None:
    """`receive_text` and `receive_bytes` answer the other type with 1003 and raise."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(peer.frame(wire.TEXT if binary else wire.BINARY, b"data"))
    with pytest.raises(trio.BrokenResourceError, match="expected a") as caught:
        await (connection.receive_bytes() if binary else connection.receive_text())
    assert isinstance(caught.value, ConnectionClosed)
    assert caught.value.reason == connection.closed
    reason = "expected a binary message" if binary else "expected a text message"
    assert connection.closed == CloseReason(1003, reason)
    assert await peer.receive_close() == (1003, reason.encode())
    with pytest.raises(trio.BrokenResourceError):
        await connection.receive()


async def test_the_other_type_after_the_end_does_not_change_the_end(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A message of the wrong type that was left from before the peer's Close is an error too."""
    connection, peer = await connect(nursery)
    await peer.send(peer.frame(wire.BINARY, b"x"), peer.text("next"), peer.close(1000))
    await connection.wait_closed()
    with pytest.raises(trio.BrokenResourceError, match="1003"):
        await connection.receive_text()
    assert connection.closed == CloseReason(1000)
    assert await connection.receive_text() == "next"
    with pytest.raises(trio.EndOfChannel):
        await connection.receive_text()


async def test_receive_nowait(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """`receive_nowait` takes what is there, raises WouldBlock, and at the end ConnectionClosed."""
    connection, peer = await connect(nursery, message_queue_size=1)
    with pytest.raises(trio.WouldBlock):
        connection.receive_nowait()
    await peer.send(peer.text("1"), peer.text("2"), peer.close())
    await trio.testing.wait_all_tasks_blocked()
    assert connection.receive_nowait() == "1"
    assert connection.receive_nowait() == "2"
    with pytest.raises(trio.EndOfChannel) as caught:
        connection.receive_nowait()
    assert isinstance(caught.value, ConnectionClosed)
    assert caught.value.reason == CloseReason(1005)


@pytest.mark.parametrize("size", [1, 2, 16])
async def test_receivers_share_the_messages(
    nursery: trio.Nursery, autojump_clock: Clock, size: int
) -> None:
    """Of several waiting tasks each gets a message, one by one the longest waiting first.

    Tasks that are woken together run in any order.
    """
    connection, peer = await connect(nursery, message_queue_size=size)
    got: list[tuple[int, str | bytes]] = []

    async def receiver(number: int) -> None:
        got.append((number, await connection.receive()))

    for number in range(3):
        nursery.start_soon(receiver, number)
        await trio.testing.wait_all_tasks_blocked()
    await peer.send(*(peer.text(str(number)) for number in range(3)))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(number for number, _ in got) == [0, 1, 2]
    assert sorted(str(message) for _, message in got) == ["0", "1", "2"]
    if size == 1:
        assert got == [(0, "0"), (1, "1"), (2, "2")]


async def test_the_end_wakes_every_receiver(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """When the peer closes, each waiting task gets what there is or ConnectionClosed."""
    connection, peer = await connect(nursery)
    ends: list[str] = []

    async def receiver() -> None:
        try:
            ends.append(str(await connection.receive()))
        except trio.EndOfChannel:
            ends.append("end")

    for _ in range(3):
        nursery.start_soon(receiver)
    await trio.testing.wait_all_tasks_blocked()
    await peer.send(peer.text("message"), peer.close(1000))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(ends) == ["end", "end", "message"]


@pytest.mark.checklist("CA02")
@whole_and_torn
async def test_a_cancelled_receive_loses_nothing(
    nursery: trio.Nursery, autojump_clock: Clock, torn: bool
) -> None:
    """A receive that is cancelled while a message arrives leaves it to the next one."""
    connection, peer = await connect(nursery, torn=torn)
    received: list[str | bytes] = []
    for byte in peer.text("first") + peer.text("second"):
        with trio.move_on_after(0.5):
            received.append(await connection.receive())
        await peer.send(bytes([byte]))
    received.append(await connection.receive())
    assert received == ["first", "second"]


@pytest.mark.parametrize(("size", "code"), [(999, None), (1000, None), (1001, 1009), (2**62, 1009)])
@both_roles
@whole_and_torn
async def test_the_size_of_a_message_is_limited(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    size: int,
    code: int | None,
) -> None:
    """A message of `max_message_size` bytes arrives; of one more, its header alone gets 1009."""
    connection, peer = await connect(nursery, client=client, torn=torn, max_message_size=1000)
    await peer.send(peer.text("before"))
    if code is None:
        await peer.send(peer.frame(wire.TEXT, "ü".encode() * 400, fin=False))
        await peer.send(peer.frame(wire.CONTINUATION, b"x" * (size - 800)))
        assert await connection.receive() == "before"
        assert await connection.receive() == "ü" * 400 + "x" * (size - 800)
        return
    mask = None if client else wire.KEY
    await peer.send(wire.build(wire.BINARY, declared=size, mask=mask))
    assert (await peer.receive_close())[0] == code
    assert connection.closed == CloseReason(1009, "message too big")
    assert (await receive_all(connection))[0] == ["before"]


@pytest.mark.checklist("CA06")
async def test_a_batch_yields_after_32_calls(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """Received messages cost no scheduler step each, but one in 32."""
    connection, peer = await connect(nursery, message_queue_size=math.inf)
    await peer.send(*(peer.text(str(number)) for number in range(320)))
    await trio.testing.wait_all_tasks_blocked()
    steps = Steps()
    longest = since = last = 0
    for number in range(320):
        assert await connection.receive() == str(number)
        since = 0 if steps.count != last else since + 1
        last = steps.count
        longest = max(longest, since)
    assert steps.stop() == 10
    assert longest == 31


@pytest.mark.checklist("CA06")
async def test_receive_is_always_a_cancellation_point(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """In a cancelled scope no call of receive takes a message, though one is there."""
    connection, peer = await connect(nursery, message_queue_size=math.inf)
    await peer.send(*(peer.text(str(number)) for number in range(50)))
    await trio.testing.wait_all_tasks_blocked()
    for number in range(50):
        for call in (connection.receive, connection.receive_text, connection.__anext__):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        assert await connection.receive() == str(number)


async def test_two_connections_talk(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """A client and a server of this library understand each other."""
    client, server = await connect_pair(nursery)
    for message in ("", "Grüße", b"", b"\0" * 100_000, "x" * 70_000):
        await client.send(message)
        assert await server.receive() == message
        await server.send(message)
        assert await client.receive() == message
    await client.aclose()
    assert client.closed == server.closed == CloseReason(1000)
