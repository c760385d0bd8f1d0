"""Where two things happen in one turn of the scheduler, or one hides behind another."""

import zlib
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.protocol import wire
from tests.support.compression import raw_connection
from tests.support.connections import connect, memory_pair
from tests.support.servers import MemoryListener, Served
from trio_ws._inbox import Inbox
from trio_ws._protocol._deflate import Agreement, Deflate, PerMessageDeflate
from trio_ws._protocol._machine import Protocol


@pytest.mark.checklist("CA02")
async def test_a_receiver_that_is_woken_and_cancelled_is_cancelled(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Its message was dropped by the goodbye of the same turn: it sees the cancellation."""
    connection, _ = await connect(nursery)
    with trio.CancelScope() as scope:

        async def upset() -> None:
            await trio.testing.wait_all_tasks_blocked()
            connection._inbox.put("message", 7)
            connection._begin_close(1001)
            scope.cancel()

        nursery.start_soon(upset)
        await connection.receive()
    assert scope.cancelled_caught


@pytest.mark.checklist("LM08")
@pytest.mark.parametrize("error", [None, ValueError("bug")], ids=["closed", "bug"])
async def test_a_handler_that_is_cancelled_by_the_shutdown_and_raises(
    autojump_clock: trio.testing.MockClock, error: Exception | None
) -> None:
    """Its ConnectionClosed is its normal end; its own error goes to handler_error."""
    seen: list[Exception] = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()

        async def work() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    if error is not None:
                        raise error
                    await connection.send("bye")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            nursery.start_soon(trio.sleep_forever)

    listener = MemoryListener()
    server = trio_ws.WebSocketServer(
        handler, [listener], handler_error=lambda _, exc: seen.append(exc), disconnect_timeout=1
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await Served(server, listener).open()
        await trio.testing.wait_all_tasks_blocked()
        await server.aclose()
    if error is None:
        assert not seen
    else:
        (group,) = seen
        assert isinstance(group, ExceptionGroup)
        assert group.exceptions == (error,)


@pytest.mark.parametrize("count", [15, 16, 17, 40])
async def test_a_violation_behind_a_full_inbox_is_answered_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, count: int
) -> None:
    """However many messages are before it: when all are taken, nothing holds it back."""
    connection, peer = await connect(nursery)
    await peer.send(*[peer.text("x")] * count, b"\xff\xff")
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(count):
        assert await connection.receive() == "x"
    with pytest.raises(trio_ws.ConnectionClosed):
        await connection.receive()
    assert trio.current_time() == 0
    assert await peer.receive_close() == (1002, b"reserved opcode 0xf")


async def test_a_held_violation_is_no_slow_message(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """While an application answers the message before a violation, no message is arriving."""
    connection, peer = await connect(nursery, message_timeout=0.3)
    await peer.send(peer.text("question"), b"\xff\xff")
    await connection.receive()
    await trio.sleep(0.6)
    await connection.send("answer")
    assert (await peer.receive()).payload == b"answer"
    with pytest.raises(trio_ws.ConnectionClosed):
        await connection.receive()
    assert (await peer.receive_close())[0] == 1002


class Stalling(trio.abc.Stream):
    """A stream that takes no data."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Wait for ever."""
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for ever."""
        await trio.sleep_forever()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive as the stream does."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


@pytest.mark.checklist("CL18")
async def test_large_compressed_messages_survive_a_lost_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What has arrived before the connection was lost is received, if it takes many steps too."""

    def streams() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        ours, theirs = memory_pair()
        return Stalling(ours), theirs

    async with raw_connection(
        streams=streams, message_queue_size=1, limits=trio_ws.Limits(write_timeout=1)
    ) as (connection, peer):
        large = b"x" * 700_000
        frames = [peer.text("one"), peer.compressed(wire.BINARY, large), peer.text("three")]
        await peer.send(*frames)
        await trio.testing.wait_all_tasks_blocked()
        await connection.send("stalled")
        await connection.wait_closed()
        assert [await connection.receive() for _ in range(3)] == ["one", large, "three"]
        with pytest.raises(trio.BrokenResourceError):
            await connection.receive()


@pytest.mark.checklist("CL18")
@pytest.mark.parametrize("before", [["one"], []], ids=["behind another", "alone"])
@pytest.mark.parametrize("waiting", [True, False], ids=["receive", "receive_nowait"])
async def test_a_message_that_is_being_inflated_survives_a_lost_connection(
    autojump_clock: trio.testing.MockClock, before: list[str], waiting: bool
) -> None:
    """It had arrived whole before, so it is received, though its last turns come afterwards."""
    async with raw_connection() as (connection, peer):
        large = bytes(2**22)
        await peer.send(*map(peer.text, before), peer.compressed(wire.BINARY, large))
        while not connection._protocol.busy:
            await trio.lowlevel.checkpoint()
        connection._writer.lose(OSError("gone"))
        await connection.wait_closed()
        for expected in (*before, large):
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.receive()
            assert scope.cancelled_caught  # and nothing was taken
            message = await connection.receive() if waiting else connection.receive_nowait()
            assert message == expected
        with pytest.raises(trio.BrokenResourceError):
            connection.receive_nowait()
        with pytest.raises(trio.BrokenResourceError):
            await connection.receive()


def small_bombs(count: int) -> bytes:
    """Frames of 151 bytes, each of which inflates to 100 KiB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = compressor.compress(bytes(100 * 1024)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return wire.build(wire.BINARY, data[:-4], rsv=4, mask=wire.KEY) * count


def new_protocol(**options: Any) -> Protocol:
    """A server's protocol that inflates."""
    deflate = Deflate.of(Agreement(15, False, 15, False), PerMessageDeflate())
    return Protocol(client=False, max_message_size=2**20, deflate=deflate, **options)


@pytest.mark.checklist("PD11")
def test_many_small_messages_take_turns_as_one_large_one_does() -> None:
    """Inflating is interrupted after some 128 KiB, in however many messages they come."""
    proto = new_protocol()
    proto.receive_data(small_bombs(50))
    messages = turns = 0
    while True:
        event = proto.next_event()
        if event is not None:
            assert event == bytes(100 * 1024)
            messages += 1
        elif proto.busy:
            turns += 1
        else:
            break
    assert messages == 50
    assert turns >= 50 * 100 // 128 - 1


@pytest.mark.checklist("PD11")
def test_unwanted_messages_are_not_inflated() -> None:
    """After a local close only the peer's Close frame is looked for."""
    proto = new_protocol()
    proto.discard()
    close = wire.close(1000, mask=wire.KEY)
    proto.receive_data(small_bombs(50) + close)
    event = proto.next_event()
    assert event == (1000, "")
    assert not proto.busy
    assert proto.counts.messages_received == 0


@pytest.mark.checklist("LM01")
def test_empty_messages_are_bounded_too() -> None:
    """A queue without a limit of messages still has one, for they take memory as well."""
    inbox = Inbox(float("inf"), 256 * 1024)
    while not inbox.full:
        inbox.put(b"", 0)
    assert inbox.count == 256 * 1024 // 64


class LateStream(trio.abc.Stream):
    """A stream that notices its cancellation only after it has received something."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.reads = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, cancelled or not."""
        self.reads += 1
        data: bytes | bytearray = b""
        with trio.CancelScope(shield=True):
            data = await self._inner.receive_some(max_bytes)
        return data  # noqa: RET504 - a scope may swallow, as far as a type checker knows

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait."""

    async def aclose(self) -> None:
        """Close."""
        await self._inner.aclose()


async def test_bytes_that_arrive_with_the_end_are_the_last(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Where a read ends with bytes although the connection has ended, there is no other read."""
    ours, theirs = memory_pair()
    late = LateStream(ours)
    connection, peer = await connect(nursery, streams=lambda: (late, theirs))
    with trio.CancelScope() as scope:
        scope.cancel()
        nursery.start_soon(peer.send, peer.frame(wire.PING, b"late"))
        await connection.aclose()
    assert scope.cancelled_caught
    assert late.reads == 1
