"""Which opening handshakes are right: read from RFC 6455, 9110 and 9112, and slowly.

Shares nothing with the library; where the RFCs leave a choice, the library's documented one.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import string
from typing import Final, NamedTuple

_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~" + (string.digits + string.ascii_letters).encode())
_TEXT: Final = frozenset([9, *range(32, 127), *range(128, 256)])
_HOST: Final = frozenset(b"-._" + (string.digits + string.ascii_letters).encode())

Extension = tuple[str, tuple[tuple[str, str | None], ...]]


class Malformed(Exception):
    """The peer's bytes are not what the grammar allows."""


class Head(NamedTuple):
    """A head that is well-formed: the start line, the header lines, and what follows."""

    start: bytes
    headers: list[tuple[bytes, bytes]]
    rest: bytes

    def all(self, name: bytes) -> list[bytes]:
        """The values of a header."""
        return [value for key, value in self.headers if key == name]


class HeadLimits(NamedTuple):
    """How large a head may be."""

    line: int
    headers: int
    size: int


def is_token(data: bytes) -> bool:
    """RFC 9110 section 5.6.2."""
    return len(data) > 0 and all(byte in _TOKEN for byte in data)


def _need(condition: object) -> None:
    if not condition:
        raise Malformed


def read_head(data: bytes, limits: HeadLimits) -> Head:
    """Split a whole head; `Malformed` if it is not well-formed or too large."""
    head, blank, rest = data.partition(b"\r\n\r\n")
    _need(blank)
    start, *lines = head.split(b"\r\n")
    _need(all(byte in _TEXT for line in [start, *lines] for byte in line))
    _need(all(len(line) <= limits.line for line in [start, *lines]))
    _need(len(lines) <= limits.headers and sum(len(line) + 2 for line in lines) <= limits.size)
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        _need(colon and is_token(name))
        headers.append((name.lower(), value.strip(b" \t")))
    return Head(start, headers, rest)


def elements(values: list[bytes]) -> list[bytes]:
    """The elements of a comma-separated list that is spread over header lines."""
    return [element.strip(b" \t") for element in b",".join(values).split(b",")] if values else []


def tokens(values: list[bytes]) -> list[str]:
    """``1#token``."""
    found = elements(values)
    _need(all(is_token(element) for element in found))
    return [element.decode() for element in found]


def names(values: list[bytes], token: bytes) -> bool:
    """Whether a Connection or Upgrade header names `token`."""
    found = [element for element in elements(values) if element]
    for element in found:
        name, slash, version = element.partition(b"/")
        _need(is_token(name) and (is_token(version) if slash else not version))
    return any(element.lower() == token for element in found)


class _Scanner:
    """Reads a header value from left to right."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def next(self) -> bytes:
        return self._data[self._pos : self._pos + 1]

    def skip(self) -> bytes:
        taken = self.next
        self._pos += 1
        return taken

    def blanks(self) -> None:
        while self.next in {b" ", b"\t"}:
            self.skip()

    def token(self) -> str:
        taken = b""
        while self.next and self.next[0] in _TOKEN:
            taken += self.skip()
        _need(taken)
        return taken.decode()

    def quoted(self) -> str:
        taken = b""
        self.skip()
        while self.next != b'"':
            if self.next == b"\\":
                self.skip()
            _need(self.next)
            taken += self.skip()
        self.skip()
        _need(is_token(taken))  # RFC 6455 section 9.1
        return taken.decode()


def extensions(values: list[bytes]) -> list[Extension]:
    """Sec-WebSocket-Extensions (RFC 6455 section 9.1)."""
    found: list[Extension] = []
    if not values:
        return found
    scanner = _Scanner(b",".join(values))
    delimiter = b","
    while delimiter:
        scanner.blanks()
        name, value = scanner.token(), None
        scanner.blanks()
        if scanner.next == b"=":
            _need(delimiter == b";")
            scanner.skip()
            scanner.blanks()
            value = scanner.quoted() if scanner.next == b'"' else scanner.token()
            scanner.blanks()
        if delimiter == b",":
            found.append((name, ()))
        else:
            found[-1] = (found[-1][0], (*found[-1][1], (name, value)))
        delimiter = scanner.next
        _need(delimiter in {b"", b",", b";"})
        scanner.skip()
    return found


def host(value: bytes) -> tuple[str, int | None]:
    """``host[:port]``, the host in lower case and without brackets."""
    if value.startswith(b"["):
        inside, bracket, after = value[1:].partition(b"]")
        _need(bracket and all(byte in b"0123456789abcdefABCDEF:." for byte in inside))
        try:
            name = str(ipaddress.IPv6Address(inside.decode()))
        except ValueError:
            raise Malformed from None
    else:
        plain, colon, port = value.partition(b":")
        after = colon + port
        _need(plain and all(byte in _HOST for byte in plain))
        name = plain.decode().lower()
    if after in {b"", b":"}:
        return name, None
    digits = after[1:]
    _need(after[:1] == b":" and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535)
    return name, int(digits)


def accept(key: bytes) -> bytes:
    """Sec-WebSocket-Accept (RFC 6455 section 4.2.2)."""
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key + guid, usedforsecurity=False).digest())


def request(data: bytes, limits: HeadLimits) -> tuple[Head, bool]:
    """A request that a server takes, and whether it asks for a WebSocket (section 4.2.1)."""
    head = read_head(data, limits)
    parts = head.start.split(b" ")
    _need(len(parts) == 3)
    method, target, version = parts
    _need(is_token(method))
    _need(target.startswith(b"/") and all(33 <= byte <= 126 and byte != 35 for byte in target))
    _need(len(version) == 8 and version[:7] == b"HTTP/1." and version[7:] in b"123456789")
    _need(len(head.all(b"host")) == 1)
    host(head.all(b"host")[0])
    _need(not head.all(b"transfer-encoding"))
    _need(head.all(b"content-length") in ([], [b"0"]))
    upgrade = names(head.all(b"upgrade"), b"websocket")
    if not upgrade and not any(name.startswith(b"sec-websocket-") for name, _ in head.headers):
        return head, False
    _need(upgrade and method == b"GET" and names(head.all(b"connection"), b"upgrade"))
    _need(head.all(b"sec-websocket-version") == [b"13"])
    _need(len(head.all(b"sec-websocket-key")) == 1)
    key = head.all(b"sec-websocket-key")[0]
    try:
        nonce = base64.b64decode(key, validate=True)
    except ValueError:
        raise Malformed from None
    _need(len(nonce) == 16 and base64.b64encode(nonce) == key)
    protocols = tokens(head.all(b"sec-websocket-protocol"))
    _need(len(set(protocols)) == len(protocols))
    extensions(head.all(b"sec-websocket-extensions"))
    return head, True


def switching(head: Head, key: bytes, protocols: list[str], offered: set[str]) -> str | None:
    """Check a 101 (RFC 6455 section 4.1); the subprotocol."""
    _need(head.start[:8] != b"HTTP/1.0")
    upgrade = head.all(b"upgrade")
    _need(len(upgrade) == 1 and upgrade[0].lower() == b"websocket")
    _need(names(head.all(b"connection"), b"upgrade"))
    _need(head.all(b"sec-websocket-accept") == [accept(key)])
    chosen = head.all(b"sec-websocket-protocol")
    _need(not chosen or (len(chosen) == 1 and chosen[0] in [name.encode() for name in protocols]))
    lines = head.all(b"sec-websocket-extensions")
    _need(len(lines) <= 1)
    accepted = [name for name, _ in extensions(lines)]
    _need(len(set(accepted)) == len(accepted) and set(accepted) <= offered)
    return chosen[0].decode() if chosen else None
