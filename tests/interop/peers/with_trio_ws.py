"""trio_ws itself in both roles, as peers.common wants it.

The server also is a small web site for the browsers (see `_SITE`), and a page can tell a fact
through it: each text message on the path /report is announced as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio

import trio_ws
from tests.interop.cases import CASES, SUBPROTOCOL, able
from tests.interop.compression import SETUPS, Deflate
from tests.interop.peers import common

_PAGES = Path(__file__).parents[1] / "pages"
_SITE = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/frame.html": ("frame.html", "text/html; charset=utf-8"),
}


class _Connection:
    """A trio_ws connection as peers.common wants it."""

    def __init__(self, websocket: trio_ws.WebSocketConnection) -> None:
        self.websocket = websocket
        self.subprotocol = websocket.subprotocol
        parts = []
        for name, parameters in websocket.extensions:
            parts.append(name)
            parts += [key if value is None else f"{key}={value}" for key, value in parameters]
        self.extensions = "; ".join(parts)

    async def send(self, message: str | bytes, *, compress: bool | None = None) -> None:
        await self.websocket.send(message, compress=compress)

    async def send_fragments(self, pieces: list[bytes], *, text: bool) -> None:
        raise NotImplementedError("trio_ws sends one frame per message")

    async def receive(self) -> str | bytes | None:
        try:
            return await self.websocket.receive()
        except trio_ws.ConnectionClosed:
            return None

    async def ping(self, payload: bytes) -> None:
        await self.websocket.ping(payload)

    async def pong(self, payload: bytes) -> None:
        await self.websocket.pong(payload)

    async def close(self, code: int | None, reason: str) -> None:
        assert code is not None
        await self.websocket.aclose(code, reason or None)

    async def abort(self) -> None:
        raise NotImplementedError("trio_ws says goodbye before it leaves")

    def closed(self) -> tuple[int, str]:
        reason = self.websocket.closed
        assert reason is not None
        return reason.code, reason.reason or ""

    def traffic(self) -> tuple[int, int]:
        statistics = self.websocket.statistics()
        return statistics.bytes_sent, statistics.bytes_received


def _compression(deflate: Deflate | None) -> trio_ws.PerMessageDeflate | None:
    if deflate is None:
        return None
    wishes: dict[str, Any] = dict(deflate.wishes())
    return trio_ws.PerMessageDeflate(**wishes)


async def _handle(request: trio_ws.WebSocketRequest) -> None:
    if common.rejects(request.path):
        await request.reject(403, body=b"no\n")
        return
    offered = SUBPROTOCOL in request.proposed_subprotocols
    async with await request.accept(subprotocol=SUBPROTOCOL if offered else None) as websocket:
        if request.path == "/report":
            async for fact in websocket:
                common.announce(json.loads(fact))
        else:
            await common.serve_connection(_Connection(websocket), request.path)


async def _site(request: trio_ws.HTTPRequest, *, bases: dict[str, str]) -> trio_ws.HTTPResponse:
    """The web site: the pages, the cases of a browser, and a place for errors.

    `bases` are the URLs of the setups.
    """
    url = urlsplit(request.path)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    if url.path in _SITE:
        name, content_type = _SITE[url.path]
        body = (_PAGES / name).read_bytes()
    elif url.path == "/cases":
        content_type = "application/json"
        cases = [
            {**case.to_json(), "base": bases[case.compression]}
            for case in CASES.values()
            if able(query["client"], "trio_ws", case)
        ]
        body = json.dumps(cases).encode()
    elif url.path == "/error":
        content_type, body = "text/plain", b""
        common.announce({"page error": query["text"]})
    else:
        return trio_ws.HTTPResponse(404)
    return trio_ws.HTTPResponse(200, [("Content-Type", content_type)], body)


def _options(arguments: argparse.Namespace, setup: str) -> dict[str, Any]:
    options: dict[str, Any] = {"compression": _compression(SETUPS[setup].ours)}
    # The port of a setup is of another origin than the page that uses it.
    if setup or arguments.any_origin:
        options["origins"] = trio_ws.any_origin
    return options


async def _serve_unix(arguments: argparse.Namespace, nursery: trio.Nursery) -> None:
    for setup in SETUPS:
        listener = await trio_ws.open_unix_listener(arguments.unix + setup)
        server = trio_ws.WebSocketServer(_handle, [listener], **_options(arguments, setup))
        await nursery.start(server.run)
    common.announce({"ports": {"": 0}})


async def _serve_tcp(arguments: argparse.Namespace, nursery: trio.Nursery) -> None:
    context = common.server_context(arguments)
    scheme = "ws" if context is None else "wss"
    bases: dict[str, str] = {}
    ports: dict[str, int] = {}
    for setup in SETUPS:
        options = _options(arguments, setup)
        options["http_handler"] = partial(_site, bases=bases)
        serving = partial(trio_ws.serve_websocket, _handle, common.HOST, 0, context, **options)
        server = await nursery.start(serving)
        ports[setup] = server.port
        bases[setup] = f"{scheme}://{common.HOST}:{server.port}"
    common.announce({"ports": ports})


async def serve(arguments: argparse.Namespace) -> None:
    """An echo server for each setup, on ports of its choice."""
    async with trio.open_nursery() as nursery:
        if arguments.unix:
            await _serve_unix(arguments, nursery)
        else:
            await _serve_tcp(arguments, nursery)


@asynccontextmanager
async def connect(link: common.Link) -> AsyncIterator[common.Connection]:
    """Connect; leaving the context closes what the case has not closed."""
    headers = [("Origin", link.origin)] if link.origin else None
    opening = trio_ws.open_websocket_url(
        link.url,
        link.ssl,
        subprotocols=link.subprotocols,
        extra_headers=headers,
        compression=_compression(link.setup.ours),
    )
    try:
        async with opening as websocket:
            yield _Connection(websocket)
    except trio_ws.ConnectionRejected as error:
        raise common.Rejected(error.status_code) from error


if __name__ == "__main__":
    common.main(trio.run, serve, connect)
