"""Connections that come and go at once: every way in and out."""

from __future__ import annotations

import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

import trio_ws

from .turns import Talk

LARGE: Final = bytes(512 * 1024)


class WrongEnd(Exception):
    """A connection ended otherwise than it should."""


class Visit:
    """What a cycle needs.

    Args:
        seed: of the messages.
        connection: its number.
        where: the server's address and port.
        secure: the server's address and port for TLS, and the context.
        counts: where messages are counted.
        options: of the client.
    """

    def __init__(
        self,
        seed: int,
        connection: int,
        where: tuple[str, int],
        secure: tuple[str, int, ssl.SSLContext],
        counts: Counter[str],
        options: trio_ws.ClientOptions,
    ) -> None:
        self.where = where
        self.secure = secure
        self.talk = Talk(seed, connection, counts)
        self.chance: random.Random = self.talk.chance
        self.options = options

    def path(self, what: str) -> str:
        """The path for what the server is to do."""
        return f"/{what}/{self.talk.connection:x}"

    def open(self, what: str) -> AbstractAsyncContextManager[trio_ws.WebSocketConnection]:
        """A connection for the length of a block."""
        host, port = self.where
        return trio_ws.open_websocket_url(f"ws://{host}:{port}{self.path(what)}", **self.options)

    async def some_turns(self, websocket: trio_ws.WebSocketConnection) -> None:
        """None, one or two turns."""
        for _ in range(self.chance.choice((0, 1, 1, 2))):
            await self.talk.turn(websocket)


async def ends(websocket: trio_ws.WebSocketConnection, code: int) -> None:
    """Receive the end, with this code.

    Raises:
        WrongEnd: it was another one, or there is none.
    """
    try:
        message = await websocket.receive()
    except trio_ws.ConnectionClosed as exc:
        if exc.reason is None or exc.reason.code != code:
            raise WrongEnd(f"{exc.reason} instead of {code}, cause {exc.__cause__!r}") from exc
    else:
        raise WrongEnd(f"{message[:20]!r} instead of the end")


async def by_client(visit: Visit) -> None:
    """The client closes."""
    async with visit.open("talk") as websocket:
        await visit.some_turns(websocket)
        await visit.talk.finish(websocket)


async def by_client_unread(visit: Visit) -> None:
    """The client closes, and answers are on their way to it."""
    async with visit.open("talk") as websocket:
        await visit.talk.ask(websocket, 9)


async def by_tls_client(visit: Visit) -> None:
    """The client closes; TLS."""
    host, port, context = visit.secure
    url = f"wss://{host}:{port}{visit.path('talk')}"
    async with trio_ws.open_websocket_url(url, context, **visit.options) as websocket:
        await visit.some_turns(websocket)
        await visit.talk.finish(websocket)


async def by_server(visit: Visit) -> None:
    """The server closes."""
    async with visit.open("close") as websocket:
        await websocket.send("please")
        await ends(websocket, 4000)


async def by_return(visit: Visit) -> None:
    """The handler returns."""
    async with visit.open("leave") as websocket:
        await ends(websocket, 1000)


async def by_handler_error(visit: Visit) -> None:
    """The handler raises."""
    async with visit.open("raise") as websocket:
        await websocket.send("please")
        await ends(websocket, 1011)


async def by_server_cancellation(visit: Visit) -> None:
    """The handler is cancelled."""
    async with visit.open("cancel") as websocket:
        await websocket.send("please")
        await ends(websocket, 1001)


async def by_cancellation(visit: Visit) -> None:
    """The client is cancelled, in ``receive`` or with half of a large message sent."""
    with trio.CancelScope() as scope:
        async with visit.open(visit.chance.choice(("talk", "sink"))) as websocket:
            if visit.chance.random() < 0.5:
                scope.cancel()
                await websocket.receive()
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(websocket.send, LARGE)
                await trio.lowlevel.checkpoint()
                scope.cancel()
    if not scope.cancelled_caught:
        raise WrongEnd("not cancelled")


async def by_early_cancellation(visit: Visit) -> None:
    """The client is cancelled while it connects, or soon afterwards."""
    with trio.move_on_after(visit.chance.uniform(0, 0.003)):
        async with visit.open("talk") as websocket:
            await websocket.receive()


async def by_reset(visit: Visit) -> None:
    """The client resets the TCP connection."""
    host, port = visit.where
    stream = await trio.open_tcp_stream(host, port)
    async with trio.open_nursery() as nursery:
        websocket = await trio_ws.wrap_client_stream(
            nursery, stream, f"{host}:{port}", visit.path("talk"), **visit.options
        )
        await visit.some_turns(websocket)
        await reset(stream)
        await websocket.aclose()


async def by_reset_in_handshake(visit: Visit) -> None:
    """The client resets the TCP connection within its request."""
    stream = await trio.open_tcp_stream(*visit.where)
    await stream.send_all(b"GET /talk/0 HTTP/1.1\r\nHost: lo"[: visit.chance.randint(0, 30)])
    await reset(stream)


async def by_rejection(visit: Visit) -> None:
    """The server refuses."""
    try:
        async with visit.open("reject"):
            raise WrongEnd("not rejected")
    except trio_ws.ConnectionRejected as exc:
        if (exc.status_code, exc.body) != (403, b"no"):
            raise WrongEnd(repr(exc)) from exc


async def by_http(visit: Visit) -> None:
    """The client asks for no WebSocket."""
    stream = await trio.open_tcp_stream(*visit.where)
    async with stream:
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = bytearray()
        while data := await stream.receive_some():
            answer += data
        if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nwell")):
            raise WrongEnd(f"not the page: {bytes(answer)!r}")


async def reset(stream: trio.SocketStream) -> None:
    """Close a socket with a reset (RFC 9293 section 3.5), instead of an end."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


# Of a hundred cycles so many go like this.
CYCLES: Final[dict[Callable[[Visit], Awaitable[None]], int]] = {
    by_client: 40,
    by_client_unread: 4,
    by_tls_client: 2,
    by_server: 12,
    by_return: 6,
    by_handler_error: 3,
    by_server_cancellation: 5,
    by_cancellation: 5,
    by_early_cancellation: 4,
    by_reset: 9,
    by_reset_in_handshake: 4,
    by_rejection: 3,
    by_http: 3,
}
ORDER: Final = [way for way, share in CYCLES.items() for _ in range(share)]
assert len(ORDER) == 100


def way_of(number: int) -> Callable[[Visit], Awaitable[None]]:
    """How the cycle with this number goes; any hundred in a row are all of them."""
    return ORDER[number * 37 % 100]
