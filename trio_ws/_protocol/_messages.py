"""Messages out of frames (RFC 6455 section 5.4): reassembly, its limits, UTF-8, inflating."""

from __future__ import annotations

import codecs
from typing import Final

from ._deflate import Agreement, Inflater
from ._frames import TEXT, CloseCode, Part, Violation, input_budget

_utf8_decoder = codecs.getincrementaldecoder("utf-8")

# Pieces below this size are gathered, so that many small ones cost no more than their bytes.
_SMALL: Final = 4 * 1024
_GATHER: Final = 64 * 1024
# Bytes that are inflated before the others get their turn: about half a millisecond of work.
_TURN: Final = 96 * 1024

# Where nothing was agreed on, nothing is compressed.
_NO_INFLATER: Final = Inflater(Agreement(15, False, 15, False))


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


class Message:
    """A message in progress.

    Args:
        text: it is a text; it is decoded as it comes only to fail at its first impossible byte (RFC
            6455 section 8.1).
        compressed: what comes of it is to be inflated.
        max_size: bytes that it may have.
    """

    __slots__ = (
        "_decoder", "_max_size", "_text", "compressed", "empty", "input_size", "last", "payload",
    )  # fmt: skip

    def __init__(self, *, text: bool, compressed: bool, max_size: int) -> None:
        self._text = text
        self._max_size = max_size
        self._decoder = _utf8_decoder() if text else None
        self.compressed = compressed
        self.payload = Pieces()
        self.input_size = 0  # bytes before inflating
        self.empty = 0  # fragments in a row
        self.last = False  # all of it has come

    def add(self, data: bytes) -> None:
        """Append a piece, inflated.

        Raises:
            Violation: invalid UTF-8 (1007), message too big (1009).
        """
        self.payload.add(data)
        if self._decoder is not None:
            try:
                self._decoder.decode(data)
            except UnicodeDecodeError:
                raise _not_utf8() from None
            # Python's decoder waits for the third byte of a surrogate; its second proves it. (The
            # byte ED begins a character, and nothing else, so what precedes it does not matter.)
            pending = self._decoder.getstate()[0]
            if pending[:1] == b"\xed" and pending[1:2] >= b"\xa0":
                raise _not_utf8()
        if self.payload.size > self._max_size:
            raise Violation(CloseCode.MESSAGE_TOO_BIG, "message too big")

    def take(self) -> str | bytes:
        """The message, whole.

        Raises:
            Violation: it ends within a character (1007).
        """
        data = self.payload.take()
        return _decode(data) if self._text else data


class Assembler:
    """Joins parts of data frames to messages.

    Args:
        max_size: bytes that a message may have, once inflated.
        max_empty_fragments: empty frames in a row that a message may be made of, without its last.
        inflater: inflates messages with RSV1, if permessage-deflate was negotiated.

    Memory follows what has arrived, never what was declared, and 10**6 fragments of a byte take no
    more than one of 10**6 bytes: the payload is kept as bytes.

    Inflating is done in turns: once `tired`, it does nothing before `rest`.
    """

    __slots__ = (
        "_inflater", "_max_empty", "_max_size", "_turn_end", "discarding", "message", "resting",
        "size",
    )  # fmt: skip

    def __init__(
        self, max_size: int, max_empty_fragments: int, inflater: Inflater | None = None
    ) -> None:
        self._max_size = max_size
        self._max_empty = max_empty_fragments
        self._inflater = inflater or _NO_INFLATER
        self.message: Message | None = None  # in progress
        self._turn_end = self._inflater.work + _TURN
        self.discarding = False  # nobody wants messages any more
        self.resting = False  # it was `tired`: the others have their turn
        self.size = 0  # bytes of the last whole message

    @property
    def pending(self) -> bool:
        """Whether `inflate` has work left."""
        return self._inflater.pending

    @property
    def tired(self) -> bool:
        """Whether so much was inflated, in one message or many, that others should have a turn."""
        return self._inflater.work >= self._turn_end

    def rest(self) -> None:
        """Let the others have their turn; then begin another."""
        self.resting = True
        self._turn_end = self._inflater.work + _TURN

    def discard(self) -> None:
        """Take no trouble over the messages that come: nobody wants them any more."""
        self.discarding = True
        self.drop()

    @property
    def budget(self) -> int:
        """Bytes that the next frame may have."""
        message = self.message
        if message is None:
            return self._max_size
        if message.compressed:
            return input_budget(self._max_size) - message.input_size
        return self._max_size - message.payload.size

    def add(self, part: Part) -> str | bytes | None:
        """Take a part in; return the message if it is whole now.

        Raises:
            Violation: as `add_whole`, or too many empty fragments (1008).
        """
        opcode, fin, rsv1, payload, _, last = part
        if self.discarding:
            return None
        message = self.message
        if message is None:
            text = opcode == TEXT
            if last and fin:  # the common case: one frame, in one piece
                if rsv1:
                    return self.add_compressed(payload, text=text)
                self.size = len(payload)
                return _decode(payload) if text else payload
            message = self._begin(text=text, compressed=rsv1)
        self._count_empty(message, part)
        message.last = last and fin
        if message.compressed:
            message.input_size += len(payload)
            self._inflater.feed(payload, last=message.last)
            return self.inflate()
        message.add(payload)
        return self._finish(message) if message.last else None

    def add_compressed(self, payload: bytes, *, text: bool) -> str | bytes | None:
        """Take a compressed message in; return it, unless it takes more than a step to inflate.

        Raises:
            Violation: as `inflate`.
        """
        inflater = self._inflater
        inflater.feed(payload, last=True)
        data = inflater.read(self._max_size + 1)
        size = len(data)
        if not inflater.pending and size <= self._max_size:
            whole = _decode(data) if text else data
            inflater.finish()
            self.size = size
            return whole
        message = self._begin(text=text, compressed=True)
        message.last = True
        message.add(data)
        return self.inflate()

    def inflate(self) -> str | bytes | None:
        """Inflate what was added, until `tired`; return the message if it is whole now.

        Raises:
            Violation: corrupt data or invalid UTF-8 (1007), message too big (1009).
        """
        inflater, message = self._inflater, self.message
        assert message is not None
        while inflater.pending and not self.tired:
            message.add(inflater.read(self._max_size - message.payload.size + 1))
        if inflater.pending or not message.last:
            return None
        whole = self._finish(message)
        inflater.finish()
        return whole

    def drop(self) -> None:
        """Release the message in progress."""
        self.resting = False
        self.message = None
        self._inflater.drop()

    def _count_empty(self, message: Message, part: Part) -> None:
        if part.payload:
            message.empty = 0
        elif not part.fin:
            message.empty += 1
            if message.empty > self._max_empty:
                raise Violation(CloseCode.POLICY_VIOLATION, "too many empty fragments")

    def _begin(self, *, text: bool, compressed: bool) -> Message:
        message = Message(text=text, compressed=compressed, max_size=self._max_size)
        self.message = message
        return message

    def _finish(self, message: Message) -> str | bytes:
        self.message = None
        self.size = message.payload.size
        return message.take()


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> Violation:
    return Violation(CloseCode.INVALID_FRAME_PAYLOAD_DATA, "text is not UTF-8")
