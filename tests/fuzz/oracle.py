"""What a WebSocket connection must make of a peer's bytes: one byte at a time, and slowly.

Written from RFC 6455 (sections 5 to 8) and RFC 7692 alone; shares nothing with the library.
"""

from __future__ import annotations

import itertools
import zlib
from typing import Any, Final, NamedTuple

Event = tuple[Any, ...]
"""("message", text or bytes), ("ping", b), ("pong", b), ("close", code, reason) or
("failure", code)."""

_TAIL: Final = b"\x00\x00\xff\xff"
_FINAL: Final = b"\x01\x00\x00\xff\xff"
_MAX_STREAMS: Final = 1024


class Limits(NamedTuple):
    """What a connection allows; `window_bits` None is without permessage-deflate."""

    max_size: int
    max_empty: int = 1024
    window_bits: int | None = None
    takeover: bool = True


class Fault(Exception):
    """The peer broke the protocol."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


# After the first byte of a character: how many follow, and what the second may be (Unicode 15,
# table 3-7); each further one is 80 to BF.
_SEQUENCES: Final = [
    (0xC2, 0xDF, 1, 0x80, 0xBF),
    (0xE0, 0xE0, 2, 0xA0, 0xBF),
    (0xE1, 0xEC, 2, 0x80, 0xBF),
    (0xED, 0xED, 2, 0x80, 0x9F),
    (0xEE, 0xEF, 2, 0x80, 0xBF),
    (0xF0, 0xF0, 3, 0x90, 0xBF),
    (0xF1, 0xF3, 3, 0x80, 0xBF),
    (0xF4, 0xF4, 3, 0x80, 0x8F),
]


class Utf8:
    """Accepts UTF-8 byte by byte."""

    def __init__(self) -> None:
        self._missing = 0
        self._low, self._high = 0x80, 0xBF

    def add(self, data: bytes) -> None:
        """Take bytes; `Fault` at the first that cannot be."""
        for byte in data:
            if self._missing:
                if not self._low <= byte <= self._high:
                    raise Fault(1007)
                self._missing -= 1
                self._low, self._high = 0x80, 0xBF
            elif byte >= 0x80:
                self._begin(byte)

    def _begin(self, byte: int) -> None:
        for first, last, missing, low, high in _SEQUENCES:
            if first <= byte <= last:
                self._missing, self._low, self._high = missing, low, high
                return
        raise Fault(1007)

    def end(self) -> None:
        """No more bytes; `Fault` within a character."""
        if self._missing:
            raise Fault(1007)


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    checker = Utf8()
    try:
        checker.add(data)
        checker.end()
    except Fault:
        return False
    return True


class Inflation:
    """Inflates messages byte by byte."""

    def __init__(self, window_bits: int, *, takeover: bool) -> None:
        self._bits = window_bits
        self._takeover = takeover
        self._context: Any = None
        self._streams = 0

    def add(self, byte: bytes, room: int) -> bytes:
        """Inflate one byte, to at most `room` bytes, and one more if there are more."""
        out = bytearray()
        while byte:
            self._context = self._context or zlib.decompressobj(-self._bits)
            try:
                out += self._context.decompress(byte, room + 1 - len(out))
            except zlib.error:
                raise Fault(1007) from None
            if len(out) > room:
                return bytes(out)
            byte = self._context.unconsumed_tail
            if self._context.eof:
                byte = self._context.unused_data
                self._context = None
                self._streams += 1
                if self._streams > _MAX_STREAMS:
                    raise Fault(1008)
        return bytes(out)

    def end(self) -> None:
        """The message is over: what came must be whole blocks."""
        context, self._streams = self._context, 0
        if context is not None:
            check = context.copy()
            try:
                more = check.decompress(_FINAL)
            except zlib.error:
                raise Fault(1007) from None
            if more or not check.eof:
                raise Fault(1007)
        if not self._takeover:
            self._context = None


class Message:
    """A message that is being received."""

    def __init__(self, *, text: bool, inflation: Inflation | None) -> None:
        self.payload = bytearray()
        self.received = 0  # bytes of its frames
        self.empty = 0  # empty fragments in a row
        self.inflation = inflation
        self._text = text
        self._utf8 = Utf8()

    def add(self, byte: bytes, max_size: int) -> None:
        """Take one byte of its frames' payload."""
        self.received += len(byte)
        if self.inflation is not None:
            byte = self.inflation.add(byte, max_size - len(self.payload))
        self.payload += byte
        if self._text:
            self._utf8.add(byte)
        if len(self.payload) > max_size:
            raise Fault(1009)

    def finish(self, max_size: int) -> str | bytes:
        """The message, whole."""
        if self.inflation is not None:
            for byte in _TAIL:
                self.add(bytes([byte]), max_size)
            self.inflation.end()
        if not self._text:
            return bytes(self.payload)
        self._utf8.end()
        return self.payload.decode()


class Peer:
    """Reads the bytes of a peer. `add` takes a byte, and returns the event that it completes.

    Args:
        client: the peer is a client, so it masks.
        limits: of the receiving end.
    """

    def __init__(self, *, client: bool, limits: Limits) -> None:
        self._masks = client
        self._limits = limits
        self._inflation: Inflation | None = None
        if limits.window_bits is not None:
            self._inflation = Inflation(limits.window_bits, takeover=limits.takeover)
        self._message: Message | None = None
        self.ended = False
        self._new_frame()

    def _new_frame(self) -> None:
        self._head = b""
        self._payload = b""  # of a control frame
        self._got = 0

    def add(self, byte: int) -> Event | None:
        """Take a byte."""
        if self.ended:
            return None
        try:
            event = self._add(byte)
        except Fault as fault:
            self.ended = True
            return ("failure", fault.code)
        if event is not None:
            self.ended = event[0] == "close"
        return event

    def _add(self, byte: int) -> Event | None:
        if not self._head_is_complete():
            self._head += bytes([byte])
            self._check_head()
            if not self._head_is_complete():
                return None
            self._begin()
        else:
            key = self._head[-4:] if self._masks else bytes(4)
            clear = bytes([byte ^ key[self._got % 4]])
            self._got += 1
            if self._opcode >= 8:
                self._payload += clear
            elif self._message is not None:
                self._message.empty = 0
                self._message.add(clear, self._limits.max_size)
        return self._end() if self._got == self._size()[0] else None

    @property
    def _opcode(self) -> int:
        return self._head[0] & 15

    def _size(self) -> tuple[int, int]:
        """The least and the greatest size that the frame may have, as far as the head tells."""
        short = self._head[1] & 127
        if short < 126:
            return short, short
        width = 2 if short == 126 else 8
        there = self._head[2 : 2 + width]
        fill = width - len(there)
        return (
            int.from_bytes(there + b"\x00" * fill, "big"),
            int.from_bytes(there + b"\xff" * fill, "big"),
        )

    def _head_is_complete(self) -> bool:
        if len(self._head) < 2:
            return False
        extended = {126: 2, 127: 8}.get(self._head[1] & 127, 0)
        return len(self._head) == 2 + extended + (4 if self._masks else 0)

    def _check_head(self) -> None:
        if len(self._head) == 1:
            self._check_first(self._head[0])
            return
        control, short = self._opcode >= 8, self._head[1] & 127
        if (self._head[1] >= 128) != self._masks or (control and short > 125):
            raise Fault(1002)
        least, greatest = self._size()
        if short == 127 and least >= 1 << 63:
            raise Fault(1002)
        if (short == 126 and greatest < 126) or (short == 127 and greatest < 1 << 16):
            raise Fault(1002)
        if not control and least > self._room():
            raise Fault(1009)

    def _check_first(self, first: int) -> None:
        fin, rsv, opcode = first >= 128, first >> 4 & 7, first & 15
        if opcode not in {0, 1, 2, 8, 9, 10}:
            raise Fault(1002)
        if rsv and (rsv != 4 or self._inflation is None or opcode not in {1, 2}):
            raise Fault(1002)
        if opcode >= 8 and not fin:
            raise Fault(1002)
        if opcode < 8 and (self._message is None) == (opcode == 0):
            raise Fault(1002)

    def _room(self) -> int:
        """Bytes that the data frame that begins may have."""
        maximum, message = self._limits.max_size, self._message
        compressed = message.inflation is not None if message else bool(self._head[0] & 0x40)
        return (2 * maximum + 1024 if compressed else maximum) - (
            message.received if message else 0
        )

    def _begin(self) -> None:
        """The head is complete."""
        if self._opcode >= 8:
            return
        if self._message is None:
            inflation = self._inflation if self._head[0] & 0x40 else None
            self._message = Message(text=self._opcode == 1, inflation=inflation)
        if self._size()[0] == 0 and self._head[0] < 128:
            self._message.empty += 1
            if self._message.empty > self._limits.max_empty:
                raise Fault(1008)

    def _end(self) -> Event | None:
        """The frame is complete."""
        opcode, fin, payload, message = self._opcode, self._head[0] >= 128, self._payload, None
        self._new_frame()
        if opcode == 8:
            return ("close", *read_close(payload))
        if opcode >= 9:
            return ("ping" if opcode == 9 else "pong", payload)
        if not fin:
            return None
        message, self._message = self._message, None
        assert message is not None
        return ("message", message.finish(self._limits.max_size))


def may_be_sent(code: int) -> bool:
    """Whether a close code may stand in a Close frame (RFC 6455 section 7.4, and the registry)."""
    named = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
    return code in named or code in range(3000, 5000)


def read_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a Close frame (RFC 6455 sections 5.5.1 and 7.1.5)."""
    if not payload:
        return 1005, ""
    if len(payload) < 2 or not may_be_sent(payload[0] * 256 + payload[1]):
        raise Fault(1002)
    if not is_utf8(payload[2:]):
        raise Fault(1007)
    return payload[0] * 256 + payload[1], payload[2:].decode()


def expected(data: bytes, *, client: bool, limits: Limits) -> list[tuple[int, Event]]:
    """The events that a peer's bytes must lead to, each with the number of bytes that prove it."""
    peer = Peer(client=client, limits=limits)
    found = ((at, peer.add(byte)) for at, byte in zip(itertools.count(1), data, strict=False))
    return [(at, event) for at, event in found if event is not None]


def replies(events: list[Event], mark: int) -> list[tuple[int, bytes]]:
    """The frames that an end which only reads must send, if nobody takes them meanwhile.

    A pong for each ping while the output is not over its mark; then only the newest waits.
    """
    return _replies(events, mark, 0)


def masked_replies(events: list[Event], mark: int) -> list[tuple[int, bytes]]:
    """The same for a client, whose frames have a key of 4 bytes."""
    return _replies(events, mark, 4)


def _replies(events: list[Event], mark: int, key: int) -> list[tuple[int, bytes]]:
    frames: list[tuple[int, bytes]] = []
    size, late = 0, None
    for kind, *details in events:
        if kind == "ping" and size > mark:
            late = details[0]
        elif kind == "ping":
            frames.append((10, details[0]))
            size += 2 + key + len(details[0])
        elif kind == "close":
            code = details[0]
            return [*frames, (8, b"" if code == 1005 else code.to_bytes(2, "big"))]
        elif kind == "failure":
            return [*frames, (8, details[0].to_bytes(2, "big"))]
    return frames if late is None else [*frames, (10, late)]
