"""Answers to a batch leave together; and none is kept waiting for that."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import RawPeer, Steps, both_roles, half_raw_pair, memory_pair
from tests.support.metering import CountingStream, Kernel, Meter, metered, start
from trio_ws import WebSocketConnection

posix = pytest.mark.skipif(sys.platform == "win32", reason="the fast path is for POSIX")

Clock = trio.testing.MockClock
settle = trio.testing.wait_all_tasks_blocked

repeated = pytest.mark.parametrize("attempt", range(8))  # the scheduler's order is random


class Peer:
    """The other end of a connection over a socket whose system calls are counted."""

    def __init__(
        self, kernel: Kernel, meter: Meter, nursery: trio.Nursery, *, client: bool
    ) -> None:
        self.nursery = nursery  # of the connection
        self._kernel = kernel
        self._meter = meter
        self._key = wire.KEY if client else None

    @property
    def writes(self) -> int:
        """The connection's calls that write."""
        return self._meter.writes

    def send(self, *payloads: bytes, opcode: int = wire.BINARY) -> None:
        """Send a frame for each, all in one segment."""
        frames = (wire.build(opcode, payload, mask=self._key) for payload in payloads)
        self._kernel.send(b"".join(frames))

    def receive(self) -> list[bytes]:
        """The payloads of the frames that have left the connection, since the last time."""
        return [frame.payload for frame in wire.parse(self._kernel.receive())]


@asynccontextmanager
async def served(
    monkeypatch: pytest.MonkeyPatch,
    application: Callable[[WebSocketConnection, Peer], Awaitable[None]],
    *,
    client: bool = False,
    **options: Any,
) -> AsyncIterator[Peer]:
    """The peer of a connection, which the application has."""
    ours, theirs = half_raw_pair()
    with monkeypatch.context() as patch:
        async with metered() as (nursery, meter):
            kernel = Kernel(ours.socket.fileno(), meter)
            kernel.install(patch)
            peer = Peer(kernel, meter, nursery, client=not client)
            await start(nursery, ours, lambda it: application(it, peer), client=client, **options)
            yield peer
            nursery.cancel_scope.cancel()
    theirs.close()


async def echo(connection: WebSocketConnection, _: Peer) -> None:
    """Answer each message with itself."""
    async for message in connection:
        await connection.send(message)


@posix
@both_roles
@pytest.mark.parametrize("count", [1, 2, 15])
async def test_answers_to_a_batch_leave_in_one_write(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock, client: bool, count: int
) -> None:
    """Messages that came together are answered together."""
    async with served(monkeypatch, echo, client=client) as peer:
        for turn in range(1, 4):
            messages = [b"%d" % number for number in range(count)]
            peer.send(*messages)
            await settle()
            assert peer.receive() == messages
            assert peer.writes == turn


@both_roles
async def test_answers_to_a_batch_leave_in_one_write_of_a_stream(
    mock_clock: Clock, client: bool
) -> None:
    """So they do over any stream, where they are one TLS record, for example."""
    ours, theirs = memory_pair()
    peer = RawPeer(theirs, client=not client)

    async def run(connection: WebSocketConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with metered() as (nursery, meter):
        await start(nursery, CountingStream(ours, meter), run, client=client)
        for turn in range(1, 4):
            await peer.send(*(peer.text(str(number)) for number in range(15)))
            for number in range(15):
                assert (await peer.receive()).payload == b"%d" % number
            assert meter.writes == turn
            await settle()


@posix
@both_roles
async def test_the_answer_to_a_lone_message_leaves_at_once(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock, client: bool
) -> None:
    """When nothing more is to be answered, `send` returns with the bytes at the kernel."""
    left: list[list[bytes]] = []

    async def application(connection: WebSocketConnection, peer: Peer) -> None:
        async for message in connection:
            await connection.send(message)
            left.append(peer.receive())

    async with served(monkeypatch, application, client=client) as peer:
        for message in (b"1", b"2", b"3"):
            peer.send(message)
            await settle()
    assert left == [[b"1"], [b"2"], [b"3"]]


@posix
async def test_the_last_answer_takes_the_others_along(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock
) -> None:
    """While a message waits to be answered nothing leaves; with the last answer all does."""
    left: list[list[bytes]] = []

    async def application(connection: WebSocketConnection, peer: Peer) -> None:
        async for message in connection:
            await connection.send(message)
            left.append(peer.receive())

    async with served(monkeypatch, application) as peer:
        peer.send(b"1", b"2", b"3")
        await settle()
    assert left == [[], [], [b"1", b"2", b"3"]]


@posix
@repeated
@pytest.mark.parametrize("wait", [0, 1, math.inf], ids=["checkpoints", "sleep", "for ever"])
async def test_an_answer_does_not_wait_for_the_application(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock, attempt: int, wait: float
) -> None:
    """Whatever it does before the next message, its answer leaves within a pass."""
    left: list[list[bytes]] = []

    async def application(connection: WebSocketConnection, peer: Peer) -> None:
        async for message in connection:
            await connection.send(message)
            if wait:
                await trio.sleep(wait)
            else:  # with the second one a pass is over
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            left.append(peer.receive())

    async with served(monkeypatch, application, ping_interval=None) as peer:
        peer.send(*(b"%d" % number for number in range(5)))
        if wait == math.inf:
            await settle()
            assert peer.receive() == [b"0"]
            return
        await trio.sleep(10)
    assert left == [[b"%d" % number] for number in range(5)]


@posix
@pytest.mark.parametrize("size", [1000, 5000, 20_000, 100_000])
async def test_much_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock, size: int
) -> None:
    """16 KiB of answers leave at once, though more messages are to be answered."""
    buffered: list[int] = []

    async def application(connection: WebSocketConnection, peer: Peer) -> None:
        async for _ in connection:
            await connection.send(bytes(size))
            buffered.append(connection.statistics().bytes_buffered)

    count = 31
    async with served(monkeypatch, application, message_queue_size=math.inf) as peer:
        peer.send(*([b""] * count))
        await settle()
        assert peer.receive() == [bytes(size)] * count
        assert peer.writes == -(-count // -(-16 * 1024 // (size + 4)))
    assert max(buffered) < 16 * 1024 and buffered[-1] == 0


@posix
@pytest.mark.parametrize("how", ["receive", "ping", "pong", "aclose", "cancel"])
async def test_what_follows_takes_the_answers_along(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock, how: str
) -> None:
    """Whatever the application does next, its answer is sent before, in order and whole."""

    async def application(connection: WebSocketConnection, peer: Peer) -> None:
        message = await connection.receive()
        await connection.send(message)
        assert peer.receive() == []
        if how == "receive":
            await connection.receive()
            await connection.receive()  # waits for a third message
        elif how in {"ping", "pong"}:
            await getattr(connection, how)(b"payload")
        elif how == "aclose":
            await connection.aclose(4000)
        else:
            peer.nursery.cancel_scope.cancel()

    async with served(monkeypatch, application) as peer:
        peer.send(b"1", b"2")
        with trio.CancelScope(shield=True):
            await settle()
            codes = {"aclose": 4000, "cancel": 1001}
            follows = [codes[how].to_bytes(2, "big")] if how in codes else [b"payload"]
            assert peer.receive() == [b"1", *(follows if how != "receive" else [])]
            # The reader says the last words, before the writer or after it: that is chance.
            assert peer.writes == 1 or how == "cancel"


@posix
async def test_two_tasks_that_answer(monkeypatch: pytest.MonkeyPatch, mock_clock: Clock) -> None:
    """An answer that is joined is not lost when another task takes the rest of the batch."""

    async def application(connection: WebSocketConnection, peer: Peer) -> None:
        async def first() -> None:
            await connection.send(await connection.receive())
            await trio.sleep_forever()

        async def second() -> None:
            for _ in range(2):
                await connection.receive()  # and does not answer
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(second)

    async with served(monkeypatch, application) as peer:
        await settle()
        peer.send(b"1", b"2", b"3")
        await settle()
        assert peer.receive() in ([b"1"], [b"2"], [b"3"])


@posix
@pytest.mark.parametrize("room", [1, 100, 1000])
@pytest.mark.parametrize("mark", [0, 200, 65_536])
async def test_a_slow_peer_gets_all_answers_in_order(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock, room: int, mark: int
) -> None:
    """However little the kernel takes, and however early senders have to wait."""
    messages = [b"%d" % number * (number % 7) for number in range(200)]
    data = b"".join(wire.build(wire.BINARY, message, mask=wire.KEY) for message in messages)
    expected = b"".join(wire.build(wire.BINARY, message) for message in messages)
    ours, theirs = half_raw_pair()

    async def run(connection: WebSocketConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with metered() as (nursery, meter):
        kernel = Kernel(ours.socket.fileno(), meter, room)
        with monkeypatch.context() as patch:
            kernel.install(patch)
            await start(nursery, ours, run, send_buffer_size=mark)
            kernel.send(data)
            received = b""
            while len(received) < len(expected):
                await settle()
                piece = kernel.receive()
                assert 0 < len(piece) <= room
                received += piece
            assert received == expected
            nursery.cancel_scope.cancel()
    theirs.close()


@pytest.mark.checklist("CA06")
@posix
@pytest.mark.parametrize(
    ("receives", "sends", "yields"), [(1, 1, 10), (2, 1, 10), (1, 2, 20), (1, 5, 50), (5, 1, 10)]
)
async def test_either_yields_for_both(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock, receives: int, sends: int, yields: int
) -> None:
    """Of calls that need not wait, neither send nor receive has more than 31 without a yield."""
    counted: list[int] = []
    arrived = trio.Event()

    async def application(connection: WebSocketConnection, peer: Peer) -> None:
        await arrived.wait()
        steps = Steps()
        last = received = sent = 0
        for number in range(320 // receives * (receives + sends)):
            if number % (receives + sends) < receives:
                await connection.receive()
                received += 1
            else:
                await connection.send(b"x")
                sent += 1
            if steps.count != last:
                last, received, sent = steps.count, 0, 0
            assert received <= 31 and sent <= 31
        counted.append(steps.stop())

    async with served(monkeypatch, application, message_queue_size=math.inf) as peer:
        peer.send(*([b"x"] * 320))
        await settle()
        arrived.set()
        await settle()
    assert counted == [yields]
