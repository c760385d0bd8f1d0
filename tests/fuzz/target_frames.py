"""Frames, and compressed messages, as the core reads them: whatever the role, limits and splits.

What comes out must be what the oracle says: the same events, each at the byte that completes it,
whichever way the bytes are split, and the frames in reply.
"""

from __future__ import annotations

import zlib
from typing import Final

from tests.protocol import wire

from . import core
from .building import Builder
from .oracle import Event, Limits, expected, masked_replies, replies
from .properties import expect, same
from .source import ByteSource, cut, splittings

_SIZES: Final = [1000, 0, 1, 5, 125, 126, 127, 300, 65535, 65536, 2**20, 2**63 - 1]
_INFLATED_SIZES: Final = [1000, 0, 1, 10, 126, 8191, 8192, 8193, 20_000]
_EMPTIES: Final = [1024, 0, 1, 2, 30]
_MARKS: Final = [2**16, 0, 5, 200]
_GARBAGE: Final = b"\x81\x00\xff" * 5
_TAIL: Final = b"\x00\x00\xff\xff"


def frames(data: bytes) -> None:
    """Frames without compression: events, the bytes that prove them, splits and replies."""
    source = ByteSource(data)
    role, seed = source.byte(), source.byte()
    client, raw, batches = bool(role & 1), bool(role & 2), bool(role & 4)
    limits = Limits(source.choice(_SIZES), source.choice(_EMPTIES))
    mark = source.choice(_MARKS)
    peer = source.rest() if raw else Builder(source, client=not client).run()
    timed = expected(peer, client=not client, limits=limits)
    events = [event for _, event in timed]

    def new() -> core.Protocol:
        return core.protocol(client=client, limits=limits, mark=mark)

    for split in splittings(seed):
        proto = new()
        found: list[Event] = []
        for piece in cut(peer, split):
            proto.receive_data(piece)
            found += core.read(proto, batches=batches != (split == 1))
        same(found, events, f"events, split by {split}")
        _check_end(proto, events)
        _check_replies(proto, events, mark)
    proto = new()
    for at in range(len(peer)):
        proto.receive_data(peer[at : at + 1])
        due = [event for when, event in timed if when == at + 1]
        same(core.read(proto), due, f"events at byte {at + 1}")


def inflating(data: bytes) -> None:
    """Compressed messages: zlib byte by byte says what they are; and ours, inflated by zlib."""
    source = ByteSource(data)
    role, seed = source.byte(), source.byte()
    client = bool(role & 1)
    limits = Limits(
        source.choice(_INFLATED_SIZES),
        source.choice(_EMPTIES),
        window_bits=9 + (role >> 1 & 7) % 7,
        takeover=not role & 16,
    )
    bits = 15 if role & 32 else limits.window_bits
    builder = Builder(source, client=not client, deflate=bits)
    peer = builder.run()
    events = [event for _, event in expected(peer, client=not client, limits=limits)]
    for split in splittings(seed):
        proto = core.protocol(client=client, limits=limits)
        found: list[Event] = []
        for piece in cut(peer, split):
            proto.receive_data(piece)
            found += core.read(proto, batches=split == 1)
        wanted = events
        if events[-1:] == [("failure", 1009)] and (builder.corrupt or bits == 15):
            # zlib keeps what it has inflated to itself when it finds the error behind it: a message
            # that is too large, and corrupt further on, may be either.
            either = {("failure", 1007), ("failure", 1009)}
            wanted = [*events[:-1], *(event for event in found[-1:] if event in either)]
        same(found, wanted, f"events, split by {split}")
        _check_end(proto, wanted)
    _check_compressor(client, limits, events)


def _check_end(proto: core.Protocol, events: list[Event]) -> None:
    """The state says how it ended, and nothing is looked at after that."""
    kind = events[-1][0] if events else None
    ended = kind in {"close", "failure"}
    same(proto.handshake_done, ended, "handshake_done")
    same(proto.is_open, not ended, "is_open")
    if ended:
        assert proto.closed is not None
        same(proto.closed.code, events[-1][1], "the code of `closed`")
        proto.receive_data(_GARBAGE)
        same(core.read(proto), [], "events after the end")


def _check_replies(proto: core.Protocol, events: list[Event], mark: int) -> None:
    wanted = (masked_replies if proto.client else replies)(events, mark)
    out = list(wire.parse(core.drain(proto)))
    for frame in out:
        expect(frame.fin and not frame.rsv, "a reply is one whole frame", frame)
        same(frame.key is not None, proto.client, "a client masks, a server does not")
    sent = [(frame.opcode, frame.payload) for frame in out]
    if events and events[-1][0] == "failure":
        sent[-1:] = [(code, payload[:2]) for code, payload in sent[-1:]]
    same(sent, wanted, "replies")


def _check_compressor(client: bool, limits: Limits, events: list[Event]) -> None:
    """What the core compresses, zlib inflates, one message after the other."""
    assert limits.window_bits is not None
    proto = core.protocol(client=client, limits=limits)
    context = zlib.decompressobj(-limits.window_bits)
    for message in [event[1] for event in events if event[0] == "message"]:
        core.send(proto, message, compress=True)
        (frame,) = wire.parse(core.drain(proto))
        same(frame.opcode, wire.TEXT if isinstance(message, str) else wire.BINARY, "opcode")
        expect(frame.rsv == 4 and frame.fin and (frame.key is not None) == client, "frame", frame)
        if not limits.takeover:
            context = zlib.decompressobj(-limits.window_bits)
        plain = context.decompress(frame.payload + _TAIL)
        same(plain, message.encode() if isinstance(message, str) else message, "inflated again")
