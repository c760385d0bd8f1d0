"""The targets, by name, and what helps a fuzzer with each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from .target_close import close
from .target_connection import connection
from .target_frames import frames, inflating
from .target_grammar import grammar
from .target_heads import request, response
from .target_url import url


class Target(NamedTuple):
    """A target.

    Args:
        name: its name on the command line.
        run: takes any bytes; raises if a property does not hold.
        words: pieces that are worth inserting.
        max_size: bytes of an input.
        mutations: how many the tests run.
    """

    name: str
    run: Callable[[bytes], None]
    words: tuple[bytes, ...]
    max_size: int
    mutations: int


_HEADERS: Final = (
    b"\r\n", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET /", b"Host: a", b"Host: [::1]:80",
    b"Upgrade: websocket", b"Connection: keep-alive, Upgrade", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Protocol: chat, b",
    b"Sec-WebSocket-Extensions: ", b"Content-Length: 0", b"Transfer-Encoding: chunked",
    b"Origin: http://a", b": ", b"\n", b"\r", b"\x00", b" ", b"\t", b",", b"\x80",
)  # fmt: skip
_ANSWER: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 .\r\n\r\n",
    b"Sec-WebSocket-Accept: {ACCEPT}\r\n", b"{accept}", b"0\r\n\r\n", b"Content-Length: 5\r\n",
)  # fmt: skip
_GRAMMAR: Final = (
    b"permessage-deflate", b"client_max_window_bits", b"server_max_window_bits=10", b"; ", b", ",
    b"server_no_context_takeover", b"client_no_context_takeover", b'="', b'\\"', b"=15", b"\n",
    b"http://", b"https://", b"null", b":443", b"[::1]", b"Basic ", b"websocket", b"upgrade/1",
    b"Sec-WebSocket-Key=", b"Host=",
)  # fmt: skip
_URL: Final = (
    b"ws://", b"wss://", b"@", b"#", b"?", b"%2F", b"%", b":80", b"[::1]", b"xn--", b"\xc3\xbc",
    b"\xc3\x9f", b"%25eth0", b"/../", b"\xff", b"\xed\xa0\x80", b"\\",
)  # fmt: skip
_CLOSE: Final = (
    b"\x03\xe8", b"\x03\xef", b"\x0b\xb8", b"\x13\x87", b"\x13\x88", b"\xed\xa0\x80", b"\xf4\x90",
    b"\xe2\x82\xac", b"\xc0\x80", b"\xf0\x9f\x98\x80",
)  # fmt: skip
_FRAMES: Final = (
    b"\x81\x05Hello", b"\x01\x03Hel", b"\x80\x02lo", b"\x89\x00", b"\x88\x02\x03\xe8", b"\x82\x7e",
    b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", b"\x01\x00", b"\x00\x00", b"\x0d", b"\x0c",
)  # fmt: skip

TARGETS: Final = {
    target.name: target
    for target in (
        Target("request", request, _HEADERS, 1500, 1200),
        Target("response", response, (*_HEADERS, *_ANSWER), 1500, 1200),
        Target("grammar", grammar, _GRAMMAR, 400, 6000),
        Target("url", url, _URL, 300, 3000),
        Target("frames", frames, _FRAMES, 600, 1200),
        Target("inflating", inflating, _FRAMES, 400, 700),
        Target("close", close, _CLOSE, 140, 2500),
        Target("connection", connection, _FRAMES, 300, 350),
    )
}
