"""A model of the core: slow, simple, and written apart from it.

It keeps the peer's bytes until a frame is whole, and looks at the whole of them each time. That is
what the core must not do, and so the model cannot have the mistakes that come from doing better.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, field

from tests.protocol import wire

_TAIL = b"\x00\x00\xff\xff"


class Broken(Exception):
    """The peer has broken the protocol; the argument is the close code."""


@functools.cache
def _beginnings() -> frozenset[bytes]:
    """What a character of several bytes may begin with, and lack its rest."""
    characters = [*range(0x80, 0xD800, 64), *range(0xE000, 0x110000, 64)]
    encoded = [chr(character).encode() for character in characters]
    return frozenset(data[:size] for data in encoded for size in range(1, len(data)))


def may_become_utf8(data: bytes) -> bool:
    """Whether `data` is the beginning of some UTF-8."""
    for size in range(min(4, len(data) + 1)):
        whole, rest = data[: len(data) - size], data[len(data) - size :]
        if size and rest not in _beginnings():
            continue
        try:
            whole.decode()
        except UnicodeDecodeError:
            continue
        return True
    return False


@dataclass
class Message:
    """A message that has begun."""

    text: bool
    compressed: bool
    payload: bytes = b""
    empty: int = 0


@dataclass
class Model:
    """What `Protocol` has to do; its names are those of the core.

    `frames` are all frames that were sent, `late` is the pong that waits, `size` counts the bytes
    of the output that were not taken yet.
    """

    client: bool
    max_size: int
    max_empty: int
    mark: int
    takeover: bool | None = None  # of the peer's compression; None is no compression
    data: bytes = b""
    message: Message | None = None
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    size: int = 0
    late: bytes | None = None
    close_sent: int | None = None
    close_received: tuple[int, str] | None = None
    failure: int | None = None
    held: int | None = None
    eof: bool = False
    received: int = 0

    def __post_init__(self) -> None:
        self._context = zlib.decompressobj(-15)

    @property
    def is_open(self) -> bool:
        """Whether anything may be sent."""
        return self.close_sent is None and not self.eof

    @property
    def done(self) -> bool:
        """Whether nothing that comes matters any more."""
        return self.close_received is not None or self.failure is not None

    # Out

    def send(self, opcode: int, payload: bytes, size: int | None = None) -> None:
        """Send a frame; `size` is that of its payload on the wire, if it is compressed."""
        self.frames.append((opcode, payload))
        length = len(payload) if size is None else size
        extended = 0 if length < 126 else 2 if length < 2**16 else 8
        self.size += 2 + extended + (4 if self.client else 0) + length

    def send_close(self, code: int | None, reason: str = "") -> None:
        """Send a Close, unless nothing may be sent."""
        if self.is_open:
            payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
            self.send(wire.CLOSE, payload)
            self.close_sent = 1005 if code is None else code
            self.late = None

    def sent(self, size: int) -> None:
        """So many bytes were taken from the output."""
        self.size -= size
        if self.late is not None and self.size <= self.mark:
            self.send(wire.PONG, self.late)
            self.late = None

    # In

    def next_event(self, *, hold: bool = False) -> tuple[str, object] | None:
        """The next event: its kind and what it carries."""
        if self.done:
            return None
        if self.held is None:
            try:
                while (took := self._take_frame()) is not None:
                    if took:
                        return took[0]
                return None
            except Broken as broken:
                (self.held,) = broken.args
        if hold:
            return None
        code, self.held = self.held, None
        assert code is not None
        self.failure = code
        return "failure", code

    def _take_frame(self) -> list[tuple[str, object]] | None:
        """Take a whole frame; the event that it leads to, if any. None if there is no whole one."""
        parsed = self._header()
        if parsed is None:
            return None
        begin, size, key = parsed
        first = self.data[0]
        payload = wire.xor(self.data[begin : begin + size], key)
        opcode, fin = first & 15, bool(first & 128)
        if opcode & 8:
            if len(payload) < size:
                return None
            self.data = self.data[begin + size :]
            return [self._control(opcode, payload)]
        message = self.message
        if message is None:
            message = Message(opcode == wire.TEXT, bool(first & 0x40))
        whole = len(payload) == size
        self._check_data(message, payload, whole=whole, fin=fin)
        if not whole:
            return None
        self.data = self.data[begin + size :]
        self.message = message
        message.payload += payload
        return [self._end(message)] if fin else []

    def _header(self) -> tuple[int, int, bytes] | None:
        """Where the payload begins, its length and the key; None if the header is not whole."""
        data = self.data
        if not data:
            return None
        self._check_first(data[0])
        if len(data) < 2:
            return None
        masked, size, begin = bool(data[1] & 128), data[1] & 127, 2
        if masked == self.client or (data[0] & 8 and size > 125):
            raise Broken(1002)
        missing = 0
        if size > 125:
            width = 2 if size == 126 else 8
            known = data[2 : 2 + width]
            missing = width - len(known)
            size = int.from_bytes(known + bytes(missing), "big")
            most = int.from_bytes(known + b"\xff" * missing, "big")
            if size >= 2**63 or most < (126 if width == 2 else 2**16):
                raise Broken(1002)
            begin += width
        if not data[0] & 8 and size > self._budget(compressed=bool(data[0] & 0x40)):
            raise Broken(1009)
        key = data[begin : begin + 4] if masked else bytes(4)
        if missing or len(key) < 4:
            return None
        return begin + (4 if masked else 0), size, key

    def _budget(self, *, compressed: bool) -> int:
        message = self.message
        if compressed or (message and message.compressed):
            return 2 * self.max_size + 1024 - len(message.payload if message else b"")
        return self.max_size - len(message.payload if message else b"")

    def _check_first(self, first: int) -> None:
        fin, rsv, opcode = first & 128, first >> 4 & 7, first & 15
        allowed = 4 if self.takeover is not None and opcode in (1, 2) else 0
        wrong = opcode not in (0, 1, 2, 8, 9, 10) or rsv & ~allowed or (opcode & 8 and not fin)
        if not opcode & 8 and (opcode == 0) != (self.message is not None):
            wrong = True
        if wrong:
            raise Broken(1002)

    def _check_data(self, message: Message, payload: bytes, *, whole: bool, fin: bool) -> None:
        if whole and not payload and not fin:
            message.empty += 1
            if message.empty > self.max_empty:
                raise Broken(1008)
        elif payload:
            message.empty = 0
        if message.text and not message.compressed:
            data = message.payload + payload
            if not may_become_utf8(data):
                raise Broken(1007)

    def _end(self, message: Message) -> tuple[str, object]:
        self.message = None
        payload = message.payload
        if message.compressed:
            payload = self._context.decompress(payload + _TAIL)
            if not self.takeover:
                self._context = zlib.decompressobj(-15)
        self.received += 1
        if not message.text:
            return "binary", payload
        try:
            return "text", payload.decode()
        except UnicodeDecodeError:
            self.received -= 1
            raise Broken(1007) from None

    def _control(self, opcode: int, payload: bytes) -> tuple[str, object]:
        if opcode == wire.PONG:
            return "pong", payload
        if opcode == wire.PING:
            if self.is_open and self.size <= self.mark:
                self.send(wire.PONG, payload)
            elif self.is_open:
                self.late = payload
            return "ping", payload
        code, reason = self._read_close(payload)
        self.close_received = code, reason
        self.data = b""
        self.send_close(None if code == 1005 else code)
        return "close", (code, reason)

    @staticmethod
    def _read_close(payload: bytes) -> tuple[int, str]:
        if not payload:
            return 1005, ""
        code = int.from_bytes(payload[:2], "big")
        legal = (*range(1000, 1004), *range(1007, 1015), *range(3000, 5000))
        if len(payload) == 1 or code not in legal:
            raise Broken(1002)
        try:
            return code, payload[2:].decode()
        except UnicodeDecodeError:
            raise Broken(1007) from None
