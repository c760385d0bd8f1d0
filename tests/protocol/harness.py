"""Runs a `Protocol` on bytes that arrive in any pieces, and collects what comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from tests.protocol import wire
from trio_ws._protocol._machine import Event, Failure, Protocol

ROLES = pytest.mark.parametrize(
    ("client", "key"), [(False, wire.KEY), (True, None)], ids=["server", "client"]
)
"""Both roles, each with the masking key of the frames that its peer sends."""

CONTROL = [wire.CLOSE, wire.PING, wire.PONG]
BIG = 2**63 - 1

# An input is torn between any two bytes. Of a longer one only its first and last bytes are, where
# the headers and the ends are, or it would take minutes.
_EDGE = 120


class Outcome(NamedTuple):
    """What a protocol made of its input: events, and the opcodes and payloads that it sent."""

    events: list[Event]
    sent: list[tuple[int, bytes]]


def protocol(
    *,
    client: bool = False,
    max_message_size: int = 2**20,
    max_empty_fragments: int = 1024,
    send_buffer_size: int = 2**16,
) -> Protocol:
    """A protocol with the defaults of the library."""
    return Protocol(
        client=client,
        max_message_size=max_message_size,
        max_empty_fragments=max_empty_fragments,
        send_buffer_size=send_buffer_size,
    )


def mask_of(proto: Protocol) -> bytes | None:
    """The key for a frame that the peer of `proto` sends, or None if it does not mask."""
    return None if proto.client else wire.KEY


def events(proto: Protocol) -> list[Event]:
    """All events that are due."""
    found = []
    while (event := proto.next_event()) is not None:
        found.append(event)
    return found


def pumped(proto: Protocol, max_messages: int = 2**62, max_size: int = 2**62) -> list[Event]:
    """All events that are due, messages in batches of at most so many and, but one, so large."""
    found: list[Event] = []
    while True:
        batch: list[tuple[str | bytes, int]] = []
        taken = proto.next_messages(batch, max_messages, max_size)
        assert taken == sum(size for _, size in batch)
        assert len(batch) <= max_messages
        assert not batch or taken - batch[-1][1] < max_size
        for message, size in batch:
            assert size == len(message.encode() if isinstance(message, str) else message)
            found.append(message)
        drained = proto.drained()
        event = proto.next_event()
        if event is None:
            return found
        assert not drained
        found.append(event)


def feed(proto: Protocol, *data: bytes) -> list[Event]:
    """The events that these bytes lead to."""
    proto.receive_data(b"".join(data))
    return events(proto)


def drain(proto: Protocol, step: int = 2**20) -> bytes:
    """Take the whole output, `step` bytes at a time; late pongs included."""
    taken = []
    while proto.output.size:
        piece = bytes(proto.output.peek(step))
        assert 0 < len(piece) <= step
        taken.append(piece)
        proto.sent(len(piece))
    return b"".join(taken)


def frames(proto: Protocol) -> list[wire.Frame]:
    """Take the whole output as frames; each is masked if, and only if, this end is a client."""
    found = list(wire.parse(drain(proto)))
    assert all((frame.key is not None) == proto.client for frame in found)
    assert not any(frame.rsv for frame in found)
    return found


def sent(proto: Protocol) -> list[tuple[int, bytes]]:
    """Take the whole output as pairs of opcode and payload."""
    return [(frame.opcode, frame.payload) for frame in frames(proto)]


def run(proto: Protocol, pieces: Iterable[bytes]) -> Outcome:
    """Feed the pieces, looking for events after each."""
    found: list[Event] = []
    for piece in pieces:
        proto.receive_data(piece)
        found += events(proto)
    return Outcome(found, sent(proto))


def outcomes(data: bytes, *, client: bool = False, **limits: int) -> Outcome:
    """Feed `data` whole, byte by byte, and torn in two at each boundary.

    Returns the outcome, which has to be the same each time. If it is a failure, the output is
    checked as well: its last frame is the Close with the code and the reason.
    """

    def once(pieces: Iterable[bytes]) -> Outcome:
        return run(protocol(client=client, **limits), pieces)

    expected = once([data])
    cuts = sorted({*range(min(len(data), _EDGE)), *range(max(1, len(data) - _EDGE), len(data))})
    assert once(data[a:b] for a, b in itertools.pairwise([*cuts, len(data)])) == expected
    for at in cuts[1:]:
        assert once([data[:at], data[at:]]) == expected, f"torn at byte {at}"
    if expected.events and isinstance(expected.events[-1], Failure):
        code, reason = expected.events[-1]
        payload = code.to_bytes(2, "big") + reason.encode()
        assert expected.sent[-1] == (wire.CLOSE, payload)
    return expected


def failure(data: bytes, *, client: bool = False, **limits: int) -> tuple[int, int]:
    """Feed `data`, which has to end in a failure, in all the pieces of `outcomes`.

    Returns the code, and the number of bytes after which the failure came.
    """
    outcome = outcomes(data, client=client, **limits)
    failed = outcome.events[-1]
    assert isinstance(failed, Failure)
    proto = protocol(client=client, **limits)
    for at in range(len(data)):
        proto.receive_data(data[at : at + 1])
        events(proto)
        if proto.failure is not None:
            return failed.code, at + 1
    raise AssertionError("no failure byte by byte")
