"""Servers: peers that must not hurt anybody else, and how many there may be."""

import errno
import gc
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    CLOSE,
    GOING_AWAY,
    NORMAL,
    TEXT,
    MemoryListener,
    Peer,
    Served,
    descriptors,
    echo,
    frame,
    nothing_left,
    serving,
    status,
    tasks,
    upgrade,
)


@pytest.fixture(params=["whole", "torn"])
def torn(request: pytest.FixtureRequest) -> bool:
    """Whether the library receives one byte at a time."""
    return bool(request.param == "torn")


# --- A bad connection is nobody else's problem


async def hang_up_at_once(peer: Peer) -> None:
    """Connect and leave."""
    await peer.aclose()


async def hang_up_in_the_request(peer: Peer) -> None:
    """Leave within the head."""
    await peer.send(upgrade()[:30])
    await peer.aclose()


async def garbage(peer: Peer) -> None:
    """Send what is no HTTP."""
    await peer.send(b"\x00\xff" * 100 + b"\r\n\r\n")
    assert b"400" in await peer.receive_all()


async def leave_before_the_answer(peer: Peer) -> None:
    """Send a request and leave."""
    await peer.send(upgrade())
    await peer.aclose()


async def leave_after_the_answer(peer: Peer) -> None:
    """Leave once accepted."""
    await peer.open()
    await peer.aclose()


async def leave_within_a_frame(peer: Peer) -> None:
    """Leave within a frame."""
    await peer.open()
    await peer.send(frame(TEXT, b"hello", mask=True)[:4])
    await peer.aclose()


async def break_the_protocol(peer: Peer) -> None:
    """Send a frame that is not masked."""
    await peer.open()
    await peer.send(frame(TEXT, b"hello", mask=False))
    assert (await peer.receive_frame())[0] == CLOSE
    await peer.aclose()


async def close_and_leave(peer: Peer) -> None:
    """Say Close, and do not wait for the answer."""
    await peer.open()
    await peer.send(frame(CLOSE, NORMAL, mask=True))
    await peer.aclose()


async def impatient(request: trio_ws.WebSocketRequest) -> None:
    """A handler that lets `ConnectionClosed` out."""
    connection = await request.accept()
    while True:
        await connection.send(await connection.receive())


BAD = [
    hang_up_at_once,
    hang_up_in_the_request,
    garbage,
    leave_before_the_answer,
    leave_after_the_answer,
    leave_within_a_frame,
    break_the_protocol,
    close_and_leave,
]


@pytest.mark.checklist("LM04")
@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_connection_hurts_nobody(
    torn: bool, bad: Callable[[Peer], Awaitable[None]]
) -> None:
    """Others go on, new ones are accepted; a handler may let `ConnectionClosed` out."""
    async with serving(impatient, torn=torn) as served:
        before = await served.open()
        await bad(served.connect())
        await trio.testing.wait_all_tasks_blocked()
        await before.send(frame(TEXT, b"hello", mask=True))
        assert await before.receive_frame() == (TEXT, b"hello")
        await served.check()


@pytest.mark.checklist("LM04")
async def test_resets_over_real_sockets() -> None:
    """The kernel's errors in each phase end one connection each, and leave nothing."""
    async with nothing_left(), trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(
            trio_ws.serve_websocket, impatient, "127.0.0.1", 0, None
        )
        whole = upgrade() + frame(TEXT, b"x" * 100, mask=True)
        for size in (0, 1, 40, len(upgrade()), len(upgrade()) + 5, len(whole)):
            for wait in (False, True):
                stream = await trio.open_tcp_stream("127.0.0.1", server.port)
                await stream.send_all(whole[:size])
                if wait and size >= len(upgrade()):
                    await stream.receive_some()
                linger = bytes([1, 0, 0, 0, 0, 0, 0, 0])
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                await stream.aclose()
        async with trio_ws.open_websocket("127.0.0.1", server.port, "/", use_ssl=False) as good:
            await good.send("hello")
            assert await good.receive() == "hello"
        await server.aclose()


@pytest.mark.checklist("LM04")
@pytest.mark.parametrize("max_connections", [None, 5])
async def test_accepting_goes_on_after_emfile(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    max_connections: int | None,
) -> None:
    """A process out of descriptors waits and tries again; it says so once a minute."""
    async with serving(echo, max_connections=max_connections) as served:
        for _ in range(20):
            for _ in range(40):  # for 4 seconds
                served.listener.fail(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            await served.check()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert os.strerror(errno.EMFILE) in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.checklist("LM05")
async def test_many_connections_leave_nothing() -> None:
    """After 250 cycles descriptors, tasks and the collector's objects are back at the start."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve_websocket, echo, "127.0.0.1", 0, None)
        server: trio_ws.WebSocketServer = await nursery.start(serve)

        async def cycles(count: int) -> tuple[int, int, int]:
            for number in range(count):
                async with trio_ws.open_websocket(
                    "127.0.0.1", server.port, "/", use_ssl=False
                ) as connection:
                    await connection.send(f"{number}")
                    assert await connection.receive() == f"{number}"
            while tasks() > before:
                await trio.lowlevel.checkpoint()
            gc.collect()
            return tasks(), descriptors(), len(gc.get_objects())

        before = tasks()
        warm = await cycles(20)
        after = await cycles(250)
        assert after[:2] == warm[:2]
        assert after[2] - warm[2] < 50
        await server.aclose()


# --- max_connections


@pytest.mark.checklist("SH30")
@pytest.mark.parametrize("end", ["close", "hang up", "garbage"])
async def test_connections_beyond_the_maximum_wait(end: str) -> None:
    """The next one is served when one ends, in whatever way; the others do not notice."""
    async with serving(echo, max_connections=2) as served:
        first, other = await served.open(), await served.open()
        third = served.connect()
        fourth = served.connect()
        await third.send(upgrade())
        await fourth.send(b"nonsense\r\n\r\n" if end == "garbage" else upgrade())
        await trio.testing.wait_all_tasks_blocked()
        await other.send(frame(TEXT, b"hello", mask=True))
        assert await other.receive_frame() == (TEXT, b"hello")
        if end == "close":
            await first.send(frame(CLOSE, NORMAL, mask=True))
            assert (await first.receive_frame())[0] == CLOSE
        await first.aclose()
        assert status(await third.receive_head()) == 101
        await third.aclose()
        assert status(await fourth.receive_head()) == (400 if end == "garbage" else 101)
        await fourth.aclose()
        await served.check()


@pytest.mark.checklist("SH30")
async def test_each_listener_shares_the_maximum() -> None:
    """A listener that nobody connects to takes no capacity away from another."""
    listeners = [MemoryListener() for _ in range(3)]
    server = trio_ws.WebSocketServer(echo, listeners, max_connections=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        for listener in reversed(listeners):
            await Served(server, listener).check()
        first = await Served(server, listeners[0]).open()
        waiting = listeners[1].connect()
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.aclose)
        assert await waiting.receive_all() == b""
        assert await first.receive_frame() == (CLOSE, GOING_AWAY)
        await first.aclose()
