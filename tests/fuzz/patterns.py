"""The worst known inputs of each parser, in any size: work must grow as they do."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from tests.protocol import wire

from . import core
from .oracle import Limits

_LIMITS: Final = Limits(2**40, max_empty=2**40)
_DEFLATED: Final = Limits(2**40, max_empty=2**40, window_bits=15)
_HEADS: Final = core.HeadLimits(2**40, 2**40, 2**40)
_UPGRADE: Final = (
    b"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_CHUNKED: Final = b"HTTP/1.1 404 .\r\nTransfer-Encoding: chunked\r\n\r\n"
_LONG: Final = b"HTTP/1.1 404 .\r\nContent-Length: 99999999\r\n\r\n"
_EMPTY_BLOCK: Final = b"\x00\x00\x00\xff\xff"


class Pattern(NamedTuple):
    """An input that grows.

    Args:
        name: what it is.
        make: of a size, what is to be measured: a call that parses the input.
        size: from where on the size tells; the command looks at larger ones as well.
    """

    name: str
    make: Callable[[int], Callable[[], object]]
    size: int = 300


def _bytewise(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def _receive(
    data: bytes, *, bytewise: bool = False, limits: Limits = _LIMITS, mark: int = 2**40
) -> Callable[[], object]:
    """What a client makes of a server's bytes."""

    def run() -> None:
        proto = core.protocol(client=True, limits=limits, mark=mark)
        for piece in _bytewise(data) if bytewise else [data]:
            proto.receive_data(piece)
            while proto.next_event() is not None or proto.busy:
                pass

    return run


def _masked(data: bytes) -> Callable[[], object]:
    def run() -> None:
        proto = core.protocol(client=False, limits=_LIMITS)
        for piece in _bytewise(wire.build(wire.BINARY, data, mask=wire.KEY)):
            proto.receive_data(piece)
            while proto.next_event() is not None:
                pass

    return run


def _drained(size: int) -> Callable[[], object]:
    def run() -> None:
        proto = core.protocol(client=False, limits=_LIMITS)
        for _ in range(size):
            core.send(proto, b"abc")
        core.drain(proto, 3)

    return run


def _request(head: bytes, *, bytewise: bool = False) -> Callable[[], object]:
    data = b"GET / HTTP/1.1\r\n" + _UPGRADE + head + b"\r\n"

    def run() -> None:
        handshake = core.ServerHandshake(_HEADS)
        try:
            for piece in _bytewise(data) if bytewise else [data]:
                handshake.receive_data(piece)
        except core.BadRequest:
            pass

    return run


def _response(data: bytes, *, bytewise: bool = False) -> Callable[[], object]:
    def run() -> None:
        handshake = core.client_handshake("a", 80, "/", limits=_HEADS, max_rejection_size=2**40)
        for piece in _bytewise(data) if bytewise else [data]:
            if handshake.receive_data(piece) is not None:
                break

    return run


def _refused(parse: Callable[..., object], *arguments: object) -> Callable[[], object]:
    def run() -> None:
        try:
            parse(*arguments)
        except ValueError:
            pass

    return run


def _extensions(value: bytes) -> Callable[[], object]:
    return _refused(core.parse_extensions, [value])


def _deflated(message: bytes) -> bytes:
    context = zlib.compressobj(wbits=-15)
    return (context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _fragments(opcode: int, pieces: list[bytes], between: bytes = b"", rsv: int = 0) -> bytes:
    last = len(pieces) - 1
    return between.join(
        wire.build(0 if at else opcode, piece, fin=at == last, rsv=0 if at else rsv)
        for at, piece in enumerate(pieces)
    )


def _bomb(size: int) -> bytes:
    return _compressed(_deflated(bytes(1000 * size)), 2**20)


def _compressed(payload: bytes, step: int) -> bytes:
    pieces = [payload[at : at + step] for at in range(0, len(payload), step)]
    return _fragments(wire.BINARY, pieces, rsv=4)


_HANDSHAKES: Final = (
    Pattern("request: many headers", lambda n: _request(b"a: b\r\n" * n)),
    Pattern("request: byte by byte", lambda n: _request(b"a: b\r\n" * n, bytewise=True)),
    Pattern("request: a long line", lambda n: _request(b"a: " + b"b " * n + b"\r\n")),
    Pattern("request: a long line, byte by byte",
            lambda n: _request(b"a:" + b"b" * n, bytewise=True)),
    Pattern("request: folded lines", lambda n: _request(b"a: b\r\n" + b" c\r\n" * n)),
    Pattern("request: a bad line at the end", lambda n: _request(b"a: b\r\n" * n + b"c")),
    Pattern("request: Connection of commas",
            lambda n: _request(b"Connection: " + b"," * n + b"\r\n")),
    Pattern("request: many extensions headers",
            lambda n: _request(b"Sec-WebSocket-Extensions: a;b=c\r\n" * n)),
    Pattern("response: tiny chunks",
            lambda n: _response(_CHUNKED + b"1\r\na\r\n" * n)),
    Pattern("response: a body, byte by byte",
            lambda n: _response(_LONG + b"a" * n, bytewise=True)),
    Pattern("response: many headers", lambda n: _response(b"HTTP/1.1 404 .\r\n" + b"a:b\r\n" * n)),
)  # fmt: skip
_GRAMMARS: Final = (
    Pattern("extensions: parameters", lambda n: _extensions(b"a" + b"; b=c" * n)),
    Pattern("extensions: names", lambda n: _extensions(b"a, " * n + b"b")),
    Pattern("extensions: commas", lambda n: _extensions(b"a" + b"," * n)),
    Pattern("extensions: semicolons", lambda n: _extensions(b"a" + b" ;" * n)),
    Pattern("extensions: blanks", lambda n: _extensions(b"a;b" + b" " * n + b"!")),
    Pattern("extensions: backslashes", lambda n: _extensions(b'a; b="' + b"\\c" * n + b'"')),
    Pattern("extensions: an open quote", lambda n: _extensions(b'a; b="' + b"\\" * n)),
    Pattern("extensions: many open quotes", lambda n: _extensions(b'a; b="\\"' * n)),
    Pattern("tokens: commas", lambda n: _refused(core.parse_token_list, [b"," * n])),
    Pattern("tokens: names", lambda n: _refused(core.parse_token_list, [b"a, " * n + b"b"])),
    Pattern("tokens: blanks", lambda n: _refused(core.parse_token_list, [b" \t" * n])),
    Pattern("token in a list", lambda n: _refused(core.has_token, [b"a/b," * n], b"upgrade")),
    Pattern("host: labels", lambda n: _refused(core.parse_host, b"a." * n)),
    Pattern("host: colons", lambda n: _refused(core.parse_host, b"[" + b"1:" * n + b"]")),
    Pattern("origin", lambda n: lambda: core.origin_allowed([b"http://" + b"a." * n], b"a", None)),
    Pattern("URL: a path", lambda n: _refused(core.parse_url, "ws://a/" + "b/" * n)),
    Pattern("URL: percents", lambda n: _refused(core.parse_url, "ws://a/" + "%2" * n)),
    Pattern("URL: to be encoded", lambda n: _refused(core.parse_url, "ws://a/?" + "\u20ac" * n)),
    Pattern("URL: no scheme", lambda n: _refused(core.parse_url, "a" * n)),
    Pattern("URL: slashes", lambda n: _refused(core.parse_url, "ws:" + "/" * n)),
    Pattern("URL: colons", lambda n: _refused(core.parse_url, "ws://" + ":" * n)),
    Pattern("URL: a host of labels", lambda n: _refused(core.parse_url, "ws://" + "\u00fc." * n)),
    Pattern("URL: a long label", lambda n: _refused(core.parse_url, "ws://" + "\u00fc" * n)),
)
_FRAMES: Final = (
    Pattern("a message, byte by byte", lambda n: _receive(wire.build(2, b"a" * n), bytewise=True)),
    Pattern("a text, byte by byte",
            lambda n: _receive(wire.build(1, b"\xf0\x9f\x98\x80" * n), bytewise=True)),
    Pattern("a masked message, byte by byte", lambda n: _masked(b"a" * n)),
    Pattern("small messages", lambda n: _receive(wire.build(1, b"abc") * n)),
    Pattern("empty messages", lambda n: _receive(wire.build(2) * n)),
    Pattern("small messages, byte by byte",
            lambda n: _receive(wire.build(1, b"abc") * n, bytewise=True)),
    Pattern("fragments of a byte", lambda n: _receive(_fragments(2, [b"a"] * n))),
    Pattern("characters in fragments of a byte",
            lambda n: _receive(_fragments(1, [b"\xf0", b"\x9f", b"\x98", b"\x80"] * n))),
    Pattern("empty fragments",
            lambda n: _receive(wire.build(2, fin=False) + wire.build(0, fin=False) * n)),
    Pattern("pings between fragments",
            lambda n: _receive(_fragments(2, [b"a"] * n, wire.build(wire.PING, b"b")))),
    Pattern("pings", lambda n: _receive(wire.build(wire.PING, b"abc") * n)),
    Pattern("pings, and the output is full", lambda n: _receive(wire.build(wire.PING) * n, mark=0)),
    Pattern("output in small pieces", _drained),
)  # fmt: skip
_COMPRESSED: Final = (
    Pattern("empty blocks",
            lambda n: _receive(_compressed(_EMPTY_BLOCK * n, 2**20), limits=_DEFLATED), 20_000),
    Pattern("empty blocks in fragments of a byte",
            lambda n: _receive(_compressed(_EMPTY_BLOCK * n, 1), limits=_DEFLATED)),
    Pattern("a bomb",
            lambda n: _receive(_bomb(n), limits=_DEFLATED), 400),
    Pattern("a bomb, byte by byte",
            lambda n: _receive(_bomb(n), bytewise=True, limits=_DEFLATED)),
    Pattern("small compressed messages",
            lambda n: _receive(_compressed(_deflated(b"abc"), 99) * n, limits=_DEFLATED)),
    Pattern("empty compressed messages",
            lambda n: _receive(wire.build(2, b"\x00", rsv=4) * n, limits=_DEFLATED)),
)  # fmt: skip

PATTERNS: Final = (*_HANDSHAKES, *_GRAMMARS, *_FRAMES, *_COMPRESSED)
