"""Shutting a server down: gracefully, in time, and without leaving anybody behind."""

import itertools
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    BINARY,
    CLOSE,
    GOING_AWAY,
    TEXT,
    MemoryListener,
    Peer,
    Served,
    cancelled_after,
    echo,
    frame,
    nothing_left,
    reserved_port,
    serving,
    status,
    tasks,
    upgrade,
)


@pytest.mark.checklist("LM08")
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
async def test_everybody_gets_1001(torn: bool) -> None:
    """All clients are told, the handlers end, `run` returns, and the listeners are closed."""
    listener = MemoryListener(torn=torn)
    server = trio_ws.WebSocketServer(echo, [listener])
    before = tasks()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        peers = [await Served(server, listener).open() for _ in range(5)]
        async with trio.open_nursery() as closing:
            closing.start_soon(server.aclose)
            for peer in peers:
                assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
                await peer.send(frame(CLOSE, GOING_AWAY, mask=True))
                assert await peer.receive_all() == b""
        assert listener.closed
    assert tasks() == before


@pytest.mark.parametrize(
    ("code", "reason"), [(1001, None), (1012, "restarting"), (1000, ""), (4999, "\xfc" * 61)]
)
async def test_the_code_and_the_reason(code: int, reason: str | None) -> None:
    """They are the caller's."""
    async with serving(echo) as served:
        peer = await served.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.aclose, code, reason)
            payload = code.to_bytes(2, "big") + (reason or "").encode()
            assert await peer.receive_frame() == (CLOSE, payload)
            await peer.aclose()


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, None), (1006, None), (999, None), (5000, None), (1000, "x" * 124)]
)
async def test_a_wrong_code_or_reason(code: int, reason: str | None) -> None:
    """It is a ValueError, and the server goes on."""
    async with serving(echo) as served:
        with pytest.raises(ValueError):
            await served.server.aclose(code, reason)
        await served.open()


async def sleeping(request: trio_ws.WebSocketRequest) -> None:
    """A handler that does not care."""
    await request.accept()
    await trio.sleep_forever()


async def undecided(request: trio_ws.WebSocketRequest) -> None:
    """A handler that never answers."""
    await trio.sleep_forever()


async def polite(request: trio_ws.WebSocketRequest) -> None:
    """A handler that ends when it can, while its peer answers no Close."""
    connection = await request.accept()
    await connection.wait_closed()


@pytest.mark.checklist("LM08")
@pytest.mark.parametrize("handler", [sleeping, undecided, polite])
@pytest.mark.parametrize("timeout", [0, 5], ids=str)
async def test_the_deadline(
    autojump_clock: trio.testing.MockClock,
    handler: Callable[[trio_ws.WebSocketRequest], Awaitable[None]],
    timeout: float,
) -> None:
    """After `disconnect_timeout` seconds the handlers that are left are cancelled."""
    listener = MemoryListener()
    server = trio_ws.WebSocketServer(handler, [listener], disconnect_timeout=timeout)
    peer = listener.connect()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await peer.send(upgrade())
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await server.aclose()
        assert trio.current_time() - began == pytest.approx(timeout, abs=1)
    if handler is not undecided:
        assert status(await peer.receive_head()) == 101
        if timeout:
            assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
    assert await peer.receive_all() == b""


@pytest.mark.checklist("LM08")
async def test_a_request_that_is_not_complete_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """There is nobody to say goodbye to."""
    async with serving(echo) as served:
        silent, slow = served.connect(), served.connect()
        await slow.send(upgrade()[:-2])
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await served.server.aclose()
        assert trio.current_time() == began
        assert await silent.receive_all() == await slow.receive_all() == b""


@pytest.mark.checklist("LM08")
async def test_a_client_that_is_accepted_during_the_shutdown() -> None:
    """It gets its Close at once, and the handler its end."""
    decided = trio.Event()

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await decided.wait()
        connection = await request.accept()
        with pytest.raises(trio.ClosedResourceError):
            await connection.receive()

    async with serving(handler) as served:
        peer = served.connect()
        await peer.send(upgrade())
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.aclose, 1012, "later")
            await trio.testing.wait_all_tasks_blocked()
            decided.set()
            assert status(await peer.receive_head()) == 101
            assert await peer.receive_frame() == (CLOSE, (1012).to_bytes(2, "big") + b"later")
            await peer.aclose()


@pytest.mark.checklist("LM08")
async def test_a_client_that_arrives_at_the_moment_of_the_shutdown() -> None:
    """Accepted but not served yet, it is closed, and `run` returns."""

    class Closing(MemoryListener):
        async def accept(self) -> trio.abc.Stream:
            stream = await super().accept()
            nursery.start_soon(server.aclose)  # begins just before, or just after, the handler
            return stream

    for _ in range(20):
        listener = Closing()
        server = trio_ws.WebSocketServer(echo, [listener])
        peer = listener.connect()
        await peer.send(upgrade()[:-1])
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
        assert await peer.receive_all() == b""
        assert listener.closed


@pytest.mark.checklist("LM08")
async def test_messages_before_the_close_are_delivered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What a handler has sent gets out before the Close, to a slow reader, too."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send(b"x" * 100)
        await connection.receive()

    left, right = trio.testing.lockstep_stream_pair()
    async with serving(handler) as served:
        served.listener.deliver(left)
        peer = Peer(right)
        assert status(await peer.open()) == 101
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.aclose)
            await trio.sleep(5)
            assert await peer.receive_frame() == (BINARY, b"x" * 100)
            assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
            await peer.aclose()


async def test_aclose_is_a_checkpoint_and_idempotent() -> None:
    """Each call is a checkpoint, the second one, too, and one of a server that never ran."""
    listener = MemoryListener()
    server = trio_ws.WebSocketServer(echo, [listener])
    with trio.testing.assert_checkpoints():
        await server.aclose()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)  # returns at once
    assert listener.closed
    async with serving(echo) as served:
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await served.server.aclose()


async def test_two_tasks_may_close() -> None:
    """Both calls return when all has ended."""
    async with serving(echo) as served:
        peer = await served.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.aclose)
            nursery.start_soon(served.server.aclose)
            assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
            await peer.aclose()


async def test_the_port_is_free_afterwards() -> None:
    """When `aclose` returns, another server can listen on the same port."""
    async with nothing_left(), trio.open_nursery() as nursery:
        with reserved_port(to_listen=True) as port:
            for _ in range(3):
                serve = partial(trio_ws.serve_websocket, echo, "127.0.0.1", port, None)
                server: trio_ws.WebSocketServer = await nursery.start(serve)
                await server.aclose()
            with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
                sock.connect(("127.0.0.1", port))


@pytest.mark.checklist("CA04", "LM08")
async def test_cancelling_aclose_anywhere(autojump_clock: trio.testing.MockClock) -> None:
    """The handlers are cancelled at once, and `run` returns."""
    took: list[float] = []
    for step in itertools.count(1):
        listener = MemoryListener()
        server = trio_ws.WebSocketServer(sleeping, [listener], disconnect_timeout=5)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            peer = await Served(server, listener).open()
            began = trio.current_time()
            with cancelled_after(step) as scope:
                await server.aclose()
        if not scope.cancel_called:
            break
        took.append(trio.current_time() - began)
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
        assert listener.closed
    assert took[0] <= 0.5
    assert took[-1] <= 5.5


async def test_a_handler_may_shut_the_server_down(autojump_clock: trio.testing.MockClock) -> None:
    """It waits for itself, so it is cancelled at the deadline; nothing hangs."""
    outcomes: list[str] = []
    listener = MemoryListener()

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await request.accept()
        try:
            await server.aclose()
        except trio.Cancelled:
            outcomes.append("cancelled")
            raise

    server = trio_ws.WebSocketServer(handler, [listener], disconnect_timeout=5)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        peer = await Served(server, listener).open()
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
    assert outcomes == ["cancelled"]


async def test_a_shutdown_in_the_handler_nursery() -> None:
    """The server's task may itself live in the nursery of the handlers."""
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server = trio_ws.WebSocketServer(echo, [listener], handler_nursery=nursery)
        await nursery.start(server.run)
        peer = await Served(server, listener).open()
        await peer.send(frame(TEXT, b"hello", mask=True))
        assert await peer.receive_frame() == (TEXT, b"hello")
        nursery.start_soon(server.aclose)
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
        await peer.aclose()
    assert listener.closed


@pytest.mark.checklist("CA04", "LM08")
async def test_cancelling_the_server_anywhere() -> None:
    """At each step of a busy server its cancellation leaves no task, and only whole frames."""
    for step in range(1, 20):
        listener = MemoryListener()
        server = trio_ws.WebSocketServer(echo, [listener])
        async with nothing_left(), trio.open_nursery() as nursery:
            await nursery.start(server.run)
            peer = listener.connect()
            await peer.send(upgrade() + frame(TEXT, b"one", mask=True))
            for _ in range(step):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        data = await peer.receive_all()
        if data:
            assert data.startswith(b"HTTP/1.1 101 ")
            assert data.endswith(frame(CLOSE, GOING_AWAY, mask=False))
