"""A parser of the wire, written from RFC 6455 alone: it shares no code with the library.

It takes what one end has sent since its first byte, cut anywhere, and checks that this is the
beginning of a legal conversation: an HTTP/1.1 head, then whole frames, then at most one torn one.
What is compressed it inflates itself (`deflated`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .deflated import Agreed, DeflateError, Inflating

HEAD_END = b"\r\n\r\n"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_OPCODES = {_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG}


class WireError(Exception):
    """Bytes that RFC 6455 does not allow here."""


@dataclass
class Wire:
    """What one end has said.

    Args:
        head: the HTTP head without its last line, b"" if it is not whole.
        body: what follows the head of an answer other than 101.
        messages: whole messages in order, text as `str`.
        compressed: the bytes that a message took, by its place in `messages`, if it was compressed.
        agreed: on compression; None if it was not.
        pings: payloads of pings.
        pongs: payloads of pongs.
        close: code and reason of the Close frame; (1005, "") if it was empty.
        rest: the beginning of a frame that was not finished.
    """

    head: bytes = b""
    body: bytes = b""
    messages: list[str | bytes] = field(default_factory=list)
    compressed: dict[int, int] = field(default_factory=dict)
    agreed: Agreed | None = None
    pings: list[bytes] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    close: tuple[int, str] | None = None
    rest: bytes = b""


class _Frame(NamedTuple):
    """RFC 6455 section 5.2; the payload is None if the frame is torn."""

    end: int
    fin: bool
    rsv1: bool
    opcode: int
    payload: bytes | None


def parse(data: bytes, *, client: bool, answer: bytes = b"") -> Wire:
    """Parse all that a client, or a server, has sent.

    Args:
        data: since its first byte.
        client: whether a client has sent it.
        answer: the server's to a client; compression was agreed on there.

    Raises:
        WireError: it is not a prefix of anything legal.
        DeflateError: compressed data is out of step.
    """
    wire = Wire()
    head, found, frames = data.partition(HEAD_END)
    if not found:
        _check_start(data, b"GET /" if client else b"HTTP/1.1 ")
        wire.rest = data
        return wire
    wire.head = head
    _check_start(head, b"GET /" if client else b"HTTP/1.1 ")
    if not client and not head.startswith(b"HTTP/1.1 101 "):
        wire.body = frames
        _check_body(head, frames)
        return wire
    wire.agreed = _agreed(answer) if client else Agreed.by(head)
    inflating = None
    if wire.agreed is not None:
        role = "client" if client else "server"
        inflating = Inflating(wire.agreed.bits[role], takeover=wire.agreed.takeover[role])
    _parse_frames(wire, frames, inflating, masked=client)
    return wire


def _agreed(answer: bytes) -> Agreed | None:
    head, found, _ = answer.partition(HEAD_END)
    return Agreed.by(head) if found else None


def _check_start(data: bytes, start: bytes) -> None:
    size = min(len(data), len(start))
    if data[:size] != start[:size]:
        raise WireError(f"no HTTP/1.1 head: {data[:40]!r}")


def _check_body(head: bytes, body: bytes) -> None:
    lengths = [
        int(value)
        for name, _, value in (line.partition(b":") for line in head.lower().split(b"\r\n"))
        if name == b"content-length"
    ]
    if len(lengths) != 1:
        raise WireError(f"an answer needs one Content-Length, and has {lengths}")
    if len(body) > lengths[0]:
        raise WireError(f"{len(body) - lengths[0]} bytes after the answer's body")


def _parse_frames(wire: Wire, data: bytes, inflating: Inflating | None, *, masked: bool) -> None:
    position = 0
    assembling = _Assembling(wire, inflating)
    while position < len(data):
        if wire.close is not None:
            raise WireError(f"bytes after the Close frame: {data[position : position + 20]!r}")
        frame = _parse_frame(data, position, masked=masked)
        assembling.check(frame)
        if frame.payload is None:
            wire.rest = data[position:]
            return
        position = frame.end
        if frame.opcode >= 8:
            _control(wire, frame.opcode, frame.payload)
        else:
            assembling.add(frame, frame.payload)


def frame_ends(data: bytes, position: int) -> Iterator[int]:
    """Where each whole frame ends, from `position` on."""
    while position + 2 <= len(data):
        frame = _parse_frame(data, position, masked=bool(data[position + 1] & 0x80))
        if frame.payload is None:
            return
        position = frame.end
        yield position


class _Assembling:
    """Joins frames to messages (section 5.4), and inflates those with RSV1."""

    def __init__(self, wire: Wire, inflating: Inflating | None) -> None:
        self._wire = wire
        self._inflating = inflating
        self._opcode: int | None = None  # of the message that is open
        self._compressed = False  # it is
        self._fragments: list[bytes] = []

    def check(self, frame: _Frame) -> None:
        """May this frame come now, whole or torn?"""
        opcode = frame.opcode
        # RFC 7692 section 6: only a message's first frame has it.
        if frame.rsv1 and (self._inflating is None or opcode not in {_TEXT, _BINARY}):
            raise WireError(f"RSV1 with opcode {opcode}")
        if opcode < 8 and (opcode == _CONTINUATION) != (self._opcode is not None):
            raise WireError(f"opcode {opcode} with the message {self._opcode} open")

    def add(self, frame: _Frame, payload: bytes) -> None:
        """Take in a whole frame."""
        wire = self._wire
        if self._opcode is None:
            self._opcode, self._compressed = frame.opcode, frame.rsv1
        self._fragments.append(payload)
        if not frame.fin:
            return
        payload = b"".join(self._fragments)
        if self._inflating is not None and self._compressed:
            wire.compressed[len(wire.messages)] = len(payload)
            payload = self._inflating.message(payload)
        wire.messages.append(_message(self._opcode, payload, compressed=self._compressed))
        self._opcode = None
        self._fragments.clear()


def _parse_frame(data: bytes, position: int, *, masked: bool) -> _Frame:
    first = data[position]
    fin, rsv1, opcode = bool(first & 0x80), bool(first & 0x40), first & 0x0F
    if first & 0x30:
        raise WireError(f"a reserved bit is set: {first:#x}")
    if opcode not in _OPCODES:
        raise WireError(f"opcode {opcode}")
    torn = _Frame(0, fin, rsv1, opcode, None)
    if position + 2 > len(data):
        return torn
    second = data[position + 1]
    if bool(second & 0x80) != masked:
        raise WireError("a client masks, a server does not")
    length, position = second & 0x7F, position + 2
    if opcode >= 8 and (length > 125 or not fin):
        raise WireError("a control frame of over 125 bytes, or in fragments")
    if length > 125:
        size, least = (2, 126) if length == 126 else (8, 65536)
        if position + size > len(data):
            return torn
        length = int.from_bytes(data[position : position + size], "big")
        position += size
        if length < least or length >> 63:
            raise WireError(f"length {length} is not in its shortest form")
    key = b"\0\0\0\0"
    if masked:
        key, position = data[position : position + 4], position + 4
    end = position + length
    if end > len(data) or len(key) < 4:
        return torn
    payload = data[position:end]
    if masked:
        keys = (key * (length // 4 + 1))[:length]
        number = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
        payload = number.to_bytes(length, "big")
    return _Frame(end, fin, rsv1, opcode, payload)


def _message(opcode: int, payload: bytes, *, compressed: bool) -> str | bytes:
    if opcode == _BINARY:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError as exc:
        error = DeflateError if compressed else WireError
        raise error(f"a text that is no UTF-8: {payload[:40]!r}") from exc


def _control(wire: Wire, opcode: int, payload: bytes) -> None:
    if opcode == _PING:
        wire.pings.append(payload)
    elif opcode == _PONG:
        wire.pongs.append(payload)
    else:
        if len(payload) == 1:
            raise WireError("a Close frame with half a code")
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        if payload and not (1000 <= code < 5000 and code not in {1004, 1005, 1006, 1015}):
            raise WireError(f"close code {code}")
        wire.close = (code, payload[2:].decode())
