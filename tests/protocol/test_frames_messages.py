"""The fast way to messages, with the slow one as its judge.

`FrameReader.take_messages` takes what is common in one loop, and leaves everything else, and every
violation, to `FrameReader.next_part`. So whatever comes, and however it is torn, nobody can tell
which of them was at work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.protocol.harness import BIG, CONTROL, ROLES, events, protocol, pumped, sent
from tests.protocol.test_frames import Counted
from tests.protocol.test_machine_pair import attacks
from trio_ws._protocol._frames import FrameReader
from trio_ws._protocol._machine import Event, Protocol

TORN = pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])

Taken = list[tuple[str | bytes, int]]


def take(reader: FrameReader, max_messages: int = BIG, max_size: int = BIG) -> Taken:
    """What `take_messages` appends."""
    before = ("before", 6)
    into: list[tuple[str | bytes, int]] = [before]
    taken = reader.take_messages(into, max_messages, max_size)
    assert into.pop(0) == before
    assert taken == sum(size for _, size in into)
    return into


def reader_of(data: bytes, key: bytes | None, budget: int = BIG) -> FrameReader:
    """A reader that was fed."""
    reader = FrameReader(masked=key is not None, budget=budget)
    reader.feed(data)
    return reader


# What it takes


@pytest.mark.checklist("FR08", "FR09")
@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 1023, 1024, 1025, 65535, 65536, 70_000])
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@ROLES
def test_it_takes_whole_messages(client: bool, key: bytes | None, opcode: int, size: int) -> None:
    """Messages of one frame, of any length, come out at once, with their sizes."""
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    data = wire.build(opcode, payload, mask=key)
    message = payload.decode() if opcode == wire.TEXT else payload
    for count in (1, 3):
        reader = reader_of(data * count, key)
        assert reader.buffer
        taken = take(reader)
        assert taken == [(message, size)] * count
        assert {type(found) for found, _ in taken} == {type(message)}
        assert not reader.buffer and not reader.in_frame


def test_the_size_is_that_of_the_payload() -> None:
    """A text counts with its bytes of UTF-8, which take the memory, not with its characters."""
    reader = reader_of(wire.build(wire.TEXT, "Grüße".encode(), mask=wire.KEY), wire.KEY)
    assert take(reader) == [("Grüße", 7)]


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, BIG])
@ROLES
def test_the_number_is_limited(client: bool, key: bytes | None, limit: int) -> None:
    """No more messages come than were asked for; the others stay, and come later."""
    reader = reader_of(wire.build(wire.BINARY, b"xy", mask=key) * 3, key)
    taken = take(reader, limit)
    assert len(taken) == min(limit, 3)
    assert (not reader.buffer) == (limit >= 3)
    assert taken + take(reader) == [(b"xy", 2)] * 3


@pytest.mark.parametrize(
    ("limit", "count"), [(-1, 0), (0, 0), (1, 1), (9, 1), (10, 1), (11, 2), (20, 2), (21, 3)]
)
@ROLES
def test_the_bytes_are_limited(client: bool, key: bytes | None, limit: int, count: int) -> None:
    """It stops when there are so many bytes; the message that reaches them is the last."""
    reader = reader_of(wire.build(wire.BINARY, bytes(10), mask=key) * 3, key)
    taken = take(reader, BIG, limit)
    assert len(taken) == count
    assert len(taken + take(reader)) == 3


@pytest.mark.parametrize("size", [5, 200, 70_000])
@ROLES
def test_a_message_that_is_not_whole_stays(client: bool, key: bytes | None, size: int) -> None:
    """Of what was torn nothing is taken, until the rest is there."""
    data = wire.build(wire.BINARY, bytes(size), mask=key)
    for cut in {*range(15), size // 2, len(data) - 1} & set(range(len(data))):
        reader = reader_of(data + data[:cut], key)
        assert take(reader) == [(bytes(size), size)]
        assert reader.buffered == cut
        assert (not reader.buffer) == (cut == 0)
        assert take(reader) == []
        reader.feed(data[cut:])
        assert take(reader) == [(bytes(size), size)]
        assert not reader.buffer


@pytest.mark.parametrize("arrived", [0, 4, 100])
@pytest.mark.parametrize("rsv", [0, 4], ids=["plain", "compressed"])
@ROLES
def test_it_takes_nothing_within_a_frame(
    client: bool, key: bytes | None, rsv: int, arrived: int
) -> None:
    """A payload that looks like messages is a payload, wherever in it the reader is."""
    fake = wire.build(wire.BINARY, b"fake", rsv=rsv, mask=key) * 20
    payload = fake if key is None else wire.xor(fake, key)  # on the wire it is `fake`
    data = wire.build(wire.BINARY, payload, mask=key)
    begin = len(data) - len(payload)
    reader = reader_of(data[: begin + arrived], key)
    part = reader.next_part()
    assert (part is None) == (arrived == 0)
    reader.feed(data[begin + arrived :])
    assert take(reader) == []
    assert reader.take_compressed() is None
    rest = reader.next_part()
    assert rest is not None and rest.payload == payload[arrived:]


@ROLES
def test_it_takes_nothing_within_a_message(client: bool, key: bytes | None) -> None:
    """While a message in fragments is in progress, as only the owner knows, it takes nothing."""
    reader = reader_of(wire.build(wire.BINARY, b"abcdef", mask=key), key)
    reader.continuing = True
    assert take(reader) == []
    compressed = reader_of(wire.build(wire.BINARY, b"abcdef", rsv=4, mask=key), key)
    compressed.continuing = True
    assert compressed.take_compressed() is None
    reader.continuing = False
    assert take(reader) == [(b"abcdef", 6)]


@ROLES
def test_a_wrong_mask_bit_is_no_length(client: bool, key: bytes | None) -> None:
    """The mask bit is looked at alone, though with the length it looks like a longer one."""
    for opcode, rsv1, length in itertools.product((wire.TEXT, wire.BINARY), (0, 64), (0, 5, 127)):
        second = length | (0 if key else 0x80)
        data = bytes((0x80 | rsv1 | opcode, second)) + (70_000).to_bytes(8, "big") + bytes(80_000)
        reader = reader_of(data, key)
        assert take(reader) == []
        assert reader.take_compressed() is None


@pytest.mark.checklist("FR06")
@pytest.mark.parametrize(("form", "size"), [(16, 0), (16, 125), (64, 126), (64, 65535)])
@pytest.mark.parametrize("rsv", [0, 4], ids=["plain", "compressed"])
@ROLES
def test_a_length_in_a_longer_form(
    client: bool, key: bytes | None, rsv: int, form: int, size: int
) -> None:
    """A whole message whose length is not in its shortest form is left."""
    data = wire.build(wire.BINARY, bytes(size), rsv=rsv, mask=key, length_form=form)
    reader = FrameReader(masked=key is not None, budget=BIG, rsv1=True)
    reader.feed(data)
    assert take(reader) == []
    assert reader.take_compressed() is None
    assert reader.buffered == len(data)


def test_it_stops_at_a_message_over_the_budget() -> None:
    """`max_message_size` is the budget, and includes its last byte."""
    fitting, larger = (wire.build(wire.BINARY, bytes(size)) for size in (200, 201))
    reader = reader_of(fitting + larger + fitting, None, budget=200)
    assert take(reader) == [(bytes(200), 200)]
    assert take(reader) == []
    assert reader.buffered == len(larger + fitting)


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 200])
def test_many_messages_in_a_chunk_are_copied_once(payload: bytes) -> None:
    """To take a message costs no copy of those behind it, however few are taken at a time."""
    data = wire.build(wire.BINARY, payload, mask=wire.KEY)
    copies = []
    for count, limit in ((1000, BIG), (2000, BIG), (2000, 1)):
        reader = FrameReader(masked=True, budget=BIG)
        Counted.copied = 0
        reader.feed(Counted(data * count))
        while reader.buffer:
            assert take(reader, limit)
        copies.append(Counted.copied)
    assert copies[0] <= len(data) * 1000
    assert copies[1] == copies[2] == 2 * copies[0]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1023, 1024, 65535, 65536])
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@ROLES
def test_it_takes_whole_compressed_frames(
    client: bool, key: bytes | None, opcode: int, size: int
) -> None:
    """A compressed message of one frame, of any length, comes out once all of it is there."""
    payload = (bytes(5) + b"\x01" + bytes(range(256)) * (size // 256 + 1))[:size]
    data = wire.build(opcode, payload, rsv=4, mask=key)
    for behind in (b"", bytes(66_000)):
        reader = FrameReader(masked=key is not None, budget=BIG, rsv1=True)
        reader.feed(data[:-1])
        assert reader.take_compressed() is None
        reader.feed(data[-1:] + behind)
        assert reader.take_compressed() == (payload, opcode == wire.TEXT)
        assert reader.buffered == len(behind)
        assert bool(reader.buffer) == bool(behind)


# What it leaves: each of these is a violation, or needs a second look.

Frames = Callable[[bytes | None], bytes]


def wrong_mask(key: bytes | None) -> bytes:
    """A frame of the other role."""
    return wire.build(wire.TEXT, b"x", mask=None if key else wire.KEY)


def frame(opcode: int, payload: bytes = b"", **how: int | None) -> Frames:
    """A frame of these properties, for either role."""
    return lambda key: wire.build(opcode, payload, mask=key, **how)  # type: ignore[arg-type]


def fragments(*payloads: bytes) -> Frames:
    """A fragmented text."""
    return lambda key: wire.fragmented(wire.TEXT, payloads, key)


def interrupted(key: bytes | None) -> bytes:
    """A fragmented text with a ping within."""
    first = wire.build(wire.TEXT, b"a", fin=False, mask=key)
    return first + wire.build(wire.PING, b"p", mask=key) + wire.build(0, b"b", mask=key)


SPECIAL: dict[str, Frames] = {
    **{f"control {opcode}": frame(opcode, b"\x03\xe8") for opcode in CONTROL},
    **{f"rsv {rsv}": frame(wire.TEXT, b"x", rsv=rsv) for rsv in range(1, 8)},
    **{f"opcode {opcode}": frame(opcode, b"x") for opcode in (3, 7, 11, 15)},
    "wrong mask": wrong_mask,
    "continuation": frame(wire.CONTINUATION, b"x"),
    "begun": frame(wire.TEXT, b"x", fin=False),
    "fragments": fragments(b"in ", b"", b"three"),
    "interrupted": interrupted,
    "fragment over the limit": fragments(bytes(200), bytes(200)),
    "16 bits for 125": frame(wire.BINARY, bytes(125), length_form=16),
    "16 bits for nothing": frame(wire.BINARY, length_form=16),
    "64 bits for 126": frame(wire.BINARY, bytes(126), length_form=64),
    "64 bits for 65535": frame(wire.BINARY, length_form=64, declared=65535),
    "over 63 bits": frame(wire.BINARY, length_form=64, declared=2**63),
    "largest": frame(wire.BINARY, length_form=64, declared=2**64 - 1),
    "too big": frame(wire.BINARY, bytes(301)),
    "far too big": frame(wire.BINARY, b"x", declared=2**63 - 1),
    "not UTF-8": frame(wire.TEXT, b"ab\xff"),
    "cut UTF-8": frame(wire.TEXT, b"ab\xc3"),
    "surrogate": frame(wire.TEXT, b"\xed\xa0\x80"),
    "control over 125": frame(wire.PING, bytes(126)),
    "control in fragments": frame(wire.PING, b"x", fin=False),
}


@pytest.mark.parametrize("special", SPECIAL)
@ROLES
def test_it_stops_in_front_of_all_else(client: bool, key: bytes | None, special: str) -> None:
    """It takes the messages before, touches nothing of the rest, and leaves it to `next_part`."""
    fine = wire.build(wire.TEXT, b"fine", mask=key)
    rest = SPECIAL[special](key) + fine
    for before in range(3):
        reader = reader_of(fine * before + rest, key, budget=300)
        assert take(reader) == [("fine", 4)] * before
        assert reader.buffered == len(rest)
        assert reader.buffer


# The judge


def outcome(
    proto: Protocol, pieces: Iterable[bytes], look: Callable[[Protocol], list[Event]]
) -> tuple[object, ...]:
    """Feed a protocol, look for events after each piece; the result is all that can be seen."""
    found: list[list[Event]] = []
    for piece in pieces:
        proto.receive_data(piece)
        found.append(look(proto))
    state = (proto.closed, proto.failure, proto.receiving, proto.handshake_done)
    counts = (proto.counts.messages_received, proto.counts.bytes_received)
    return found, state, counts, sent(proto)


def compare(
    pieces: list[bytes], limits: list[tuple[int, int]], *, client: bool, **options: int
) -> None:
    """Both ways lead to the same, after each piece, whatever the limits of the fast one."""
    expected = outcome(protocol(client=client, **options), pieces, events)
    for max_messages, max_size in limits:
        look = partial(pumped, max_messages=max_messages, max_size=max_size)
        assert outcome(protocol(client=client, **options), pieces, look) == expected


LIMITS = [(BIG, BIG), (1, BIG), (2, BIG), (BIG, 1), (BIG, 5), (0, 0)]


@pytest.mark.checklist("FR12", "FR13")
@pytest.mark.parametrize("special", [*SPECIAL, None])
@TORN
@ROLES
def test_nobody_can_tell(client: bool, key: bytes | None, torn: bool, special: str | None) -> None:
    """With anything before, between or behind messages both ways are the same, torn anywhere."""
    messages = [
        wire.build(wire.TEXT, b"one", mask=key),
        wire.build(wire.BINARY, bytes(126), mask=key),
        wire.build(wire.TEXT, mask=key),
    ]
    for at in range(len(messages) + 1):
        pieces = list(messages)
        if special is not None:
            pieces.insert(at, SPECIAL[special](key))
        data = b"".join(pieces)
        cuts: list[list[bytes]] = [[data], [data[i : i + 1] for i in range(len(data))]]
        if torn:
            cuts = [[data[:cut], data[cut:]] for cut in range(1, len(data))]
        for chopped in cuts:
            few = LIMITS if not torn else LIMITS[:2]
            compare(chopped, few, client=client, max_message_size=300, max_empty_fragments=2)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@ROLES
def test_nobody_can_tell_at_any_length(client: bool, key: bytes | None, size: int) -> None:
    """At each form of the length, torn around each end of the frames."""
    data = wire.build(wire.TEXT, b"x" * size, mask=key) + wire.build(wire.BINARY, b"y", mask=key)
    ends = {0, size, len(data)}
    near = {end + offset for end in ends for offset in range(-16, 17)}
    for cut in sorted(near & set(range(1, len(data)))):
        for budget in (size, max(size - 1, 1)):
            pieces = [data[:cut], data[cut:]]
            compare(pieces, LIMITS[:2], client=client, max_message_size=budget)


@pytest.mark.checklist("LM10")
@given(
    attack=attacks(),
    sizes=st.lists(st.integers(1, 40) | st.just(10_000), min_size=1, max_size=8),
    limit=st.integers(0, 4) | st.just(BIG),
    max_size=st.integers(0, 60) | st.just(BIG),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_nobody_can_tell_whatever_comes(
    attack: tuple[bool, list[bytes]], sizes: list[int], limit: int, max_size: int
) -> None:
    """Any frames, and any bytes, chopped in any way, lead to the same events both ways."""
    client, frames = attack
    data = b"".join(frames)
    pieces, pos = [], 0
    for size in itertools.cycle(sizes):
        pieces.append(data[pos : pos + size])
        pos += size
        if pos >= len(data):
            break
    compare(
        pieces,
        [(limit, max_size)],
        client=client,
        max_message_size=200,
        max_empty_fragments=2,
        send_buffer_size=9,
    )
