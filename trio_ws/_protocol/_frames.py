"""Frames (RFC 6455 section 5): their opcodes, headers and payloads, read and written.

`FrameReader` cuts the peer's bytes into `Part`s, as they come: a control frame is one part, a data
frame is one part or several, so that nobody has to wait for (or allocate) the length that a header
declares. A violation is raised at the byte that proves it, as `Violation`; only `_machine` sees it.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

from ._mask import KEY_SIZE, mask, masking_keys

# Opcodes (RFC 6455 section 11.8). Plain integers: they are compared for each frame.
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_DATA_OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY})
_CONTROL_OPCODES: Final = frozenset({CLOSE, PING, PONG})

_FIN: Final = 0x80
_RSV1: Final = 0x40
_RSV: Final = 0x70
_MASKED: Final = 0x80
# First bytes of messages of one frame, and whether it is a text.
_WHOLE: Final = {_FIN | TEXT: True, _FIN | BINARY: False}
_COMPRESSED: Final = {_FIN | _RSV1 | TEXT: True, _FIN | _RSV1 | BINARY: False}

MAX_CONTROL_PAYLOAD: Final = 125  # RFC 6455 section 5.5

# The three forms of a frame's header (RFC 6455 section 5.2), without the masking key.
_pack_short: Final = struct.Struct(">BB").pack
_pack_medium: Final = struct.Struct(">BBH").pack
_pack_long: Final = struct.Struct(">BBQ").pack
# Bytes above which a view of the buffer costs less than a piece of it.
_VIEW: Final = 1024


class CloseCode(enum.IntEnum):
    """Close codes (RFC 6455 section 7.4.1 and the IANA registry)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXT = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE_FAILED = 1015


def is_sendable(code: int) -> bool:
    """Whether `code` may stand in a Close frame (RFC 6455 section 7.4).

    1004 is reserved, 1005, 1006 and 1015 never go over the wire, 1016 to 2999 are not assigned.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def input_budget(max_size: int) -> int:
    """Bytes that a compressed message may have: blocks without output are not free of charge."""
    return 2 * max_size + 1024


class Violation(Exception):
    """The peer broke the protocol; `code` is the close code that says so.

    `reason` holds no bytes of the peer: it is sent, and shown to the user.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def encode_frame(
    opcode: int, payload: bytes, *, masked: bool, fin: bool = True, rsv1: bool = False
) -> bytes:
    """One frame, its length in the minimal form (RFC 6455 section 5.2), masked if a client's."""
    size = len(payload)
    if size <= MAX_CONTROL_PAYLOAD and fin and not rsv1:  # the common case, without another call
        if not masked:
            return _pack_short(_FIN | opcode, size) + payload
        key = masking_keys.take()
        return _pack_short(_FIN | opcode, _MASKED | size) + key + mask(payload, key)
    head, payload = encode_parts(opcode, payload, masked=masked, fin=fin, rsv1=rsv1)
    return head + payload


def encode_parts(
    opcode: int, payload: bytes, *, masked: bool, fin: bool = True, rsv1: bool = False
) -> tuple[bytes, bytes]:
    """The header and the payload of one frame: a large one is not worth a copy to join them."""
    first = opcode | (_FIN if fin else 0) | (_RSV1 if rsv1 else 0)
    mask_bit = _MASKED if masked else 0
    size = len(payload)
    if size <= MAX_CONTROL_PAYLOAD:
        head = _pack_short(first, mask_bit | size)
    elif size <= 0xFFFF:
        head = _pack_medium(first, mask_bit | 126, size)
    else:
        head = _pack_long(first, mask_bit | 127, size)
    if not masked:
        return head, payload
    key = masking_keys.take()
    return head + key, mask(payload, key)


def encode_close(code: int | None, reason: str | None) -> bytes:
    """The payload of a Close frame (RFC 6455 section 5.5.1); `code` None is an empty one.

    Raises:
        ValueError: `code` may not be sent, or `reason` is over 123 bytes of UTF-8.
    """
    if code is None:
        if reason:
            raise ValueError("reason: a Close frame with a reason needs a code")
        return b""
    if not is_sendable(code):
        raise ValueError(
            f"code: {code!r} may not be sent in a Close frame; use 1000 to 1003, 1007 to 1014 or "
            "3000 to 4999"
        )
    payload = code.to_bytes(2, "big") + (reason or "").encode()
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(
            f"reason: {len(payload) - 2} bytes of UTF-8 do not fit a Close frame, which takes 123"
        )
    return payload


def decode_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a Close frame; an empty one is 1005 (RFC 6455 section 7.1.5)."""
    if not payload:
        return CloseCode.NO_STATUS_RCVD, ""
    if len(payload) == 1:
        raise Violation(CloseCode.PROTOCOL_ERROR, "Close frame with a payload of 1 byte")
    code = int.from_bytes(payload[:2], "big")
    if not is_sendable(code):
        raise Violation(CloseCode.PROTOCOL_ERROR, f"invalid close code {code}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(CloseCode.INVALID_FRAME_PAYLOAD_DATA, "close reason is not UTF-8") from None


def _least_size(data: bytes, width: int) -> int:
    """The least length that an extended one of `width` bytes may have, of which `data` is there.

    So a length that is wrong in any case fails at the byte that proves it; if `data` is complete,
    the result is the length.
    """
    missing = 8 * (width - len(data))
    least = int.from_bytes(data, "big") << missing
    if least >> 63:
        raise Violation(CloseCode.PROTOCOL_ERROR, "frame length over 63 bits")
    if least + (1 << missing) - 1 <= (MAX_CONTROL_PAYLOAD if width == 2 else 0xFFFF):
        raise Violation(CloseCode.PROTOCOL_ERROR, "frame length not in its shortest form")
    return least


# The header of a message of one frame: whether it is a text, its payload's size, its own length. (A
# plain tuple is unpacked faster than a named one.)
_Header = tuple[bool, int, int]


def _short_headers(mask_bit: int, key_size: int) -> dict[bytes, _Header]:
    """The headers of all messages of up to 125 bytes, by their first two bytes."""
    return {
        bytes((first, mask_bit | size)): (text, size, 2 + key_size)
        for first, text in _WHOLE.items()
        for size in range(MAX_CONTROL_PAYLOAD + 1)
    }


_SHORT: Final = _short_headers(0, 0)
_SHORT_MASKED: Final = _short_headers(_MASKED, KEY_SIZE)


def _read_whole(buffer: bytes, pos: int, masked: bool, firsts: dict[int, bool]) -> _Header | None:
    """The header at `pos`, if all of it is there, it is right, and begins with one of `firsts`."""
    text = firsts.get(buffer[pos]) if pos + 2 <= len(buffer) else None
    if text is None:
        return None
    size = buffer[pos + 1] - (_MASKED if masked else 0)
    if not 0 <= size < 128:
        return None
    length = 2
    if size > MAX_CONTROL_PAYLOAD:
        width, shortest = (2, 126) if size == 126 else (8, 0x10000)
        size = int.from_bytes(buffer[pos + 2 : pos + 2 + width], "big")
        length += width
        if size < shortest:
            return None
    return text, size, length + (KEY_SIZE if masked else 0)


class Part(NamedTuple):
    """A piece of a frame's payload, unmasked; `first` and `last` say where in its frame it lies."""

    opcode: int
    fin: bool
    rsv1: bool
    payload: bytes
    first: bool
    last: bool


class FrameReader:
    """Cuts the peer's bytes into parts of frames.

    Args:
        masked: the peer is a client, so each of its frames must be masked; else none may be.
        rsv1: an extension that uses RSV1 was negotiated.

    `feed` keeps what it is given; `next_part` takes from it. The owner sets `budget`, the bytes
    that the message in progress may still take, and `continuing`, whether there is one.
    """

    __slots__ = (
        "_first", "_header", "_key", "_left", "_masked", "_pos", "_read", "_rsv", "budget",
        "buffer", "continuing",
    )  # fmt: skip

    def __init__(self, *, masked: bool, budget: int, rsv1: bool = False) -> None:
        self._masked = masked
        self._rsv = _RSV & ~_RSV1 if rsv1 else _RSV
        self.buffer = b""  # what was fed; nothing, once all of it is taken
        self._pos = 0
        self._header: int | None = None  # the frame in progress: its first byte
        self._left = 0  # bytes of its payload that are still to come
        self._read = 0  # bytes of its payload that were taken
        self._key = b""
        self.budget = budget
        self.continuing = False

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not taken yet."""
        return len(self.buffer) - self._pos

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._header is not None or self.buffered > 0

    def feed(self, data: bytes) -> None:
        """Take over bytes from the peer."""
        self.buffer = self.buffer[self._pos :] + data if self.buffer else data
        self._pos = 0

    def clear(self) -> None:
        """Drop what was fed: nothing after a Close frame or a violation is looked at."""
        self.buffer = b""
        self._pos = 0
        self._header = None

    def take_messages(
        self, into: list[tuple[str | bytes, int]], max_messages: int, max_size: int
    ) -> int:
        """Append the messages that are next to `into`, each with the size of its payload.

        These are the messages of one frame each that are whole in the buffer, uncompressed, and
        right: the common case, in one loop. It stops in front of anything else, which `next_part`
        looks at; and with `max_messages`, and when there are `max_size` bytes. Returns their bytes.
        """
        if self._header is not None or self.continuing:
            return 0
        buffer, pos, budget, masked = self.buffer, self._pos, self.budget, self._masked
        short = _SHORT_MASKED if masked else _SHORT
        available = len(buffer)
        taken = 0
        for _ in range(max_messages):
            header = short.get(buffer[pos : pos + 2]) or _read_whole(buffer, pos, masked, _WHOLE)
            if header is None:
                break
            text, size, length = header
            begin = pos + length
            end = begin + size
            if end > available or size > budget or taken >= max_size:
                break
            message: str | bytes
            if not masked:
                message = buffer[begin:end]
            elif size < _VIEW:
                message = mask(buffer[begin:end], buffer[begin - KEY_SIZE : begin])
            else:
                message = mask(memoryview(buffer)[begin:end], buffer[begin - KEY_SIZE : begin])
            if text:
                try:
                    message = message.decode()
                except UnicodeDecodeError:
                    break
            into.append((message, size))
            taken += size
            pos = end
            if pos == available:
                break
        self.buffer, self._pos = (b"", 0) if pos == available else (buffer, pos)
        return taken

    def take_compressed(self) -> tuple[bytes, bool] | None:
        """The payload of the message that is next, and whether it is a text.

        As `take_messages`, for a message that is compressed; None for anything else.
        """
        if self._header is not None or self.continuing:
            return None
        buffer, masked = self.buffer, self._masked
        header = _read_whole(buffer, self._pos, masked, _COMPRESSED)
        if header is None:
            return None
        text, size, length = header
        begin = self._pos + length
        end = begin + size
        if end > len(buffer) or size > input_budget(self.budget):
            return None
        if masked:
            payload = mask(memoryview(buffer)[begin:end], buffer[begin - KEY_SIZE : begin])
        else:
            payload = buffer[begin:end]
        self.buffer, self._pos = (b"", 0) if end == len(buffer) else (buffer, end)
        return payload, text

    def next_part(self) -> Part | None:
        """The next part, or None when more bytes are needed.

        Raises:
            Violation: at the byte that proves it.
        """
        if self._header is None and not self._read_header():
            self._wait()
            return None
        header = self._header
        assert header is not None
        available = len(self.buffer) - self._pos
        size = min(self._left, available)
        if size < self._left and (header & 0x8 or not size):
            self._wait()  # a control frame is taken whole; and of nothing there is no part
            return None
        payload: bytes
        if not self._masked:
            payload = self.buffer[self._pos : self._pos + size]
        else:
            view = memoryview(self.buffer)[self._pos : self._pos + size]
            payload = mask(view, self._key, self._read)
        first = not self._read
        self._pos += size
        self._read += size
        self._left -= size
        last = not self._left
        if last:
            self._header = None
        return Part(header & 0xF, bool(header & _FIN), bool(header & _RSV1), payload, first, last)

    def _wait(self) -> None:
        """Until more bytes come, keep those that are not used, and not their whole chunk."""
        self.buffer = self.buffer[self._pos :]
        self._pos = 0

    def _read_header(self) -> bool:
        """Take a frame's header if it is all there (RFC 6455 section 5.2)."""
        buffer, pos = self.buffer, self._pos
        available = len(buffer) - pos
        if not available:
            return False
        first = buffer[pos]
        self._check_first(first)
        if available < 2:
            return False
        second = buffer[pos + 1]
        size = second & 0x7F
        self._check_second(first, second)
        pos += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = _least_size(buffer[pos : pos + width], width)
            pos += width
        # Only a message's first frame has RSV1, so its budget is still that of a whole message.
        budget = input_budget(self.budget) if first & _RSV1 else self.budget
        if not first & 0x8 and size > budget:
            raise Violation(CloseCode.MESSAGE_TOO_BIG, "message too big")
        end = pos + KEY_SIZE if self._masked else pos
        if end > len(buffer):
            return False
        self._key = buffer[pos:end]
        self._pos = end
        self._header = first
        self._left = size
        self._read = 0
        return True

    def _check_first(self, first: int) -> None:
        """Check a frame's first byte: FIN, the reserved bits and the opcode."""
        opcode = first & 0xF
        fault = None
        if opcode in _CONTROL_OPCODES:
            if first & _RSV:  # RFC 7692 section 6: RSV1 belongs to the first frame of a message
                fault = "reserved bit set in a control frame"
            elif not first & _FIN:
                fault = "fragmented control frame"
        elif opcode not in _DATA_OPCODES:
            fault = f"reserved opcode {opcode:#x}"
        elif first & self._rsv or (first & _RSV1 and opcode == CONTINUATION):
            fault = "reserved bit set"
        elif self.continuing != (opcode == CONTINUATION):
            fault = (
                "new message inside a fragmented one"
                if self.continuing
                else "continuation frame with nothing to continue"
            )
        if fault is not None:
            raise Violation(CloseCode.PROTOCOL_ERROR, fault)

    def _check_second(self, first: int, second: int) -> None:
        """Check a frame's second byte: the mask bit and a control frame's length."""
        if bool(second & _MASKED) != self._masked:
            raise Violation(
                CloseCode.PROTOCOL_ERROR,
                "masked frame from a server"
                if second & _MASKED
                else "unmasked frame from a client",
            )
        if first & 0x8 and second & 0x7F > MAX_CONTROL_PAYLOAD:
            raise Violation(CloseCode.PROTOCOL_ERROR, "control frame over 125 bytes")
