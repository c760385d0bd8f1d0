"""Messages out of frames: fragments, their limits and their cost (RFC 6455 sections 5.4, 5.6)."""

from __future__ import annotations

import itertools
import sys
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from types import FrameType

import pytest

from tests.protocol import wire
from tests.protocol.harness import ROLES, events, failure, mask_of, outcomes, protocol
from trio_ws._protocol._deflate import Agreement, Inflater
from trio_ws._protocol._frames import Part, Violation
from trio_ws._protocol._machine import Failure, Ping, Protocol
from trio_ws._protocol._messages import Assembler, Pieces

TYPES = pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY], ids=["text", "binary"])


def message(opcode: int, payload: bytes) -> str | bytes:
    """The event that a message is."""
    return payload.decode() if opcode == wire.TEXT else payload


# Fragments


@pytest.mark.checklist("FG01")
@pytest.mark.parametrize("fin", [True, False], ids=["fin", "more"])
@pytest.mark.parametrize("before", ["nothing", "message", "fragmented"])
@ROLES
def test_a_continuation_of_nothing(client: bool, key: bytes | None, before: str, fin: bool) -> None:
    """A continuation with no message to continue fails the connection at its first byte."""
    earlier = {
        "nothing": b"",
        "message": wire.build(wire.TEXT, b"x", mask=key),
        "fragmented": wire.fragmented(wire.TEXT, [b"x", b"y"], key),
    }[before]
    data = earlier + wire.build(wire.CONTINUATION, b"z", fin=fin, mask=key)
    assert failure(data, client=client) == (1002, len(earlier) + 1)


@pytest.mark.checklist("FG02")
@pytest.mark.parametrize("fin", [True, False], ids=["fin", "more"])
@pytest.mark.parametrize("first", [b"", b"x"], ids=["empty", "begun"])
@TYPES
@ROLES
def test_a_new_message_inside_a_message(
    client: bool, key: bytes | None, opcode: int, first: bytes, fin: bool
) -> None:
    """A new message before the end of the last fails the connection at its first byte."""
    begun = wire.build(wire.TEXT, first, fin=False, mask=key)
    data = begun + wire.build(opcode, b"y", fin=fin, mask=key)
    assert failure(data, client=client) == (1002, len(begun) + 1)


@pytest.mark.checklist("FG03")
@TYPES
@ROLES
def test_control_frames_between_fragments(client: bool, key: bytes | None, opcode: int) -> None:
    """Pings between fragments are answered at once, before the message is whole."""
    first = wire.build(opcode, b"one ", fin=False, mask=key)
    ping = wire.build(wire.PING, b"p", mask=key)
    pong = wire.build(wire.PONG, b"q", mask=key)
    last = wire.build(wire.CONTINUATION, b"two", mask=key)
    outcome = outcomes(ping + first + ping + pong + last + ping, client=client)
    expected = [Ping(b"p"), Ping(b"p"), (b"q",), message(opcode, b"one two"), Ping(b"p")]
    assert outcome == (expected, [(wire.PONG, b"p")] * 3)
    proto = protocol(client=client)
    proto.receive_data(first + ping)
    assert proto.next_event() == Ping(b"p")
    assert proto.output.size


@pytest.mark.checklist("FG04")
@pytest.mark.parametrize("empty", range(1, 8), ids="{:03b}".format)
@TYPES
@ROLES
def test_empty_fragments(client: bool, key: bytes | None, opcode: int, empty: int) -> None:
    """Fragments may be empty at the beginning, in the middle, at the end, or everywhere."""
    pieces = [b"" if empty >> i & 1 else b"abc" for i in range(3)]
    data = wire.fragmented(opcode, pieces, key) * 2
    expected = message(opcode, b"".join(pieces))
    assert outcomes(data, client=client) == ([expected, expected], [])


@pytest.mark.checklist("FG05")
@ROLES
def test_the_first_frame_decides_the_type(client: bool, key: bytes | None) -> None:
    """The type of a message is that of its first frame, whatever came before."""
    data = (
        wire.fragmented(wire.TEXT, [b"a", b"b"], key)
        + wire.fragmented(wire.BINARY, [b"a", b"\xff"], key)
        + wire.build(wire.TEXT, b"c", mask=key)
        + wire.fragmented(wire.TEXT, [b"", b"d", b""], key)
        + wire.build(wire.BINARY, b"", mask=key)
    )
    assert outcomes(data, client=client).events == ["ab", b"a\xff", "c", "d", b""]


# Limits


@pytest.mark.checklist("FG06")
@pytest.mark.parametrize("sizes", [(99, 1), (50, 50), (1, 99), (100, 0), (0, 100), (30, 40, 30)])
@TYPES
@ROLES
def test_fragments_at_the_limit(
    client: bool, key: bytes | None, opcode: int, sizes: tuple[int, ...]
) -> None:
    """Fragments may have limit - 1 and limit bytes together, and the next message again."""
    text = "é" * 50
    for limit in (100, 101):
        rest = iter(text.encode())
        pieces = [bytes(itertools.islice(rest, size)) for size in sizes]
        data = wire.fragmented(opcode, pieces, key) * 2
        expected = text if opcode == wire.TEXT else text.encode()
        outcome = outcomes(data, client=client, max_message_size=limit)
        assert outcome.events == [expected, expected]


@pytest.mark.checklist("FG06")
@pytest.mark.parametrize("sizes", [(99, 2), (100, 1), (1, 100), (0, 101), (30, 40, 31)])
@TYPES
@ROLES
def test_fragments_over_the_limit(
    client: bool, key: bytes | None, opcode: int, sizes: tuple[int, ...]
) -> None:
    """A fragment with which the message is one byte too long fails with 1009 at its length."""
    pieces = [b"x" * size for size in sizes]
    data = wire.fragmented(opcode, pieces, key)
    at = len(data) - sizes[-1] - (4 if key else 0)
    assert failure(data, client=client, max_message_size=100) == (1009, at)


@pytest.mark.checklist("FG06", "CL13")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(wire.build(wire.CONTINUATION, mask=wire.KEY, declared=2**20), id="1009"),
        pytest.param(wire.build(wire.TEXT, mask=wire.KEY), id="1002"),
        pytest.param(wire.close(1000, mask=wire.KEY), id="close"),
    ],
)
def test_the_message_in_progress_is_released(end: bytes) -> None:
    """When a failure, or a Close, ends a message midway, its memory is given back at once."""
    begun = wire.build(wire.BINARY, bytes(2**19), fin=False, mask=wire.KEY)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        proto = protocol()
        for at in range(0, len(begun), 2**16):
            proto.receive_data(begun[at : at + 2**16])
            assert proto.next_event() is None
        assert tracemalloc.get_traced_memory()[0] > before + 2**19
        proto.receive_data(end)
        assert proto.next_event() is not None
        assert tracemalloc.get_traced_memory()[0] < before + 2**16
    finally:
        tracemalloc.stop()
    assert not proto.receiving


@pytest.mark.checklist("FG08")
@pytest.mark.parametrize("limit", [0, 1, 5])
@TYPES
@ROLES
def test_empty_fragments_in_a_row(client: bool, key: bytes | None, opcode: int, limit: int) -> None:
    """So many empty fragments in a row are fine, and then again; one more fails with 1008."""
    empty = [b""] * limit
    fine = wire.fragmented(opcode, [*empty, b"a", *empty, b"b", *empty, b""], key)
    outcome = outcomes(fine * 2, client=client, max_empty_fragments=limit)
    assert outcome.events == [message(opcode, b"ab")] * 2
    for begun in ([], [*empty, b"a"]):
        wrong = wire.fragmented(opcode, [*begun, *empty, b"", b"end"], key)
        at = len(wrong) - len(wire.build(wire.CONTINUATION, b"end", mask=key))
        assert failure(wrong, client=client, max_empty_fragments=limit) == (1008, at)


@pytest.mark.checklist("FG08")
def test_pings_do_not_hide_empty_fragments() -> None:
    """The default is 1024 empty fragments, and control frames between them do not count."""
    ping = wire.build(wire.PING, b"", mask=wire.KEY)
    empty = wire.build(wire.CONTINUATION, fin=False, mask=wire.KEY) + ping
    proto = protocol()
    proto.receive_data(wire.build(wire.TEXT, fin=False, mask=wire.KEY) + empty * 1023)
    assert events(proto) == [Ping(b"")] * 1023
    proto.receive_data(empty)
    assert events(proto) == [Failure(1008, "too many empty fragments")]


# Cost


def one_byte_fragments(opcode: int, count: int) -> Iterator[bytes]:
    """The chunks of a message of so many fragments of a byte."""
    yield wire.build(opcode, b"x", fin=False, mask=wire.KEY)
    piece = wire.build(wire.CONTINUATION, b"x", fin=False, mask=wire.KEY)
    for left in range(count - 2, 0, -2000):
        yield piece * min(left, 2000)
    yield wire.build(wire.CONTINUATION, b"x", mask=wire.KEY)


def receive(proto: Protocol, chunks: Iterable[bytes]) -> str | bytes:
    """The only event that comes of these chunks."""
    for chunk in chunks:
        proto.receive_data(chunk)
        if (event := proto.next_event()) is not None:
            assert isinstance(event, str | bytes)
            return event
    raise AssertionError("no message")


def peak_for(opcode: int, count: int) -> int:
    """The most memory that it takes to receive a message of so many fragments."""
    proto = protocol()
    tracemalloc.start()
    try:
        receive(proto, one_byte_fragments(opcode, count))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.checklist("FG07")
@TYPES
def test_fragments_take_little_memory(opcode: int) -> None:
    """Fragments of a byte take at most twice the payload, and a constant, however many."""
    constant = 50_000  # two chunks of 2000 fragments, and some objects
    once, twice = peak_for(opcode, 20_000), peak_for(opcode, 40_000)
    assert once <= 2 * 20_000 + constant
    assert twice <= 2 * 40_000 + constant
    assert twice - once <= 3 * 20_000  # what grows has something to spare, but not per fragment


@pytest.mark.checklist("FG07")
@pytest.mark.parametrize(
    ("opcode", "count"),
    [pytest.param(wire.TEXT, 10**6, id="text"), pytest.param(wire.BINARY, 10**5, id="binary")],
)
def test_a_million_fragments(opcode: int, count: int) -> None:
    """10**6 fragments of a byte are a message, with the default limits."""
    got = receive(protocol(), one_byte_fragments(opcode, count))
    assert got == message(opcode, b"x" * count)


def calls_for(opcode: int, count: int) -> int:
    """How many calls of functions it takes to receive a message of so many fragments."""
    calls = 0

    def count_call(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    proto = protocol()
    chunks = list(one_byte_fragments(opcode, count))
    before = sys.getprofile()
    sys.setprofile(count_call)
    try:
        receive(proto, chunks)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.checklist("FG07")
@TYPES
def test_fragments_take_linear_work(opcode: int) -> None:
    """Twice the fragments take twice the calls, and not many for each."""
    once, twice = calls_for(opcode, 2000), calls_for(opcode, 4000)
    assert twice <= 2 * once
    assert once <= 2000 * 40


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([10, 5000, 10, 10, 70_000, 1], id="small-and-large"),
        pytest.param([4095, 4096, 4097], id="around-4-KiB"),
        pytest.param([4000] * 20, id="many-of-medium-size"),
        pytest.param([65_536] * 4, id="large"),
        pytest.param([1000] * 66 + [5000] + [1000] * 66, id="more-small-ones-than-64-KiB"),
    ],
)
@TYPES
def test_pieces_of_all_sizes(opcode: int, sizes: list[int]) -> None:
    """Small and large pieces, as fragments or as chunks of a frame, keep their order."""
    numbers = itertools.count()
    pieces = [b"".join(b"%d " % next(numbers) for _ in range(size))[:size] for size in sizes]
    whole = b"".join(pieces)
    data = wire.fragmented(opcode, pieces, wire.KEY)
    assert receive(protocol(), [data]) == message(opcode, whole)
    one_frame = wire.build(opcode, whole, mask=None)
    cuts = [0, *itertools.accumulate(sizes, initial=len(one_frame) - len(whole))]
    chunks = (one_frame[begin:end] for begin, end in itertools.pairwise(cuts))
    assert receive(protocol(client=True), chunks) == message(opcode, whole)


@pytest.mark.checklist("FG09")
@TYPES
def test_four_mebibytes_in_fragments_of_64_bytes(opcode: int) -> None:
    """65 536 fragments of 64 bytes arrive with the default limits of fragments."""
    payload = bytes(range(32, 96)) * 65536
    proto = protocol(max_message_size=2**22)
    data = wire.fragmented(
        opcode, (payload[at : at + 64] for at in range(0, len(payload), 64)), wire.KEY
    )
    chunks = (data[at : at + 65536] for at in range(0, len(data), 65536))
    assert receive(proto, chunks) == message(opcode, payload)
    assert proto.message_size == 2**22


# The assembler itself


def test_the_budget_follows_the_message() -> None:
    """The budget is what the message in progress may still have; `size` is that of the last one."""
    messages = Assembler(100, 3)
    assert not (messages.resting or messages.tired or messages.pending or messages.discarding)
    assert (messages.message is not None, messages.budget, messages.size) == (False, 100, 0)
    assert messages.add(Part(wire.BINARY, True, False, b"abc", True, False)) is None
    assert (messages.message is not None, messages.budget) == (True, 97)
    assert messages.add(Part(wire.BINARY, True, False, b"d", False, True)) == b"abcd"
    assert (messages.message is not None, messages.budget, messages.size) == (False, 100, 4)
    assert messages.add(Part(wire.TEXT, True, False, b"\xc3\xa9", True, True)) == "é"
    assert (messages.message is not None, messages.budget, messages.size) == (False, 100, 2)


def test_messages_are_bytes_and_not_a_buffer() -> None:
    """A binary message is immutable, also if it came in parts."""
    messages = Assembler(100, 3)
    messages.add(Part(wire.BINARY, False, False, b"a", True, True))
    assert type(messages.add(Part(wire.CONTINUATION, True, False, b"b", True, True))) is bytes


def test_drop_forgets_the_message() -> None:
    """After `drop` the next frame begins a message, with a decoder of its own."""
    messages = Assembler(100, 3)
    messages.add(Part(wire.TEXT, False, False, b"\xc3", True, True))
    messages.drop()
    assert (messages.message is not None, messages.budget) == (False, 100)
    assert messages.add(Part(wire.TEXT, False, False, b"a", True, True)) is None
    assert messages.add(Part(wire.CONTINUATION, True, False, b"b", True, True)) == "ab"


@pytest.mark.checklist("PD03")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_compressed_fragments(count: int) -> None:
    """What is inflated at once is a message as soon as its last part is added."""
    payload = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
    messages = Assembler(100, 3, Inflater(Agreement(15, True, 15, True)))
    for at in range(count):
        opcode = wire.CONTINUATION if at else wire.TEXT
        fin = at == count - 1
        piece = payload if fin else b""
        got = messages.add(Part(opcode, fin, not at, piece, True, True))
        assert got == ("Hello" if fin else None)
    assert messages.message is None


@pytest.mark.checklist("PD11")
@pytest.mark.parametrize(("size", "at_once"), [(1000, True), (90_000, True), (100_000, False)])
def test_a_compressed_message(size: int, at_once: bool) -> None:
    """A message is returned at once unless it takes more than a turn; then by `inflate`."""
    messages = Assembler(2**20, 3, Inflater(Agreement(15, True, 15, True)))
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    got = messages.add_compressed(payload[:-4], text=False)
    assert got == (bytes(size) if at_once else None)
    assert messages.tired is messages.pending is not at_once
    if not at_once:
        assert messages.inflate() is None
        messages.rest()
        assert messages.resting
        assert messages.inflate() == bytes(size)
    assert messages.message is None
    assert messages.size == size


@pytest.mark.checklist("PD05")
@pytest.mark.parametrize("limit", [0, 1, 1000, 20_000, 60_000])
@pytest.mark.parametrize("fin", [False, True], ids=["more", "fin"])
def test_a_byte_over_the_limit_is_inflated(limit: int, fin: bool) -> None:
    """Of a message that is too big no more than the byte that proves it is ever there."""
    messages = Assembler(limit, 3, Inflater(Agreement(15, True, 15, True)))
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = compressor.compress(bytes(90_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(Violation, match="too big"):
        messages.add(Part(wire.BINARY, fin, True, payload, True, True))
    assert messages.message is not None
    assert messages.message.payload.size == limit + 1


@pytest.mark.checklist("PD06")
def test_the_budget_of_a_compressed_message() -> None:
    """It is one of what comes, before it is inflated, in all fragments together."""
    messages = Assembler(100, 3, Inflater(Agreement(15, True, 15, True)))
    left = 2 * 100 + 1024
    for at in range(3):
        payload = b"\x00\x00\x00\xff\xff" * 10
        opcode = wire.CONTINUATION if at else wire.TEXT
        assert messages.add(Part(opcode, False, not at, payload, True, True)) is None
        left -= len(payload)
        assert messages.budget == left


def test_discarded() -> None:
    """Once messages are not wanted any more, none comes, and nothing of one is kept."""
    messages = Assembler(100, 3)
    messages.add(Part(wire.TEXT, False, False, b"a", True, True))
    messages.discard()
    assert messages.message is None
    assert messages.add(Part(wire.CONTINUATION, False, False, b"b", True, True)) is None
    assert messages.message is None
    assert messages.add(Part(wire.CONTINUATION, True, False, b"c", True, True)) is None
    assert messages.add(Part(wire.BINARY, True, False, b"d", True, True)) is None


def test_pieces_are_released() -> None:
    """A payload is taken once, and leaves nothing."""
    pieces = Pieces()
    for size in (1, 5000, 2, 70_000, 3):
        pieces.add(bytes(size))
    assert pieces.size == 75_006
    assert pieces.take() == bytes(75_006)
    assert pieces.take() == b""


@pytest.mark.checklist("FG07")
@pytest.mark.parametrize(
    ("sizes", "kept", "gathered"),
    [
        pytest.param([4095], [], 4095, id="small"),
        pytest.param([4096], [4096], 0, id="large"),
        pytest.param([1, 4096, 2, 3], [1, 4096], 5, id="large-behind-small"),
        pytest.param([1] * 65_535, [], 65_535, id="64-KiB-less-a-byte"),
        pytest.param([1] * 65_537, [65_536], 1, id="64-KiB-and-a-byte"),
        pytest.param([4095] * 17, [69_615], 0, id="over-64-KiB"),
    ],
)
def test_small_pieces_are_gathered(sizes: list[int], kept: list[int], gathered: int) -> None:
    """Pieces below 4 KiB are gathered up to 64 KiB, so that each costs no more than its bytes."""
    pieces = Pieces()
    added = [bytes(size) for size in sizes]
    for piece in added:
        pieces.add(piece)
    assert [*map(len, pieces._pieces)] == kept
    assert len(pieces._small) == gathered
    assert pieces.take() == b"".join(added)


@pytest.mark.checklist("PD11")
@pytest.mark.parametrize(("first", "count"), [(502, 96), (501, 97)])
def test_a_turn(first: int, count: int) -> None:
    """A turn is over once 96 KiB of work are done; `rest` begins the next."""
    messages = Assembler(1000, 3, Inflater(Agreement(15, False, 15, False)))
    for _ in range(2):
        for number in range(count):
            assert not messages.tired
            # With its header, its end and the tail it has 512 bytes, and a call counts for as many.
            size = 502 if number else first
            stored = b"\x00" + size.to_bytes(2, "little") + (0xFFFF - size).to_bytes(2, "little")
            messages.add_compressed(stored + bytes(size) + b"\x00", text=False)
        assert messages.tired
        messages.rest()


@pytest.mark.checklist("FG11")
@ROLES
def test_a_message_in_progress_is_seen(client: bool, key: bytes | None) -> None:
    """`receiving` is true from a message's first byte to its last, which a deadline can watch."""
    data = wire.fragmented(wire.TEXT, [b"a", b"", b"b"], key)
    proto = protocol(client=client)
    assert mask_of(proto) == key
    assert not proto.receiving
    for at in range(len(data) - 1):
        proto.receive_data(data[at : at + 1])
        assert proto.next_event() is None
        assert proto.receiving
    stalled = protocol(client=client)
    stalled.receive_data(data[:-1])
    assert stalled.next_event() is None
    assert stalled.fail(1008, "message took too long") == Failure(1008, "message took too long")
    assert not stalled.receiving
    proto.receive_data(data[-1:])
    assert proto.next_event() == "ab"
    assert not proto.receiving
