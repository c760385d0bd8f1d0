"""What an echo costs, in steps of the scheduler and in system calls.

These figures are the guard against a library that gets slower. They do not depend on the machine,
and are pinned at what they are now: if one of them changes, look why; and if it has become smaller,
write that down, with the reason beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import half_raw_pair, memory_pair, socket_pair
from tests.support.metering import (
    Application,
    Cost,
    CountingStream,
    Kernel,
    count_system_calls,
    echo,
    metered,
    start,
)
from tests.support.tls import client_context, server_context
from trio_ws import WebSocketConnection

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fast path is for POSIX")

Clock = trio.testing.MockClock  # it stands still, or a slow machine would be asked for pings
settle = trio.testing.wait_all_tasks_blocked


def message(size: int) -> bytes:
    """A client's frame with a binary message."""
    return wire.build(wire.BINARY, bytes(size), mask=wire.KEY)


def answer(size: int) -> bytes:
    """The server's frame for it."""
    return wire.build(wire.BINARY, bytes(size))


async def cost_of(
    monkeypatch: pytest.MonkeyPatch,
    turn: Callable[[Kernel], Any],
    application: Application = echo,
    *,
    client: bool = False,
    room: int = 2**30,
    **options: Any,
) -> Cost:
    """The cost of a turn of the peer's, when it has had one before."""
    turns = 5
    ours, theirs = half_raw_pair()
    async with metered() as (nursery, meter):
        kernel = Kernel(ours.socket.fileno(), meter, room)
        with monkeypatch.context() as patch:
            kernel.install(patch)
            await start(nursery, ours, application, client=client, **options)
            await turn(kernel)
            meter.reset()
            for _ in range(turns):
                await turn(kernel)
            cost = meter.cost(turns)
            nursery.cancel_scope.cancel()
    theirs.close()
    return cost


def sends(size: int, count: int = 1) -> Callable[[Kernel], Any]:
    """A peer that sends so many messages in one segment, and takes the answers."""

    async def turn(kernel: Kernel) -> None:
        kernel.send(message(size) * count)
        expected = answer(size) * count
        received = b""
        while len(received) < len(expected):
            await settle()
            received += kernel.receive()
        assert received == expected
        await settle()

    return turn


async def test_a_ping_pong_over_a_socket_pair(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock
) -> None:
    """One after the other over a real socket: nothing is done twice, nor for nothing."""
    ours, theirs = half_raw_pair()
    async with metered() as (nursery, meter):
        count_system_calls(monkeypatch, ours.socket.fileno(), meter)
        await start(nursery, ours, echo)
        meter.reset()
        for _ in range(10):
            meter.fed()
            theirs.send(message(64))
            await settle()
            assert theirs.recv(100) == answer(64)
        assert meter.cost(10) == Cost(
            reader=1,  # reads, parses, wakes the application, waits again
            application=1,  # receives, sends, waits for the next message
            writer=0,  # sleeps on: the application's own write has taken all
            passes=2,  # the reader's, when the socket is readable, and then the application's
            reads=1,  # it is not tried again whether there is more
            writes=1,
        )
    theirs.close()


async def test_a_ping_pong(monkeypatch: pytest.MonkeyPatch, mock_clock: Clock) -> None:
    """Without a kernel it costs the same as with one: so the other figures are worth something."""
    cost = await cost_of(monkeypatch, sends(64))
    assert cost == Cost(reader=1, application=1, writer=0, passes=2, reads=1, writes=1)


async def test_fifteen_messages_in_one_segment(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock
) -> None:
    """Messages that do not fill the queue cost about as much as a single one."""
    cost = await cost_of(monkeypatch, sends(64, 15))
    assert cost == Cost(
        reader=1,  # parses all of them at once
        application=1,  # takes and answers one after the other
        writer=1,  # is woken, in case the application does not come to the last one
        passes=3,  # of which the answers wait for two
        reads=1,
        writes=1,  # all answers leave with the last one
    )


async def test_two_hundred_messages_in_one_segment(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock
) -> None:
    """A batch costs a step for 32 messages, not one for each."""
    for _ in range(10):
        cost = await cost_of(monkeypatch, sends(64, 200))
        # Reads and fills the queue; and when all is parsed waits for more. What is in between, the
        # application parses itself, when it has emptied half of the queue.
        assert cost.reader == 2
        assert cost.reads == 1
        # One, and one after each 32 messages, when it lets the others run.
        assert cost.application == 1 + 200 // 32
        # The writer sends what is there when the application lets it. It is chance which of the
        # two is first in a pass, so it has 31 to 63 answers to send.
        assert cost.writer <= 7
        assert cost.writes <= 7


async def test_64_kib(monkeypatch: pytest.MonkeyPatch, mock_clock: Clock) -> None:
    """A message a few bytes larger than a read costs one more read."""
    cost = await cost_of(monkeypatch, sends(64 * 1024))
    assert cost == Cost(
        reader=2,  # one for each read
        application=1,
        writer=0,
        passes=3,
        reads=2,  # 64 KiB, and the 14 bytes of the header
        writes=1,  # header and payload, which are not joined, in one call
    )


async def test_1_mib(monkeypatch: pytest.MonkeyPatch, mock_clock: Clock) -> None:
    """Larger messages are read in larger pieces, and written at once."""
    cost = await cost_of(monkeypatch, sends(2**20))
    assert cost == Cost(
        reader=9,
        application=1,
        writer=0,
        passes=10,
        reads=9,  # 64 KiB, and then, since that read was full, 128 KiB each time
        writes=1,
    )


async def test_1_mib_to_a_peer_that_takes_256_kib_at_a_time(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock
) -> None:
    """What the kernel does not take, the writer sends when it can."""
    cost = await cost_of(monkeypatch, sends(2**20), room=2**18)
    assert cost == Cost(
        reader=9,
        application=1,
        writer=5,  # is woken, and four times the socket is writable
        passes=15,
        reads=9,
        writes=5,  # the application's and the writer's, none in vain
    )


async def test_a_peer_that_was_slow_once(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock
) -> None:
    """Once all is sent, the next answer leaves from the application's own step again."""
    turns = [sends(2**20)]

    async def turn(kernel: Kernel) -> None:
        await (turns.pop() if turns else sends(64))(kernel)

    cost = await cost_of(monkeypatch, turn, room=2**18)
    assert cost == Cost(reader=1, application=1, writer=0, passes=2, reads=1, writes=1)


async def test_a_batch_of_which_not_all_is_answered(
    monkeypatch: pytest.MonkeyPatch, mock_clock: Clock
) -> None:
    """An answer that was kept for others leaves when the application waits, not a pass later."""
    written: list[str] = []

    async def answer_the_first(connection: WebSocketConnection) -> None:
        while True:
            await connection.send(await connection.receive())
            await connection.receive()

    async def turn(kernel: Kernel) -> None:
        kernel.send(message(64) * 2)
        await settle()
        written.append(kernel.written_by)
        assert kernel.receive() == answer(64)

    await cost_of(monkeypatch, turn, answer_the_first)
    assert all("answer_the_first" in name for name in written)


async def test_a_client(monkeypatch: pytest.MonkeyPatch, mock_clock: Clock) -> None:
    """A client that sends and waits for the answer pays what a server does."""

    async def ask(connection: WebSocketConnection) -> None:
        while True:
            await connection.send(bytes(64))
            assert await connection.receive() == bytes(64)

    async def turn(kernel: Kernel) -> None:
        (frame,) = wire.parse(kernel.receive())
        kernel.send(answer(len(frame.payload)))
        await settle()

    cost = await cost_of(monkeypatch, turn, ask, client=True)
    assert cost == Cost(reader=1, application=1, writer=0, passes=2, reads=1, writes=1)


async def bare_echo(stream: trio.abc.Stream) -> None:
    """Echo without a WebSocket."""
    while data := await stream.receive_some(64 * 1024):
        await stream.send_all(data)


async def cost_over_tls(
    size: int, *, bare: bool, sockets: bool = False
) -> tuple[float, float, float]:
    """The steps, reads and writes of an echo over TLS, of a connection or without one.

    Over sockets the reads and writes are not counted.
    """
    ours, theirs = socket_pair() if sockets else memory_pair()
    client = trio.SSLStream(theirs, client_context(), server_hostname="server.example")
    async with metered() as (nursery, meter):
        context = server_context("server.example")
        below = ours if sockets else CountingStream(ours, meter)
        server = trio.SSLStream(below, context, server_side=True)
        async with trio.open_nursery() as handshakes:
            handshakes.start_soon(client.do_handshake)
            handshakes.start_soon(server.do_handshake)
        if bare:
            nursery.start_soon(bare_echo, server)
        else:
            await start(nursery, server, echo)
        expected = message(size) if bare else answer(size)
        for turn in range(6):
            if turn == 1:
                meter.reset()
            await client.send_all(message(size))
            received = b""
            while len(received) < len(expected):
                received += await client.receive_some()
            assert received == expected
            await settle()
        cost = meter.cost(5)
        nursery.cancel_scope.cancel()
    for end in ours, theirs:
        await trio.aclose_forcefully(end)
    return cost.reader + cost.application + cost.writer, cost.reads, cost.writes


@pytest.mark.parametrize(
    ("size", "records"),
    [
        (64, 1),
        (64 * 1024, 5),  # 16 KiB each, and the header's bytes
    ],
)
async def test_tls(mock_clock: Clock, size: int, records: int) -> None:
    """Over TLS an echo costs two steps more than one without a WebSocket.

    They are the application's, which the reader wakes, and the writer's, which the application
    wakes, since nothing can be sent without waiting. All others are Trio's own, in `SSLStream` and
    in the stream below it.
    """
    steps, reads, writes = await cost_over_tls(size, bare=True)
    assert (reads, writes) == (1, records)
    assert await cost_over_tls(size, bare=False) == (steps + 2, reads, writes)


async def test_tls_over_a_socket(mock_clock: Clock) -> None:
    """Over a socket one of these two is saved: what the kernel takes at once is not waited for.

    Of the five that are left two are for the locks of `SSLStream`, one is that in which the socket
    is readable, one the application's, and one the writer's. Without a WebSocket it is two locks, a
    socket that is readable, and the turn that Trio gives to others after each write.
    """
    assert (await cost_over_tls(64, bare=True, sockets=True))[0] == 4
    assert (await cost_over_tls(64, bare=False, sockets=True))[0] == 5
