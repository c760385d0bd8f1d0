"""aiohttp as a peer."""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from tests.interop.cases import SUBPROTOCOL
from tests.interop.compression import NAME, SETUPS, Deflate
from tests.interop.peers import common


class _Connection:
    """A WebSocket of aiohttp as peers.common wants it.

    `autoping` is off: with it nothing tells that a pong arrived. So pings are answered here.
    """

    def __init__(self, websocket: Any, subprotocol: str | None, transport: Any) -> None:
        self.websocket = websocket
        self.subprotocol = subprotocol
        own = "client" if transport is None else "server"
        bits = websocket.compress  # of its own window; 0 or False is no compression
        self.extensions = f"{NAME}; {own}_max_window_bits={int(bits)}" if bits else ""
        self.transport = transport
        self.messages: deque[str | bytes] = deque()
        self.pongs: set[bytes] = set()
        self.close_reason = ""
        self.over = False

    async def send(self, message: str | bytes, *, compress: bool | None = None) -> None:
        assert compress is None, "aiohttp compresses every message"
        if isinstance(message, str):
            await self.websocket.send_str(message)
        else:
            await self.websocket.send_bytes(message)

    async def send_fragments(self, pieces: list[bytes], *, text: bool) -> None:
        raise NotImplementedError("aiohttp sends one frame per message")

    async def _read(self) -> None:
        event = await self.websocket.receive()
        if event.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            self.messages.append(event.data)
        elif event.type is WSMsgType.PING:
            await self.websocket.pong(event.data)
        elif event.type is WSMsgType.PONG:
            self.pongs.add(bytes(event.data))
        else:  # CLOSE carries the peer's reason; CLOSING, CLOSED and ERROR carry none
            self.close_reason = event.extra or "" if event.type is WSMsgType.CLOSE else ""
            self.over = True

    async def receive(self) -> str | bytes | None:
        while not self.messages and not self.over:
            await self._read()
        return self.messages.popleft() if self.messages else None

    async def ping(self, payload: bytes) -> None:
        await self.websocket.ping(payload)
        while payload not in self.pongs and not self.over:
            await self._read()

    async def pong(self, payload: bytes) -> None:
        await self.websocket.pong(payload)

    async def close(self, code: int | None, reason: str) -> None:
        assert code is not None
        await self.websocket.close(code=code, message=reason.encode())
        self.over = True

    async def abort(self) -> None:
        self.transport.abort()

    def closed(self) -> tuple[int, str]:
        code = self.websocket.close_code
        return code or 1005, self.close_reason  # it reports an empty Close frame as code 0

    def traffic(self) -> None:
        return None


async def _handle(request: web.Request, *, compress: bool) -> web.StreamResponse:
    if common.rejects(request.path_qs):
        return web.Response(status=403, text="no\n")
    websocket = web.WebSocketResponse(autoping=False, protocols=[SUBPROTOCOL], compress=compress)
    await websocket.prepare(request)
    connection = _Connection(websocket, websocket.ws_protocol, request.transport)
    await common.serve_connection(connection, request.path_qs)
    return websocket


async def _start(context: ssl.SSLContext | None, deflate: Deflate | None) -> int:
    app = web.Application()
    app.router.add_get("/{path:.*}", partial(_handle, compress=deflate is not None))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, common.HOST, 0, ssl_context=context)
    await site.start()
    port: int = runner.addresses[0][1]
    return port


async def serve(arguments: argparse.Namespace) -> None:
    """An echo server for each setup, on ports of its choice."""
    context = common.server_context(arguments)
    ports = {name: await _start(context, setup.theirs) for name, setup in SETUPS.items()}
    common.announce({"ports": ports})
    await asyncio.Event().wait()


@asynccontextmanager
async def connect(link: common.Link) -> AsyncIterator[common.Connection]:
    """Connect; the caller closes."""
    deflate = link.setup.theirs
    options: dict[str, Any] = {
        "compress": 0 if deflate is None else deflate.server_max_window_bits or 15,
        "protocols": link.subprotocols or (),
        "origin": link.origin,
        "ssl": link.ssl or True,
        "autoping": False,
    }
    async with aiohttp.ClientSession() as session:
        try:
            websocket = await session.ws_connect(link.url, **options)
        except aiohttp.WSServerHandshakeError as error:
            raise common.Rejected(error.status) from error
        async with websocket:
            yield _Connection(websocket, websocket.protocol, None)


def run(main: common.Main) -> None:
    """Run in asyncio."""
    asyncio.run(main())


if __name__ == "__main__":
    common.main(run, serve, connect)
