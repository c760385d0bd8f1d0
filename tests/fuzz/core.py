"""The library's inner names that the targets use, in one place."""

from __future__ import annotations

from typing import Any
from unittest import mock

from tests.protocol.harness import drain
from trio_ws import PerMessageDeflate
from trio_ws._protocol._deflate import Agreement, Deflate, accept_offer, check_answer
from trio_ws._protocol._frames import decode_close, encode_close
from trio_ws._protocol._handshake import (
    BadRequest,
    ClientHandshake,
    HandshakeFailure,
    HeadLimits,
    Request,
    Response,
    ServerHandshake,
    parse_url,
)
from trio_ws._protocol._headers import (
    Extension,
    HeaderError,
    encode_headers,
    format_authority,
    format_extensions,
    has_token,
    parse_extensions,
    parse_host,
    parse_token_list,
)
from trio_ws._protocol._machine import Close, Failure, Ping, Pong, Protocol
from trio_ws._protocol._negotiation import check_origins, origin_allowed
from trio_ws._protocol._url import encode_resource

from .oracle import Event, Limits
from .properties import Broken, same

_MOST_TURNS = 20_000  # more than any input takes

__all__ = [
    "Agreement",
    "BadRequest",
    "ClientHandshake",
    "Extension",
    "HandshakeFailure",
    "HeadLimits",
    "HeaderError",
    "PerMessageDeflate",
    "Protocol",
    "Request",
    "Response",
    "ServerHandshake",
    "accept_offer",
    "check_answer",
    "check_origins",
    "client_handshake",
    "decode_close",
    "drain",
    "encode_close",
    "encode_headers",
    "encode_resource",
    "format_authority",
    "format_extensions",
    "has_token",
    "origin_allowed",
    "parse_extensions",
    "parse_host",
    "parse_token_list",
    "parse_url",
    "protocol",
    "read",
    "send",
]


def protocol(*, client: bool, limits: Limits, mark: int = 2**16) -> Protocol:
    """A protocol; `mark` is the size of the output above which pongs wait."""
    deflate = None
    if limits.window_bits is not None:
        bits, takeover = limits.window_bits, limits.takeover
        wish = PerMessageDeflate(threshold=0)
        deflate = Deflate.of(Agreement(bits, takeover, bits, takeover), wish)
    return Protocol(
        client=client,
        max_message_size=limits.max_size,
        max_empty_fragments=limits.max_empty,
        send_buffer_size=mark,
        deflate=deflate,
    )


def _plain(event: object) -> Event:
    """An event in the oracle's form."""
    match event:
        case str() | bytes():
            return ("message", event)
        case Ping(payload):
            return ("ping", payload)
        case Pong(payload):
            return ("pong", payload)
        case Close(code, reason):
            return ("close", code, reason)
        case Failure(code, reason):
            assert reason
            return ("failure", code)
        case _:
            raise TypeError(f"no event: {event!r}")


def read(proto: Protocol, *, batches: bool = False) -> list[Event]:
    """All events that are due, until nothing is left to do.

    With `batches` as the connection reads: messages together, the rest one by one.
    """
    found: list[Event] = []
    for _ in range(_MOST_TURNS):
        if batches:
            batch: list[tuple[str | bytes, int]] = []
            taken = proto.next_messages(batch, 3, 100)
            same(taken, sum(size for _, size in batch), "the size of a batch")
            found += [_plain(message) for message, _ in batch]
        event = proto.next_event()
        if event is not None:
            found.append(_plain(event))
        elif not proto.busy:
            return found
    raise Broken("work without end")


def send(proto: Protocol, message: str | bytes, *, compress: bool | None = None) -> None:
    """Queue a message."""
    data = message.encode() if isinstance(message, str) else message
    proto.send_message(data, text=isinstance(message, str), compress=compress)


def client_handshake(*args: Any, **options: Any) -> ClientHandshake:
    """A client's handshake that always has the same key."""
    with mock.patch("os.urandom", bytes):
        return ClientHandshake(*args, **options)
