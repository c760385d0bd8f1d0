"""Leaving `async with open_websocket`: what the peer sees, and what comes out."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    BINARY,
    CLOSE,
    GOING_AWAY,
    NORMAL,
    PING,
    TEXT,
    Dial,
    Peer,
    frame,
)

URL = "ws://server.example/"


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> Dial:
    """TCP in memory."""
    dial = Dial()
    dial.install(monkeypatch)
    return dial


@pytest.fixture
async def closes(nursery: trio.Nursery, dial: Dial) -> list[bytes]:
    """The Close payloads that a server has got; it answers each, and closes."""
    payloads: list[bytes] = []

    async def serve() -> None:
        while True:
            peer = await dial.peer()
            await peer.accept()
            opcode, payload = await peer.receive_frame()
            assert opcode == CLOSE
            payloads.append(payload)
            try:
                await peer.send(frame(CLOSE, payload, mask=False))
            except trio.BrokenResourceError:
                pass
            await peer.aclose()

    nursery.start_soon(serve)
    return payloads


async def test_leaving_normally(closes: list[bytes]) -> None:
    """1000, and the connection is closed."""
    async with trio_ws.open_websocket_url(URL) as connection:
        assert connection.closed is None
    assert closes == [NORMAL]
    assert connection.closed == trio_ws.CloseReason(1000)
    with pytest.raises(trio.ClosedResourceError):
        await connection.send("late")


async def test_leaving_a_connection_that_was_closed(closes: list[bytes]) -> None:
    """Leaving sends no second Close."""
    async with trio_ws.open_websocket_url(URL) as connection:
        await connection.aclose(4000, "mine")
    assert closes == [(4000).to_bytes(2, "big") + b"mine"]


class Marked(Exception):
    """An error of the body."""


async def mark() -> None:
    """Raise an error with a cause and a context."""
    try:
        try:
            raise KeyError("context")
        except KeyError:
            raise Marked("body") from OSError("cause")
    finally:
        await trio.lowlevel.checkpoint()


BODIES: list[BaseException] = [
    ValueError("body"),
    ExceptionGroup("group", [ValueError(1), ExceptionGroup("inner", [KeyError(2)])]),
    KeyboardInterrupt("body"),
    SystemExit(3),
    BaseExceptionGroup("group", [KeyboardInterrupt(), ValueError(1)]),
    GeneratorExit("body"),
    trio_ws.HandshakeError("body"),
    trio.EndOfChannel("body"),
    StopAsyncIteration("body"),
]


@pytest.mark.checklist("CA07")
@pytest.mark.parametrize("error", BODIES, ids=lambda error: type(error).__name__)
async def test_the_bodys_exception_comes_out_as_it_is(
    closes: list[bytes], error: BaseException
) -> None:
    """The very object, in no group, with its own cause and context; the peer sees 1001."""
    cause, context = OSError("cause"), KeyError("context")
    error.__cause__, error.__context__ = cause, context
    with pytest.raises(BaseException) as caught:
        async with trio_ws.open_websocket_url(URL):
            raise error
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is context
    await trio.testing.wait_all_tasks_blocked()
    assert closes == [GOING_AWAY]


@pytest.mark.checklist("CA07")
async def test_the_context_of_the_bodys_exception(closes: list[bytes]) -> None:
    """Also one that was raised deep inside."""
    with pytest.raises(Marked) as caught:
        async with trio_ws.open_websocket_url(URL):
            await mark()
    assert isinstance(caught.value.__cause__, OSError)
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__context__.__context__ is None


async def test_a_body_that_closed_raises_its_own_error(closes: list[bytes]) -> None:
    """`ConnectionClosed` out of the body is the body's error like any other."""
    with pytest.raises(trio_ws.ConnectionClosed) as caught:
        async with trio_ws.open_websocket_url(URL) as connection:
            await connection.aclose()
            await connection.receive()
    assert caught.value.reason == trio_ws.CloseReason(1000)
    assert closes == [NORMAL]


async def test_control_flow_leaves_the_block(closes: list[bytes]) -> None:
    """`break`, `continue` and `return` are ways to leave it normally."""

    async def returning() -> int:
        async with trio_ws.open_websocket_url(URL):
            return 42

    for number in range(3):
        async with trio_ws.open_websocket_url(URL):
            if number:
                break
            continue
    assert await returning() == 42
    assert closes == [NORMAL] * 3


async def test_one_nursery_in_the_callers_task(closes: list[bytes]) -> None:
    """Exactly one nursery is opened, and it is closed again."""
    task = trio.lowlevel.current_task()
    before = list(task.child_nurseries)
    async with trio_ws.open_websocket_url(URL):
        assert len(task.child_nurseries) == len(before) + 1
    assert task.child_nurseries == before


async def test_several_connections_nest(closes: list[bytes]) -> None:
    """Inside an exit stack, left in order."""
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(trio_ws.open_websocket_url(URL))]
        assert all(connection.closed is None for connection in connections)
    assert closes == [NORMAL]


# --- Cancellation


@pytest.mark.checklist("CA04")
async def test_cancellation_says_goodbye(closes: list[bytes]) -> None:
    """A cancelled body is left at once, the peer sees 1001, and the cancellation is honoured."""
    with trio.CancelScope() as scope:
        async with trio_ws.open_websocket_url(URL) as connection:
            scope.cancel()
            await connection.receive()
    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked()
    assert closes == [GOING_AWAY]
    assert connection.closed is not None


@pytest.mark.checklist("CA04")
async def test_cancellation_on_leaving_is_honoured(closes: list[bytes]) -> None:
    """A body that ends before it has noticed its cancellation does not hide it."""
    reached = False
    with trio.CancelScope() as scope:
        async with trio_ws.open_websocket_url(URL):
            scope.cancel()
        reached = True
    assert scope.cancelled_caught
    assert not reached


@pytest.mark.checklist("CA04", "CA07")
async def test_an_exception_wins_over_a_cancellation(closes: list[bytes]) -> None:
    """The body's exception is not masked by `Cancelled`; the scope is still cancelled."""
    with trio.CancelScope() as scope:
        with pytest.raises(Marked):
            async with trio_ws.open_websocket_url(URL):
                scope.cancel()
                raise Marked
        assert scope.cancel_called
        await trio.lowlevel.checkpoint()
        raise AssertionError
    assert scope.cancelled_caught


@pytest.mark.checklist("CA07")
async def test_a_nursery_in_the_body(closes: list[bytes]) -> None:
    """A group from the body's own nursery comes out with the same members."""
    with pytest.raises(ExceptionGroup) as caught:
        async with trio_ws.open_websocket_url(URL), trio.open_nursery() as nursery:
            nursery.start_soon(mark)
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, Marked)


@pytest.mark.checklist("CA07")
async def test_a_connection_inside_a_nursery(closes: list[bytes]) -> None:
    """A sibling's failure cancels the body; only the sibling's error comes out."""
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            async with trio_ws.open_websocket_url(URL) as connection:
                nursery.start_soon(mark)
                await connection.receive()
    (error,) = caught.value.exceptions
    assert isinstance(error, Marked)
    await trio.testing.wait_all_tasks_blocked()
    assert closes == [GOING_AWAY]


# --- Peers that make leaving hard


async def ignoring(peer: Peer) -> None:
    """Read, and never answer."""
    await peer.receive_all()


async def not_reading(peer: Peer) -> None:
    """Not even read."""
    await trio.sleep_forever()


async def sending(peer: Peer) -> None:
    """Send for ever, and answer no Close."""
    try:
        while True:
            await peer.send(frame(BINARY, b"x" * 100, mask=False))
            await peer.send(frame(PING, b"x", mask=False))
            await trio.sleep(1)
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize("server", [ignoring, not_reading, sending])
@pytest.mark.parametrize("timeout", [0, 5], ids=str)
async def test_a_peer_that_does_not_close(
    dial: Dial,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    server: Callable[[Peer], Awaitable[None]],
    timeout: float,
) -> None:
    """`DisconnectionTimeout` after `disconnect_timeout` seconds, and the connection is closed."""
    peers: list[Peer] = []

    async def serve() -> None:
        peers.append(await dial.peer())
        await peers[0].accept()
        await server(peers[0])

    nursery.start_soon(serve)
    with pytest.raises(trio_ws.DisconnectionTimeout) as caught:
        async with trio_ws.open_websocket_url(URL, disconnect_timeout=timeout) as connection:
            await trio.sleep(3)
            left = trio.current_time()
    assert trio.current_time() - left == timeout
    assert caught.value.__context__ is None
    assert connection.closed is not None
    with pytest.raises(trio.BrokenResourceError):
        await peers[0].send(b"x")


async def test_the_bodys_exception_wins_over_the_timeout(
    dial: Dial, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """It comes out, not `DisconnectionTimeout`."""

    async def serve() -> None:
        peer = await dial.peer()
        await peer.accept()
        await peer.receive_all()

    nursery.start_soon(serve)
    with pytest.raises(Marked):
        async with trio_ws.open_websocket_url(URL, disconnect_timeout=5):
            raise Marked


async def test_a_peer_that_closed_but_keeps_tcp(
    dial: Dial, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A server that answers the Close but keeps the connection open cannot hold the exit."""

    async def serve() -> None:
        peer = await dial.peer()
        await peer.accept()
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        await peer.send(frame(CLOSE, NORMAL, mask=False))
        await peer.receive_all()

    nursery.start_soon(serve)
    async with trio_ws.open_websocket_url(URL) as connection:
        left = trio.current_time()
    assert trio.current_time() - left < 5
    assert connection.closed == trio_ws.CloseReason(1000)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "lost"])
async def test_a_peer_that_left_before(dial: Dial, nursery: trio.Nursery, close: bool) -> None:
    """Leaving raises nothing when the connection has ended already; iteration has told."""

    async def serve() -> None:
        peer = await dial.peer()
        await peer.accept()
        await peer.send(frame(TEXT, b"last", mask=False))
        if close:
            await peer.send(frame(CLOSE, GOING_AWAY, mask=False))
            assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
        await peer.aclose()

    nursery.start_soon(serve)
    async with trio_ws.open_websocket_url(URL) as connection:
        assert await connection.receive() == "last"
        await connection.wait_closed()
    assert connection.closed == trio_ws.CloseReason(1001 if close else 1006)
