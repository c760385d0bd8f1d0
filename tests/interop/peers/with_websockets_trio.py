"""The `websockets` package, its Trio side, as a peer."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.trio.client import connect as websockets_connect
from websockets.trio.server import serve as websockets_serve

from tests.interop.cases import SUBPROTOCOL
from tests.interop.peers import common


class _Connection:
    """A connection of `websockets` as peers.common wants it."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.subprotocol: str | None = websocket.subprotocol

    async def send(self, message: str | bytes) -> None:
        await self.websocket.send(message)

    async def send_fragments(self, pieces: list[bytes], *, text: bool) -> None:
        async def frames() -> AsyncIterator[bytes]:
            for index, piece in enumerate(pieces):
                yield piece
                if index == 0:
                    await self.ping(common.BETWEEN)

        await self.websocket.send(frames(), text=text)

    async def receive(self) -> str | bytes | None:
        try:
            message: str | bytes = await self.websocket.recv()
        except ConnectionClosed:
            return None
        return message

    async def ping(self, payload: bytes) -> None:
        await (await self.websocket.ping(payload)).wait()

    async def pong(self, payload: bytes) -> None:
        await self.websocket.pong(payload)

    async def close(self, code: int | None, reason: str) -> None:
        assert code is not None
        await self.websocket.aclose(code, reason)

    async def abort(self) -> None:
        await trio.aclose_forcefully(self.websocket.stream)
        await self.websocket.wait_closed()

    def closed(self) -> tuple[int, str]:
        return self.websocket.close_code, self.websocket.close_reason


async def serve(arguments: argparse.Namespace) -> None:
    """An echo server on a port of its choice."""

    async def handler(websocket: Any) -> None:
        await common.serve_connection(_Connection(websocket), websocket.request.path)

    def process_request(websocket: Any, request: Any) -> Any:
        return websocket.respond(403, "no\n") if common.rejects(request.path) else None

    def select_subprotocol(_: Any, offered: list[str]) -> str | None:
        return SUBPROTOCOL if SUBPROTOCOL in offered else None

    listeners = await trio.open_tcp_listeners(0, host=common.HOST)
    common.announce({"port": listeners[0].socket.getsockname()[1]})
    options: dict[str, Any] = {
        "listeners": listeners,
        "ssl": common.server_context(arguments),
        "process_request": process_request,
        "select_subprotocol": select_subprotocol,
    }
    await websockets_serve(handler, **options)


@asynccontextmanager
async def connect(link: common.Link) -> AsyncIterator[common.Connection]:
    """Connect; the caller closes."""
    options: dict[str, Any] = {
        "subprotocols": link.subprotocols,
        "origin": link.origin,
        "ssl": link.ssl,
        "proxy": None,
    }
    try:
        async with websockets_connect(link.url, **options) as websocket:
            yield _Connection(websocket)
    except InvalidStatus as error:
        raise common.Rejected(error.response.status_code) from error


if __name__ == "__main__":
    common.main(trio.run, serve, connect)
