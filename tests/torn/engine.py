"""One end of a conversation: the library's handshake parsers and core, driven without I/O.

This is the only module of the layer that names what is inside the library.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from tests.protocol import harness
from trio_ws import PerMessageDeflate
from trio_ws._protocol._deflate import Agreement, Deflate, accept_offer, check_answer
from trio_ws._protocol._handshake import (
    BadRequest,
    ClientHandshake,
    HandshakeFailure,
    HeadLimits,
    Request,
    Response,
    ServerHandshake,
    upgrade_required,
)
from trio_ws._protocol._headers import HeaderError
from trio_ws._protocol._machine import Close, Failure, Ping, Pong, Protocol
from trio_ws._protocol._mask import masking_keys
from trio_ws._protocol._negotiation import origin_allowed

Event = list[Any]
"""What came out: its kind, then its parts."""
Step = list[Any]
"""What is done to an end: "in" and the bytes, or a name of `Engine.do` and its arguments."""

# What is handed to the transport at a time must change nothing; one of these is taken in turn.
_DRAIN_STEPS = (2**20, 1, 7, 4096)
_MANY = 2**30  # messages: no limit
_SLOW = 5000  # bytes of output that are not taken one by one


@dataclass(frozen=True)
class Setup:
    """How an end is set up.

    Args:
        role: "client" or "server".
        opening: the conversation begins with the opening handshake.
        subprotocols: those that a client proposes, or that a server chooses from.
        deflate: arguments of `PerMessageDeflate`, if compression is wanted.
        agreement: without an opening handshake: what was agreed on, as `Agreement`.
        limits: `max_message_size`, `max_empty_fragments`, `send_buffer_size`.
        head: the arguments of `HeadLimits`.
        max_rejection_size: bytes of a rejection's body that are kept.
    """

    role: str
    opening: bool = False
    subprotocols: tuple[str, ...] = ()
    deflate: dict[str, Any] | None = None
    agreement: tuple[int, bool, int, bool] | None = None
    limits: dict[str, int] = field(default_factory=dict)
    head: dict[str, int] = field(default_factory=dict)
    max_rejection_size: int = 65536

    @property
    def wish(self) -> PerMessageDeflate | None:
        """The compression that is wanted."""
        return None if self.deflate is None else PerMessageDeflate(**self.deflate)


class _Randomness:
    """In place of `os.urandom`: the same numbers at each replay."""

    def __init__(self) -> None:
        self.calls = 0

    def take(self, size: int) -> bytes:
        """As `os.urandom`."""
        self.calls += 1
        return _numbers(self.calls, size)


@functools.cache
def _numbers(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


_randomness = _Randomness()


def repeatable(size: int) -> bytes:
    """As `os.urandom`, but the same numbers after each `restart`."""
    return _randomness.take(size)


@contextmanager
def same_randomness() -> Generator[None, None, None]:
    """Nonces and masking keys are the same after each `restart`, so that bytes can be compared."""
    with mock.patch("os.urandom", _randomness.take):
        try:
            yield
        finally:
            masking_keys.clear()


def restart() -> None:
    """Begin again with the same random numbers."""
    _randomness.calls = 0
    masking_keys.clear()


class Engine:
    """One end of a conversation; `out` is what it sends and `events` what comes of its input.

    Args:
        setup: how it is set up.
        batched: messages are taken in batches, where the core can do that.
        drain_step: bytes of the output that are taken at a time; 0 is all.
    """

    def __init__(self, setup: Setup, *, batched: bool = False, drain_step: int = 0) -> None:
        self.setup = setup
        self.events: list[Event] = []
        self.sent = bytearray()
        self.core: Protocol | None = None
        self.handshake: ServerHandshake | ClientHandshake | None = None
        self._batched = batched
        self._drain_step = _DRAIN_STEPS[drain_step % len(_DRAIN_STEPS)]
        limits = HeadLimits(**setup.head)
        if not setup.opening:
            agreement = Agreement(*setup.agreement) if setup.agreement is not None else None
            self._open(agreement, b"")
        elif setup.role == "server":
            self.handshake = ServerHandshake(limits)
        else:
            wish = setup.wish
            self.handshake = ClientHandshake(
                "server.example",
                80,
                "/chat?room=1",
                subprotocols=setup.subprotocols,
                extensions=wish._offers() if wish else (),
                limits=limits,
                max_rejection_size=setup.max_rejection_size,
            )
            self.sent += self.handshake.request

    def _open(self, agreement: Agreement | None, early: bytes) -> None:
        self.handshake = None
        self.core = Protocol(
            client=self.setup.role == "client",
            **{"max_message_size": 2**20, **self.setup.limits},
            deflate=None
            if agreement is None
            else Deflate.of(agreement, self.setup.wish or PerMessageDeflate()),
        )
        if early:
            self._feed_core(early)

    # What comes in

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer in, and note what comes of them."""
        if self.core is not None:
            self._feed_core(data)
        elif isinstance(self.handshake, ServerHandshake):
            self._feed_server(self.handshake, data)
        elif isinstance(self.handshake, ClientHandshake):
            self._feed_client(self.handshake, data)

    def _feed_core(self, data: bytes) -> None:
        core = self.core
        assert core is not None
        core.receive_data(data)
        while True:
            found = harness.pumped(core, _MANY) if self._batched else harness.events(core)
            self.events += map(_event, found)
            if not core.busy:
                return

    def _feed_server(self, handshake: ServerHandshake, data: bytes) -> None:
        try:
            request = handshake.receive_data(data)
            if request is not None:
                self._accept(handshake, request)
        except BadRequest as refusal:
            self.handshake = None
            self.events.append(["refused", refusal.status_code, refusal.message])
            self.sent += refusal.response

    def _accept(self, handshake: ServerHandshake, request: Request) -> None:
        headers = _readable(request.headers)
        self.events.append(["request", request.method, request.target, headers])
        upgrade = request.websocket
        if upgrade is None:
            raise upgrade_required(request.method)
        if not origin_allowed(upgrade.origins, upgrade.host, None):
            raise BadRequest(403, "pages of this origin may not connect")
        subprotocol = next((s for s in upgrade.subprotocols if s in self.setup.subprotocols), None)
        wish = self.setup.wish
        answer = accept_offer(upgrade.extensions, wish) if wish else None
        extensions = [answer[0]] if answer else []
        self.sent += handshake.accept(request, subprotocol=subprotocol, extensions=extensions)
        self._open(answer[1] if answer else None, handshake.trailing)

    def _feed_client(self, handshake: ClientHandshake, data: bytes) -> None:
        try:
            response = handshake.receive_data(data)
            if response is not None:
                self._answered(handshake, response)
        except (HandshakeFailure, HeaderError) as failure:
            self.handshake = None
            self.events.append(["failed", str(failure)])

    def _answered(self, handshake: ClientHandshake, response: Response) -> None:
        self.events.append(
            [
                "response",
                response.status_code,
                _readable(response.headers),
                response.body,
                response.subprotocol,
            ]
        )
        self.handshake = None
        if response.status_code == 101:
            wish = self.setup.wish
            self._open(
                check_answer(response.extensions, wish) if wish else None, handshake.trailing
            )

    # What is done here

    def do(self, name: str, *arguments: Any) -> None:
        """Send, ping, close or hear of the end; what makes no sense any more is not done."""
        if name == "eof":
            self._eof()
        elif self.core is not None and (self.core.is_open or name == "discard"):
            getattr(self, f"_{name}")(self.core, *arguments)

    def _eof(self) -> None:
        if self.core is not None:
            self.core.receive_eof()
            return
        handshake, self.handshake = self.handshake, None
        if handshake is None:
            return
        try:
            response = handshake.receive_eof()
        except HandshakeFailure as failure:
            self.events.append(["failed", str(failure)])
        else:
            assert isinstance(handshake, ClientHandshake)
            self._answered(handshake, response)

    @staticmethod
    def _text(core: Protocol, text: str, compress: bool | None = None) -> None:
        core.send_message(text.encode(), text=True, compress=compress)

    @staticmethod
    def _binary(core: Protocol, data: bytes, compress: bool | None = None) -> None:
        core.send_message(data, text=False, compress=compress)

    @staticmethod
    def _ping(core: Protocol, payload: bytes) -> None:
        core.send_ping(payload)

    @staticmethod
    def _pong(core: Protocol, payload: bytes) -> None:
        core.send_pong(payload)

    @staticmethod
    def _close(core: Protocol, code: int | None, reason: str = "") -> None:
        core.send_close(code, reason)

    @staticmethod
    def _fail(core: Protocol, code: int, reason: str) -> None:
        core.fail(code, reason)

    @staticmethod
    def _discard(core: Protocol) -> None:
        core.discard()

    # What comes out

    def flush(self) -> bytes:
        """Take the output; return all that was sent since the last time."""
        core = self.core
        if core is not None and core.output.size:
            step = self._drain_step if core.output.size < _SLOW else max(4096, self._drain_step)
            self.sent += harness.drain(core, step)
        sent = bytes(self.sent)
        self.sent.clear()
        return sent

    def state(self) -> dict[str, Any]:
        """How things stand; equal for equal conversations."""
        core = self.core
        if core is None:
            return {"stage": "over" if self.handshake is None else "opening"}
        counts = core.counts
        drained: Any = core.drained  # a property, or a method
        return {
            "stage": "open" if core.is_open else "closed",
            "closed": core.closed and list(core.closed),
            "close_sent": core.close_sent and list(core.close_sent),
            "close_received": core.close_received and list(core.close_received),
            "failed": core.failure is not None,
            "done": core.handshake_done,
            "eof": core.eof,
            "receiving": core.receiving,
            "drained": drained() if callable(drained) else drained,
            "messages": [counts.messages_sent, counts.messages_received],
            "bytes": [counts.bytes_sent, counts.bytes_received],
            "volumes": [list(volume) for volume in core.volumes],
        }


def _readable(headers: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def _event(event: Any) -> Event:
    match event:
        case str():
            return ["text", event]
        case bytes():
            return ["binary", event]
        case Ping():
            return ["ping", event.payload]
        case Pong():
            return ["pong", event.payload]
        case Close():
            return ["close", int(event.code), event.reason]
        case Failure():
            return ["failure", int(event.code), event.reason]
        case _:
            raise AssertionError(event)
