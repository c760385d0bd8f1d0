"""What a server does with a handler that raises, is cancelled, or does not answer."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    CLOSE,
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL,
    TEXT,
    MemoryListener,
    Peer,
    Served,
    echo,
    frame,
    header,
    serving,
    status,
    upgrade,
)


@pytest.fixture(params=["whole", "torn"])
def torn(request: pytest.FixtureRequest) -> bool:
    """Whether the library receives one byte at a time."""
    return bool(request.param == "torn")


class SecretError(Exception):
    """A handler's error, whose text is nobody's business."""


def only(error: BaseException) -> BaseException:
    """The only exception in groups of one."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


class Errors:
    """A `handler_error` callback that keeps what it gets."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, Exception]] = []

    def __call__(self, request: object, error: Exception) -> None:
        """Keep it."""
        self.calls.append((request, error))


async def raise_before(request: trio_ws.WebSocketRequest) -> None:
    """Raise instead of answering."""
    raise SecretError("password")


async def raise_after(request: trio_ws.WebSocketRequest) -> None:
    """Raise with a connection."""
    connection = await request.accept()
    await connection.receive()
    raise SecretError("password")


async def raise_within(request: trio_ws.WebSocketRequest) -> None:
    """Raise out of the block of a connection."""
    async with await request.accept() as connection:
        await connection.receive()
        raise SecretError("password")


async def raise_after_rejecting(request: trio_ws.WebSocketRequest) -> None:
    """Raise after an answer."""
    await request.reject(404)
    raise SecretError("password")


async def see_1011(peer: Peer) -> None:
    """Talk to `raise_after` or `raise_within`."""
    assert status(await peer.open()) == 101
    await peer.send(frame(TEXT, b"go", mask=True))
    assert await peer.receive_frame() == (CLOSE, INTERNAL_ERROR)
    await peer.send(frame(CLOSE, INTERNAL_ERROR, mask=True))
    assert await peer.receive_all() == b""


async def see_500(peer: Peer) -> None:
    """Talk to `raise_before`."""
    head = await peer.open()
    assert status(head) == 500
    assert header(head, b"connection") == [b"close"]
    assert b"password" not in await peer.receive_all()


async def see_404(peer: Peer) -> None:
    """Talk to `raise_after_rejecting`."""
    assert status(await peer.open()) == 404
    assert await peer.receive_all() == b""


HANDLERS: list[tuple[trio_ws._server.Handler, Callable[[Peer], Awaitable[None]]]] = [
    (raise_before, see_500),
    (raise_after, see_1011),
    (raise_within, see_1011),
    (raise_after_rejecting, see_404),
]
all_handlers = pytest.mark.parametrize(
    ("handler", "see"),
    HANDLERS,
    ids=[handler.__name__ for handler, _ in HANDLERS],
)


@pytest.mark.checklist("LM07", "SH27")
@all_handlers
async def test_an_error_of_a_handler_propagates(
    autojump_clock: trio.testing.MockClock,
    torn: bool,
    handler: trio_ws._server.Handler,
    see: Callable[[Peer], Awaitable[None]],
) -> None:
    """The peer gets 500 or 1011 without detail, then the exception leaves the server."""
    listener = MemoryListener(torn=torn)
    server = trio_ws.WebSocketServer(handler, [listener])
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await see(listener.connect())
            await trio.sleep_forever()
    error = only(caught.value)
    assert type(error) is SecretError
    assert (error.__cause__, error.__context__) == (None, None)
    assert listener.closed


@pytest.mark.checklist("LM07", "SH27")
@all_handlers
async def test_an_error_of_a_handler_goes_to_the_callback(
    autojump_clock: trio.testing.MockClock,
    torn: bool,
    handler: trio_ws._server.Handler,
    see: Callable[[Peer], Awaitable[None]],
) -> None:
    """With `handler_error` the server lives on."""
    errors = Errors()
    async with serving(handler, torn=torn, handler_error=errors) as served:
        for _ in range(2):
            await see(served.connect())
        await trio.testing.wait_all_tasks_blocked()
    assert [type(error) for _, error in errors.calls] == [SecretError] * 2
    assert all(isinstance(request, trio_ws.WebSocketRequest) for request, _ in errors.calls)


@pytest.mark.checklist("LM07")
async def test_the_others_get_1001_when_an_error_ends_the_server() -> None:
    """A handler's error cancels the other handlers, whose peers see them go away."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        if request.path == "/bad":
            await raise_after(request)
        await echo(request)

    listener = MemoryListener()
    server = trio_ws.WebSocketServer(handler, [listener])
    with pytest.raises(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            other = await Served(server, listener).open()
            bad = await Served(server, listener).open(path=b"/bad")
            await bad.send(frame(TEXT, b"go", mask=True))
            assert await bad.receive_frame() == (CLOSE, INTERNAL_ERROR)
            await bad.aclose()
            await trio.sleep_forever()
    assert await other.receive_frame() == (CLOSE, GOING_AWAY)


async def test_a_peer_that_stalls_does_not_hide_the_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A peer that answers no 1011 holds the error up for `disconnect_timeout` at most."""
    listener = MemoryListener()
    server = trio_ws.WebSocketServer(raise_after, [listener], disconnect_timeout=5)
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            peer = await Served(server, listener).open()
            began = trio.current_time()
            await peer.send(frame(TEXT, b"go", mask=True))
            await trio.sleep_forever()
    assert trio.current_time() - began == 5
    assert type(only(caught.value)) is SecretError


async def test_the_callbacks_own_error_propagates(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`handler_error` may raise, too; that leaves the server."""

    def callback(request: object, error: Exception) -> None:
        raise RuntimeError("callback") from error

    listener = MemoryListener()
    server = trio_ws.WebSocketServer(raise_before, [listener], handler_error=callback)
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await see_500(listener.connect())
            await trio.sleep_forever()
    error = only(caught.value)
    assert type(error) is RuntimeError
    assert type(error.__cause__) is SecretError


@pytest.mark.checklist("SH27")
async def test_a_handler_that_does_not_answer(
    autojump_clock: trio.testing.MockClock, torn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets a 500; the server lives on, and the log says why."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await trio.lowlevel.checkpoint()

    errors = Errors()
    async with serving(handler, torn=torn, handler_error=errors) as served:
        await see_500(served.connect())
        await see_500(served.connect())
    assert errors.calls == []
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "no answer by the handler to '/'" in caplog.text


@pytest.mark.checklist("SH27")
@pytest.mark.parametrize("accepted", [False, True])
async def test_a_cancelled_handler(torn: bool, accepted: bool) -> None:
    """Before it has answered, the connection ends without a 101; after, the peer sees 1001."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        if accepted:
            await request.accept()
        await trio.sleep_forever()

    listener = MemoryListener(torn=torn)
    peer = listener.connect()
    async with trio.open_nursery() as nursery:
        await nursery.start(trio_ws.WebSocketServer(handler, [listener]).run)
        if accepted:
            assert status(await peer.open()) == 101
        else:
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    if accepted:
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
    assert await peer.receive_all() == b""


@pytest.mark.checklist("SH27")
async def test_a_handler_that_times_out(autojump_clock: trio.testing.MockClock) -> None:
    """A handler's own timeout before it has answered is a 500 as well."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        with trio.fail_after(5):
            await trio.sleep_forever()

    errors = Errors()
    async with serving(handler, handler_error=errors) as served:
        await see_500(served.connect())
    assert [type(error) for _, error in errors.calls] == [trio.TooSlowError]


# --- Exceptions that are no errors, and those that are more than errors


@pytest.mark.checklist("CA07")
@pytest.mark.parametrize("callback", [None, Errors()], ids=["alone", "handler_error"])
@pytest.mark.parametrize("accepted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(3), BaseExceptionGroup("g", [SystemExit(3), ValueError()])],
    ids=lambda error: type(error).__name__,
)
async def test_what_ends_the_program_is_not_kept(
    callback: Errors | None, accepted: bool, error: BaseException
) -> None:
    """It goes through the server as it is, `handler_error` or not; the peer gets no 101 or 1001."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        if accepted:
            await request.accept()
        raise error

    listener = MemoryListener()
    peer = listener.connect()
    server = trio_ws.WebSocketServer(handler, [listener], handler_error=callback)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await peer.send(upgrade())
            await trio.sleep_forever()
    # Trio's own nurseries make new groups, so only what is in them is the same.
    assert set(leaves(error)) <= set(leaves(caught.value))
    assert not callback or callback.calls == []
    if accepted:
        assert status(await peer.receive_head()) == 101
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
    assert await peer.receive_all() == b""


@pytest.mark.checklist("CA07")
async def test_a_group_of_a_handler_is_not_mangled() -> None:
    """An ExceptionGroup is one error: the very object goes to the callback."""
    group = ExceptionGroup("group", [ValueError(1), ExceptionGroup("inner", [KeyError(2)])])

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await request.accept()
        raise group

    errors = Errors()
    async with serving(handler, handler_error=errors) as served:
        peer = await served.open()
        assert await peer.receive_frame() == (CLOSE, INTERNAL_ERROR)
    assert [error for _, error in errors.calls] == [group]


async def leave_by_receiving(connection: trio_ws.WebSocketConnection) -> None:
    """Receive until the peer leaves."""
    while True:
        await connection.receive()


async def leave_by_sending(connection: trio_ws.WebSocketConnection) -> None:
    """Send until the peer leaves."""
    await connection.wait_closed()
    await connection.send("hello?")


async def leave_in_groups(connection: trio_ws.WebSocketConnection) -> None:
    """Let several tasks find out, in nurseries in nurseries."""
    async with trio.open_nursery() as outer:
        outer.start_soon(leave_by_receiving, connection)
        outer.start_soon(leave_by_sending, connection)
        async with trio.open_nursery() as inner:
            inner.start_soon(leave_by_receiving, connection)
            await connection.ping()
            await trio.sleep_forever()


@pytest.mark.checklist("LM04")
@pytest.mark.parametrize("leave", [leave_by_receiving, leave_by_sending, leave_in_groups])
@pytest.mark.parametrize("how", ["close", "hang up", "violate"])
async def test_a_peer_that_leaves_is_the_normal_end(
    torn: bool, leave: Callable[[trio_ws.WebSocketConnection], Awaitable[None]], how: str
) -> None:
    """`ConnectionClosed`, in groups or not, that escapes because the peer left is no error."""
    ended = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        try:
            await leave(await request.accept())
        finally:
            ended.append(request)

    errors = Errors()
    async with serving(handler, torn=torn, handler_error=errors) as served:
        peer = await served.open()
        await trio.testing.wait_all_tasks_blocked()
        if how == "close":
            await peer.send(frame(CLOSE, NORMAL, mask=True))
        elif how == "violate":
            await peer.send(frame(TEXT, b"unmasked", mask=False))
        else:
            await peer.aclose()
        await peer.receive_all() if how != "hang up" else None
        await trio.testing.wait_all_tasks_blocked()
        if how == "violate":  # the server waits a moment for the peer's end of TCP
            await peer.aclose()
            await trio.testing.wait_all_tasks_blocked()
        assert ended
    assert errors.calls == []


@pytest.mark.checklist("LM04")
@pytest.mark.parametrize("block", [False, True], ids=["no block", "block"])
async def test_another_connections_end_is_an_error(block: bool) -> None:
    """`ConnectionClosed` of another connection, while the own one is open, is the handler's bug."""
    connections: list[trio_ws.WebSocketConnection] = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        connections.append(await request.accept())
        async with connections[-1] if block and connections[1:] else nullcontext():
            await connections[0].receive()

    errors = Errors()
    async with serving(handler, handler_error=errors) as served:
        first = await served.open()
        second = await served.open()
        await first.aclose()
        assert await second.receive_frame() == (CLOSE, INTERNAL_ERROR)
        await second.aclose()
    assert [type(error).__mro__[1] for _, error in errors.calls] == [trio_ws.ConnectionClosed]


async def test_a_group_with_more_than_closed_connections_is_an_error() -> None:
    """A real error beside `ConnectionClosed` is not lost."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            await connection.receive()
        except trio_ws.ConnectionClosed as closed:
            raise ExceptionGroup("group", [closed, SecretError()]) from None

    errors = Errors()
    async with serving(handler, handler_error=errors) as served:
        peer = await served.open()
        await peer.aclose()
        await trio.testing.wait_all_tasks_blocked()
    ((_, error),) = errors.calls
    assert isinstance(error, ExceptionGroup)


@pytest.mark.parametrize("options", [{}, {"handler_error": Errors()}], ids=["alone", "callback"])
async def test_a_handler_that_returns(torn: bool, options: dict[str, Any]) -> None:
    """The connection is closed with 1000."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await request.accept()

    async with serving(handler, torn=torn, **options) as served:
        peer = await served.open()
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        await peer.send(frame(CLOSE, NORMAL, mask=True))
        assert await peer.receive_all() == b""
