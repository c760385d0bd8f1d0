"""permessage-deflate (RFC 7692): its parameters, their negotiation, compressing and inflating.

zlib does the work. What is ours is never to inflate more than a message may have, never to let a
compressor get out of step with the peer (it advances only together with the frame that is queued),
and never to work for long at a time: both directions go in steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ._frames import CloseCode, Violation
from ._headers import Extension, HeaderError, show

NAME: Final = "permessage-deflate"

# What a sync flush ends with; it is not sent (RFC 7692 section 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"
# An empty final block: after whole blocks, and only there, it ends the stream.
_FINAL_BLOCK: Final = b"\x01\x00\x00\xff\xff"
# Bytes that are compressed in one step: some milliseconds of work.
_COMPRESS_STEP: Final = 128 * 1024
# Bytes that zlib is given at once: it returns a copy of what it has not taken.
_INPUT_STEP: Final = 16 * 1024
# Bytes that it may return at once, and what is added of those that may still come: near to the
# limit of a message, little is held beyond it.
_OUTPUT_STEP: Final = 1024
_OUTPUT_SHARE: Final = 8
_MAX_OUTPUT_STEP: Final = 32 * 1024
# What a call of zlib costs besides, in bytes that could be inflated in the same time.
_CALL: Final = 512
# Streams that a message may consist of: each costs a new context, and may have two bytes.
_MAX_STREAMS: Final = 1024

_SERVER_FLAG: Final = "server_no_context_takeover"
_CLIENT_FLAG: Final = "client_no_context_takeover"
_SERVER_BITS: Final = "server_max_window_bits"
_CLIENT_BITS: Final = "client_max_window_bits"
_WINDOW_BITS: Final = {str(bits): bits for bits in range(8, 16)}


@dataclass(frozen=True, kw_only=True)
class PerMessageDeflate:
    """How to compress messages (RFC 7692), for ``compression=``.

    A connection takes about ``2 ** (window bits + 2) + 2 ** (mem_level + 9)`` bytes to compress and
    ``2 ** (window bits)`` to inflate, and some 15 kB beside, once a message is compressed.

    Args:
        server_no_context_takeover: the server starts each message with an empty window.
        client_no_context_takeover: the client starts each message with an empty window.
        server_max_window_bits: the base-2 logarithm of the server's window, 9 to 15.
        client_max_window_bits: the base-2 logarithm of the client's window, 9 to 15.
        level: 1 (fast) to 9 (small), 0 not to compress, or -1 for zlib's default.
        mem_level: 1 (little memory) to 9 (fast).
        threshold: bytes that a message must have to be compressed.

    Raises:
        ValueError: a number out of its range.
        TypeError: not a number, or not a bool where one is asked for.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 12
    client_max_window_bits: int = 12
    level: int = -1
    mem_level: int = 5
    threshold: int = 64

    def __post_init__(self) -> None:
        for flag in (_SERVER_FLAG, _CLIENT_FLAG):
            if not isinstance(getattr(self, flag), bool):
                raise TypeError(f"{flag} must be a bool, not {getattr(self, flag)!r}")
        # 8 is not ours to send: zlib has no raw encoder for it.
        for name, low, high in (
            ("server_max_window_bits", 9, 15),
            ("client_max_window_bits", 9, 15),
            ("level", -1, 9),
            ("mem_level", 1, 9),
            ("threshold", 0, None),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, not {value!r}")
            if value < low or (high is not None and value > high):
                upto = "or more" if high is None else f"to {high}"
                raise ValueError(f"{name} must be {low} {upto}, and is {value}")

    def _offers(self) -> list[Extension]:
        """What a client offers: what it would like, then what any server can do."""
        wish: list[tuple[str, str | None]] = []
        if self.server_no_context_takeover:
            wish.append((_SERVER_FLAG, None))
        if self.client_no_context_takeover:
            wish.append((_CLIENT_FLAG, None))
        plain = [*wish, (_CLIENT_BITS, None)]
        if self.client_max_window_bits < 15:
            wish.append((_CLIENT_BITS, str(self.client_max_window_bits)))
        else:
            wish.append((_CLIENT_BITS, None))
        if self.server_max_window_bits == 15:
            return [(NAME, tuple(wish))]
        wish.append((_SERVER_BITS, str(self.server_max_window_bits)))
        return [(NAME, tuple(wish)), (NAME, tuple(plain))]


class Agreement(NamedTuple):
    """What the two ends have agreed on, as one of them sees it."""

    compress_bits: int
    compress_takeover: bool
    inflate_bits: int
    inflate_takeover: bool


def accept_offer(
    offers: Sequence[Extension], wish: PerMessageDeflate
) -> tuple[Extension, Agreement] | None:
    """A server's answer to the first offer that it can accept, or None (RFC 7692 section 5.1)."""
    for name, parameters in offers:
        if name != NAME:
            continue
        try:
            offered = _parse(parameters, valueless=_CLIENT_BITS)
        except HeaderError:
            continue  # section 7.1: an offer with such a parameter is declined
        answer = _answer(offered, wish)
        if answer is not None:
            return answer
    return None


def _answer(offered: dict[str, int], wish: PerMessageDeflate) -> tuple[Extension, Agreement] | None:
    parameters: list[tuple[str, str | None]] = []
    takeover = {}
    for flag in (_SERVER_FLAG, _CLIENT_FLAG):
        takeover[flag] = not (flag in offered or getattr(wish, flag))
        if not takeover[flag]:
            parameters.append((flag, None))
    compress_bits = wish.server_max_window_bits
    if _SERVER_BITS in offered:
        compress_bits = min(compress_bits, offered[_SERVER_BITS])
        if compress_bits == 8:
            return None  # zlib cannot
        parameters.append((_SERVER_BITS, str(compress_bits)))
    inflate_bits = 15
    if _CLIENT_BITS in offered:  # section 7.1.2.2: only then may the answer have it
        inflate_bits = min(wish.client_max_window_bits, offered[_CLIENT_BITS])
        parameters.append((_CLIENT_BITS, str(inflate_bits)))
    agreement = Agreement(
        compress_bits, takeover[_SERVER_FLAG], inflate_bits, takeover[_CLIENT_FLAG]
    )
    return (NAME, tuple(parameters)), agreement


def check_answer(accepted: Sequence[Extension], wish: PerMessageDeflate) -> Agreement | None:
    """What a server's answer to the offers of `wish` means for the client; None is no.

    Raises:
        HeaderError: no legal answer to what was offered (RFC 7692 section 7.1).
    """
    if not accepted:
        return None
    answer = _parse(accepted[0][1], valueless=None)
    if wish.server_no_context_takeover and _SERVER_FLAG not in answer:
        raise HeaderError("the server must answer server_no_context_takeover, which was asked for")
    inflate_bits = answer.get(_SERVER_BITS, 15)
    if _SERVER_BITS in answer and inflate_bits > wish.server_max_window_bits:
        # Without it, the server has taken the second offer; but who knows it can do as the first.
        raise HeaderError(f"the server chose a window of {inflate_bits} bits, more than asked for")
    compress_bits = min(wish.client_max_window_bits, answer.get(_CLIENT_BITS, 15))
    if compress_bits == 8:
        raise HeaderError("the server asks for a window of 8 bits, which zlib cannot compress with")
    return Agreement(
        compress_bits,
        not (_CLIENT_FLAG in answer or wish.client_no_context_takeover),
        inflate_bits,
        _SERVER_FLAG not in answer,
    )


def _parse(
    parameters: Sequence[tuple[str, str | None]], *, valueless: str | None
) -> dict[str, int]:
    """The parameters by name, with their values checked (RFC 7692 section 7.1).

    Of a flag it only matters that it is there; a window without a value may be the largest.
    """
    parsed: dict[str, int] = {}
    for name, value in parameters:
        if name in parsed:
            raise HeaderError(f"{NAME}: parameter {show(name)} comes twice")
        if name in (_SERVER_FLAG, _CLIENT_FLAG):
            legal = value is None
        elif name in (_SERVER_BITS, _CLIENT_BITS):
            legal = value in _WINDOW_BITS or (value is None and name == valueless)
        else:
            legal = False
        if not legal:
            raise HeaderError(f"{NAME}: parameter {show(f'{name}={value}')} is not legal")
        parsed[name] = 15 if value is None else _WINDOW_BITS[value]
    return parsed


class Volume(NamedTuple):
    """Bytes of one direction's compressed messages, without and with compression."""

    uncompressed: int = 0
    compressed: int = 0


class Compressor:
    """Compresses messages (RFC 7692 section 7.2.1); its context is made when first used."""

    __slots__ = ("_bits", "_compressed", "_context", "_level", "_mem_level", "_size", "_takeover")

    def __init__(self, agreement: Agreement, wish: PerMessageDeflate) -> None:
        self._bits = agreement.compress_bits
        self._takeover = agreement.compress_takeover
        self._level = wish.level
        self._mem_level = wish.mem_level
        self._context: zlib._Compress | None = None
        self._size = self._compressed = 0  # bytes in all, before and after

    @property
    def volume(self) -> Volume:
        """What was compressed so far."""
        return Volume(self._size, self._compressed)

    def compress(self, message: bytes) -> bytes:
        """Compress a message at once, and advance."""
        payload = b"\x00"  # section 7.2.3.6
        if message:
            context = self._context or self._new()
            payload = context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH)
            payload = payload[: -len(_TAIL)]
            self._context = context if self._takeover else None
        self._size += len(message)
        self._compressed += len(payload)
        return payload

    def steps(self, message: bytes) -> Iterator[bytes | None]:
        """Compress a large message in steps: None after each, and the payload last.

        The context advances only when the payload is taken: who stops before has changed nothing.
        """
        context = self._context.copy() if self._context else self._new()
        pieces = []
        view = memoryview(message)
        for start in range(0, len(message), _COMPRESS_STEP):
            pieces.append(context.compress(view[start : start + _COMPRESS_STEP]))
            yield None
        pieces.append(context.flush(zlib.Z_SYNC_FLUSH))
        payload = b"".join(pieces)[: -len(_TAIL)] or b"\x00"  # section 7.2.3.6
        self._context = context if self._takeover else None
        self._size += len(message)
        self._compressed += len(payload)
        yield payload

    def _new(self) -> zlib._Compress:
        return zlib.compressobj(self._level, zlib.DEFLATED, -self._bits, self._mem_level)


class Inflater:
    """Inflates messages in pieces (RFC 7692 section 7.2.2)."""

    __slots__ = (
        "_bits", "_context", "_fed", "_pieces", "_read", "_streams", "_takeover", "_whole", "work",
    )  # fmt: skip

    def __init__(self, agreement: Agreement) -> None:
        # Older versions of zlib silently compress with 9 bits when they are asked for 8.
        self._bits = max(9, agreement.inflate_bits)
        self._takeover = agreement.inflate_takeover
        self._context: zlib._Decompress | None = None
        self._pieces: list[bytes | memoryview] = []  # fed and not read, the first one last
        self._streams = 0  # that have ended within this message
        self._fed = self._read = 0  # bytes in all
        self._whole: tuple[int, int] = (0, 0)  # the same of whole messages
        self.work: int = 0  # what it took in all, in bytes

    @property
    def volume(self) -> Volume:
        """The whole messages that were inflated so far."""
        return Volume(*self._whole)

    @property
    def pending(self) -> bool:
        """Whether `read` may return more of what was fed."""
        return bool(self._pieces)

    def feed(self, data: bytes, *, last: bool) -> None:
        """Take over a piece of a message; all that was fed before was read."""
        self._fed += len(data)
        if len(data) <= _INPUT_STEP:
            self._pieces = [data + _TAIL if last else data]
            return
        view = memoryview(data)
        steps = range(0, len(data), _INPUT_STEP)
        *begin, end = (view[at : at + _INPUT_STEP] for at in steps)
        self._pieces = [bytes(end) + _TAIL if last else end, *reversed(begin)]

    def read(self, limit: int) -> bytes:
        """Inflate up to `limit` bytes, in one step, which may give fewer or none.

        Raises:
            Violation: this is no DEFLATE (1007), or too many final blocks (1008).
        """
        context = self._context or self._new()
        limit = min(limit, _OUTPUT_STEP + limit // _OUTPUT_SHARE, _MAX_OUTPUT_STEP)
        piece = self._pieces.pop()
        try:
            data = context.decompress(piece, limit)
        except zlib.error:
            raise _corrupt() from None
        size = len(data)
        self._read += size
        self.work += max(size, len(piece)) + _CALL
        if context.eof:
            self._begin_stream(context.unused_data)
        else:
            self._context = context
            if size == limit:  # else zlib leaves neither input nor output
                self._pieces.append(context.unconsumed_tail)
        return data

    def _begin_stream(self, piece: bytes) -> None:
        """Section 7.2.3.4: a final block is legal; what follows it begins a new stream."""
        self._context = None
        self._streams += 1
        if self._streams > _MAX_STREAMS:
            raise Violation(CloseCode.POLICY_VIOLATION, "too many final blocks")
        if piece:
            self._pieces.append(piece)

    def finish(self) -> None:
        """The message is read to its end.

        Raises:
            Violation: it ends within a block.
        """
        context, self._context = self._context, None
        self._streams = 0
        if context is not None:
            if self._takeover:
                self._context = context
                # Only zlib knows whether this is the end of a block, and what asks it changes it.
                # This copies the window and some 7 KiB, in a fraction of what it takes to inflate
                # 1 KiB.
                context = context.copy()
            try:
                rest = context.decompress(_FINAL_BLOCK, 1)
            except zlib.error:
                raise _corrupt() from None
            # What comes out belongs to a block that was not at its end.
            if rest or not context.eof:
                raise _corrupt()
        self._whole = self._read, self._fed

    def drop(self) -> None:
        """Release what is pending: the rest of the message is not wanted, nor any after it."""
        self._pieces = []

    def _new(self) -> zlib._Decompress:
        return zlib.decompressobj(-self._bits)


def _corrupt() -> Violation:
    return Violation(CloseCode.INVALID_FRAME_PAYLOAD_DATA, "compressed data is corrupt")


class Deflate(NamedTuple):
    """permessage-deflate on one connection: both directions, and from which size on."""

    compressor: Compressor
    inflater: Inflater
    threshold: int

    @classmethod
    def of(cls, agreement: Agreement, wish: PerMessageDeflate) -> Deflate:
        """What was agreed on, ready for use."""
        return cls(Compressor(agreement, wish), Inflater(agreement), wish.threshold)
