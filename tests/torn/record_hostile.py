"""What nobody should send: frames in both roles, requests to a server, answers to a client."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.protocol import wire
from tests.torn.conversation import Conversation, record
from tests.torn.engine import Setup, Step

_KEY = b"\x37\xfa\x21\x3d"
_SMALL: dict[str, int] = {"max_message_size": 50, "max_empty_fragments": 3, "send_buffer_size": 20}
_ALPHA = b"\xce\xb1"
RSV1 = 4


def _frames(mask: bytes | None) -> dict[str, list[bytes]]:
    """Frames by the name of what is wrong with them; a text goes before, and another after."""
    build = partial(wire.build, mask=mask)
    text, ping = build(wire.TEXT, b"before"), build(wire.PING, b"?")
    other = None if mask else _KEY
    cont, binary = wire.CONTINUATION, wire.BINARY
    return {
        "wrong-masking": [text, wire.build(wire.TEXT, b"x", mask=other)],
        "wrong-masking-of-a-ping": [text, wire.build(wire.PING, b"", mask=other)],
        "rsv1": [text, build(wire.TEXT, b"x", rsv=4)],
        "rsv2": [text, build(wire.TEXT, b"x", rsv=2)],
        "rsv3": [text, build(wire.TEXT, b"x", rsv=1)],
        "rsv1-ping": [text, build(wire.PING, b"x", rsv=4)],
        "rsv2-continuation": [build(wire.TEXT, b"a", fin=False), build(cont, b"x", rsv=2)],
        "rsv3-close": [text, build(wire.CLOSE, b"", rsv=1)],
        **{f"opcode-{op}": [text, build(op, b"")] for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
        "length-over-63-bits": [text, build(binary, declared=2**63)],
        "length-over-64-bits": [text, build(binary, declared=2**64 - 1)],
        "length-16-of-5": [text, build(binary, b"12345", length_form=16)],
        "length-16-of-125": [text, build(binary, b"x" * 125, length_form=16)],
        "length-64-of-5": [text, build(binary, b"12345", length_form=64)],
        "length-64-of-65535": [text, build(binary, declared=65535, length_form=64)],
        "ping-of-126": [text, build(wire.PING, b"x" * 126)],
        "close-of-126": [text, build(wire.CLOSE, b"\x03\xe8" + b"x" * 124)],
        "ping-in-fragments": [text, build(wire.PING, b"x", fin=False)],
        "close-in-fragments": [text, build(wire.CLOSE, b"\x03\xe8", fin=False)],
        "nothing-to-continue": [text, build(cont, b"x")],
        "nothing-to-continue-more": [text, build(cont, b"x", fin=False)],
        "continued-after-the-end": [
            wire.fragmented(wire.TEXT, [b"a", b"b"], mask),
            build(cont, b"c"),
        ],
        "message-in-a-message": [build(wire.TEXT, b"a", fin=False), ping, build(wire.TEXT, b"b")],
        "binary-in-a-text": [build(wire.TEXT, b"a", fin=False), build(binary, b"b", fin=False)],
        "close-in-a-message": [build(wire.TEXT, b"a", fin=False), wire.close(1000, mask=mask)],
        "pings-in-a-message": [
            build(wire.TEXT, b"a", fin=False),
            ping,
            ping,
            build(cont, b"", fin=False),
            build(wire.PONG, b"-"),
            build(cont, _ALPHA[:1], fin=False),
            ping,
            build(cont, _ALPHA[1:]),
        ],
        "empty-fragments": [
            wire.fragmented(wire.TEXT, [b"", b"", b"", b"a", b"", b"", b"", b""], mask)
        ],
        "too-many-empty-fragments": [
            text,
            wire.fragmented(wire.TEXT, [b"a", b"", b"", b"", b"", b""], mask),
        ],
        "too-big": [text, build(binary, b"x" * 51), text],
        "just-fits": [text, build(binary, b"x" * 50), text],
        "too-big-by-a-header": [text, build(binary, declared=2**40)],
        "too-big-in-fragments": [text, wire.fragmented(binary, [b"x" * 25, b"y" * 25, b"z"], mask)],
        "fits-in-fragments": [text, wire.fragmented(binary, [b"x" * 25, b"y" * 25, b""], mask)],
        "ping-flood": [build(wire.PING, b"%02d" % n) for n in range(15)],
        "after-a-close": [wire.close(1001, b"bye", mask=mask), text, ping, b"\xff\xff"],
        "after-a-violation": [build(3), text, ping, wire.close(1000, mask=mask)],
        "garbage": [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        "zeros": [bytes(40)],
    }


_TEXTS = {
    "overlong": b"a\xc0\x80",
    "overlong-3": b"ab\xe0\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "surrogate-pair": b"\xed\xa1\x8c\xed\xbe\xb4",
    "over-10ffff": b"\xf4\x90\x80\x80",
    "f5": b"abc\xf5\x80\x80\x80",
    "fe": b"\xfe",
    "lone-continuation": b"\x80",
    "cut": b"\xf0\x9f\x98",
    "last-character": b"\xf4\x8f\xbf\xbf",
    "noncharacters": "\ufffe\uffff\U0001ffff\x00".encode(),
    "before-surrogates": b"\xed\x9f\xbf\xee\x80\x80",
}

_CLOSES: dict[str, bytes] = {
    "empty": b"",
    "one-byte": b"\x03",
    **{
        f"code-{code}": code.to_bytes(2, "big") + b"why"
        for code in (0, 999, 1000, 1003, 1004, 1005, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999)
    },
    "code-5000": (5000).to_bytes(2, "big"),
    "code-65535": b"\xff\xff",
    "reason-not-utf8": b"\x03\xe8\xff",
    "reason-cut": b"\x03\xe8a\xce",
    "reason-123": b"\x03\xe8" + b"r" * 123,
}

# RFC 7692 section 7.2.3, and what is wrong.
_DEFLATED: dict[str, list[tuple[int, bytes, bool, int]]] = {
    "hello": [(1, bytes.fromhex("f248cdc9c90700"), True, RSV1)],
    "hello-again": [
        (1, bytes.fromhex(data), True, RSV1) for data in ("f248cdc9c90700", "f200110000")
    ],
    "fragments": [
        (1, bytes.fromhex("f248cd"), False, RSV1),
        (9, b"?", True, 0),
        (0, bytes.fromhex("c9c90700"), True, 0),
    ],
    "stored": [(1, bytes.fromhex("000500faff48656c6c6f00"), True, RSV1)],
    "final-block": [(1, bytes.fromhex("f348cdc9c9070000"), True, RSV1)],
    "two-blocks": [(1, bytes.fromhex("f24805000000ffffcac9c90700"), True, RSV1)],
    "empty": [(2, b"\x00", True, RSV1), (1, b"", True, RSV1)],
    "raw-between": [(1, bytes.fromhex("f248cdc9c90700"), True, RSV1), (1, b"raw", True, 0)],
    "rsv1-on-a-continuation": [(1, b"\xf2", False, RSV1), (0, b"\x48", True, RSV1)],
    "rsv1-on-a-ping": [(9, b"\x00", True, RSV1)],
    "corrupt": [(1, b"\xff\xff\xff\xff", True, RSV1), (1, b"after", True, 0)],
    "cut": [(1, bytes.fromhex("f248cd"), True, RSV1)],
    "not-utf8": [(1, bytes.fromhex("000200fdffceff00"), True, RSV1)],
    "bomb": [(2, bytes.fromhex("ecc1010d000000c2a0f74f6d0e37a0000000"), True, RSV1)],
    "takes-on-where-nothing-was": [(1, bytes.fromhex("f200110000"), True, RSV1)],
}


def _deflated() -> Iterator[Conversation]:
    for role, mask in (("client", None), ("server", _KEY)):
        for takeover in (True, False):
            bits = 15 if takeover else 9
            setup = Setup(role, agreement=(bits, takeover, bits, takeover), limits=_SMALL)
            for name, frames in _DEFLATED.items():
                data = [wire.build(o, p, fin=f, rsv=r, mask=mask) for o, p, f, r in frames]
                context = "takeover" if takeover else "anew"
                yield record(f"deflated/{name}-{context}-{role}", setup, [["in", b"".join(data)]])


def _framed() -> Iterator[Conversation]:
    for role, mask in (("client", None), ("server", _KEY)):
        setup = Setup(role, limits=_SMALL)
        for name, frames in _frames(mask).items():
            steps: list[Step] = [["in", b"".join(frames)], ["ping", b"still here"]]
            yield record(f"frames/{name}-{role}", setup, steps)
        for name, data in _TEXTS.items():
            whole = wire.build(wire.TEXT, data, mask=mask)
            pieces = [data[:1], data[1:2], b"", data[2:]]
            torn = wire.fragmented(wire.TEXT, pieces, mask)
            yield record(f"utf8/{name}-{role}", setup, [["in", whole], ["in", torn], ["eof"]])
        for name, data in _CLOSES.items():
            frame = wire.build(wire.CLOSE, data, mask=mask)
            after = wire.build(wire.PING, b"", mask=mask)
            yield record(f"closes/{name}-{role}", setup, [["in", frame + after], ["eof"]])
            steps = [["text", "ours"], ["close", 4001, "mine"], ["in", frame]]
            yield record(f"closes/{name}-after-ours-{role}", setup, steps)


_KEY_LINE = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
_REQUEST: dict[str, str] = {
    "start": "GET /chat HTTP/1.1",
    "host": "Host: server.example",
    "upgrade": "Upgrade: websocket",
    "connection": "Connection: keep-alive, Upgrade",
    "key": _KEY_LINE,
    "version": "Sec-WebSocket-Version: 13",
}
_EXTENSIONS = "Sec-WebSocket-Extensions: "
_PROTOCOL = "Sec-WebSocket-Protocol: "
REQUESTS: dict[str, dict[str, str]] = {
    "plain": {},
    "post": {"start": "POST /chat HTTP/1.1"},
    "http-10": {"start": "GET /chat HTTP/1.0"},
    "http-20": {"start": "GET /chat HTTP/2.0"},
    "not-http": {"start": "HELO server.example"},
    "two-blanks": {"start": "GET  /chat HTTP/1.1"},
    "absolute": {"start": "GET http://server.example/chat HTTP/1.1"},
    "fragment": {"start": "GET /chat#top HTTP/1.1"},
    "no-host": {"host": "X: y"},
    "two-hosts": {"host": "Host: a\r\nHost: a"},
    "bad-host": {"host": "Host: user@server.example"},
    "no-upgrade": {"upgrade": "X: y"},
    "other-upgrade": {"upgrade": "Upgrade: h2c"},
    "list-upgrade": {"upgrade": "Upgrade: h2c, WebSocket"},
    "no-connection": {"connection": "Connection: keep-alive"},
    "ordinary": {"upgrade": "A: b", "connection": "C: d", "key": "E: f", "version": "G: h"},
    "no-key": {"key": "X: y"},
    "short-key": {"key": "Sec-WebSocket-Key: c2hvcnQ="},
    "two-keys": {"key": f"{_KEY_LINE}\r\n{_KEY_LINE}"},
    "version-8": {"version": "Sec-WebSocket-Version: 8"},
    "version-list": {"version": "Sec-WebSocket-Version: 8, 13"},
    "no-version": {"version": "X: y"},
    "foreign-origin": {"start": "GET / HTTP/1.1\r\nOrigin: https://elsewhere.example"},
    "own-origin": {"start": "GET / HTTP/1.1\r\nOrigin: http://server.example"},
    "null-origin": {"start": "GET / HTTP/1.1\r\nOrigin: null"},
    "space-before-colon": {"host": "Host : server.example"},
    "folded": {"host": "Host: server.example\r\n folded"},
    "bare-lf": {"host": "Host: server.example\nX: y"},
    "bare-cr": {"host": "Host: server.example\rX: y"},
    "nul": {"host": "Host: server\x00example"},
    "empty-name": {"host": "Host: a\r\n: b"},
    "content-length": {"host": "Host: a\r\nContent-Length: 5"},
    "content-length-0": {"host": "Host: a\r\nContent-Length: 0"},
    "two-content-lengths": {"host": "Host: a\r\nContent-Length: 0\r\nContent-Length: 1"},
    "chunked": {"host": "Host: a\r\nTransfer-Encoding: chunked"},
    "subprotocols": {"host": f"Host: a\r\n{_PROTOCOL}x, chat\r\n{_PROTOCOL}y"},
    "subprotocol-twice": {"host": f"Host: a\r\n{_PROTOCOL}chat, chat"},
    "subprotocol-empty": {"host": f"Host: a\r\n{_PROTOCOL}chat,,"},
    "extensions-unknown": {"host": f"Host: a\r\n{_EXTENSIONS}x-foo; a=1; b"},
    "extensions-open-quote": {"host": f'Host: a\r\n{_EXTENSIONS}x; a="1'},
    "extensions-stray": {"host": f"Host: a\r\n{_EXTENSIONS};x"},
    "deflate-bad-window": {
        "host": f"Host: a\r\n{_EXTENSIONS}permessage-deflate; server_max_window_bits=7"
    },
    "deflate-second": {
        "host": f"Host: a\r\n{_EXTENSIONS}permessage-deflate; foo, permessage-deflate"
    },
    "long-line": {"host": "Host: a\r\nX: " + "x" * 150},
    "long-start": {"start": f"GET /{'x' * 150} HTTP/1.1"},
    "many-headers": {"host": "Host: a\r\n" + "\r\n".join(f"X: {n}" for n in range(9))},
    "large-head": {"host": "Host: a\r\n" + "\r\n".join(f"X: {'x' * 90}" for n in range(4))},
}


def _requests() -> Iterator[Conversation]:
    head = {"max_line_size": 140, "max_header_count": 13, "max_header_size": 400}
    setup = Setup("server", opening=True, subprotocols=("chat",), deflate={}, head=head)
    early = wire.build(wire.TEXT, b"early", mask=_KEY) + wire.close(1000, mask=_KEY)
    for name, changes in REQUESTS.items():
        lines = "\r\n".join((_REQUEST | changes).values()) + "\r\n\r\n"
        steps: list[Step] = [["in", lines.encode("latin-1") + early], ["eof"]]
        yield record(f"requests/{name}", setup, steps)
    for name, data in {
        "cut": b"GET /chat HTTP/1.1\r\nHost: a\r\n",
        "nothing": b"",
        "tls": b"\x16\x03\x01\x02",
    }.items():
        yield record(f"requests/{name}", setup, [*([["in", data]] if data else []), ["eof"]])


_ACCEPT = "Sec-WebSocket-Accept: {accept}"
_ANSWER: dict[str, str] = {
    "start": "HTTP/1.1 101 Switching Protocols",
    "upgrade": "Upgrade: websocket",
    "connection": "Connection: Upgrade",
    "accept": _ACCEPT,
}
_DEFLATE = f"Upgrade: websocket\r\n{_EXTENSIONS}permessage-deflate"
_LENGTH = {"upgrade": "Content-Length: 4"}
ANSWERS: dict[str, tuple[dict[str, str], bytes]] = {
    "plain": ({}, b""),
    "without-a-phrase": ({"start": "HTTP/1.1 101 "}, b""),
    "informational-first": ({"start": "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 101 OK"}, b""),
    "many-informational": (
        {"start": "HTTP/1.1 100 Continue\r\n\r\n" * 11 + "HTTP/1.1 101 OK"},
        b"",
    ),
    "http-10": ({"start": "HTTP/1.0 101 OK"}, b""),
    "not-http": ({"start": "SSH-2.0-server"}, b""),
    "status-99": ({"start": "HTTP/1.1 099 OK"}, b""),
    "ok": ({"start": "HTTP/1.1 200 OK", **_LENGTH}, b"body and more"),
    "redirect": ({"start": "HTTP/1.1 302 Found\r\nLocation: /", **_LENGTH}, b"body"),
    "not-found-cut": ({"start": "HTTP/1.1 404 Not Found", **_LENGTH}, b"bo"),
    "until-the-end": ({"start": "HTTP/1.1 500 Oops"}, b"body until the end"),
    "large-body": ({"start": "HTTP/1.1 403 Forbidden"}, b"x" * 60),
    "chunked": (
        {"start": "HTTP/1.1 403 Forbidden", "upgrade": "Transfer-Encoding: chunked"},
        b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\nmore",
    ),
    "chunked-badly": (
        {"start": "HTTP/1.1 403 Forbidden", "upgrade": "Transfer-Encoding: chunked"},
        b"3\r\nabc\r\nxyz\r\n",
    ),
    "no-content": ({"start": "HTTP/1.1 204 No Content"}, b"what is this"),
    "no-upgrade": ({"upgrade": "X: y"}, b""),
    "other-upgrade": ({"upgrade": "Upgrade: h2c"}, b""),
    "two-upgrades": ({"upgrade": "Upgrade: websocket\r\nUpgrade: websocket"}, b""),
    "no-connection": ({"connection": "Connection: close"}, b""),
    "no-accept": ({"accept": "X: y"}, b""),
    "wrong-accept": ({"accept": "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, b""),
    "two-accepts": ({"accept": f"{_ACCEPT}\r\n{_ACCEPT}"}, b""),
    "subprotocol": ({"upgrade": f"Upgrade: websocket\r\n{_PROTOCOL}chat"}, b""),
    "wrong-subprotocol": ({"upgrade": f"Upgrade: websocket\r\n{_PROTOCOL}other"}, b""),
    "extension": ({"upgrade": f"Upgrade: websocket\r\n{_EXTENSIONS}x-foo"}, b""),
    "deflate": ({"upgrade": _DEFLATE}, b""),
    "deflate-window-8": ({"upgrade": f"{_DEFLATE}; client_max_window_bits=8"}, b""),
    "deflate-window-16": ({"upgrade": f"{_DEFLATE}; server_max_window_bits=16"}, b""),
    "deflate-unknown": ({"upgrade": f"{_DEFLATE}; foo"}, b""),
    "deflate-twice": ({"upgrade": f"{_DEFLATE}, permessage-deflate"}, b""),
    "bare-lf": ({"upgrade": "Upgrade: websocket\nX: y"}, b""),
    "folded": ({"upgrade": "Upgrade: websocket\r\n x"}, b""),
    "many-headers": ({"start": "HTTP/1.1 101 OK\r\n" + "\r\n".join(["X: y"] * 9)}, b""),
    "long-line": ({"upgrade": "Upgrade: websocket\r\nX: " + "x" * 150}, b""),
}


def _answers(accept: str) -> Iterator[Conversation]:
    setup = Setup(
        "client",
        opening=True,
        subprotocols=("chat",),
        deflate={},
        head={"max_line_size": 140, "max_header_count": 10, "max_header_size": 400},
        max_rejection_size=40,
    )
    early = wire.build(wire.TEXT, b"early") + wire.close(1000)
    for name, (changes, body) in ANSWERS.items():
        lines = "\r\n".join((_ANSWER | changes).values()) + "\r\n\r\n"
        data = lines.format(accept=accept).encode()
        steps: list[Step] = [["in", data + (body or early)], ["eof"]]
        yield record(f"answers/{name}", setup, steps)
    yield record("answers/cut", setup, [["in", b"HTTP/1.1 101 Swi"], ["eof"]])
    yield record("answers/frames-instead", setup, [["in", early], ["eof"]])


def conversations(accept: str) -> Iterator[Conversation]:
    """All of them; `accept` is the right Sec-WebSocket-Accept for the client's key."""
    found: list[Any] = [_framed(), _deflated(), _requests(), _answers(accept)]
    for part in found:
        yield from part
