"""One end of a connection: pings, pongs, order, and what it tells about itself."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from tests.protocol import wire
from tests.protocol.harness import ROLES, drain, feed, mask_of, outcomes, protocol, sent
from trio_ws._protocol._machine import Close, Failure, Ping, Pong, Protocol


def pings(proto: Protocol, count: int, start: int = 0) -> bytes:
    """So many pings from the peer of `proto`, with a number each."""
    key = mask_of(proto)
    numbers = range(start, start + count)
    return b"".join(wire.build(wire.PING, n.to_bytes(4, "big"), mask=key) for n in numbers)


# Pings and pongs


@pytest.mark.checklist("CT03")
@ROLES
def test_each_ping_is_answered(client: bool, key: bytes | None) -> None:
    """Each ping is answered with its payload, and the answers keep the order."""
    payloads = [b"", b"a", b"\x00\xff", b"b" * 125, b"a"]
    data = b"".join(wire.build(wire.PING, payload, mask=key) for payload in payloads)
    outcome = outcomes(data, client=client)
    assert outcome.events == [Ping(payload) for payload in payloads]
    assert outcome.sent == [(wire.PONG, payload) for payload in payloads]


@pytest.mark.checklist("CT03", "CT04")
@ROLES
def test_a_ping_beside_a_stalled_message(client: bool, key: bytes | None) -> None:
    """A ping that comes while a large message stalls is answered behind it, between frames."""
    proto = protocol(client=client)
    message = bytes(200_000)
    proto.send_message(message, text=False)
    half = bytes(proto.output.peek(100_000))
    proto.sent(len(half))
    for payload in (b"older", b"newest"):
        feed(proto, wire.build(wire.PING, payload, mask=key))
    rest = drain(proto, 1000)
    got = [(frame.opcode, frame.payload) for frame in wire.parse(half + rest)]
    assert got == [(wire.BINARY, message), (wire.PONG, b"newest")]


@pytest.mark.checklist("CT04")
@pytest.mark.parametrize("mark", [0, 1, 12, 13, 100])
@ROLES
def test_pongs_over_the_mark(client: bool, key: bytes | None, mark: int) -> None:
    """Pongs are queued up to the mark; over it the newest waits, until there is room."""
    proto = protocol(client=client, send_buffer_size=mark)
    size = 10 if client else 6
    answered = mark // size + 1  # at the mark there is still room
    got = feed(proto, pings(proto, answered))
    assert len(got) == answered
    assert not proto.has_room
    feed(proto, pings(proto, 5, start=answered))
    assert proto.output.size == answered * size
    numbers = [int.from_bytes(payload, "big") for _, payload in sent(proto)]
    assert numbers == [*range(answered), answered + 4]
    assert sent(proto) == []
    feed(proto, wire.build(wire.PING, b"after", mask=key))
    assert sent(proto) == [(wire.PONG, b"after")]


@pytest.mark.checklist("CT04")
@pytest.mark.parametrize(("size", "room"), [(9, True), (10, True), (11, False)])
@ROLES
def test_the_mark_of_the_output(client: bool, key: bytes | None, size: int, room: bool) -> None:
    """At its mark the output still has room; a byte above it has not, and a pong waits."""
    head = 6 if client else 2
    proto = protocol(client=client, send_buffer_size=head + 10)
    proto.send_message(bytes(size), text=False)
    assert proto.has_room == room
    feed(proto, wire.build(wire.PING, mask=key))
    assert proto.output.size == head + size + (head if room else 0)
    first = bytes(proto.output.peek(1))
    proto.sent(1)  # which makes room for the pong that waits
    assert proto.output.size == head + size + head - 1
    got = wire.parse(first + drain(proto))
    assert [frame.opcode for frame in got] == [wire.BINARY, wire.PONG]


@pytest.mark.checklist("CT04")
@ROLES
def test_a_pong_waits_for_room(client: bool, key: bytes | None) -> None:
    """While the output is over its mark the pong waits, whatever leaves, and a newer one wins."""
    proto = protocol(client=client, send_buffer_size=10)
    proto.send_message(bytes(20), text=False)
    size = proto.output.size
    feed(proto, wire.build(wire.PING, b"older", mask=key))
    gone = b""
    while len(gone) < size - 11:
        gone += bytes(proto.output.peek(1))
        proto.sent(1)
        assert proto.output.size == size - len(gone)
    feed(proto, wire.build(wire.PING, b"newest", mask=key))
    got = [(frame.opcode, frame.payload) for frame in wire.parse(gone + drain(proto, 1))]
    assert got == [(wire.BINARY, bytes(20)), (wire.PONG, b"newest")]


@pytest.mark.checklist("CT04")
@pytest.mark.parametrize(
    ("client", "count"),
    [pytest.param(False, 10**6, id="server"), pytest.param(True, 10**5, id="client")],
)
def test_a_flood_of_pings(client: bool, count: int) -> None:
    """10**6 pings of a peer that reads nothing leave no more in the output than its mark."""
    proto = protocol(client=client)
    ping = wire.build(wire.PING, mask=mask_of(proto))
    for _ in range(0, count, 10_000):
        proto.receive_data(ping * 10_000)
        while proto.next_event() is not None:
            pass
        assert proto.output.size <= 2**16 + 127
    feed(proto, wire.build(wire.PING, b"newest", mask=mask_of(proto)))
    replies = sent(proto)
    assert replies.pop() == (wire.PONG, b"newest")
    assert set(replies) == {(wire.PONG, b"")}


@pytest.mark.checklist("CT04")
@ROLES
def test_unread_pings_take_little_memory(client: bool, key: bytes | None) -> None:
    """Memory grows up to about the mark, and stays there."""
    mark = 8192
    proto = protocol(client=client, send_buffer_size=mark)
    flood = wire.build(wire.PING, mask=key) * (2 * mark)
    tracemalloc.start()
    try:
        feed(proto, flood[: len(flood) // 2])
        full, _ = tracemalloc.get_traced_memory()
        assert full < 3 * mark
        feed(proto, flood[len(flood) // 2 :])
        assert tracemalloc.get_traced_memory()[0] < full + 1000
    finally:
        tracemalloc.stop()


@pytest.mark.checklist("CT05", "CL11")
@ROLES
def test_nothing_is_answered_after_the_peers_close(client: bool, key: bytes | None) -> None:
    """What comes after the peer's Close is dropped: no pong, no message, no failure, no memory."""
    after = [
        wire.build(wire.PING, b"p", mask=key),
        wire.build(wire.TEXT, b"x", mask=key),
        wire.close(1001, mask=key),
        b"\xff" * 20,
    ]
    data = wire.close(1000, mask=key) + b"".join(after)
    outcome = outcomes(data, client=client)
    assert outcome == ([Close(1000, "")], [(wire.CLOSE, b"\x03\xe8")])
    proto = protocol(client=client)
    feed(proto, data)
    proto.receive_data(bytes(1000))
    assert not proto.receiving
    assert proto.counts.bytes_received == len(data) + 1000


@pytest.mark.checklist("CT05", "CL10")
@ROLES
def test_a_pong_that_waits_is_dropped_by_a_close(client: bool, key: bytes | None) -> None:
    """A pong that waited for room does not follow our Close frame, whichever side began."""
    for ending in ("ours", "theirs", "failure"):
        proto = protocol(client=client, send_buffer_size=10)
        proto.send_message(bytes(20), text=False)
        feed(proto, wire.build(wire.PING, b"late", mask=key))
        if ending == "ours":
            proto.send_close(1000)
        else:
            feed(proto, wire.close(1000, mask=key) if ending == "theirs" else b"\xff")
        feed(proto, wire.build(wire.PING, b"later", mask=key))
        assert [opcode for opcode, _ in sent(proto)] == [wire.BINARY, wire.CLOSE]


@pytest.mark.checklist("CT06")
@ROLES
def test_pongs_are_reported_and_answered_by_nothing(client: bool, key: bytes | None) -> None:
    """A pong, asked for or not, is an event and leads to no reply."""
    proto = protocol(client=client)
    proto.send_ping(b"ours")
    proto.send_pong(b"unasked")
    assert sent(proto) == [(wire.PING, b"ours"), (wire.PONG, b"unasked")]
    payloads = [b"forged", b"ours", b"ours", b""]
    data = b"".join(wire.build(wire.PONG, payload, mask=key) for payload in payloads)
    assert feed(proto, data) == [Pong(payload) for payload in payloads]
    assert sent(proto) == []
    assert outcomes(data, client=client) == ([Pong(payload) for payload in payloads], [])
    assert proto.is_open


# What a protocol tells about itself


@ROLES
def test_counts(client: bool, key: bytes | None) -> None:
    """Bytes are counted as they pass, messages when they are whole; only data are messages."""
    proto = protocol(client=client)
    data = wire.build(wire.TEXT, b"a", fin=False, mask=key)
    data += wire.build(wire.PING, mask=key) + wire.build(wire.CONTINUATION, b"b", mask=key)
    assert feed(proto, data) == [Ping(b""), "ab"]
    assert proto.message_size == 2
    proto.send_message(b"x", text=True)
    proto.send_ping(b"")
    proto.send_close(1000)
    size = proto.output.size
    assert proto.counts.bytes_sent == 0
    opcodes = [frame.opcode for frame in wire.parse(drain(proto, 1))]
    assert opcodes == [wire.PONG, wire.TEXT, wire.PING, wire.CLOSE]
    counts = proto.counts
    assert (counts.bytes_received, counts.messages_received) == (len(data), 1)
    assert (counts.bytes_sent, counts.messages_sent) == (size, 1)


def test_a_new_protocol() -> None:
    """A new connection is open, quiet, and not closed."""
    proto = protocol(client=True)
    assert proto.client
    assert proto.is_open
    assert proto.has_room
    assert not proto.handshake_done
    assert not proto.receiving
    assert proto.closed is None
    assert proto.next_event() is None
    assert proto.output.size == 0


def test_a_protocol_by_default() -> None:
    """If nothing is said, 1024 empty fragments in a row are fine, and pongs wait from 64 KiB on."""
    proto = Protocol(client=True, max_message_size=10)
    assert proto.send_buffer_size == 64 * 1024
    assert feed(proto, wire.fragmented(wire.TEXT, [b""] * 1025, None)) == [""]
    assert feed(proto, wire.fragmented(wire.TEXT, [b""] * 1026, None)) == [
        Failure(1008, "too many empty fragments")
    ]


@pytest.mark.parametrize(
    ("size", "copied"), [(16 * 1024 - 1, True), (16 * 1024, False), (2**20, False)]
)
def test_a_large_message_is_not_copied(size: int, copied: bool) -> None:
    """From 16 KiB on a payload goes out beside its header, as it is; a smaller one behind it."""
    proto = protocol()
    message = bytes(range(256)) * (size // 256 + 1)
    message = message[:size]
    proto.send_message(message, text=False)
    chunks = proto.output.vector(10)
    assert any(chunk is message for chunk in chunks) is not copied
    assert len(chunks) == 2 - copied
    assert b"".join(chunks) == wire.build(wire.BINARY, message)


# The fast way to messages, of which test_frames_messages.py has the rest


def next_messages(proto: Protocol) -> list[tuple[str | bytes, int]]:
    """All that come the fast way."""
    into: list[tuple[str | bytes, int]] = []
    proto.next_messages(into, 2**62, 2**62)
    return list(into)


@ROLES
def test_messages_come_the_fast_way_too(client: bool, key: bytes | None) -> None:
    """They are counted, and with the last of them all is done."""
    proto = protocol(client=client)
    assert proto.drained()
    proto.receive_data(wire.build(wire.TEXT, "ü".encode(), mask=key) * 2)
    assert not proto.drained()
    assert next_messages(proto) == [("ü", 2)] * 2
    assert proto.drained()
    assert proto.counts.messages_received == 2
    assert next_messages(proto) == []
    proto.receive_eof()
    assert proto.drained()


@ROLES
def test_batches_add_up(client: bool, key: bytes | None) -> None:
    """A batch is appended to those before it, and each message is counted once."""
    proto = protocol(client=client)
    into: list[tuple[str | bytes, int]] = [("before", 6)]
    for number in range(1, 4):
        proto.receive_data(wire.build(wire.TEXT, b"x", mask=key) * 2)
        assert proto.next_messages(into, 2**62, 2**62) == 2
        assert into == [("before", 6)] + [("x", 1)] * 2 * number
        assert proto.counts.messages_received == 2 * number


@ROLES
def test_what_was_read_before_the_end_comes_the_fast_way_too(
    client: bool, key: bytes | None
) -> None:
    """The end of the stream takes nothing from what was fed before."""
    proto = protocol(client=client)
    proto.receive_data(wire.build(wire.TEXT, b"x", mask=key))
    proto.receive_eof()
    assert next_messages(proto) == [("x", 1)]


@pytest.mark.parametrize(
    ("code", "stop"),
    [
        pytest.param(1000, lambda proto: proto.next_event(), id="the peer's Close"),
        pytest.param(1002, lambda proto: proto.fail(1002, "no"), id="failed"),
        pytest.param(None, lambda proto: proto.discard(), id="discarded"),
    ],
)
@ROLES
def test_no_message_comes_after_the_last(
    client: bool, key: bytes | None, code: int | None, stop: Callable[[Protocol], object]
) -> None:
    """When no more messages are wanted, or may come, none comes the fast way either."""
    proto = protocol(client=client)
    close = wire.close(1000, mask=key) if code == 1000 else b""
    proto.receive_data(close + wire.build(wire.TEXT, b"x", mask=key))
    stop(proto)
    proto.receive_data(wire.build(wire.TEXT, b"x", mask=key))
    assert next_messages(proto) == []
    assert proto.counts.messages_received == 0
    assert proto.next_event() is None
    assert proto.closed == (None if code is None else Close(code, "no" if code == 1002 else ""))


@ROLES
def test_no_message_overtakes_a_violation_that_is_held(client: bool, key: bytes | None) -> None:
    """While a violation is held back, no message comes, and not all is done."""
    proto = protocol(client=client)
    text = wire.build(wire.TEXT, b"x", mask=key)
    proto.receive_data(text + wire.build(wire.TEXT, b"\xff", mask=key))
    assert next_messages(proto) == [("x", 1)]
    assert proto.next_event(hold=True) is None
    assert proto.holding and not proto.drained()
    proto.receive_data(text)
    assert next_messages(proto) == []
    assert not proto.drained()
    assert proto.next_event() == Failure(1007, "text is not UTF-8")
    assert next_messages(proto) == []
    assert proto.drained()


# Order


@pytest.mark.checklist("FG10", "CL10")
@ROLES
def test_the_order_of_calls_is_the_order_on_the_wire(client: bool, key: bytes | None) -> None:
    """Each message is one frame, so senders cannot mix theirs; control frames come in between."""
    proto = protocol(client=client)
    proto.send_message(b"one" * 50_000, text=True)
    proto.send_ping(b"p")
    feed(proto, wire.build(wire.PING, b"q", mask=key))  # above the mark: its pong comes last
    proto.send_message(b"\xfftwo", text=False)
    proto.send_pong(b"r")
    expected = [
        (wire.TEXT, b"one" * 50_000),
        (wire.PING, b"p"),
        (wire.BINARY, b"\xfftwo"),
        (wire.PONG, b"r"),
        (wire.PONG, b"q"),
    ]
    assert sent(proto) == expected


MARKER = b"\x1b[2J<peer>"


@pytest.mark.checklist("LM09")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(wire.build(wire.TEXT, MARKER + b"\xff"), id="text"),
        pytest.param(wire.build(3, MARKER), id="opcode"),
        pytest.param(wire.build(wire.CONTINUATION, MARKER), id="continuation"),
        pytest.param(wire.build(wire.TEXT, MARKER, rsv=7), id="reserved-bits"),
        pytest.param(wire.build(wire.TEXT, MARKER, mask=MARKER[:4]), id="mask"),
        pytest.param(wire.build(wire.BINARY, MARKER, declared=2**60), id="size"),
        pytest.param(wire.build(wire.PING, MARKER * 20), id="ping"),
        pytest.param(wire.close(1000, MARKER + b"\xff"), id="close-reason"),
        pytest.param(wire.close(999, MARKER), id="close-code"),
        pytest.param(wire.close(0x1B5B, MARKER), id="close-code-of-marker"),
    ],
)
def test_reasons_of_failures_hold_no_data_of_the_peer(data: bytes) -> None:
    """The reason of a failure is our own words, short enough to be sent."""
    [event] = feed(protocol(client=True), data)
    assert isinstance(event, Failure)
    assert "<peer>" not in event.reason
    assert event.reason.isascii()
    assert event.reason.isprintable()
    assert 0 < len(event.reason) <= 123
