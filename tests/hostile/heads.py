"""Attacks on a server by the request itself (RFC 6455 section 4.2, RFC 9112)."""

from __future__ import annotations

import logging

from tests.support.servers import upgrade

from .arena import Arena
from .table import Attack, add, attack

_CLIENT_HELLO = b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(240)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
_SECOND = upgrade(path=b"/second")
_FORM = b"a=" + _SECOND
_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def _without(line: bytes, instead: bytes = b"") -> bytes:
    """The request with a line replaced."""
    request = upgrade()
    assert line in request
    return request.replace(line, instead)


def _host(value: bytes) -> bytes:
    return upgrade(host=value)


# What is sent, and the answer: the only one, and nothing behind it.
HEADS: dict[str, tuple[bytes, str]] = {
    # Other protocols
    "garbage": (bytes(range(256)) * 4, "HTTP 400"),
    "an HTTP/2 preface": (_PREFACE, "HTTP 505"),
    "TLS to a plain port": (_CLIENT_HELLO, "HTTP 400"),
    "HTTP/1.0": (_without(b"HTTP/1.1", b"HTTP/1.0"), "HTTP 505"),
    "HTTP/0.9": (b"GET /\r\n\r\n", "HTTP 400"),
    "SMTP, as a page can be made to speak it": (b"HELO x\r\nMAIL FROM:<a@b>\r\n", "HTTP 400"),
    # Sizes
    "one endless request line": (b"GET /" + b"a" * 70_000, "HTTP 414"),
    "one endless header line": (upgrade()[:-2] + b"X: " + b"a" * 70_000, "HTTP 431"),
    "endless headers": (upgrade()[:-2] + b"X: y\r\n" * 20_000, "HTTP 431"),
    "headers over 32 KiB": (upgrade()[:-2] + (b"X: " + b"a" * 4000 + b"\r\n") * 20, "HTTP 431"),
    "blank lines without end": (b"\r\n" * 30_000, "HTTP 400"),
    # Smuggled bodies
    "a Content-Length with an upgrade": (upgrade(b"Content-Length: 5") + b"hello", "HTTP 413"),
    "a request in the body": (
        upgrade(b"Content-Length: %d" % len(_SECOND)) + _SECOND,
        "HTTP 413",
    ),
    "a chunked body with an upgrade": (
        upgrade(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n" + _SECOND,
        "HTTP 501",
    ),
    "Content-Length and chunked": (
        upgrade(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + _SECOND,
        "HTTP 501",
    ),
    "two Content-Lengths": (
        upgrade(b"Content-Length: 0", b"Content-Length: 9") + _SECOND,
        "HTTP 400",
    ),
    "a list of Content-Lengths": (upgrade(b"Content-Length: 0, 0") + _SECOND, "HTTP 400"),
    "a signed Content-Length": (upgrade(b"Content-Length: +0") + _SECOND, "HTTP 400"),
    "a blank before the colon": (
        upgrade(b"Transfer-Encoding : chunked") + b"0\r\n\r\n" + _SECOND,
        "HTTP 400",
    ),
    "an obfuscated Transfer-Encoding": (
        upgrade(b"Transfer-Encoding:\x0bchunked") + b"0\r\n\r\n" + _SECOND,
        "HTTP 400",
    ),
    "a form that posts a request": (
        b"POST / HTTP/1.1\r\nHost: server.example\r\nContent-Type: text/plain\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(_FORM), _FORM),
        "HTTP 413",
    ),
    "an upgrade by POST": (_without(b"GET /", b"POST /"), "HTTP 405"),
    "a second request behind a refused one": (
        _without(b"Version: 13", b"Version: 8") + _SECOND,
        "HTTP 426",
    ),
    "a second request behind an ordinary one": (
        b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n" + _SECOND,
        "HTTP 426",
    ),
    # Syntax that parsers disagree on
    "obs-fold": (upgrade(b"X: y\r\n Origin: evil"), "HTTP 400"),
    "bare LF": (upgrade().replace(b"\r\n", b"\n"), "HTTP 400"),
    "bare LF in a header": (upgrade(b"X: y\nTransfer-Encoding: chunked"), "HTTP 400"),
    "bare CR in a header": (upgrade(b"X: y\rTransfer-Encoding: chunked"), "HTTP 400"),
    "NUL in a header": (upgrade(b"X: y\x00z"), "HTTP 400"),
    "NUL in the target": (upgrade(path=b"/\x00"), "HTTP 400"),
    "a target beyond ASCII": (upgrade(path="/ä".encode()), "HTTP 400"),
    "a header without a name": (upgrade(b": y"), "HTTP 400"),
    "a proxy's target": (upgrade(path=b"http://other.example/"), "HTTP 400"),
    "a target with a fragment": (upgrade(path=b"/#a"), "HTTP 400"),
    "a blank in the target": (upgrade(path=b"/a b"), "HTTP 400"),
    # Host
    "no Host": (_without(b"Host: server.example\r\n"), "HTTP 400"),
    "two Hosts": (upgrade(b"Host: other.example"), "HTTP 400"),
    "an empty Host": (_host(b""), "HTTP 400"),
    "a Host with a user": (_host(b"server.example@evil.example"), "HTTP 400"),
    "a Host with a path": (_host(b"server.example/evil"), "HTTP 400"),
    "a list of Hosts": (_host(b"server.example, evil.example"), "HTTP 400"),
    "a Host with a port of six digits": (_host(b"server.example:655360"), "HTTP 400"),
    "a Host that is half an address": (_host(b"[::1"), "HTTP 400"),
    # The WebSocket's own headers
    "no key": (_without(_KEY), "HTTP 400"),
    "two keys": (upgrade(_KEY.strip()), "HTTP 400"),
    "a key of 15 bytes": (_without(b"25jZQ==", b"25j"), "HTTP 400"),
    "two versions": (upgrade(b"Sec-WebSocket-Version: 13"), "HTTP 400"),
    "an upgrade to h2c and websocket2": (
        _without(b"Upgrade: websocket", b"Upgrade: h2c, websocket2"),
        "HTTP 426",
    ),
    "no Connection: Upgrade": (_without(b"Connection: Upgrade", b"Connection: close"), "HTTP 426"),
    "the same subprotocol 900 times": (
        upgrade(b"Sec-WebSocket-Protocol: " + b", ".join([b"a"] * 900)),
        "HTTP 400",
    ),
    "a subprotocol that is no token": (upgrade(b"Sec-WebSocket-Protocol: a\x80b"), "HTTP 400"),
    "8 KiB of backslashes in an extension": (
        upgrade(b'Sec-WebSocket-Extensions: a; b="' + b"\\a" * 4000),
        "HTTP 400",
    ),
    "2000 commas of extensions": (
        upgrade(b"Sec-WebSocket-Extensions: " + b"," * 2000),
        "HTTP 400",
    ),
}


def _head(data: bytes, outcome: str, name: str) -> Attack:
    async def script(arena: Arena) -> str:
        peer = await arena.dial()
        await arena.beside()
        arena.nursery.start_soon(peer.throw, data)
        answer = await peer.answer()
        await peer.aclose()
        return answer

    return Attack(f"server/{name}", outcome, script)


for _name, (_data, _outcome) in HEADS.items():
    add(_head(_data, _outcome, _name))


def _names(count: int) -> bytes:
    return b", ".join(b"p%d" % number for number in range(count))


@attack("server/a flood of subprotocols", "1100 proposed, none chosen")
async def _subprotocols(arena: Arena) -> str:
    proposed = 0

    async def serve(request: object) -> None:
        nonlocal proposed
        proposed = len(request.proposed_subprotocols)  # type: ignore[attr-defined]
        await request.accept()  # type: ignore[attr-defined]

    arena.serve = serve
    line = b"Sec-WebSocket-Protocol: "
    peer = await arena.dial()
    head = await peer.open(line + _names(1100))
    await arena.beside()
    await peer.aclose()
    return f"{proposed} proposed, {'one' if line.lower() in head.lower() else 'none'} chosen"


@attack("server/a flood of extension offers", "101, none agreed on", compression="deflate")
async def _extensions(arena: Arena) -> str:
    line = b"Sec-WebSocket-Extensions: "
    offers = b", ".join([b"permessage-deflate; server_max_window_bits=7"] * 150)
    peer = await arena.dial()
    head = await peer.open(line + offers)
    await arena.beside()
    await peer.aclose()
    return f"{head[9:12].decode()}, {'one' if line.lower() in head.lower() else 'none'} agreed on"


@attack("server/no request at all", "cut", connect_timeout=0.2)
async def _silence(arena: Arena) -> str:
    peer = await arena.dial()
    await arena.beside()
    return await peer.answer()


@attack("server/a request byte by byte", "cut", connect_timeout=0.3)
async def _slowloris(arena: Arena) -> str:
    peer = await arena.dial()
    head = upgrade()[:-2] + b"X: y\r\n" * 90
    for byte in head:  # each as late as an echo takes
        if not await peer.throw(bytes([byte])):
            break
        await arena.beside()
    return await peer.answer()


@attack("server/the log cannot be forged", "one line, printable")
async def _log(arena: Arena) -> str:
    records: list[str] = []
    log = logging.getLogger("trio_ws.server")

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    keep, level = Keep(), log.level
    log.addHandler(keep)
    log.setLevel(logging.INFO)
    try:
        for data in (upgrade(b"X: \x1b[2J\nroot logged in"), upgrade(path=b"/\x1b\r\nfake: line")):
            peer = await arena.dial()
            await peer.throw(data)
            await arena.beside()
            assert await peer.answer() == "HTTP 400"
            await peer.aclose()
    finally:
        log.setLevel(level)
        log.removeHandler(keep)
    return "one line, printable" if all(map(str.isprintable, records)) and records else f"{records}"


@attack("server/the answer does not repeat the request", "HTTP 400, nothing repeated")
async def _reflection(arena: Arena) -> str:
    peer = await arena.dial()
    await peer.throw(upgrade(path=b"/<script>alert(1)</script> x"))
    await arena.beside()
    answer = await peer.receive_all()
    plain = b"Content-Type: text/plain" in answer
    repeated = "repeated as HTML" if b"<script" in answer and not plain else "nothing repeated"
    return f"HTTP {answer[9:12].decode()}, {repeated}"


@attack("server/garbage behind the request", "101, Close 1002, closed 1002")
async def _behind(arena: Arena) -> str:
    """What follows the head is frames, even if it looks like another request."""
    peer = await arena.dial()
    await arena.beside()
    await peer.throw(upgrade() + _SECOND)
    head = await peer.receive_head()
    code = await peer.close_code()
    await peer.aclose()
    return f"{head[9:12].decode()}, {code}, {await arena.end()}"
