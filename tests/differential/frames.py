"""Frames as a peer might send them, and what is peculiar about a sequence of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tests.protocol import wire

KEY = b"\x37\xfa\x21\x3d"
WRONG = b"\x01\x02\x03\x04"
_TAIL = b"\x00\x00\xff\xff"


@dataclass(frozen=True)
class Frame:
    """A frame of the peer.

    Args:
        opcode: 0 to 15.
        payload: before masking.
        fin: the FIN bit.
        rsv: the reserved bits.
        masked: it is masked if, and only if, the peer is a client.
        form: 7, 16 or 64 bits of length; None is the shortest.
        declared: the length in its header, if it is another.
        cut: bytes at its end that never come.
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    masked: bool = True
    form: int | None = None
    declared: int | None = None
    cut: int = 0

    def encode(self, role: str) -> bytes:
        """Its bytes, on their way to an end of this role."""
        data = wire.build(
            self.opcode,
            self.payload,
            fin=self.fin,
            rsv=self.rsv,
            mask=KEY if self.masked == (role == "server") else None,
            length_form=self.form,
            declared=self.declared,
        )
        return data[: len(data) - self.cut]


@dataclass(frozen=True)
class Sequence:
    """What a peer sends.

    Args:
        name: what it is about, or the seed that it was made with.
        frames: one after the other.
        role: of the ends that get it.
        closing: each end has sent a Close with 1000 before.
        deflate: permessage-deflate is agreed on, with windows of 15 bits and context takeover.
        max_size: bytes that a message may have; 0 is the default, over all that comes.
    """

    name: str
    frames: tuple[Frame, ...]
    role: str = "server"
    closing: bool = False
    deflate: bool = False
    max_size: int = 0

    @property
    def data(self) -> bytes:
        """All bytes."""
        return b"".join(frame.encode(self.role) for frame in self.frames)

    def facts(self) -> frozenset[str]:
        """What is peculiar about it; the table of disagreements tells its rows apart by this."""
        found = {f"frame {fact}" for frame in self.frames for fact in _frame_facts(frame)}
        found |= _message_facts(self.frames)
        if self.closing:
            found.add("after own Close")
        return frozenset(found)


def _frame_facts(frame: Frame) -> Iterable[str]:
    if frame.cut:
        yield "cut"
    if frame.opcode == wire.CLOSE:
        if len(frame.payload) == 1:
            yield "Close of 1 byte"
        code = int.from_bytes(frame.payload[:2], "big")
        if len(frame.payload) >= 2:
            wrong = not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999)
            if code == 1014:
                yield "Close 1014"
            if not _is_utf8(frame.payload[2:]):
                yield f"Close reason not UTF-8{', wrong code' if wrong else ''}"
    if frame.opcode & 8 and frame.rsv & 4:
        yield "control with RSV1"
    if frame.opcode == 0 and frame.rsv & 4:
        yield "continuation with RSV1"
    if frame.form is not None and len(frame.payload) < (126 if frame.form == 16 else 0x10000):
        yield "long length"
    if (frame.declared or 0) >= 2**63:
        yield "length over 63 bits"
    if frame.opcode & 8 and len(frame.payload) > 50:
        yield "control over 50 bytes"


def _message_facts(frames: Iterable[Frame]) -> set[str]:
    """How frames make messages: an independent and rough look at them."""
    found: set[str] = set()
    message: bytes | None = None
    text = compressed = False
    for frame in frames:
        inside = "a compressed message" if compressed else "a message"
        if frame.opcode & 8:
            if message is not None:
                found.add(f"{'Close' if frame.opcode == wire.CLOSE else 'ping'} inside {inside}")
            continue
        if frame.opcode:
            if message is not None:
                found.add(f"message inside {inside}")
                if frame.rsv & 4:
                    found.add("compressed message inside a message")
            message, text, compressed = b"", frame.opcode == wire.TEXT, bool(frame.rsv & 4)
        elif message is None:
            found.add("nothing to continue")
            continue
        message += frame.payload
        if compressed:
            found.update(_compressed_facts(message, fin=frame.fin))
        elif text:
            found.update(_text_facts(message))
        if frame.fin:
            message = None
    return found


def _compressed_facts(message: bytes, *, fin: bool) -> Iterable[str]:
    yield "compressed"
    if fin and not _whole_blocks(message):
        yield "message ends within a block"


def _text_facts(message: bytes) -> Iterable[str]:
    if not _is_utf8(message):
        yield "text not UTF-8"
        if any(b"\xed" + bytes([second]) in message for second in range(0xA0, 0xC0)):
            yield "text with a surrogate"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole_blocks(data: bytes) -> bool:
    context = zlib.decompressobj(-15, zdict=b"Hello" * 100)
    try:
        context.decompress(data + _TAIL)
        context.decompress(b"\x01\x00\x00\xff\xff")
    except zlib.error:
        return False
    return context.eof


def both(sequence: Sequence) -> Iterable[Sequence]:
    """A sequence for both roles."""
    return (replace(sequence, role=role) for role in ("client", "server"))
