from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.connections import (
    RawPeer,
    both_roles,
    connect,
    half_raw_pair,
    lockstep_pair,
    memory_pair,
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed, WebSocketConnection

Clock = trio.testing.MockClock


async def lose(connection: WebSocketConnection, peer: RawPeer) -> None:
    """The peer hangs up."""
    await peer.stream.aclose()
    await connection.wait_closed()


async def be_closed(connection: WebSocketConnection, peer: RawPeer) -> None:
    """The peer closes."""
    await peer.send(peer.close(4000, b"enough"))
    await trio.testing.wait_all_tasks_blocked()


async def close(connection: WebSocketConnection, peer: RawPeer) -> None:
    """This side closes."""
    connection._begin_close(1000)


async def fail(connection: WebSocketConnection, peer: RawPeer) -> None:
    """The peer breaks the protocol."""
    await peer.send(b"\xff\xff")
    await trio.testing.wait_all_tasks_blocked()


@both_roles
@whole_and_torn
@pytest.mark.parametrize(
    ("end", "kind", "code"),
    [
        (lose, trio.BrokenResourceError, 1006),
        (be_closed, trio.BrokenResourceError, 4000),
        (close, trio.ClosedResourceError, 1000),
        (fail, trio.BrokenResourceError, 1002),
    ],
    ids=["lost", "closed by the peer", "closed here", "failed"],
)
async def test_nothing_can_be_sent_after_the_end(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    end: Any,
    kind: type[Exception],
    code: int,
) -> None:
    """Whatever has ended the connection, what sends raises the fitting ConnectionClosed."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    await end(connection, peer)
    calls: tuple[Callable[[bytes], Awaitable[None]], ...] = (
        connection.send,
        connection.send_message,
        connection.pong,
        connection.ping,
    )
    for call in calls:
        with pytest.raises(kind) as caught:
            await call(b"x")
        assert isinstance(caught.value, ConnectionClosed)
        assert caught.value.reason is not None and caught.value.reason.code == code
        assert not isinstance(caught.value, trio.EndOfChannel)


@pytest.mark.parametrize("end", [lose, be_closed, close, fail], ids=lambda end: str(end.__name__))
async def test_the_end_wakes_waiting_senders(
    nursery: trio.Nursery, autojump_clock: Clock, end: Any
) -> None:
    """Senders that wait for room get ConnectionClosed as soon as there will be none."""
    connection, peer = await connect(nursery, streams=lockstep_pair, ping_interval=None)
    await connection.send(bytes(100_000))
    raised = 0

    async def sender() -> None:
        nonlocal raised
        with pytest.raises(ConnectionClosed):
            await connection.send("x")
        raised += 1

    for _ in range(3):
        nursery.start_soon(sender)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(end, connection, peer)
    await trio.sleep(1)
    assert raised == 3


async def test_a_write_error_raises_at_once_on_a_socket(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A send that the kernel refuses raises ConnectionClosed with the cause."""
    ours, theirs = half_raw_pair()
    connection, _ = await connect(nursery, streams=lambda: (ours, memory_pair()[1]))
    theirs.close()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.send("x")
    assert isinstance(caught.value.__cause__, BrokenPipeError)
    await connection.wait_closed()
    assert connection.closed == CloseReason(1006)


async def test_a_write_error_of_a_stream_is_the_cause(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """Whatever a stream raises while it sends ends the connection, as its cause."""
    ours, theirs = memory_pair()
    connection, _ = await connect(nursery, streams=lambda: (ours, theirs))

    async def explode() -> None:
        raise ZeroDivisionError

    ours.send_stream.send_all_hook = explode  # type: ignore[attr-defined]
    await connection.send("taken over")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.send("x")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    await connection.wait_closed()
    assert trio.current_time() == 1  # the peer had a moment for its last words


async def test_what_is_sent_in_the_tick_of_the_loss_is_counted_once(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A write that succeeds while the connection is being lost leaves no debt in the output."""
    for _ in range(10):  # the scheduler's order is random
        ours, theirs = half_raw_pair()
        connection, _ = await connect(nursery, streams=lambda: (ours, memory_pair()[1]))  # noqa: B023
        await connection.send(bytes(3_000_000))
        await trio.testing.wait_all_tasks_blocked()
        theirs.shutdown(1)
        while True:
            try:
                theirs.recv(1_000_000)
            except BlockingIOError:
                break
        await connection.wait_closed()
        theirs.close()
        assert connection.statistics().bytes_buffered == 0
