"""The `websockets` package, its Trio side, as a peer."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.trio.client import connect as websockets_connect
from websockets.trio.server import serve as websockets_serve

from tests.interop.cases import SUBPROTOCOL
from tests.interop.compression import SETUPS
from tests.interop.peers import common, websockets_deflate


class _Connection:
    """A connection of `websockets` as peers.common wants it."""

    def __init__(self, websocket: Any, *, client: bool) -> None:
        self.websocket = websocket
        self.subprotocol: str | None = websocket.subprotocol
        self.extensions = websockets_deflate.extensions(websocket, client=client)

    async def send(self, message: str | bytes, *, compress: bool | None = None) -> None:
        assert compress is None, "websockets compresses every message"
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

    def traffic(self) -> None:
        return None


async def serve(arguments: argparse.Namespace) -> None:
    """An echo server for each setup, on ports of its choice."""

    async def handler(websocket: Any) -> None:
        await common.serve_connection(_Connection(websocket, client=False), websocket.request.path)

    def process_request(websocket: Any, request: Any) -> Any:
        return websocket.respond(403, "no\n") if common.rejects(request.path) else None

    def select_subprotocol(_: Any, offered: list[str]) -> str | None:
        return SUBPROTOCOL if SUBPROTOCOL in offered else None

    options: dict[str, Any] = {
        "ssl": common.server_context(arguments),
        "process_request": process_request,
        "select_subprotocol": select_subprotocol,
    }
    ports = {}
    async with trio.open_nursery() as nursery:
        for name, setup in SETUPS.items():
            listeners = await trio.open_tcp_listeners(0, host=common.HOST)
            ports[name] = listeners[0].socket.getsockname()[1]
            compression = websockets_deflate.options(setup.theirs, client=False)
            serving = partial(websockets_serve, handler, None, listeners=listeners)
            nursery.start_soon(partial(serving, **options, **compression))
        common.announce({"ports": ports})


@asynccontextmanager
async def connect(link: common.Link) -> AsyncIterator[common.Connection]:
    """Connect; the caller closes."""
    options: dict[str, Any] = {
        "subprotocols": link.subprotocols,
        "origin": link.origin,
        "ssl": link.ssl,
        "proxy": None,
        **websockets_deflate.options(link.setup.theirs, client=True),
    }
    try:
        async with websockets_connect(link.url, **options) as websocket:
            yield _Connection(websocket, client=True)
    except InvalidStatus as error:
        raise common.Rejected(error.response.status_code) from error


if __name__ == "__main__":
    common.main(trio.run, serve, connect)
