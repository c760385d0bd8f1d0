"""The payload of a Close frame, received and sent (RFC 6455 sections 5.5.1, 7.1.5 and 7.4)."""

from __future__ import annotations

from tests.protocol import wire

from . import core
from .oracle import Fault, Limits, may_be_sent, read_close
from .properties import expect, same
from .source import ByteSource, cut, splittings


def close(data: bytes) -> None:
    """Received: code and reason, or the right failure. Sent: what may be, and it comes back."""
    source = ByteSource(data)
    role = source.byte()
    payload = source.rest()[: wire_limit(role)]
    _receive(payload, client=bool(role & 1), code_first=bool(role & 2))
    _send(payload, client=bool(role & 1))


def wire_limit(role: int) -> int:
    """Bytes of the payload: up to what fits, and a little more for what does not."""
    return 125 if role & 4 else 130


def _receive(payload: bytes, *, client: bool, code_first: bool) -> None:
    key = None if client else wire.KEY
    before = wire.build(wire.TEXT, b"open", fin=False, mask=key) if code_first else b""
    frame = before + wire.build(wire.CLOSE, payload, mask=key)
    try:
        if len(payload) > 125:
            raise Fault(1002)
        code, reason = read_close(payload)
        event: tuple[object, ...] = ("close", code, reason)
        echo = payload[:2]
    except Fault as fault:
        event, echo = ("failure", fault.code), fault.code.to_bytes(2, "big")
    for split in splittings(len(payload)):
        proto = core.protocol(client=client, limits=Limits(1000))
        found = []
        for piece in cut(frame, split):
            proto.receive_data(piece)
            found += core.read(proto)
        same(found, [event], "event")
        (out,) = wire.parse(core.drain(proto))
        same((out.opcode, out.payload[:2]), (wire.CLOSE, echo), "reply")
        if event[0] == "close":
            same(out.payload, echo, "an echo is the code alone")
        expect(not proto.is_open and proto.handshake_done, "closed")


def _send(payload: bytes, *, client: bool) -> None:
    code = int.from_bytes(payload[:2], "big")
    reason = payload[2:].decode("utf-8", "replace")
    proto = core.protocol(client=client, limits=Limits(1000))
    try:
        proto.send_close(code, reason)
    except ValueError:
        fits = len(reason.encode()) <= 123
        expect(not (may_be_sent(code) and fits), "refused what may be sent", code, reason)
        same(core.drain(proto), b"", "nothing is sent of what is refused")
        expect(proto.is_open, "still open")
        return
    expect(may_be_sent(code) and len(reason.encode()) <= 123, "what may not be sent", code, reason)
    proto.send_close(1001, "a second one")
    (out,) = wire.parse(core.drain(proto))
    same((out.opcode, read_close(out.payload)), (wire.CLOSE, (code, reason)), "what is sent")
    same(core.decode_close(core.encode_close(code, reason)), (code, reason), "round trip")
