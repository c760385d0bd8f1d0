"""Headers of the peer's frames (RFC 6455 sections 5.2 and 5.5), legal and not.

Tested through a `Protocol`, because a violation has to end in the right Close frame.
"""

from __future__ import annotations

import tracemalloc

import pytest

from tests.protocol import wire
from tests.protocol.harness import BIG, CONTROL, ROLES, failure, outcomes, protocol
from trio_ws._protocol._machine import Failure

OPCODES = [wire.CONTINUATION, wire.TEXT, wire.BINARY, *CONTROL]


def opening(opcode: int, key: bytes | None) -> bytes:
    """What must come before a frame of this opcode for it to be in place."""
    return wire.build(wire.TEXT, fin=False, mask=key) if opcode == wire.CONTINUATION else b""


@pytest.mark.checklist("FR01", "FR02")
@pytest.mark.parametrize("opcode", OPCODES)
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65536])
@ROLES
def test_a_frame_with_the_wrong_mask_bit(
    client: bool, key: bytes | None, opcode: int, size: int
) -> None:
    """A server fails on an unmasked frame and a client on a masked one, at the second byte."""
    if opcode in CONTROL and size > 125:
        size = 0
    before = opening(opcode, key)
    wrong = None if key else wire.KEY
    data = before + wire.build(opcode, bytes(size), mask=wrong)[:300]
    assert failure(data, client=client) == (1002, len(before) + 2)


@pytest.mark.checklist("FR03")
@pytest.mark.parametrize("opcode", OPCODES)
@pytest.mark.parametrize("rsv", range(1, 8))
@ROLES
def test_reserved_bits(client: bool, key: bytes | None, opcode: int, rsv: int) -> None:
    """Any reserved bit fails the connection at the frame's first byte: there is no extension."""
    before = opening(opcode, key)
    data = before + wire.build(opcode, b"\x03\xe8", rsv=rsv, mask=key)
    assert failure(data, client=client) == (1002, len(before) + 1)


@pytest.mark.checklist("FR04")
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [True, False], ids=["fin", "more"])
@ROLES
def test_reserved_opcodes(client: bool, key: bytes | None, opcode: int, fin: bool) -> None:
    """A reserved opcode fails the connection at the frame's first byte."""
    data = wire.build(opcode, b"x", fin=fin, mask=key)
    assert failure(data, client=client) == (1002, 1)


@pytest.mark.checklist("FR05")
@pytest.mark.parametrize("declared", [2**63, 2**63 + 1, 2**64 - 1])
@ROLES
def test_a_length_over_63_bits(client: bool, key: bytes | None, declared: int) -> None:
    """A 64-bit length with its highest bit set fails the connection at that bit's byte."""
    data = wire.build(wire.BINARY, mask=key, declared=declared)
    assert failure(data, client=client) == (1002, 3)
    assert failure(data, client=client, max_message_size=BIG) == (1002, 3)


@pytest.mark.checklist("FR06")
@pytest.mark.parametrize(
    ("form", "size", "at"),
    [
        *((16, size, 4) for size in (0, 1, 125)),
        *((64, size, 8) for size in (0, 125, 126, 65535)),
    ],
)
@ROLES
def test_a_length_that_is_too_long(
    client: bool, key: bytes | None, form: int, size: int, at: int
) -> None:
    """A longer form of length than needed fails the connection, at the byte that proves it."""
    data = wire.build(wire.BINARY, bytes(size), mask=key, length_form=form)[:300]
    assert failure(data, client=client) == (1002, at)
    assert failure(data, client=client, max_message_size=0) == (1002, at)


@pytest.mark.checklist("FR06", "FR08")
@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@ROLES
def test_the_shortest_length_is_accepted(client: bool, key: bytes | None, size: int) -> None:
    """The boundaries of the three forms of length are read right."""
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    outcome = outcomes(wire.build(wire.BINARY, payload, mask=key), client=client)
    assert outcome == ([payload], [])


@pytest.mark.checklist("FR07")
@pytest.mark.parametrize(
    ("limit", "declared", "at"),
    [
        pytest.param(0, 1, 2, id="7-bit"),
        pytest.param(124, 125, 2, id="7-bit-largest"),
        pytest.param(125, 126, 4, id="16-bit"),
        pytest.param(300, 301, 4, id="16-bit-last-byte"),
        pytest.param(300, 512, 3, id="16-bit-first-byte"),
        pytest.param(65535, 65536, 8, id="64-bit"),
        pytest.param(2**20, 2**20 + 1, 10, id="64-bit-last-byte"),
        pytest.param(2**20, BIG, 3, id="64-bit-first-byte"),
    ],
)
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@ROLES
def test_a_declared_length_over_the_limit(
    client: bool, key: bytes | None, opcode: int, limit: int, declared: int, at: int
) -> None:
    """A frame over the limit fails with 1009 within its length, before its key and payload."""
    data = wire.build(opcode, mask=key, declared=declared)
    assert failure(data, client=client, max_message_size=limit) == (1009, at)


@pytest.mark.checklist("FR07")
@pytest.mark.parametrize("limit", [10, 125, 126, 65535, 65536])
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@ROLES
def test_a_message_at_the_limit(client: bool, key: bytes | None, opcode: int, limit: int) -> None:
    """A message of limit - 1 and of limit bytes arrives, whatever its number of characters."""
    for size in (limit - 1, limit):
        payload = ("é" * (size // 2)).encode() + b"x" * (size % 2)
        message = payload.decode() if opcode == wire.TEXT else payload
        data = wire.build(opcode, payload, mask=key)
        assert outcomes(data, client=client, max_message_size=limit).events == [message]
    data = wire.build(opcode, "é".encode() * (limit // 2) + b"yy", mask=key)
    assert failure(data, client=client, max_message_size=limit)[0] == 1009


@pytest.mark.checklist("FR07")
@ROLES
def test_nothing_is_allocated_for_a_declared_length(client: bool, key: bytes | None) -> None:
    """Memory follows what has arrived, not what a header promises, however large the limit."""
    proto = protocol(client=client, max_message_size=BIG)
    data = wire.build(wire.BINARY, b"abc", mask=key, declared=BIG)
    tracemalloc.start()
    try:
        proto.receive_data(data)
        assert proto.next_event() is None
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    assert proto.receiving


@pytest.mark.checklist("CT01")
@pytest.mark.parametrize("opcode", CONTROL)
@pytest.mark.parametrize("size", [126, 65535, 65536])
@ROLES
def test_a_control_frame_over_125_bytes(
    client: bool, key: bytes | None, opcode: int, size: int
) -> None:
    """A control frame with a longer form of length fails the connection at its second byte."""
    data = wire.build(opcode, bytes(size), mask=key)[:300]
    assert failure(data, client=client) == (1002, 2)


@pytest.mark.checklist("CT01", "CT03")
@pytest.mark.parametrize("size", [0, 1, 124, 125])
@ROLES
def test_a_control_frame_of_125_bytes(client: bool, key: bytes | None, size: int) -> None:
    """Control frames up to 125 bytes are fine; a ping comes back as it was."""
    payload = bytes(range(size))
    data = wire.build(wire.PING, payload, mask=key) + wire.build(wire.PONG, payload, mask=key)
    outcome = outcomes(data, client=client)
    assert outcome == ([(payload,), (payload,)], [(wire.PONG, payload)])
    # The limit is one of messages.
    assert outcomes(data, client=client, max_message_size=0) == outcome


@pytest.mark.checklist("CT02")
@pytest.mark.parametrize("opcode", CONTROL)
@ROLES
def test_a_fragmented_control_frame(client: bool, key: bytes | None, opcode: int) -> None:
    """A control frame without FIN fails the connection at its first byte."""
    assert failure(wire.build(opcode, fin=False, mask=key), client=client) == (1002, 1)


BEGUN = wire.build(wire.TEXT, fin=False, mask=wire.KEY)
REASONS: list[tuple[str, bytes]] = [
    ("reserved bit set in a control frame", wire.build(wire.PING, rsv=4, mask=wire.KEY)),
    ("fragmented control frame", wire.build(wire.PING, fin=False, mask=wire.KEY)),
    ("control frame over 125 bytes", wire.build(wire.PING, bytes(126), mask=wire.KEY)),
    ("reserved opcode 0x3", wire.build(3, mask=wire.KEY)),
    ("reserved bit set", wire.build(wire.TEXT, rsv=1, mask=wire.KEY)),
    ("new message inside a fragmented one", BEGUN + wire.build(wire.TEXT, mask=wire.KEY)),
    ("continuation frame with nothing to continue", wire.build(wire.CONTINUATION, mask=wire.KEY)),
    ("unmasked frame from a client", wire.build(wire.TEXT)),
    ("frame length over 63 bits", wire.build(wire.TEXT, mask=wire.KEY, declared=2**63)),
    ("frame length not in its shortest form", wire.build(wire.TEXT, mask=wire.KEY, length_form=16)),
    ("message too big", wire.build(wire.TEXT, bytes(101), mask=wire.KEY)),
]


@pytest.mark.parametrize(("reason", "data"), REASONS, ids=[reason for reason, _ in REASONS])
def test_the_reason_says_what_is_wrong(reason: str, data: bytes) -> None:
    """Each violation has words of its own, which the peer is told."""
    [failed] = outcomes(data, max_message_size=100).events
    assert isinstance(failed, Failure)
    assert failed.reason == reason


def test_the_reason_for_a_client() -> None:
    """A client says of a masked frame that it is one."""
    data = wire.build(wire.TEXT, mask=wire.KEY)
    assert outcomes(data, client=True).events == [Failure(1002, "masked frame from a server")]
