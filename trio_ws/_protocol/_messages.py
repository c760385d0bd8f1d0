"""Messages out of frames (RFC 6455 section 5.4): reassembly, its limits, UTF-8, inflating."""

from __future__ import annotations

import codecs
from typing import Final

from ._deflate import Inflater
from ._frames import TEXT, CloseCode, Part, Violation, input_budget

_utf8_decoder = codecs.getincrementaldecoder("utf-8")

# Pieces below this size are gathered, so that many small ones cost no more than their bytes.
_SMALL: Final = 4 * 1024
_GATHER: Final = 64 * 1024
# Pieces that are inflated before the others get their turn: about a millisecond of work.
_INFLATE_TURN: Final = 16


class Pieces:
    """A payload that comes in pieces, in little more memory than its bytes."""

    __slots__ = ("_pieces", "_small", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._small = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Append a piece."""
        self.size += len(data)
        if len(data) < _SMALL:
            self._small += data
        if len(data) >= _SMALL or len(self._small) >= _GATHER:
            if self._small:
                self._pieces.append(bytes(self._small))
                self._small = bytearray()
            if len(data) >= _SMALL:
                self._pieces.append(data)

    def take(self) -> bytes:
        """The payload, whole; the pieces are released."""
        data = b"".join((*self._pieces, self._small))
        self._pieces.clear()
        self._small = bytearray()
        return data


class Assembler:
    """Joins parts of data frames to messages.

    Args:
        max_size: bytes that a message may have, once inflated.
        max_empty_fragments: empty frames in a row that a message may be made of, without its last.
        inflater: inflates messages with RSV1, if permessage-deflate was negotiated.

    Memory follows what has arrived, never what was declared, and 10**6 fragments of a byte take no
    more than one of 10**6 bytes: the payload is kept as bytes, and a text is decoded as it comes
    only to fail at its first impossible byte (RFC 6455 section 8.1).
    """

    __slots__ = (
        "_decoder", "_discarding", "_empty", "_inflater", "_input_size", "_last", "_max_empty",
        "_max_size", "_payload", "_reads", "_text", "inflating", "size",
    )  # fmt: skip

    def __init__(
        self, max_size: int, max_empty_fragments: int, inflater: Inflater | None = None
    ) -> None:
        self._max_size = max_size
        self._max_empty = max_empty_fragments
        self._inflater = inflater
        self._payload: Pieces | None = None  # of the message in progress
        self._text = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._empty = 0
        self._input_size = 0  # bytes of it before inflating
        self._last = False  # its last part was added
        self._reads = 0  # since the last `rest`
        self._discarding = False
        self.inflating = False  # it is compressed
        self.size = 0  # bytes of the last whole message

    @property
    def open(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._payload is not None

    @property
    def ready(self) -> bool:
        """Whether a message that begins now is wanted, and needs no more than its payload."""
        return self._payload is None and not self._discarding

    @property
    def pending(self) -> bool:
        """Whether `inflate` has work left."""
        return self.inflating and self._inflater is not None and self._inflater.pending

    @property
    def tired(self) -> bool:
        """Whether so much was inflated, in one message or many, that others should have a turn."""
        return self._reads >= _INFLATE_TURN

    def rest(self) -> None:
        """The others had their turn."""
        self._reads = 0

    def discard(self) -> None:
        """Nobody wants messages any more: take no trouble over those that come."""
        self._discarding = True
        self.drop()

    @property
    def budget(self) -> int:
        """Bytes that the next frame may have."""
        if self._payload is None:
            return self._max_size
        if self.inflating:
            return input_budget(self._max_size) - self._input_size
        return self._max_size - self._payload.size

    def add(self, part: Part) -> str | bytes | None:
        """Take a part in; return the message if it is whole now.

        Raises:
            Violation: invalid UTF-8 (1007), too many empty fragments (1008).
        """
        opcode, fin, rsv1, payload, _, last = part
        if self._discarding:
            return None
        if self._payload is None:
            if last and fin and not rsv1:  # the common case: one frame, in one piece
                self.size = len(payload)
                return self._decode(payload) if opcode == TEXT else payload
            self._begin(text=opcode == TEXT, inflating=rsv1)
        self._count_empty(part)
        self._last = last and fin
        if self.inflating:
            assert self._inflater is not None
            self._input_size += len(payload)
            self._inflater.feed(payload, last=self._last)
            return self.inflate()
        self._extend(payload)
        return self._finish() if self._last else None

    def inflate(self) -> str | bytes | None:
        """Inflate what was added, until `tired`; return the message if it is whole now.

        Raises:
            Violation: corrupt data or invalid UTF-8 (1007), message too big (1009).
        """
        inflater, payload = self._inflater, self._payload
        assert inflater is not None
        assert payload is not None
        while inflater.pending and not self.tired:
            self._reads += 1
            self._extend(inflater.read(self._max_size - payload.size + 1))
            if payload.size > self._max_size:
                raise Violation(CloseCode.MESSAGE_TOO_BIG, "message too big")
        if inflater.pending or not self._last:
            return None
        inflater.finish()
        return self._finish()

    def drop(self) -> None:
        """Release the message in progress."""
        self._payload = None
        self._decoder = None
        self.inflating = False

    def _begin(self, *, text: bool, inflating: bool) -> None:
        self._payload = Pieces()
        self._text = text
        self._decoder = _utf8_decoder() if text else None
        self._empty = 0
        self._input_size = 0
        self.inflating = inflating

    def _count_empty(self, part: Part) -> None:
        if part.payload:
            self._empty = 0
        elif not part.fin:
            self._empty += 1
            if self._empty > self._max_empty:
                raise Violation(CloseCode.POLICY_VIOLATION, "too many empty fragments")

    def _extend(self, payload: bytes) -> None:
        assert self._payload is not None
        self._payload.add(payload)
        if self._decoder is not None:
            try:
                self._decoder.decode(payload)
            except UnicodeDecodeError:
                raise _not_utf8() from None
            # Python's decoder waits for the third byte of a surrogate; its second proves it. (The
            # byte ED begins a character, and nothing else, so what precedes it does not matter.)
            pending = self._decoder.getstate()[0]
            if pending[:1] == b"\xed" and pending[1:2] >= b"\xa0":
                raise _not_utf8()

    def _finish(self) -> str | bytes:
        payload = self._payload
        assert payload is not None
        self.drop()
        self.size = payload.size
        data = payload.take()
        return self._decode(data) if self._text else data

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise _not_utf8() from None


def _not_utf8() -> Violation:
    return Violation(CloseCode.INVALID_FRAME_PAYLOAD_DATA, "text is not UTF-8")
