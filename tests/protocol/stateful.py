"""The core and its model, to which Hypothesis does anything in any order, for `test_stateful`."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.protocol import harness, wire
from tests.protocol.model import Model
from trio_ws._protocol._deflate import Agreement, Deflate, PerMessageDeflate
from trio_ws._protocol._machine import Close, Failure, Ping, Pong, Protocol

RSV1 = 4
TAIL = b"\x00\x00\xff\xff"
CODES = st.sampled_from([None, 1000, 1001, 1003, 1011, 3000, 4999])
WIRE_CODES = CODES | st.sampled_from([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
TEXTS = st.text(max_size=8) | st.sampled_from(["", "\ufffe\x00\U0010ffff", "\ue000\ud7ff" * 3])
PAYLOADS = st.binary(max_size=60) | st.sampled_from([b"", bytes(125), bytes(126), bytes(199)])
BAD_TEXTS = st.sampled_from([b"\xc0", b"a\xed\xa0\x80", b"\xf4\x90", b"\xff", b"\x80", b"\xe2\x82"])


FRAGMENTS = st.sampled_from([b"", b"a", b"\xce", b"\xb1", b"x" * 6, b"y" * 6, b"z" * 10])
PINGS = st.sampled_from([wire.PING, wire.PONG])
PIECES = st.sampled_from([0, 1, 2, -5, 2**20, -(2**20)])
RARELY = st.sampled_from([False, False, False, True])
SOMETIMES = st.booleans()


class Start(NamedTuple):
    """What a connection begins with; the names are those of `Model`."""

    client: bool
    max_size: int
    max_empty: int
    mark: int
    takeover: bool | None


STARTS = st.builds(
    Start,
    client=st.booleans(),
    max_size=st.sampled_from([10, 10, 2**16]),
    max_empty=st.sampled_from([0, 2]),
    mark=st.sampled_from([0, 0, 9, 2**16]),
    takeover=st.sampled_from([None, None, True, False]),
)


class Core(RuleBasedStateMachine):
    """Bytes in, calls and bytes out, as rules; the model does the same, and nothing may differ."""

    core: Protocol
    model: Model

    @property
    def over(self) -> bool:
        """Whether hardly anything can happen any more."""
        return self.model.done or self.model.eof

    @precondition(lambda self: self.over)
    @rule(start=STARTS)
    def begin_again(self, start: Start) -> None:
        """This connection is over: look at what it has sent, and begin another."""
        self.teardown()
        self.begin(start)

    @initialize(start=STARTS)
    def begin(self, start: Start) -> None:
        """A new connection."""
        deflate = None
        if start.takeover is not None:
            agreement = Agreement(15, start.takeover, 15, start.takeover)
            deflate = Deflate.of(agreement, PerMessageDeflate(threshold=5))
        self.core = Protocol(
            client=start.client,
            max_message_size=start.max_size,
            max_empty_fragments=start.max_empty,
            send_buffer_size=start.mark,
            deflate=deflate,
        )
        self.model = Model(*start)
        self.coming = b""  # sent by the peer, and not arrived yet
        self.out = b""
        self.compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.inside = False  # the peer is in the midst of a message

    # What the peer sends

    def _peer(self, opcode: int, payload: bytes, piece: int, **how: Any) -> None:
        """Send a frame, which arrives in pieces of a size; if it is 0, it does not yet.

        If it is negative, violations are held back at first.
        """
        how.setdefault("mask", None if self.model.client else wire.KEY)
        self.coming += wire.build(opcode, payload, **how)
        while piece and self.coming and not self.model.eof:
            self.arrives(abs(piece))
            if piece < 0:
                self.takes_an_event(hold=True)
            self.takes_events_in_batches(3, 100)

    @precondition(lambda self: not self.over and not self.inside)
    @rule(payload=TEXTS | PAYLOADS, piece=PIECES)
    def peer_message(self, payload: str | bytes, piece: int) -> None:
        """A message in one frame."""
        if isinstance(payload, str):
            self._peer(wire.TEXT, payload.encode(), piece)
        else:
            self._peer(wire.BINARY, payload, piece)

    @precondition(lambda self: not self.over and not self.inside)
    @rule(opcode=st.sampled_from([wire.TEXT, wire.BINARY]), payload=FRAGMENTS, piece=PIECES)
    def peer_begins(self, opcode: int, payload: bytes, piece: int) -> None:
        """The first fragment of a message."""
        self.inside = True
        self._peer(opcode, payload, piece, fin=False)

    @precondition(lambda self: not self.over and self.inside)
    @rule(payload=FRAGMENTS | FRAGMENTS | BAD_TEXTS, fin=st.booleans(), piece=PIECES)
    def peer_goes_on(self, payload: bytes, fin: bool, piece: int) -> None:
        """Another fragment."""
        self.inside = not fin
        self._peer(wire.CONTINUATION, payload, piece, fin=fin)

    @precondition(lambda self: not (self.over or self.inside or self.model.takeover is None))
    @rule(text=TEXTS, cut=st.integers(0, 40), ping=st.booleans(), piece=PIECES)
    def peer_compresses(self, text: str, cut: int, ping: bool, piece: int) -> None:
        """A compressed message in two fragments, perhaps with a ping between them."""
        text = text if len(text.encode()) <= self.model.max_size else ""
        if not self.model.takeover:
            self.compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = self.compressor.compress(text.encode()) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        data = data.removesuffix(TAIL) or b"\x00"
        self._peer(wire.TEXT, data[: cut % len(data) or 1], piece, fin=False, rsv=RSV1)
        if ping:
            self._peer(wire.PING, b"between", piece)
        self._peer(wire.CONTINUATION, data[cut % len(data) or 1 :], piece)

    @precondition(lambda self: not self.over)
    @rule(opcode=PINGS, payload=st.binary(max_size=125), piece=PIECES)
    def peer_pings(self, opcode: int, payload: bytes, piece: int) -> None:
        """A ping or a pong."""
        self._peer(opcode, payload, piece)

    @rule(code=WIRE_CODES, reason=TEXTS.map(str.encode) | BAD_TEXTS, piece=PIECES, rare=SOMETIMES)
    def peer_closes(self, code: int | None, reason: bytes, piece: int, rare: bool) -> None:
        """A Close, right or wrong."""
        if rare:
            payload = b"" if code is None else code.to_bytes(2, "big") + reason
            self._peer(wire.CLOSE, payload, piece)

    @rule(
        opcode=st.integers(0, 15),
        payload=PAYLOADS | BAD_TEXTS,
        fin=st.booleans(),
        rsv=st.just(0) | st.integers(0, 7),
        right=st.booleans(),
        length_form=st.sampled_from([None, 64]),
        declared=st.none() | st.sampled_from([200, 65535, 65536, 2**40, 2**63, 2**64 - 1]),
        rare=SOMETIMES,
        piece=PIECES,
    )
    def peer_is_wild(self, opcode: int, rsv: int, right: bool, rare: bool, **how: Any) -> None:
        """Any frame; but what is compressed can be inflated."""
        if opcode in (wire.TEXT, wire.BINARY):
            rsv &= ~RSV1
        if rare:
            mask = None if self.model.client == right else wire.KEY
            self._peer(opcode, rsv=rsv, mask=mask, **how)

    # What arrives

    @rule(size=st.integers(1, 12) | st.just(2**20))
    def arrives(self, size: int) -> None:
        """Some of what the peer has sent."""
        if self.coming and not self.model.eof:
            data, self.coming = self.coming[:size], self.coming[size:]
            self.core.receive_data(data)
            if not self.model.done:
                self.model.data += data

    @rule(rare=RARELY)
    def ends(self, rare: bool) -> None:
        """The transport ends."""
        if rare:
            self.core.receive_eof()
            self.model.eof = True

    # What is done here

    @precondition(lambda self: self.model.is_open)
    @rule(message=TEXTS | PAYLOADS | st.just(b"x" * 20000), compress=st.sampled_from([None, True]))
    def sends(self, message: str | bytes, compress: bool | None) -> None:
        """Send a message."""
        text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        self.core.send_message(payload, text=text, compress=compress)
        self.model.send(wire.TEXT if text else wire.BINARY, payload)
        if self.model.takeover is not None:  # how well zlib compresses is not for the model
            self.model.size = self.core.output.size

    @precondition(lambda self: self.model.is_open)
    @rule(ping=st.booleans(), payload=st.binary(max_size=125))
    def pings(self, ping: bool, payload: bytes) -> None:
        """Send a ping or a pong."""
        (self.core.send_ping if ping else self.core.send_pong)(payload)
        self.model.send(wire.PING if ping else wire.PONG, payload)

    @rule(code=CODES, reason=st.sampled_from(["", "why", "\u20ac" * 41]), rare=RARELY)
    def closes(self, code: int | None, reason: str, rare: bool) -> None:
        """Send a Close."""
        if rare:
            reason = "" if code is None else reason
            self.core.send_close(code, reason)
            self.model.send_close(code, reason)

    @rule(hold=st.booleans())
    def takes_an_event(self, hold: bool) -> None:
        """One event, perhaps without a violation."""
        self._same(self.core.next_event(hold=hold), self.model.next_event(hold=hold))

    @rule(max_messages=st.integers(1, 5), max_size=st.integers(1, 300))
    def takes_events_in_batches(self, max_messages: int, max_size: int) -> None:
        """All events, messages in batches."""
        for event in harness.pumped(self.core, max_messages, max_size):
            self._same(event, self.model.next_event())
        self._same(None, self.model.next_event())

    def _same(self, event: Any, wanted: tuple[str, object] | None) -> None:
        found: tuple[str, object] | None = None
        match event:
            case str():
                found = "text", event
            case bytes():
                found = "binary", event
            case Ping():
                found = "ping", event.payload
            case Pong():
                found = "pong", event.payload
            case Close():
                found = "close", (event.code, event.reason)
            case Failure():
                found = "failure", event.code
                self.model.send_close(event.code, event.reason)
        assert found == wanted

    @rule(size=st.integers(1, 30) | st.just(2**20))
    def takes_output(self, size: int) -> None:
        """Some of the output is sent."""
        if self.core.output.size:
            piece = bytes(self.core.output.peek(size))
            assert 0 < len(piece) <= size
            self.out += piece
            self.core.sent(len(piece))
            self.model.sent(len(piece))

    # What has to be true at any time

    @invariant()
    def same_state(self) -> None:
        """State and limits are those of the model."""
        core, model = self.core, self.model
        assert core.is_open == model.is_open
        assert core.handshake_done == model.done
        assert core.eof == model.eof
        assert core.holding == (model.held is not None)
        assert core.output.size == model.size
        assert core.has_room == (model.size <= model.mark)
        assert (core.close_sent and core.close_sent.code) == model.close_sent
        assert (core.failure and core.failure.code) == model.failure
        received = core.close_received
        assert (None if received is None else (received.code, received.reason)) == (
            model.close_received
        )
        assert core.counts.messages_received == model.received
        assert core.counts.bytes_sent == len(self.out)

    def teardown(self) -> None:
        """All output is sent: whole frames, those of the model, masked by a client alone."""
        if not hasattr(self, "core"):
            return
        while self.core.output.size:
            self.takes_output(2**20)
        frames = list(wire.parse(self.out))
        inflater = zlib.decompressobj(-15)
        found = []
        for frame in frames:
            assert (frame.key is not None) == self.model.client
            assert frame.fin
            payload = frame.payload
            if frame.rsv:
                assert frame.rsv == RSV1
                assert self.model.takeover is not None
                payload = inflater.decompress(payload + TAIL)
            found.append((frame.opcode, payload))
        assert found == self.model.frames


def run(max_examples: int, *, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Look for a difference."""
    run_state_machine_as_test(
        Core,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
