"""Compressed messages on a connection: RSV1, limits, violations, both ends in step."""

from __future__ import annotations

import gc
import itertools
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.protocol.harness import drain, mask_of, pumped
from trio_ws._protocol._deflate import Agreement, Deflate, PerMessageDeflate
from trio_ws._protocol._frames import FrameReader
from trio_ws._protocol._machine import Event, Failure, Ping, Protocol

ROLES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
TAKEOVER = pytest.mark.parametrize("takeover", [True, False], ids=["takeover", "none"])
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f248cdc9c90700")  # section 7.2.3.1
AGAIN = bytes.fromhex("f200110000")  # section 7.2.3.2: "Hello" after "Hello"
MIB = 2**20
# Four empty blocks with fixed codes: each has the bits 010 and seven times 0 (RFC 1951).
FIXED = sum(2 << shift for shift in (0, 10, 20, 30)).to_bytes(5, "little")


class Outcome(NamedTuple):
    """What a protocol made of its input: events, and the opcodes and payloads that it sent."""

    events: list[Event]
    sent: list[tuple[int, bytes]]


def protocol(
    *,
    client: bool = False,
    takeover: bool = True,
    max_message_size: int = MIB,
    threshold: int = 0,
) -> Protocol:
    """A protocol that has agreed on permessage-deflate."""
    agreement = Agreement(15, takeover, 15, takeover)
    return Protocol(
        client=client,
        max_message_size=max_message_size,
        deflate=Deflate.of(agreement, PerMessageDeflate(threshold=threshold)),
    )


def events(proto: Protocol) -> list[Event]:
    """All events that are due, however many turns they take."""
    found = []
    while True:
        event = proto.next_event()
        if event is not None:
            found.append(event)
        elif not proto.busy:
            return found


def pumped_in_turns(proto: Protocol, max_messages: int = 2**62) -> list[Event]:
    """The same, messages in batches."""
    found = pumped(proto, max_messages)
    while proto.busy:
        found += pumped(proto, max_messages)
    return found


def raw(data: bytes) -> bytes:
    """Compress as a peer without context takeover does."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def compressed(opcode: int, fragments: Iterable[bytes], *, client: bool) -> bytes:
    """A compressed message in frames of these payloads; `client` is this end, not the sender."""
    pieces = list(fragments)
    return b"".join(
        wire.build(
            wire.CONTINUATION if number else opcode,
            piece,
            fin=number == len(pieces) - 1,
            rsv=0 if number else RSV1,
            mask=None if client else wire.KEY,
        )
        for number, piece in enumerate(pieces)
    )


def outcome(data: bytes, *, client: bool, max_message_size: int = MIB) -> Outcome:
    """Feed `data` whole, byte by byte, and torn in two at each boundary: the same each time.

    So are the events one by one, and messages in batches.
    """
    bounds = range(len(data) + 1)
    tears = [[data], [data[a:b] for a, b in itertools.pairwise(bounds)]]
    tears += [[data[:at], data[at:]] for at in bounds]
    outcomes = []
    for pieces, take in itertools.product(tears, (events, pumped_in_turns)):
        proto = protocol(client=client, max_message_size=max_message_size)
        found: list[Event] = []
        for piece in pieces:
            proto.receive_data(piece)
            found += take(proto)
        sent = [(frame.opcode, frame.payload) for frame in wire.parse(drain(proto))]
        outcomes.append(Outcome(found, sent))
    assert outcomes == outcomes[:1] * len(outcomes)
    return outcomes[0]


def failure(data: bytes, *, client: bool, max_message_size: int = MIB) -> tuple[int, int]:
    """The code with which `data` fails, in all pieces, and after how many of its bytes."""
    found, sent = outcome(data, client=client, max_message_size=max_message_size)
    failed = found[-1]
    assert isinstance(failed, Failure)
    assert sent[-1] == (wire.CLOSE, failed.code.to_bytes(2, "big") + failed.reason.encode())
    proto = protocol(client=client, max_message_size=max_message_size)
    for at in range(len(data)):
        proto.receive_data(data[at : at + 1])
        if events(proto):
            return failed.code, at + 1
    raise AssertionError("no event byte by byte")


# Memory


@ROLES
def test_nothing_is_kept_of_a_message(client: bool) -> None:
    """Once it is received, there are the windows, and not its compressed bytes."""
    frame = compressed(wire.BINARY, [raw(random.Random(7).randbytes(500_000))], client=client)
    proto = protocol(client=client)
    gc.collect()
    tracemalloc.start()
    try:
        proto.receive_data(frame)
        assert [len(event) for event in events(proto)] == [500_000]
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


# RSV1


@pytest.mark.checklist("PD01")
@pytest.mark.parametrize("opcode", [wire.CLOSE, wire.PING, wire.PONG])
@pytest.mark.parametrize("begun", [False, True], ids=["between", "inside"])
@ROLES
def test_rsv1_on_a_control_frame(client: bool, begun: bool, opcode: int) -> None:
    """RSV1 on a control frame fails the connection at its first byte."""
    mask = None if client else wire.KEY
    earlier = compressed(wire.TEXT, [HELLO, b"x"], client=client)[
        : len(HELLO) + 2 + 4 * (not client)
    ]
    data = wire.build(opcode, b"", rsv=RSV1, mask=mask)
    if not begun:
        assert failure(data, client=client) == (1002, 1)
    else:
        found, _ = outcome(earlier + data, client=client)
        assert [event.code for event in found if isinstance(event, Failure)] == [1002]


@pytest.mark.checklist("PD01")
@pytest.mark.parametrize("rsv", [0, RSV1], ids=["plain", "compressed"])
@pytest.mark.parametrize("fin", [False, True], ids=["more", "fin"])
@ROLES
def test_rsv1_on_a_continuation(client: bool, fin: bool, rsv: int) -> None:
    """RSV1 on a continuation fails at its first byte, whether or not the message has it."""
    mask = None if client else wire.KEY
    first = wire.build(wire.BINARY, b"\x00", fin=False, rsv=rsv, mask=mask)
    data = first + wire.build(wire.CONTINUATION, HELLO, fin=fin, rsv=RSV1, mask=mask)
    assert failure(data, client=client) == (1002, len(first) + 1)


@pytest.mark.checklist("PD01")
@pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
@ROLES
def test_other_reserved_bits(client: bool, rsv: int) -> None:
    """RSV2 and RSV3 are still reserved."""
    data = wire.build(wire.TEXT, HELLO, rsv=rsv, mask=None if client else wire.KEY)
    assert failure(data, client=client) == (1002, 1)


@pytest.mark.checklist("PD02")
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@ROLES
def test_a_message_without_rsv1(client: bool, opcode: int) -> None:
    """A message without RSV1 is passed as it is, and leaves the context alone."""
    mask = None if client else wire.KEY
    plain = b"plain \xc3\xa9"
    data = compressed(wire.BINARY, [HELLO], client=client)
    data += wire.build(opcode, plain, mask=mask)
    data += wire.build(opcode, plain[:2], fin=False, mask=mask)
    data += wire.build(wire.CONTINUATION, plain[2:], mask=mask)
    data += compressed(wire.BINARY, [AGAIN], client=client)
    message = plain if opcode == wire.BINARY else plain.decode()
    assert outcome(data, client=client) == Outcome([b"Hello", message, message, b"Hello"], [])


# Messages


@pytest.mark.checklist("PD03")
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("f248cdc9c90700", b"Hello"),
        ("000500faff48656c6c6f00", b"Hello"),
        ("f348cdc9c9070000", b"Hello"),
        ("f24805000000ffffcac9c90700", b"Hello"),
        ("00", b""),
    ],
    ids=["7.2.3.1", "7.2.3.3", "7.2.3.4", "7.2.3.5", "7.2.3.6"],
)
@ROLES
def test_vectors(client: bool, payload: str, message: bytes, opcode: int) -> None:
    """The examples of RFC 7692 section 7.2.3, in one frame and in two of any sizes."""
    data = bytes.fromhex(payload)
    expected = Outcome([message.decode() if opcode == wire.TEXT else message], [])
    assert outcome(compressed(opcode, [data], client=client), client=client) == expected
    for cut in range(len(data) + 1):
        fragments = compressed(opcode, [data[:cut], data[cut:]], client=client)
        assert outcome(fragments, client=client) == expected


@pytest.mark.checklist("PD03")
@ROLES
def test_fragments_around_control_frames(client: bool) -> None:
    """Fragments of a byte each, empty ones, a ping between all of them, then the next message."""
    mask = None if client else wire.KEY
    frames = []
    pieces = [b"", *(HELLO[i : i + 1] for i in range(len(HELLO))), b""]
    for number, piece in enumerate(pieces):
        opcode, rsv = (wire.CONTINUATION, 0) if number else (wire.TEXT, RSV1)
        frames.append(wire.build(opcode, piece, fin=False, rsv=rsv, mask=mask))
        frames.append(wire.build(wire.PING, b"%d" % number, mask=mask))
    frames.append(wire.build(wire.CONTINUATION, b"", mask=mask))
    frames.append(compressed(wire.TEXT, [AGAIN], client=client))
    pings = [b"%d" % number for number in range(len(pieces))]
    assert outcome(b"".join(frames), client=client) == Outcome(
        [*map(Ping, pings), "Hello", "Hello"], [(wire.PONG, ping) for ping in pings]
    )


@pytest.mark.checklist("PD04")
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@pytest.mark.parametrize(
    "payload",
    [b"\x07", b"", HELLO[:-2], HELLO + b"\x07", b"\xf3\x48\xcd\xc9\xc9\x07"],
    ids=bytes.hex,
)
@ROLES
def test_corrupt_data(client: bool, payload: bytes, opcode: int) -> None:
    """Corrupt or truncated data fails with 1007 after the messages before it; no more is read."""
    data = compressed(wire.TEXT, [HELLO], client=client)
    data += compressed(opcode, [payload], client=client)
    found, sent = outcome(data + compressed(opcode, [AGAIN], client=client), client=client)
    assert found == ["Hello", Failure(1007, "compressed data is corrupt")]
    assert [code for code, _ in sent] == [wire.CLOSE]


@pytest.mark.checklist("PD04")
@ROLES
def test_corrupt_data_fails_early(client: bool) -> None:
    """Corrupt data fails at the byte that proves it, within its frame."""
    data = compressed(wire.BINARY, [b"\x07" + bytes(100)], client=client)
    head = 2 + 4 * (not client)
    assert failure(data, client=client) == (1007, head + 1)


@pytest.mark.checklist("U06")
@pytest.mark.parametrize("text", [b"abc\xffdef", b"\xed\xa0\x80", b"abc\xc3", b"\xf4\x90\x80\x80"])
@ROLES
def test_invalid_utf8_inside(client: bool, text: bytes) -> None:
    """The UTF-8 of a text is that of its inflated data; as binary it is fine."""
    payload = raw(text)
    assert outcome(compressed(wire.BINARY, [payload], client=client), client=client) == Outcome(
        [text], []
    )
    for cut in range(len(payload) + 1):
        data = compressed(wire.TEXT, [payload[:cut], payload[cut:]], client=client)
        assert failure(data, client=client)[0] == 1007


@pytest.mark.checklist("U06")
@ROLES
def test_invalid_utf8_fails_early(client: bool) -> None:
    """An impossible byte fails as soon as it is inflated, within its frame and its message."""
    stored, empty = b"\x00\x04\x00\xfb\xffab\xffc", b"\x00\x00\x00\xff\xff"
    data = compressed(wire.TEXT, [stored + empty * 4, b"\x00"], client=client)
    code, at = failure(data, client=client)
    assert code == 1007
    assert at <= len(data) - 20


@pytest.mark.checklist("U06")
@ROLES
def test_a_code_point_across_pieces(client: bool) -> None:
    """A code point may be split between fragments, and by the pieces that are inflated."""
    text = "é€😀" * 4000
    payload = raw(text.encode())
    proto = protocol(client=client)
    fragments = [payload[i : i + 1] for i in range(len(payload))]
    proto.receive_data(compressed(wire.TEXT, fragments, client=client))
    assert events(proto) == [text]
    short = compressed(wire.TEXT, [raw("aé€😀".encode())], client=client)
    assert outcome(short, client=client) == Outcome(["aé€😀"], [])


# Limits


@pytest.mark.checklist("PD05")
@pytest.mark.parametrize("limit", [0, 1, 100, 8192, 8193, 100_000])
@pytest.mark.parametrize("parts", [1, 2], ids=["final", "non-final"])
@ROLES
def test_the_limit_is_of_what_is_inflated(client: bool, parts: int, limit: int) -> None:
    """A message of exactly the limit is received; one byte more fails with 1009."""
    fits, over = raw(bytes(limit)) or b"\x00", raw(bytes(limit + 1))
    rest = [b"\x00"] * (parts - 1)
    data = compressed(wire.BINARY, [fits + TAIL * bool(rest), *rest], client=client)
    assert outcome(data, client=client, max_message_size=limit) == Outcome([bytes(limit)], [])
    data = compressed(wire.BINARY, [over, *rest], client=client)
    assert failure(data, client=client, max_message_size=limit)[0] == 1009


@pytest.mark.checklist("PD05", "PD04")
@pytest.mark.parametrize("limit", [0, 1, 100, 1000])
@ROLES
def test_the_limit_before_a_final_block(client: bool, limit: int) -> None:
    """The limit holds as well where a final block, of which the tail is a part, ends the stream."""
    fits, over = ((raw(bytes(size)) or b"\x00") + TAIL + b"\x01" for size in (limit, limit + 1))
    data = compressed(wire.BINARY, [fits], client=client)
    assert outcome(data, client=client, max_message_size=limit) == Outcome([bytes(limit)], [])
    data = compressed(wire.BINARY, [over], client=client)
    assert failure(data, client=client, max_message_size=limit)[0] == 1009


@pytest.mark.checklist("PD05")
@pytest.mark.parametrize("take", [events, pumped_in_turns], ids=["events", "batches"])
@pytest.mark.parametrize(
    ("opcode", "unit"),
    [
        pytest.param(wire.BINARY, b"\x00", id="binary"),
        pytest.param(wire.TEXT, b"\x00", id="text"),
        pytest.param(wire.TEXT, "漢".encode(), id="text of 3 bytes"),
        # One character outside the BMP makes Python take four bytes for each.
        pytest.param(wire.TEXT, b"a" * 1000 + "😀".encode(), id="text that grows"),
    ],
)
@pytest.mark.parametrize("fin", [True, False], ids=["final", "non-final"])
@pytest.mark.parametrize("excess", [1, 999 * MIB], ids=["a byte over", "1000 times"])
@ROLES
def test_bombs(
    client: bool,
    excess: int,
    fin: bool,
    opcode: int,
    unit: bytes,
    take: Callable[[Protocol], list[Event]],
) -> None:
    """A message that inflates to more than its limit: 1009, within the limit and 64 KiB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    # It fails long before the end of the larger one: a hundredth of it is enough to feed.
    size = min(MIB + excess, 10 * MIB)
    text = (unit * (size // len(unit) + 1))[:size]
    payload = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
    frame = wire.build(opcode, payload, fin=fin, rsv=RSV1, mask=None if client else wire.KEY)

    def receive() -> list[Event]:
        proto = protocol(client=client)
        found: list[Event] = []
        for at in range(0, len(frame), 1024):
            proto.receive_data(frame[at : at + 1024])
            found += take(proto)
        return found

    receive()  # what the interpreter keeps, and coverage, when code first runs is not the matter
    gc.collect()
    tracemalloc.start()
    try:
        found = receive()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == [Failure(1009, "message too big")]
    assert peak <= MIB + 64 * 1024


@pytest.mark.checklist("PD05")
@pytest.mark.parametrize("limit", [0, 1, 500, 3000])
@pytest.mark.parametrize("fin", [True, False], ids=["final", "non-final"])
@ROLES
def test_bombs_over_a_small_limit(client: bool, fin: bool, limit: int) -> None:
    """The same for a limit that the first piece reaches: no more than that is ever inflated."""
    payload = raw(bytes(MIB))
    frame = wire.build(wire.BINARY, payload, fin=fin, rsv=RSV1, mask=None if client else wire.KEY)
    assert failure(frame, client=client, max_message_size=limit)[0] == 1009
    proto = protocol(client=client, max_message_size=limit)
    gc.collect()
    tracemalloc.start()
    try:
        proto.receive_data(frame)
        assert events(proto) == [Failure(1009, "message too big")]
        assert tracemalloc.get_traced_memory()[1] <= limit + 64 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.checklist("PD05", "PD06")
@pytest.mark.parametrize("limit", [0, 1, 500])
@ROLES
def test_a_bomb_takes_little_work(client: bool, limit: int) -> None:
    """Of what is over the limit a byte is inflated, whatever there is of it."""
    deflate = Deflate.of(Agreement(15, True, 15, True), PerMessageDeflate())
    proto = Protocol(client=client, max_message_size=limit, deflate=deflate)
    payload = raw(bytes(10_000))
    proto.receive_data(compressed(wire.BINARY, [payload], client=client))
    assert events(proto) == [Failure(1009, "message too big")]
    assert deflate.inflater.work < 4 * 1024


@pytest.mark.checklist("PD06")
@pytest.mark.parametrize("block", [b"\x00\x00\x00\xff\xff", FIXED], ids=["stored", "fixed"])
@ROLES
def test_endless_blocks_without_output(client: bool, block: bytes) -> None:
    """What inflates to nothing counts as well: twice the limit and 1 KiB of it, then 1009."""
    limit = 100
    budget = 2 * limit + 1024
    mask = None if client else wire.KEY
    declared = wire.build(wire.TEXT, b"", rsv=RSV1, mask=mask, declared=budget + 1)
    head = len(declared) - (0 if client else 4)
    assert failure(declared, client=client, max_message_size=limit) == (1009, head)
    proto = protocol(client=client, max_message_size=limit)
    blocks = (block * budget)[:200]
    fed = 0
    opcode, rsv = wire.TEXT, RSV1
    while not (found := events(proto)):
        proto.receive_data(wire.build(opcode, blocks, fin=False, rsv=rsv, mask=mask))
        opcode, rsv, fed = wire.CONTINUATION, 0, fed + len(blocks)
    assert found == [Failure(1009, "message too big")]
    assert budget < fed <= budget + 200


@pytest.mark.checklist("PD05", "PD06")
@ROLES
def test_the_budget_begins_anew_with_each_message(client: bool) -> None:
    """What one message has used up is not missing in the next, compressed or not."""
    limit = 50
    noise = bytes(range(50))
    message = compressed(wire.BINARY, [raw(noise)[:20], raw(noise)[20:]], client=client)
    message += wire.build(wire.BINARY, noise, mask=None if client else wire.KEY)
    expected = Outcome([noise] * 4, [])
    assert outcome(message * 2, client=client, max_message_size=limit) == expected


# Sending


def frames_of(proto: Protocol) -> list[wire.Frame]:
    """Take the whole output as frames."""
    return list(wire.parse(drain(proto)))


def transfer(sender: Protocol, receiver: Protocol) -> list[Event]:
    """Carry the output of one end to the other."""
    receiver.receive_data(drain(sender))
    return events(receiver)


@pytest.mark.checklist("PD10")
@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize(
    ("size", "compress", "rsv"),
    [
        (99, None, 0),
        (100, None, RSV1),
        (1000, None, RSV1),
        (1000, False, 0),
        (1000, True, RSV1),
        (0, True, RSV1),
        (5, True, RSV1),
        (0, None, 0),
    ],
)
@ROLES
def test_what_is_compressed(
    client: bool, size: int, compress: bool | None, rsv: int, text: bool
) -> None:
    """A message is compressed from the threshold on, unless the caller knows better."""
    proto = protocol(client=client, threshold=100)
    peer = protocol(client=not client)
    message = b"x" * size
    proto.send_message(message, text=text, compress=compress)
    assert proto.compresses(message, compress) is (rsv == RSV1)
    output = drain(proto)
    (frame,) = wire.parse(output)
    assert (frame.rsv, frame.fin, frame.opcode) == (rsv, True, wire.TEXT if text else wire.BINARY)
    if not rsv:
        assert frame.payload == message
    peer.receive_data(output)
    assert events(peer) == [message.decode() if text else message]


@pytest.mark.checklist("PD10")
def test_nothing_is_compressed_without_an_agreement() -> None:
    """Without permessage-deflate a message goes out plain, whatever the caller says."""
    proto = Protocol(client=False, max_message_size=MIB)
    assert not proto.compresses(b"x" * 1000, compress=True)
    proto.send_message(b"x" * 1000, text=False, compress=True)
    assert [(frame.rsv, frame.payload) for frame in frames_of(proto)] == [(0, b"x" * 1000)]


@pytest.mark.checklist("PD03", "PD07")
@TAKEOVER
@ROLES
def test_both_ends_in_step(client: bool, takeover: bool) -> None:
    """Compressed, plain, empty and stepwise messages come out as they went in, in order."""
    sender = protocol(client=client, takeover=takeover)
    receiver = protocol(client=not client, takeover=takeover)
    for number in range(300):
        message = b"message number %d " % number * (number % 40)
        if number % 7 == 6:
            steps = sender.send_in_steps(message * 50, text=True)
            assert all(step is None for step in steps)
            message = message * 50
        else:
            sender.send_message(message, text=True, compress=number % 5 != 4)
        assert transfer(sender, receiver) == [message.decode()]
    assert sender.counts.messages_sent == receiver.counts.messages_received == 300


@pytest.mark.checklist("PD03")
@pytest.mark.parametrize("size", [10_000, 100_000])
@ROLES
def test_what_hardly_shrinks(client: bool, size: int) -> None:
    """A message that stays large once it is compressed is marked as compressed, too."""
    sender, receiver = protocol(client=client), protocol(client=not client)
    message = random.Random(size).randbytes(size)
    sender.send_message(message, text=False)
    assert list(sender.send_in_steps(message[::-1], text=False))
    assert transfer(sender, receiver) == [message, message[::-1]]


def test_volumes() -> None:
    """Bytes of whole compressed messages are counted, both ways; there are none without."""
    proto = protocol()
    assert proto.volumes == ((0, 0), (0, 0))
    proto.send_message(bytes(1000), text=False)
    proto.send_message(bytes(1000), text=False, compress=False)
    assert list(proto.send_in_steps(bytes(500), text=False)) == [None]
    size = sum(len(frame.payload) for frame in frames_of(proto) if frame.rsv)
    proto.receive_data(compressed(wire.TEXT, [HELLO[:2], HELLO[2:]], client=False))
    proto.receive_data(compressed(wire.TEXT, [AGAIN], client=False))
    assert events(proto) == ["Hello"] * 2
    expected = ((1500, size), (10, len(HELLO + AGAIN)))
    assert proto.volumes == expected
    begun = wire.build(wire.TEXT, HELLO, rsv=RSV1, fin=False, mask=wire.KEY)
    proto.receive_data(begun)
    assert events(proto) == []
    assert proto.volumes == expected
    plain = Protocol(client=False, max_message_size=MIB)
    assert plain.volumes == ((0, 0), (0, 0))


@pytest.mark.checklist("PD09")
@TAKEOVER
@pytest.mark.parametrize("steps", range(4))
@ROLES
def test_stopped_in_steps(client: bool, steps: int, takeover: bool) -> None:
    """Whoever stops a stepwise send has sent nothing; the next 1000 messages are exact."""
    sender = protocol(client=client, takeover=takeover)
    receiver = protocol(client=not client, takeover=takeover)
    large = bytes(range(256)) * 2048  # four steps
    sender.send_message(large[:1000], text=False)
    assert transfer(sender, receiver) == [large[:1000]]
    stopped = sender.send_in_steps(large[::-1], text=False)
    for _ in itertools.islice(stopped, steps):
        assert not sender.output.size
    stopped.close()  # type: ignore[attr-defined]
    assert sender.counts.messages_sent == 1
    for number in range(1000):
        message = b"%d: %s" % (number, large[: number % 500])
        sender.send_message(message, text=False)
        assert transfer(sender, receiver) == [message]


@pytest.mark.checklist("PD11")
def test_pings_are_answered_between_steps() -> None:
    """Control frames go out between the steps, before the message."""
    proto = protocol()
    steps = proto.send_in_steps(bytes(2**19), text=False)
    next(steps)
    proto.receive_data(wire.build(wire.PING, b"!", mask=wire.KEY))
    assert events(proto) == [Ping(b"!")]
    assert list(steps) == [None] * 3
    assert [frame.opcode for frame in frames_of(proto)] == [wire.PONG, wire.BINARY]


# Turns, and violations that are held back


@pytest.mark.checklist("PD11")
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@pytest.mark.parametrize("after", [False, True], ids=["alone", "with more behind"])
@ROLES
def test_inflating_takes_turns(client: bool, after: bool, opcode: int) -> None:
    """A large message is inflated in turns of at most 128 KiB; what is behind it waits."""
    proto = protocol(client=client)
    data = bytes(MIB)
    behind = wire.build(wire.PING, b"!", mask=mask_of(proto)) if after else b""
    proto.receive_data(compressed(opcode, [raw(data)], client=client) + behind)
    turns = 0
    while (event := proto.next_event()) is None:
        assert proto.busy
        turns += 1
    assert turns >= MIB // (128 * 1024) - 1
    assert event == (data.decode() if opcode == wire.TEXT else data)
    assert proto.message_size == MIB
    assert not proto.busy
    assert events(proto) == ([Ping(b"!")] if after else [])


@pytest.mark.checklist("PD11", "PD06")
def test_blocks_without_output_take_turns() -> None:
    """Compressed data that gives nothing is read in turns as well."""
    proto = protocol()
    blocks = b"\x00\x00\x00\xff\xff" * 100_000
    proto.receive_data(compressed(wire.BINARY, [blocks + b"\x00"], client=False))
    turns = 0
    while (event := proto.next_event()) is None:
        turns += 1
    assert event == b""
    assert turns >= len(blocks) // (128 * 1024)


@pytest.mark.checklist("PD11")
@pytest.mark.parametrize("size", range(80 * 1024, 112 * 1024, 1024), ids=str)
@ROLES
def test_the_end_behind_a_turn(client: bool, size: int) -> None:
    """A message may have used a turn up; a failure behind it does not wait for another turn."""
    proto = protocol(client=client)
    proto.receive_data(compressed(wire.BINARY, [raw(bytes(size))], client=client))
    while (event := proto.next_event()) is None:
        assert proto.busy
    assert event == bytes(size)
    proto.fail(1008, "enough")
    assert proto.next_event() is None
    assert not proto.busy


@pytest.mark.checklist("PD11")
@ROLES
def test_a_close_while_inflating(client: bool) -> None:
    """This end may fail or close while a message is being inflated; nothing comes of it then."""
    proto = protocol(client=client)
    proto.receive_data(compressed(wire.BINARY, [raw(bytes(MIB))], client=client))
    assert proto.next_event() is None
    assert proto.busy
    proto.fail(1008, "enough")
    assert not proto.busy
    assert proto.drained()  # the rest is not kept
    assert events(proto) == []
    assert not proto.receiving


VIOLATIONS = [
    ("unmasked", lambda: wire.build(wire.TEXT, b"x"), 1002),
    ("corrupt", lambda: compressed(wire.TEXT, [b"\x07"], client=False), 1007),
    ("UTF-8", lambda: wire.build(wire.TEXT, b"\xff", mask=wire.KEY), 1007),
    ("close code", lambda: wire.close(1005, mask=wire.KEY), 1002),
]


@pytest.mark.parametrize(
    ("violation", "code"), [v[1:] for v in VIOLATIONS], ids=[v[0] for v in VIOLATIONS]
)
def test_a_violation_is_held_back(violation: object, code: int) -> None:
    """With `hold` a violation waits, and messages may still be sent, until a call without."""
    assert callable(violation)
    data = compressed(wire.TEXT, [HELLO], client=False) + violation()
    for at in range(len(data) + 1):
        proto = protocol()
        held: list[Event | None] = []
        for piece in (data[:at], data[at:]):
            proto.receive_data(piece)
            while (event := proto.next_event(hold=True)) is not None or proto.busy:
                held.append(event)
        assert held == ["Hello"]
        assert proto.holding
        assert proto.failure is None
        proto.send_message(b"an answer", text=True)
        assert proto.next_event(hold=True) is None
        failed = proto.next_event()
        assert isinstance(failed, Failure)
        assert failed.code == code
        assert not proto.holding
        assert [frame.opcode for frame in frames_of(proto)] == [wire.TEXT, wire.CLOSE]


def test_nothing_is_held_back_without_a_violation() -> None:
    """Other events are not held back."""
    proto = protocol()
    proto.receive_data(wire.build(wire.PING, b"", mask=wire.KEY) + wire.close(mask=wire.KEY))
    assert proto.next_event(hold=True) == Ping(b"")
    assert not proto.holding
    assert proto.next_event(hold=True) is not None
    assert proto.next_event(hold=True) is None


def test_this_end_closes_while_a_violation_is_held_back() -> None:
    """A Close of this end is not followed by another; how it failed is known all the same."""
    proto = protocol()
    proto.receive_data(wire.build(wire.TEXT, b"x"))
    assert proto.next_event(hold=True) is None
    proto.send_close(1000)
    assert proto.next_event() == Failure(1002, "unmasked frame from a client")
    assert [frame.opcode for frame in frames_of(proto)] == [wire.CLOSE]


# In batches


def taken(proto: Protocol, max_messages: int = 2**62, max_size: int = 2**62) -> list[Event]:
    """A batch of messages."""
    batch: list[tuple[str | bytes, int]] = []
    size = proto.next_messages(batch, max_messages, max_size)
    assert size == sum(size for _, size in batch)
    return [message for message, _ in batch]


@pytest.mark.parametrize("size", [0, 1, 100, 125, 126, 1000, 65_535, 65_536, 100_000])
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY])
@ROLES
def test_batches_of_all_sizes(client: bool, opcode: int, size: int) -> None:
    """Messages of one frame come in batches, with frames of each form of length; or as events."""
    message = random.Random(size).randbytes(size // 2).hex().encode()
    stored = zlib.compressobj(0, zlib.DEFLATED, -15)
    payload = (stored.compress(message) + stored.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
    frame = compressed(opcode, [payload], client=client)
    expected = message.decode() if opcode == wire.TEXT else message
    for tail in (b"", frame[:1], frame[:-1]):
        proto = protocol(client=client)
        proto.receive_data(frame * 2 + tail)
        if size <= 1000:
            assert taken(proto) == [expected] * 2
            assert proto.drained() == (not tail)
            assert taken(proto) == []
        else:
            assert pumped_in_turns(proto) == [expected] * 2
        assert not proto.busy and not proto.output.size
        assert proto.counts.messages_received == 2
        assert proto.receiving == bool(tail)
        proto.receive_data(frame[len(tail) :])
        assert pumped_in_turns(proto) == [expected]


@ROLES
def test_a_batch_is_bounded(client: bool) -> None:
    """A batch ends with its number of messages, or with that which reaches its number of bytes."""
    proto = protocol(client=client, takeover=False)
    proto.receive_data(compressed(wire.TEXT, [HELLO], client=client) * 10)
    assert taken(proto, max_messages=0) == []
    assert taken(proto, max_size=0) == []
    assert taken(proto, max_messages=3) == ["Hello"] * 3
    assert taken(proto, max_size=6) == ["Hello"] * 2
    assert taken(proto, max_size=5) == ["Hello"]
    assert taken(proto) == ["Hello"] * 4


WRONG = [
    pytest.param(lambda mask: wire.build(wire.TEXT, HELLO, rsv=RSV1, mask=mask), id="mask"),
    pytest.param(
        lambda mask: wire.build(
            wire.TEXT, HELLO, rsv=RSV1, mask=None if mask else wire.KEY, declared=2000
        ),
        id="too big",
    ),
    pytest.param(
        lambda mask: wire.build(
            wire.TEXT,
            b"\x00\x00\x00\xff\xff" * 366,
            rsv=RSV1,
            mask=None if mask else wire.KEY,
        ),
        id="too big, whole",
    ),
    pytest.param(
        lambda mask: b"\xc1" + (b"\x7e" if mask else b"\xfe") + b"\x00\x07" + bytes(11),
        id="length",
    ),
    pytest.param(
        lambda mask: b"\xc1" + (b"\x7f" if mask else b"\xff") + bytes(6) + b"\xff\xff" + bytes(9),
        id="long length",
    ),
    pytest.param(
        lambda mask: wire.build(wire.PING, b"", rsv=RSV1, mask=None if mask else wire.KEY),
        id="control",
    ),
]


@pytest.mark.parametrize("wrong", WRONG)
@ROLES
def test_a_batch_ends_before_what_is_wrong(
    client: bool, wrong: Callable[[bytes | None], bytes]
) -> None:
    """A frame that is wrong, or not whole, is left to `next_event`."""
    data = wrong(wire.KEY if client else None)
    frame = compressed(wire.TEXT, [HELLO], client=client)
    found, _ = outcome(frame + data, client=client, max_message_size=400)
    assert found[0] == "Hello"
    assert isinstance(found[-1], Failure)
    proto = protocol(client=client, max_message_size=400)
    proto.receive_data(frame + data)
    assert taken(proto) == ["Hello"]
    assert not proto.holding and not proto.drained()


@ROLES
def test_a_payload_that_looks_like_a_message(client: bool) -> None:
    """What comes behind a header, or the first fragment of a message, begins no message."""
    inner = compressed(wire.TEXT, [HELLO], client=client)
    key = None if client else bytes(4)
    frame = wire.build(wire.BINARY, inner, mask=key)
    head = len(frame) - len(inner)
    proto = protocol(client=client)
    proto.receive_data(frame[:head])
    assert taken(proto) == []
    assert proto.next_event() is None
    proto.receive_data(frame[head:])
    assert taken(proto) == []
    assert proto.next_event() == inner
    reader = FrameReader(masked=not client, budget=MIB, rsv1=True)
    reader.feed(inner)
    reader.continuing = True
    assert reader.take_compressed() is None
    reader.continuing = False
    assert reader.take_compressed() == (HELLO, True)
    assert reader.take_compressed() is None


@pytest.mark.parametrize("payload", [b"\x07", HELLO[:-2], raw(b"\xff")], ids=bytes.hex)
@ROLES
def test_a_violation_behind_a_batch(client: bool, payload: bytes) -> None:
    """Messages before a violation come, and may be answered; it is held until it is asked for."""
    proto = protocol(client=client, takeover=False)
    data = compressed(wire.TEXT, [HELLO], client=client) * 3
    proto.receive_data(data + compressed(wire.TEXT, [payload], client=client) + data)
    assert taken(proto) == ["Hello"] * 3
    assert proto.holding and not proto.drained() and not proto.busy
    assert taken(proto) == []
    assert proto.next_event(hold=True) is None
    proto.send_message(b"an answer", text=True)
    failed = proto.next_event()
    assert isinstance(failed, Failure)
    assert failed.code == 1007
    assert taken(proto) == []
    assert proto.counts.messages_received == 3


@pytest.mark.checklist("PD11")
@pytest.mark.parametrize("size", [10, 4096, 20_000])
@ROLES
def test_batches_take_turns(client: bool, size: int) -> None:
    """However many messages there are, and however small, a batch is no more than a turn."""
    count = 2**20 // max(size, 2048)
    proto = protocol(client=client, takeover=False)
    proto.receive_data(compressed(wire.BINARY, [raw(bytes(size))], client=client) * count)
    batches = []
    while not proto.drained():
        batches.append(len(taken(proto)))
        assert not proto.busy
        if not proto.drained():
            event = proto.next_event()
            batches[-1] += event is not None
            assert proto.busy == (event is None)
    assert sum(batches) == count
    assert max(batches) * max(size, 512) <= 128 * 1024


# Anything


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.data())
def test_any_bytes(data: bytes, client: bool, source: st.DataObject) -> None:
    """Any bytes give events; the last is a failure or a Close, or there is more to come."""
    at = source.draw(st.integers(0, len(data)))
    proto = protocol(client=client, max_message_size=100)
    for piece in (data[:at], data[at:]):
        proto.receive_data(piece)
        events(proto)
    list(wire.parse(drain(proto)))


@st.composite
def almost_messages(draw: st.DrawFn) -> tuple[int, bytes, bool, int]:
    """A frame that is likely to be legal, with a payload that is likely to inflate."""
    good = st.binary(max_size=200).map(raw)
    payload = draw(
        st.one_of(good, st.sampled_from([HELLO, AGAIN, b"\x00"]), st.binary(max_size=20))
    )
    opcode = draw(st.sampled_from([wire.TEXT, wire.BINARY, wire.CONTINUATION, wire.PING]))
    rsv = draw(st.sampled_from([RSV1, 0])) if opcode in {wire.TEXT, wire.BINARY} else 0
    return opcode, payload[:125] if opcode == wire.PING else payload, draw(st.booleans()), rsv


@settings(max_examples=300, deadline=None)
@given(st.lists(almost_messages(), max_size=10), st.booleans(), st.booleans())
def test_almost_any_messages(
    messages: list[tuple[int, bytes, bool, int]], client: bool, takeover: bool
) -> None:
    """Frames in any order give events, the same ones byte by byte, and nothing is raised."""
    data = b"".join(
        wire.build(
            opcode,
            payload,
            fin=fin or opcode == wire.PING,
            rsv=rsv,
            mask=None if client else wire.KEY,
        )
        for opcode, payload, fin, rsv in messages
    )
    results = []
    for step in (1, len(data) or 1):
        proto = protocol(client=client, takeover=takeover, max_message_size=1000)
        found: list[Event] = []
        for at in range(0, len(data), step):
            proto.receive_data(data[at : at + step])
            found += events(proto)
        # Corrupt data that is no UTF-8 either has two reasons for the same code.
        plain = [event[:1] if isinstance(event, Failure) else event for event in found]
        results.append((plain, [frame.opcode for frame in wire.parse(drain(proto))]))
    assert results[0] == results[1]


def unmasked(frame: wire.Frame) -> tuple[int, bytes]:
    """A frame without its key, which is chance."""
    return frame.opcode, frame.payload


@settings(max_examples=200, deadline=None)
@given(
    messages=st.lists(almost_messages(), max_size=10),
    client=st.booleans(),
    takeover=st.booleans(),
    step=st.integers(1, 300),
    limit=st.integers(0, 3),
)
def test_the_fast_way_is_the_same(
    messages: list[tuple[int, bytes, bool, int]],
    client: bool,
    takeover: bool,
    step: int,
    limit: int,
) -> None:
    """Messages that are not compressed, between others that are, come the fast way in order."""
    data = b"".join(
        wire.build(
            opcode,
            payload,
            fin=fin or opcode == wire.PING,
            rsv=rsv,
            mask=None if client else wire.KEY,
        )
        for opcode, payload, fin, rsv in messages
    )
    slow = protocol(client=client, takeover=takeover, max_message_size=1000)
    fast = protocol(client=client, takeover=takeover, max_message_size=1000)
    for at in range(0, len(data), step):
        slow.receive_data(data[at : at + step])
        fast.receive_data(data[at : at + step])
        expected = events(slow)
        assert pumped_in_turns(fast, limit) == expected
    assert [*map(unmasked, wire.parse(drain(fast)))] == [*map(unmasked, wire.parse(drain(slow)))]
    assert fast.counts.messages_received == slow.counts.messages_received


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
def test_no_message_overtakes_one_that_is_inflated(client: bool) -> None:
    """While a large message is inflated in turns, the one behind it waits."""
    proto = protocol(client=client)
    key = mask_of(proto)
    proto.receive_data(compressed(wire.BINARY, [raw(bytes(MIB))], client=client))
    proto.receive_data(wire.build(wire.TEXT, b"next", mask=key))
    found: list[Event] = []
    turns = 0
    while not proto.drained():
        found += pumped(proto)
        turns += 1
    assert found == [bytes(MIB), "next"]
    assert turns > 1
