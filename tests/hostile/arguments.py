"""CR, LF and their like in every string that the public API takes and sends.

The program passes on what a stranger has typed. It must come back as an error before a byte is
sent, or leave as something that no parser takes for a line of its own.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

import trio_ws
from tests.protocol import wire
from tests.support.servers import header

from .arena import Arena
from .raw import Raw
from .table import Attack, add, attack

_LINE = "Injected: 1"
# The last two are CR and LF for whoever keeps only the low bytes of characters.
BREAKS = ("\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", "\u010d\u010a")

Open = Callable[[str, int], Any]


@asynccontextmanager
async def _wrapped(port: int, host: str, resource: str) -> AsyncIterator[None]:
    """A connection over a stream that the program has opened itself."""
    error: Exception | None = None
    async with trio.open_nursery() as nursery:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            try:
                await trio_ws.wrap_client_stream(nursery, stream, host, resource)
            except Exception as exc:
                error = exc
    if error is not None:
        raise error
    yield


# What the stranger has a say in, of a client: the call, with the text and the port.
CLIENT_ARGUMENTS: dict[str, Open] = {
    "the URL's path": lambda text, port: trio_ws.open_websocket_url(
        f"ws://127.0.0.1:{port}/{text}"
    ),
    "the URL's query": lambda text, port: trio_ws.open_websocket_url(
        f"ws://127.0.0.1:{port}/?{text}"
    ),
    "the URL's host": lambda text, port: trio_ws.open_websocket_url(f"ws://127.0.0.1{text}:{port}"),
    "the URL's port": lambda text, port: trio_ws.open_websocket_url(f"ws://127.0.0.1:{port}{text}"),
    "the URL's user": lambda text, port: trio_ws.open_websocket_url(
        f"ws://user{text}@127.0.0.1:{port}/"
    ),
    "the URL's beginning": lambda text, port: trio_ws.open_websocket_url(
        f"{text}ws://127.0.0.1:{port}/"
    ),
    "the URL's end": lambda text, port: trio_ws.open_websocket_url(f"ws://127.0.0.1:{port}/{text}"),
    "the host": lambda text, port: trio_ws.open_websocket(
        f"127.0.0.1{text}", port, "/", use_ssl=False
    ),
    "the resource": lambda text, port: trio_ws.open_websocket(
        "127.0.0.1", port, f"/{text}", use_ssl=False
    ),
    "a subprotocol": lambda text, port: trio_ws.open_websocket(
        "127.0.0.1", port, "/", use_ssl=False, subprotocols=["a", f"b{text}"]
    ),
    "a header's name": lambda text, port: trio_ws.open_websocket(
        "127.0.0.1", port, "/", use_ssl=False, extra_headers=[(f"X{text}", "y")]
    ),
    "a header's value": lambda text, port: trio_ws.open_websocket(
        "127.0.0.1", port, "/", use_ssl=False, extra_headers=[("X", f"y{text}")]
    ),
    "a header's value in bytes": lambda text, port: trio_ws.open_websocket(
        "127.0.0.1", port, "/", use_ssl=False, extra_headers=[(b"X", f"y{text}".encode())]
    ),
    "the host of a stream": lambda text, port: _wrapped(port, f"127.0.0.1{text}", "/"),
    "the resource of a stream": lambda text, port: _wrapped(port, "127.0.0.1", f"/{text}"),
    "the name for TLS": lambda text, port: trio_ws.open_websocket(
        "127.0.0.1",
        port,
        "/",
        use_ssl=True,
        server_hostname=f"127.0.0.1{text}",
        connect_timeout=0.1,
    ),
}


def _clean(head: bytes) -> bool:
    """Whether a head has one line for each of its headers, and not the stranger's."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    stray = any(byte < 32 or byte == 127 for line in lines for byte in line)
    return not header(head, b"injected") and not stray and head.count(b"\r\n\r\n") == 1


async def _outcomes(attempt: Callable[[str], Awaitable[str]], *, names: bool = False) -> str:
    """What comes of each break; the same of all of them is told once.

    With `names` the last break is left out: it is a good name for a host (RFC 5891).
    """
    breaks = BREAKS[:-1] if names else BREAKS
    outcomes = {await attempt(f"{text}{_LINE}") for text in breaks}
    outcomes |= {await attempt(f"{text}{text}{_LINE}") for text in breaks}
    outcomes |= {await attempt(text) for text in breaks}
    return " or ".join(sorted(outcomes))


def _client(name: str, opening: Open) -> Attack:
    async def script(arena: Arena) -> str:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        heads: list[bytes] = []

        async def serve(stream: trio.SocketStream) -> None:
            peer = Raw(stream, client=False)
            try:
                heads.append(await peer.receive_head())
            except EOFError as exc:  # TLS, or half a head
                heads.extend(filter(None, exc.args))
            await peer.throw(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            await peer.aclose()

        async def attempt(text: str) -> str:
            heads.clear()
            try:
                async with opening(text, port):
                    pass
            except ValueError:
                return "ValueError" if not heads else "sent"
            except trio_ws.ConnectionRejected:
                (head,) = heads
                return "clean" if _clean(head) else "injected"
            except trio_ws.HandshakeError:
                return "sent"
            return "connected"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
            await arena.beside()
            outcome = await _outcomes(attempt, names="host" in name or "TLS" in name)
            nursery.cancel_scope.cancel()
        return outcome

    return Attack(f"client/CR and LF in {name}", EXPECTED.get(name, "ValueError"), script)


# Where text beyond ASCII may stand: percent-encoded, or as bytes that are no controls.
EXPECTED = {
    "the URL's path": "ValueError or clean",
    "the URL's query": "ValueError or clean",
    "the URL's end": "ValueError or clean",
    "the resource": "ValueError or clean",
    "the resource of a stream": "ValueError or clean",
    "a header's value in bytes": "ValueError or clean",
}

for _name, _open in CLIENT_ARGUMENTS.items():
    add(_client(_name, _open))


# Servers

Answer = Callable[[trio_ws.WebSocketRequest, str], Awaitable[object]]


SERVER_ARGUMENTS: dict[str, Answer] = {
    "accept's subprotocol": lambda request, text: request.accept(subprotocol=f"a{text}"),
    "accept's header name": lambda request, text: request.accept(extra_headers=[(f"X{text}", "y")]),
    "accept's header value": lambda request, text: request.accept(
        extra_headers=[("X", f"y{text}")]
    ),
    "accept's header in bytes": lambda request, text: request.accept(
        extra_headers=[(b"X", f"y{text}".encode("utf-16-le"))]
    ),
    "reject's header name": lambda request, text: request.reject(
        403, extra_headers=[(f"X{text}", "y")]
    ),
    "reject's header in bytes": lambda request, text: request.reject(
        403, extra_headers=[(b"X", f"y{text}".encode("utf-16-le"))]
    ),
    "reject's header value": lambda request, text: request.reject(
        302, extra_headers=[("Location", f"https://x.example/{text}")]
    ),
}


def _server(name: str, answer: Answer) -> Attack:
    async def script(arena: Arena) -> str:
        text, error = "", ""

        async def serve(request: trio_ws.WebSocketRequest) -> None:
            nonlocal error
            error = ""
            try:
                await answer(request, text)
            except ValueError:
                error = "ValueError"
                await request.reject(404)

        arena.serve = serve

        async def attempt(attempted: str) -> str:
            nonlocal text
            text = attempted
            peer = await arena.dial()
            head = await peer.open()
            await peer.aclose()
            await arena.end()
            if not _clean(head):
                return "injected"
            return error if error and head[9:12] == b"404" else "sent"

        await arena.beside()
        return await _outcomes(attempt)

    return Attack(f"server/CR and LF in {name}", "ValueError", script)


for _name, _answer in SERVER_ARGUMENTS.items():
    add(_server(_name, _answer))


def _http(name: str, response: Callable[[str], trio_ws.HTTPResponse]) -> Attack:
    """The handler of ordinary requests: the server answers 500, and nothing of the stranger's."""
    text, errors = "", set[str]()

    async def answer(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        return response(text)

    def keep(request: object, error: Exception) -> None:
        errors.add(type(error).__name__)

    async def script(arena: Arena) -> str:
        errors.clear()

        async def attempt(attempted: str) -> str:
            nonlocal text
            text = attempted
            peer = await arena.dial()
            await peer.throw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await peer.receive_head()
            await peer.aclose()
            return f"HTTP {head[9:12].decode()}" if _clean(head) else "injected"

        await arena.beside()
        return f"{await _outcomes(attempt)}, {' and '.join(errors)}"

    options = {"http_handler": answer, "handler_error": keep}
    outcome = "HTTP 500, ValueError"
    return Attack(f"server/CR and LF in HTTPResponse's {name}", outcome, script, options)


add(_http("header name", lambda text: trio_ws.HTTPResponse(200, [(f"X{text}", "y")])))
add(_http("header value", lambda text: trio_ws.HTTPResponse(200, [("X", f"y{text}")])))


@attack("server/CR and LF in a close reason", "the same text, Close 4000")
async def _reason(arena: Arena) -> str:
    """They are legal there (RFC 6455 section 5.5.1): it is text in a frame, and arrives as such."""
    reason = "".join(BREAKS) + _LINE

    async def serve(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.aclose(4000, reason)

    arena.serve = serve
    peer = await arena.open()
    await arena.beside()
    opcode, payload = await peer.receive_frame()
    assert opcode == wire.CLOSE
    await peer.aclose()
    text = "the same text" if payload[2:].decode() == reason else "another text"
    return f"{text}, Close {int.from_bytes(payload[:2], 'big')}"


@attack("client/CR and LF in a close reason", "the same text, Close 4000, no error")
async def _client_reason(arena: Arena) -> str:
    """The same from a client."""
    reason = "".join(BREAKS) + _LINE

    async def lure(peer: Raw) -> str:
        await peer.accept()
        await arena.beside()
        opcode, payload = await peer.receive_frame()
        assert opcode == wire.CLOSE
        await peer.throw(wire.close(4000))
        text = "the same text" if payload[2:].decode() == reason else "another text"
        return f"{text}, Close {int.from_bytes(payload[:2], 'big')}"

    async def use(connection: trio_ws.WebSocketConnection) -> None:
        await connection.aclose(4000, reason)

    return await arena.lure(lure, use)


if sys.platform != "win32":

    @attack("client/CR and LF in the path of a unix socket", "clean")
    async def _socket_path(arena: Arena) -> str:
        """A file may be called so; its name is not in the request."""
        name = f"a\r\n{_LINE}\r\n"
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/{name}"
            listener = await trio_ws.open_unix_listener(path)
            heads: list[bytes] = []

            async def serve(stream: trio.SocketStream) -> None:
                peer = Raw(stream, client=False)
                heads.append(await peer.receive_head())
                await peer.throw(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
                await peer.aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
                await arena.beside()
                try:
                    async with trio_ws.open_websocket_url("ws://a/", unix_socket=path):
                        pass
                except trio_ws.ConnectionRejected:
                    pass
                nursery.cancel_scope.cancel()
        return "clean" if len(heads) == 1 and _clean(heads[0]) else f"injected {heads}"


@attack("server/a close reason in an error", "printable")
async def _shown(arena: Arena) -> str:
    """What the peer gave for a reason does not reach a log as it is."""
    shown: list[str] = []

    async def serve(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            await connection.receive()
        except trio_ws.ConnectionClosed as exc:
            shown.extend([str(exc), repr(exc), repr(connection)])
            raise

    arena.serve = serve
    peer = await arena.open()
    await arena.beside()
    await peer.throw(wire.close(4000, b"\r\nroot logged in\x1b[2J", mask=peer.key))
    await peer.close_code()
    await peer.aclose()
    await arena.end()
    return "printable" if shown and all(map(str.isprintable, shown)) else f"{shown}"


@attack("server/CR and LF in the list of origins", "ValueError")
async def _origins(arena: Arena) -> str:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def attempt(text: str) -> str:
        origins = [f"https://good.example{text}"]
        try:
            trio_ws.WebSocketServer(arena.handle, [listener], origins=origins)
        except ValueError:
            return "ValueError"
        return "accepted"

    async with listener:
        await arena.beside()
        return await _outcomes(attempt)
