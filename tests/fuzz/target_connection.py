"""The whole connection: a peer's bytes into a real one, with an application that uses it."""

from __future__ import annotations

import zlib
from typing import Final

from tests.protocol import wire

from .building import Builder
from .oracle import Event, Limits, expected
from .playing import Run, play
from .properties import expect, same
from .source import ByteSource

_TAIL: Final = b"\x00\x00\xff\xff"
_STEPS: Final = 12


def connection(data: bytes) -> None:
    """Documented exceptions only, an end in time, no task left, whole frames out, nothing lost."""
    run = _plan(ByteSource(data))
    play(run)
    if not run.opened:
        return
    limits = Limits(run.max_size, window_bits=15 if run.deflate else None)
    peer = expected(bytes(run.sent), client=not run.client, limits=limits)
    events = [event for _, event in peer]
    _check_received(run, events)
    if not run.vanishes:
        _check_out(run, events)


def _plan(source: ByteSource) -> Run:
    role, app = source.byte(), source.byte()
    run = Run(
        client=bool(role & 1),
        deflate=bool(role & 2),
        opening=None if role & 12 else source.take(source.byte()),
        app=app,
        max_size=source.choice([1000, 20, 126]),
        queue=source.choice([16, 1, 0, 2]),
        seed=source.byte(),
    )
    builder = Builder(source, client=not run.client, deflate=15 if run.deflate else None)
    while source.left and len(run.script) < _STEPS:
        kind = source.byte()
        match kind & 7:
            case 0:
                run.script.append(("wait", (kind >> 3) / 3))
            case 1:
                run.script.append(("half" if kind & 8 else "vanish", None))
            case 2:
                run.script.append(("send", source.take(kind >> 3)))
            case _:
                begin = len(builder.data)
                builder.step()
                run.script.append(("send", bytes(builder.data[begin:])))
    return run


def _check_received(run: Run, events: list[Event]) -> None:
    """Messages come in order and without a gap; all of them, if the peer's end is why it ended."""
    messages = [event[1] for event in events if event[0] == "message"]
    same(run.received, messages[: len(run.received)], "received")
    last = events[-1] if events else ("nothing",)
    ended = last[0] in {"close", "failure"} and last[1] == run.code
    if ended and run.received_all and not run.vanishes:
        same(run.received, messages, "all received")


def _check_out(run: Run, events: list[Event]) -> None:
    """Whole frames of the right role: the messages, pongs for pings, and one Close at the end."""
    frames = list(wire.parse(bytes(run.out)))
    context = zlib.decompressobj(-15)
    out = []
    for frame in frames:
        same(frame.key is not None, run.client, "a client masks, a server does not")
        expect(frame.fin and frame.opcode in {2, 8, 9, 10}, "a whole frame", frame)
        if frame.opcode == 2:
            same(frame.rsv, 4 if run.deflate else 0, "reserved bits")
            whole = context.decompress(frame.payload + _TAIL) if run.deflate else frame.payload
            out.append(whole)
    both = min(len(out), len(run.confirmed))
    same(out[:both], run.confirmed[:both], "sent")
    # Unless the connection was lost, what `send` took has gone out.
    expect(run.code == 1006 or both == len(run.confirmed), "not sent", out, run)
    expect(len(out) <= len(run.confirmed) + 1, "sent, and refused", out)
    expect(wire.CLOSE not in [frame.opcode for frame in frames[:-1]], "nothing after a Close")
    pings = iter([event[1] for event in events if event[0] == "ping"] + [b""])
    for frame in frames:
        if frame.opcode == wire.PONG and frame.payload:
            expect(frame.payload in pings, "a pong is the echo of a ping", frame)
