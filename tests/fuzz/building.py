"""Frames out of a fuzzer's bytes: mostly legal ones, so that deep states are reached."""

from __future__ import annotations

import zlib
from typing import Final

from tests.protocol import wire

from .source import ByteSource

_TAIL: Final = b"\x00\x00\xff\xff"
_CHARACTERS: Final = [
    "a",
    "\x00",
    "\u00e9",
    "\u20ac",
    "\ufffe",
    "\ud7ff",
    "\U0001f600",
    "\U0010ffff",
]
_CODES: Final = [1000, 1001, 999, 1004, 1005, 1006, 1015, 1016, 2999, 3000, 4999, 5000, 0, 65535]
_RUNS: Final = [0, 1, 2, 3, 4, 124, 125, 126, 127, 130, 500, 1500]
MOST: Final = 6 * 1024
"""Bytes after which a case is large enough."""


class Builder:
    """Builds what a peer sends.

    Args:
        source: of all choices.
        client: the peer is a client, so it masks.
        deflate: a compressor's window bits, if there is permessage-deflate.
    """

    def __init__(self, source: ByteSource, *, client: bool, deflate: int | None = None) -> None:
        self._source = source
        self._client = client
        self._deflate = deflate
        self._compressor = None if deflate is None else _compressor(deflate)
        self._open = False  # a message has begun
        self.corrupt = False  # perhaps: bytes that are not of a compressor were sent
        self.data = bytearray()

    def run(self) -> bytes:
        """Everything that the source tells."""
        while self._source.left and len(self.data) < MOST:
            self.step()
        return bytes(self.data)

    def step(self) -> None:
        """One frame, or a few."""
        kind = self._source.byte()
        match kind & 15:
            case 0 | 1 | 2 | 3:
                self._data_frame(self.payload(), fin=not kind & 16)
            case 4 | 5:
                self._frame(wire.PING if kind & 16 else wire.PONG, self.payload()[:125])
            case 6:
                self._frame(wire.CLOSE, self._close())
            case 7:
                for _ in range(self._source.byte() % 40):
                    self._data_frame(b"", fin=False)
            case 8:
                self._fragments(self.payload())
            case 9 | 10 | 11 if self._deflate is not None:
                self._compressed(kind >> 4)
            case 12:
                self.corrupt = True
                self._wrong()
            case 13:
                self.corrupt = True
                self.data += self._source.take(1 + (kind >> 4))
            case _:
                self._data_frame(self._source.take(kind >> 4), fin=True)

    def payload(self) -> bytes:
        """Some bytes, often UTF-8."""
        kind = self._source.byte()
        match kind & 7:
            case 0 | 1:
                return self._source.take(kind >> 3)
            case 2:
                return self._source.take(1) * self._source.choice(_RUNS)
            case 3 | 4:
                count = 1 + (kind >> 4)
                return "".join(self._source.choice(_CHARACTERS) for _ in range(count)).encode()
            case 5:
                text = self._source.choice(_CHARACTERS).encode()
                return text[: -1 - (kind >> 4 & 1)] or b"\x80"
            case 6:
                return b"{'key': 1234}, " * (kind >> 3)
            case _:
                return b""

    def _close(self) -> bytes:
        kind = self._source.byte()
        if kind & 3 == 3:
            return self.payload()[:125]
        return self._source.choice(_CODES).to_bytes(2, "big") + self.payload()[:123]

    def _key(self) -> bytes | None:
        return bytes([len(self.data) & 255, 0x55, 0, 0xFF]) if self._client else None

    def _frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> None:
        self.data += wire.build(opcode, payload, fin=fin, rsv=rsv, mask=self._key())

    def _data_frame(self, payload: bytes, *, fin: bool, rsv: int = 0) -> None:
        if self._open:
            opcode = wire.CONTINUATION
        else:
            opcode = wire.BINARY if len(self.data) & 1 else wire.TEXT
        self._frame(opcode, payload, fin=fin, rsv=0 if self._open else rsv)
        self._open = not fin

    def _fragments(self, payload: bytes, rsv: int = 0) -> None:
        """A message in pieces, perhaps with a ping between them."""
        step = 1 + self._source.byte() % 16
        pieces = [payload[at : at + step] for at in range(0, len(payload), step)] or [b""]
        for number, piece in enumerate(pieces, 1):
            self._data_frame(piece, fin=number == len(pieces), rsv=rsv)
            if number == 2:
                self._frame(wire.PING, b"between")

    def _wrong(self) -> None:
        """A frame that is wrong in some way, as far as its fields may be."""
        opcode, flags, form = self._source.byte(), self._source.byte(), self._source.byte()
        declared = None
        if form & 4:
            declared = int.from_bytes(self._source.take(8 if form & 8 else 2), "big")
        length_form = (None, 7, 16, 64)[form & 3]
        limit = {None: 1 << 64, 7: 1 << 7, 16: 1 << 16, 64: 1 << 64}[length_form]
        payload = self.payload()[: limit - 1]
        self.data += wire.build(
            opcode & 15,
            payload,
            fin=bool(flags & 1),
            rsv=flags >> 1 & 7,
            mask=None if flags & 16 else self._key() or (wire.KEY if flags & 32 else None),
            length_form=length_form,
            declared=None if declared is None else declared % limit,
        )

    def _compressed(self, how: int) -> None:
        """A compressed message: right, final, flushed often, a bomb, or corrupt."""
        message = self._message(how)
        match how & 3:
            case 0:
                payload = self._deflated(message, zlib.Z_SYNC_FLUSH)
            case 1:
                assert self._deflate is not None
                end = _compressor(self._deflate)
                payload = end.compress(message) + end.flush(zlib.Z_FINISH) + b"\x00"
            case 2:
                self.corrupt = True
                payload = self._source.take(1 + self._source.byte() % 32)
            case _:
                self.corrupt = True
                payload = self._corrupt(self._deflated(message, zlib.Z_FULL_FLUSH))
        if self._source.byte() & 1:
            self._fragments(payload, rsv=4)
        else:
            self._data_frame(payload, fin=True, rsv=4)

    def _message(self, how: int) -> bytes:
        if how & 12 == 12:
            return b"\x00" * (1 << self._source.byte() % 21)  # up to a mebibyte
        if how & 12 == 8:
            return self.payload() * (1 + self._source.byte() % 32)
        return self.payload()

    def _deflated(self, message: bytes, flush: int) -> bytes:
        assert self._compressor is not None
        out = b""
        if self._source.byte() & 1:
            for _ in range(self._source.byte() % 20):
                out += self._compressor.compress(message[:1]) + self._compressor.flush(flush)
        out += self._compressor.compress(message) + self._compressor.flush(flush)
        return out.removesuffix(_TAIL)

    def _corrupt(self, payload: bytes) -> bytes:
        at, value = self._source.byte(), self._source.byte()
        broken = bytearray(payload or b"\x00")
        broken[at % len(broken)] ^= value
        return bytes(broken[: len(broken) - (value & 1)])


def _compressor(bits: int) -> zlib._Compress:
    return zlib.compressobj(-1, zlib.DEFLATED, -bits)
