"""Servers on real sockets: requests that come at once, late, in pieces, or not as they should."""

import errno
import os
import socket

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
    echo,
    frame,
    nothing_left,
    status,
    upgrade,
)

WHOLE = upgrade()
EARLY = WHOLE + frame(TEXT, b"early", mask=True)


def connect(server: trio_ws.WebSocketServer, data: bytes = b"") -> Peer:
    """A raw client, which has sent `data` before the server looks at it."""
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.sendall(data)
    sock.setblocking(False)
    return Peer(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))


async def serve(nursery: trio.Nursery) -> trio_ws.WebSocketServer:
    """An echo server."""
    server: trio_ws.WebSocketServer = await nursery.start(
        trio_ws.serve_websocket, echo, "127.0.0.1", 0, None
    )
    return server


@pytest.mark.parametrize(
    "pieces",
    [[WHOLE], [WHOLE[:40], WHOLE[40:]], [b"", WHOLE], [EARLY], [EARLY[:-3], EARLY[-3:]]],
    ids=["at once", "in two", "late", "with a frame", "within a frame"],
)
async def test_when_a_request_comes(pieces: list[bytes]) -> None:
    """What has arrived when a client is accepted is used, and what comes later is waited for."""
    async with nothing_left(), trio.open_nursery() as nursery:
        server = await serve(nursery)
        peer = connect(server, pieces[0])
        for piece in pieces[1:]:
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(piece)
        assert status(await peer.receive_head()) == 101
        if b"".join(pieces) != EARLY:
            await peer.send(frame(TEXT, b"early", mask=True))
        assert await peer.receive_frame() == (TEXT, b"early")
        await peer.send(frame(CLOSE, NORMAL, mask=True))
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        assert await peer.receive_all() == b""
        await peer.aclose()
        await server.aclose()


@pytest.mark.checklist("SH25")
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
async def test_a_bad_request_at_once(torn: bool) -> None:
    """It is refused like one that was waited for, and what follows it is not looked at."""
    bad = WHOLE.replace(b"Host:", b"Host :") + WHOLE
    async with nothing_left(), trio.open_nursery() as nursery:
        server = await serve(nursery)
        peer = connect(server, bad[:40] if torn else bad)
        if torn:
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(bad[40:])
        assert status(await peer.receive_head()) == 400
        assert b"HTTP" not in await peer.receive_all()
        await peer.aclose()
        await server.aclose()


@pytest.mark.checklist("LM08")
async def test_the_server_is_shut_down_with_a_request_at_once() -> None:
    """A connection with a nursery for all of them gets its Close frame like any other."""
    async with nothing_left(), trio.open_nursery() as nursery:
        server = await serve(nursery)
        peer, silent = connect(server, WHOLE), connect(server)
        assert status(await peer.receive_head()) == 101
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.aclose)
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
        assert await silent.receive_all() == b""
        await peer.aclose()
        await silent.aclose()


async def test_an_error_of_a_listener() -> None:
    """One that is no shortage, which would pass, ends the server."""
    listener = MemoryListener()
    server = trio_ws.WebSocketServer(echo, [listener])
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            listener.fail(OSError(errno.EINVAL, os.strerror(errno.EINVAL)))
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, OSError)
    assert error.errno == errno.EINVAL
    assert listener.closed
