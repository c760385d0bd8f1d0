"""Attacks on a client by the answer to its request (RFC 6455 section 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Any

import trio

import trio_ws
from tests.protocol import wire
from tests.support.servers import accept_value, switching

from .arena import Arena
from .raw import Raw
from .table import Attack, add, attack

Answer = Callable[[bytes], bytes | Iterable[bytes]]

_OK = b"HTTP/1.1 200 OK\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _replaced(old: bytes, new: bytes) -> Answer:
    def answer(request: bytes) -> bytes:
        response = switching(request)
        assert old in response
        return response.replace(old, new)

    return answer


def _with(*lines: bytes) -> Answer:
    return lambda request: switching(request, *lines)


def _just(*pieces: bytes) -> Answer:
    return lambda request: pieces


def _accept(change: Callable[[bytes], bytes]) -> Answer:
    """The 101 with another accept value."""

    def answer(request: bytes) -> bytes:
        value = accept_value(request)
        return switching(request).replace(value, change(value))

    return answer


_DEFLATE = {"compression": "deflate"}
_EXTENSIONS = b"Sec-WebSocket-Extensions: "

# The answer, and what becomes of it. All of them are sent as one piece or as an endless stream.
ANSWERS: dict[str, tuple[Answer, str, dict[str, Any]]] = {
    # 101, but not for this request
    "a wrong accept": (_accept(lambda value: b"A" * 27 + b"="), "HandshakeError", {}),
    "an accept in the other case": (_accept(bytes.swapcase), "HandshakeError", {}),
    "an accept and more": (_accept(lambda value: value + b"="), "HandshakeError", {}),
    "two accepts": (
        lambda request: switching(request, b"Sec-WebSocket-Accept: " + accept_value(request)),
        "HandshakeError",
        {},
    ),
    "no accept": (
        _replaced(b"Sec-WebSocket-Accept", b"X"),
        "HandshakeError",
        {},
    ),
    "no upgrade": (_replaced(b"Upgrade: websocket\r\n", b""), "HandshakeError", {}),
    "another upgrade": (_replaced(b": websocket", b": h2c"), "HandshakeError", {}),
    "two upgrades": (_with(b"Upgrade: h2c"), "HandshakeError", {}),
    "no connection": (
        _replaced(b"Connection: Upgrade", b"Connection: close"),
        "HandshakeError",
        {},
    ),
    "101 in HTTP/1.0": (_replaced(b"HTTP/1.1", b"HTTP/1.0"), "HandshakeError", {}),
    "an extension nobody asked for": (
        _with(_EXTENSIONS + b"permessage-deflate"),
        "HandshakeError",
        {},
    ),
    "an extension of its own": (_with(_EXTENSIONS + b"x-evil"), "HandshakeError", _DEFLATE),
    "the extension twice": (
        _with(_EXTENSIONS + b"permessage-deflate, permessage-deflate"),
        "HandshakeError",
        _DEFLATE,
    ),
    "a window of 99 bits": (
        _with(_EXTENSIONS + b"permessage-deflate; server_max_window_bits=99"),
        "HandshakeError",
        _DEFLATE,
    ),
    "a parameter of its own": (
        _with(_EXTENSIONS + b"permessage-deflate; bomb"),
        "HandshakeError",
        _DEFLATE,
    ),
    "extensions that are no list": (
        _with(_EXTENSIONS + b'permessage-deflate; a="' + b"\\a" * 3000),
        "HandshakeError",
        _DEFLATE,
    ),
    "a subprotocol nobody asked for": (
        _with(b"Sec-WebSocket-Protocol: chat"),
        "HandshakeError",
        {},
    ),
    "another subprotocol": (
        _with(b"Sec-WebSocket-Protocol: Chat"),
        "HandshakeError",
        {"subprotocols": ["chat"]},
    ),
    "two subprotocols": (
        _with(b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Protocol: chat"),
        "HandshakeError",
        {"subprotocols": ["chat"]},
    ),
    # Other answers
    "a page": (_just(_OK + b"Content-Length: 2\r\n\r\nhi"), "ConnectionRejected 200", {}),
    "no content": (_just(b"HTTP/1.1 204 No Content\r\n\r\n"), "ConnectionRejected 204", {}),
    "an error": (
        _just(b"HTTP/1.1 500 \x1b[2J\r\nContent-Length: 0\r\n\r\n"),
        "HandshakeError",
        {},
    ),
    "authentication": (
        _just(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
        "ConnectionRejected 401",
        {"extra_headers": [("Authorization", "Basic c2VjcmV0")]},
    ),
    "another version": (
        _just(b"HTTP/1.1 426 No\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n"),
        "ConnectionRejected 426",
        {},
    ),
    "status 1000": (_just(b"HTTP/1.1 1000 OK\r\n\r\n"), "HandshakeError", {}),
    "status 099": (_just(b"HTTP/1.1 099 OK\r\n\r\n"), "HandshakeError", {}),
    "HTTP/2": (_just(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)), "HandshakeError", {}),
    "TLS from a plain port": (_just(b"\x15\x03\x01\x00\x02\x02\x46"), "HandshakeError", {}),
    "SSH": (_just(b"SSH-2.0-OpenSSH_9.2\r\n"), "HandshakeError", {}),
    "frames before the answer": (
        lambda request: wire.build(wire.TEXT, b"early") + switching(request),
        "HandshakeError",
        {},
    ),
    "bare LF": (
        lambda request: switching(request).replace(b"\r\n", b"\n"),
        "HandshakeError",
        {},
    ),
    "obs-fold in the answer": (_with(b"X: y\r\n z"), "HandshakeError", {}),
    "NUL in the answer": (_with(b"X: \x00"), "HandshakeError", {}),
    # Without end
    "interim answers without end": (
        lambda request: repeat(_CONTINUE),
        "HandshakeError",
        {},
    ),
    "one endless status line": (
        lambda request: chain([b"HTTP/1.1 101 "], repeat(b"a" * 1000)),
        "HandshakeError",
        {},
    ),
    "one endless header": (
        lambda request: chain([b"HTTP/1.1 101 OK\r\nX: "], repeat(b"a" * 1000)),
        "HandshakeError",
        {},
    ),
    "headers without end": (
        lambda request: chain([b"HTTP/1.1 101 OK\r\n"], repeat(b"X: y\r\n" * 50)),
        "HandshakeError",
        {},
    ),
    "a page without end": (
        lambda request: chain([_OK + b"\r\n"], repeat(b"a" * 1000)),
        "ConnectionRejected 200",
        {},
    ),
    "a page of 2^63 bytes": (
        lambda request: chain([_OK + b"Content-Length: %d\r\n\r\n" % 2**63], repeat(b"a" * 1000)),
        "ConnectionRejected 200",
        {},
    ),
    "a page in chunks without end": (
        lambda request: chain(
            [_OK + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"1\r\na\r\n" * 100)
        ),
        "ConnectionRejected 200",
        {},
    ),
    "a chunk of 2^64 bytes": (
        lambda request: chain(
            [_OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 2**64], repeat(b"a" * 1000)
        ),
        "ConnectionRejected 200",
        {},
    ),
    "a chunk size without end": (
        lambda request: chain([_OK + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"0" * 1000)),
        "ConnectionRejected 200",
        {},
    ),
    "trailers without end": (
        lambda request: chain(
            [_OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], repeat(b"X: y\r\n" * 100)
        ),
        "ConnectionRejected 200",
        {},
    ),
    "nothing at all": (_just(), "ConnectionTimeout", {"connect_timeout": 0.2}),
    "half a head": (_just(b"HTTP/1.1 101 OK\r\nUp"), "ConnectionTimeout", {"connect_timeout": 0.2}),
}


def _answer(name: str, answer: Answer, outcome: str, options: dict[str, Any]) -> Attack:
    async def script(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            pieces = answer(await peer.receive_head())
            arena.measure()
            await arena.beside()
            await peer.throw(pieces)
            await peer.receive_all()
            return ""

        return await arena.lure(lure, **options)

    return Attack(f"client/{name}", outcome, script)


for _name, (_bytes, _outcome, _options) in ANSWERS.items():
    add(_answer(_name, _bytes, _outcome, _options))


@attack("client/an answer byte by byte", "ConnectionTimeout", connect_timeout=0.3)
async def _slow(arena: Arena) -> str:
    async def lure(peer: Raw) -> str:
        await peer.receive_head()
        for byte in b"HTTP/1.1 101 OK\r\n" + b"X: y\r\n" * 90:  # each as late as an echo takes
            if not await peer.throw(bytes([byte])):
                break
            await arena.beside()
        await peer.receive_all()
        return ""

    return await arena.lure(lure)


@attack("client/garbage behind the answer", "Close 1002, closed 1002")
async def _behind(arena: Arena) -> str:
    async def lure(peer: Raw) -> str:
        request = await peer.receive_head()
        await arena.beside()
        await peer.throw(switching(request) + _OK)
        return await peer.close_code(end=True)

    return await arena.lure(lure)


@attack("client/a redirect inside", "ConnectionRejected 302, 0 requests")
async def _redirect(arena: Arena) -> str:
    """A redirect is not followed: not to this machine, and not with credentials."""
    requests = 0

    async def inside(stream: trio.SocketStream) -> None:
        nonlocal requests
        requests += 1
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    arena.nursery.start_soon(trio.serve_listeners, inside, listeners)

    async def lure(peer: Raw) -> str:
        await peer.receive_head()
        head = (
            f"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
        )
        await peer.throw(head.encode())
        return ""

    headers = [("Authorization", "Basic c2VjcmV0")]
    outcome = await arena.lure(lure, extra_headers=headers)
    await arena.beside()
    return f"{outcome}, {requests} requests"


@attack("client/the text of an error is printable", "HandshakeError, printable, short")
async def _terminal(arena: Arena) -> str:
    """What a server sends does not reach a terminal, or a log, as it is."""
    error: Exception | None = None

    async def lure(peer: Raw) -> str:
        await peer.receive_head()
        await arena.beside()
        await peer.throw(b"\x1b]0;owned\x07\x1b[2J" + b"a" * 4000 + b"\r\n\r\n")
        await peer.receive_all()
        return ""

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def serve(stream: trio.SocketStream) -> None:
        await lure(Raw(stream, client=False))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        try:
            async with trio_ws.open_websocket_url(f"ws://127.0.0.1:{port}"):
                pass
        except trio_ws.HandshakeError as exc:
            error = exc
        nursery.cancel_scope.cancel()
    text = str(error)
    printable = "printable" if text.isprintable() else "not printable"
    return f"{type(error).__name__}, {printable}, {'short' if len(text) < 300 else 'long'}"
