"""A parser of the wire, written from RFC 6455 alone: it shares no code with the library.

It takes what one end has sent since its first byte, cut anywhere, and checks that this is the
beginning of a legal conversation: an HTTP/1.1 head, then whole frames, then at most one torn one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
        pings: payloads of pings.
        pongs: payloads of pongs.
        close: code and reason of the Close frame; (1005, "") if it was empty.
        rest: the beginning of a frame that was not finished.
    """

    head: bytes = b""
    body: bytes = b""
    messages: list[str | bytes] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    close: tuple[int, str] | None = None
    rest: bytes = b""


def parse(data: bytes, *, client: bool) -> Wire:
    """Parse all that a client, or a server, has sent.

    Raises:
        WireError: it is not a prefix of anything legal.
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
    _parse_frames(wire, frames, masked=client)
    return wire


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


def _parse_frames(wire: Wire, data: bytes, *, masked: bool) -> None:
    position = 0
    fragments: list[bytes] = []
    kind: int | None = None  # the opcode of the message that is open
    while position < len(data):
        if wire.close is not None:
            raise WireError(f"bytes after the Close frame: {data[position : position + 20]!r}")
        end, fin, opcode, payload = _parse_frame(data, position, masked=masked)
        if opcode < 8 and (opcode == _CONTINUATION) != (kind is not None):
            raise WireError(f"opcode {opcode} with the message {kind} open")
        if payload is None:
            wire.rest = data[position:]
            return
        position = end
        if opcode >= 8:
            _control(wire, opcode, payload)
            continue
        kind = opcode or kind
        fragments.append(payload)
        if fin:
            wire.messages.append(_message(kind, b"".join(fragments)))
            fragments.clear()
            kind = None


def _parse_frame(
    data: bytes, position: int, *, masked: bool
) -> tuple[int, bool, int, bytes | None]:
    """Section 5.2: where the frame ends, FIN, opcode, payload; None if the frame is torn."""
    first = data[position]
    fin, opcode = bool(first & 0x80), first & 0x0F
    if first & 0x70:
        raise WireError(f"a reserved bit is set: {first:#x}")
    if opcode not in _OPCODES:
        raise WireError(f"opcode {opcode}")
    torn = (0, fin, opcode, None)
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
    return end, fin, opcode, payload


def _message(kind: int | None, payload: bytes) -> str | bytes:
    if kind == _BINARY:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError as exc:
        raise WireError(f"a text that is no UTF-8: {payload[:40]!r}") from exc


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
