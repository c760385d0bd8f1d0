"""Two ends back to back, and one end against any bytes."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.protocol.harness import drain, events, failure, outcomes, protocol, run
from trio_ws._protocol._machine import Close, Event, Failure, Ping, Pong, Protocol

PROPERTY = settings(max_examples=50, deadline=None, derandomize=True)


class Pair:
    """A client and a server; bytes go from one to the other in pieces of random size."""

    def __init__(self, seed: int = 0, **limits: int) -> None:
        self.client = protocol(client=True, **limits)
        self.server = protocol(client=False, **limits)
        self.at_client: list[Event] = []
        self.at_server: list[Event] = []
        self._random = random.Random(seed)

    def settle(self) -> None:
        """Move bytes until there are none."""
        while self.client.output.size or self.server.output.size:
            if self._random.random() < 0.5:
                self._move(self.client, self.server, self.at_server)
            else:
                self._move(self.server, self.client, self.at_client)

    def _move(self, source: Protocol, target: Protocol, found: list[Event]) -> None:
        if source.output.size:
            data = bytes(source.output.peek(self._random.choice([1, 2, 7, 100, 2**16])))
            size = self._random.randint(1, len(data))
            source.sent(size)
            target.receive_data(data[:size])
            found += events(target)


MESSAGES = st.lists(st.text(max_size=40) | st.binary(max_size=300), max_size=8)


def send(proto: Protocol, message: str | bytes) -> None:
    """Send a message."""
    text = isinstance(message, str)
    proto.send_message(message.encode() if isinstance(message, str) else message, text=text)


@pytest.mark.checklist("FR12", "FR13", "CL01", "CL18")
@given(there=MESSAGES, back=MESSAGES, seed=st.integers(0, 2**32), client_closes=st.booleans())
@PROPERTY
def test_a_conversation(
    there: list[str | bytes], back: list[str | bytes], seed: int, client_closes: bool
) -> None:
    """Each end gets the other's messages in order, then the Close that one of them has sent."""
    pair = Pair(seed)
    for message in there:
        send(pair.client, message)
    for message in back:
        send(pair.server, message)
    pair.settle()
    (pair.client if client_closes else pair.server).send_close(4001, "bye")
    pair.settle()
    echo, said = Close(4001, ""), Close(4001, "bye")
    assert pair.at_server == [*there, said if client_closes else echo]
    assert pair.at_client == [*back, echo if client_closes else said]
    assert pair.client.handshake_done
    assert pair.server.handshake_done


@pytest.mark.checklist("CL16")
@pytest.mark.parametrize("seed", range(20))
def test_both_ends_close_at_once(seed: int) -> None:
    """Two Close frames that cross are a clean close for both, each with the other's code."""
    pair = Pair(seed)
    send(pair.client, "last")
    pair.client.send_close(1001, "c")
    send(pair.server, "last")
    pair.server.send_close(4000, "s")
    pair.settle()
    assert pair.at_server == ["last", Close(1001, "c")]
    assert pair.at_client == ["last", Close(4000, "s")]
    for proto in (pair.client, pair.server):
        assert proto.handshake_done
        assert proto.failure is None
        proto.receive_eof()
        assert proto.closed == proto.close_received


@pytest.mark.checklist("CT03", "CT06")
@pytest.mark.parametrize("seed", range(20))
def test_pings_both_ways(seed: int) -> None:
    """Each end gets its pongs, and the messages that went along, in order."""
    pair = Pair(seed)
    for number in range(10):
        for proto in (pair.client, pair.server):
            proto.send_ping(b"%d" % number)
            send(proto, str(number))
    pair.settle()
    for got in (pair.at_client, pair.at_server):
        numbers = [b"%d" % number for number in range(10)]
        assert [event for event in got if isinstance(event, Ping)] == [*map(Ping, numbers)]
        assert [event for event in got if isinstance(event, Pong)] == [*map(Pong, numbers)]
        assert [event for event in got if isinstance(event, str)] == [*map(str, range(10))]


@pytest.mark.checklist("CT04")
@pytest.mark.parametrize("seed", range(10))
def test_a_tiny_output_does_not_stall(seed: int) -> None:
    """With hardly any room for pongs both ends get along, and the last ping is answered."""
    pair = Pair(seed, send_buffer_size=0)
    for number in range(50):
        pair.client.send_ping(b"%d" % number)
        pair.server.send_ping(b"%d" % number)
    pair.settle()
    assert pair.at_client[-1] == pair.at_server[-1] == Pong(b"49")


@pytest.mark.checklist("CL13")
@pytest.mark.parametrize("seed", range(10))
def test_the_other_end_sees_why_a_connection_failed(seed: int) -> None:
    """What ends one end's connection is a Close frame to the other, which is then done too."""
    pair = Pair(seed, max_message_size=10)
    send(pair.client, "fine")
    send(pair.client, "too long a message")
    send(pair.client, "never seen")
    pair.settle()
    why = (1009, "message too big")
    assert pair.at_server == ["fine", Failure(*why)]
    assert pair.at_client == [Close(*why)]
    assert pair.client.handshake_done


# Legal input


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Event], list[tuple[int, bytes, bool]]]:
    """Events, and frames (opcode, payload, FIN) that lead to them."""
    expected: list[Event] = []
    made: list[tuple[int, bytes, bool]] = []

    def control() -> None:
        for opcode in draw(st.lists(st.sampled_from([wire.PING, wire.PONG]), max_size=2)):
            payload = draw(st.binary(max_size=20) | st.just(bytes(125)))
            made.append((opcode, payload, True))
            expected.append(Ping(payload) if opcode == wire.PING else Pong(payload))

    for message in draw(MESSAGES):
        data = message.encode() if isinstance(message, str) else message
        opcode = wire.TEXT if isinstance(message, str) else wire.BINARY
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
        control()
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            made.append((opcode, data[begin:end], False))
            opcode = wire.CONTINUATION
            if len(made) < 40:
                control()
        last = max(at for at, frame in enumerate(made) if frame[0] not in {wire.PING, wire.PONG})
        made[last] = (*made[last][:2], True)
        trailing = len(made) - 1 - last
        expected.insert(len(expected) - trailing, message)
    return expected, made


@pytest.mark.checklist("FR12", "FR13", "FG03", "FG04", "CT03")
@given(conversation=conversations(), client=st.booleans(), keys=st.randoms(use_true_random=False))
@PROPERTY
def test_legal_frames_parse_the_same_however_they_come(
    conversation: tuple[list[Event], list[tuple[int, bytes, bool]]],
    client: bool,
    keys: random.Random,
) -> None:
    """Legal frames lead to the events they stand for, whole, torn, and byte by byte."""
    expected, made = conversation
    data = b"".join(
        wire.build(opcode, payload, fin=fin, mask=None if client else keys.randbytes(4))
        for opcode, payload, fin in made
    )
    outcome = outcomes(data, client=client)
    assert outcome.events == expected
    pongs = [(wire.PONG, event.payload) for event in expected if isinstance(event, Ping)]
    assert outcome.sent == pongs


# Any input

OURS = set(string.ascii_letters + string.digits + " -")

PAYLOADS = st.binary(max_size=20) | st.text(max_size=5).map(str.encode)
ANY_KEY = st.none() | st.binary(min_size=4, max_size=4)


@st.composite
def attacks(draw: st.DrawFn) -> tuple[bool, list[bytes]]:
    """A role, and what comes to it: frames that begin well, mostly, and end as they may."""
    client = draw(st.booleans())
    right = st.just(None if client else wire.KEY)
    texts = st.text(max_size=5).map(str.encode)
    binary = st.sampled_from([wire.BINARY, wire.PING, wire.PONG])
    fine = st.builds(wire.build, binary, PAYLOADS, mask=right)
    fine |= st.builds(wire.build, st.just(wire.TEXT), texts, mask=right)
    pieces = st.lists(texts, min_size=2, max_size=5)
    fragments = st.builds(wire.fragmented, st.sampled_from([wire.TEXT, wire.BINARY]), pieces, right)
    begun = st.builds(wire.build, st.just(wire.TEXT), PAYLOADS, fin=st.just(False), mask=right)
    wild = st.builds(
        wire.build,
        st.integers(0, 15),
        PAYLOADS | st.integers(0, 400).map(bytes),
        fin=st.booleans(),
        rsv=st.integers(0, 7) | st.just(0),
        mask=right | ANY_KEY,
        declared=st.none() | st.integers(126, 2**64 - 1),
    )
    long = st.builds(
        wire.build, st.just(wire.BINARY), PAYLOADS, mask=right, length_form=st.just(64)
    )
    code = st.sampled_from([None, 1000, 1001, 4000]) | st.integers(0, 65535)
    close = st.builds(wire.close, code, PAYLOADS, mask=right)
    start = draw(st.lists(fine | fine | fragments, max_size=6))
    end = draw(st.lists(begun | wild | long | close | PAYLOADS | fine, max_size=3))
    return client, start + end


OPERATIONS = st.lists(
    st.sampled_from(["feed"] * 6 + ["events"] * 6 + ["drain", "send", "ping", "close", "eof"]),
    min_size=10,
    max_size=60,
)


def check(outcome: list[Event], proto: Protocol, out: bytes) -> None:
    """The oracle: what has to be true whatever the peer has sent."""
    got = list(wire.parse(out))
    assert all((frame.key is not None) == proto.client and not frame.rsv for frame in got)
    assert all(frame.fin for frame in got)
    closes = [at for at, frame in enumerate(got) if frame.opcode == wire.CLOSE]
    assert closes in ([], [len(got) - 1])
    assert all(len(frame.payload) <= 125 for frame in got if frame.opcode & 8)
    ends = [at for at, event in enumerate(outcome) if isinstance(event, Close | Failure)]
    assert ends in ([], [len(outcome) - 1])
    assert bool(ends) == proto.handshake_done
    if ends and isinstance(failed := outcome[-1], Failure):
        assert failed.code in {1002, 1007, 1008, 1009}
        assert set(failed.reason) <= OURS
        assert 0 < len(failed.reason) <= 123
    assert proto.next_event() is None


@pytest.mark.checklist("LM09", "LM10", "CL10", "CL13")
@given(attack=attacks(), operations=OPERATIONS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_bytes_at_any_time(attack: tuple[bool, list[bytes]], operations: list[str]) -> None:
    """Whatever comes, between whatever we do, nothing raises and our output is well-formed."""
    client, pieces = attack
    proto = protocol(client=client, max_message_size=200, max_empty_fragments=2, send_buffer_size=9)
    found: list[Event] = []
    out = b""
    left = list(pieces)
    for operation in operations:
        if operation == "feed" and left and not proto.eof:
            proto.receive_data(left.pop(0))
        elif operation == "events" and (event := proto.next_event()) is not None:
            found.append(event)
        elif operation == "drain" and proto.output.size:
            piece = bytes(proto.output.peek(3))
            proto.sent(len(piece))
            out += piece
        elif operation == "send" and proto.is_open:
            proto.send_message(b"text", text=True)
        elif operation == "ping" and proto.is_open:
            proto.send_ping(b"ping")
        elif operation == "close":
            proto.send_close(1000)
        elif operation == "eof":
            proto.receive_eof()
    found += events(proto)
    check(found, proto, out + drain(proto))


@pytest.mark.checklist("LM10", "FR12")
@given(attack=attacks())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_bytes_come_out_the_same_however_they_are_torn(
    attack: tuple[bool, list[bytes]],
) -> None:
    """Any bytes lead to the same events and the same output, whole or torn anywhere."""
    client, pieces = attack
    limits = {"max_message_size": 200, "max_empty_fragments": 2}
    data = b"".join(pieces)
    outcome = outcomes(data, client=client, **limits)
    if outcome.events and isinstance(outcome.events[-1], Failure):
        code, at = failure(data, client=client, **limits)
        # And the bytes behind the one that proves the violation change nothing.
        assert outcomes(data[:at], client=client, **limits) == outcome
        assert (
            run(protocol(client=client, **limits), [data[: at - 1]]).events == outcome.events[:-1]
        )
        assert code == outcome.events[-1].code
