"""Broken on purpose: what the library does when its stream fails, ends or stalls."""

from __future__ import annotations

import ssl
from typing import Any, Final

import trio

import trio_ws

from . import internals
from .defects import Sabotage, on_cancelled, replaced
from .internals import TRANSPORT_RECEIVE, TRANSPORT_SEND, Connection

_send, _receive, _anext = Connection.send, Connection.receive, Connection.__anext__
_transport_send: Any = getattr(*TRANSPORT_SEND)
_transport_receive: Any = getattr(*TRANSPORT_RECEIVE)


async def _careless_transport_send(self: Any, output: Any) -> int:
    """Takes a failed write for one that has sent all."""
    try:
        sent: int = await _transport_send(self, output)
    except OSError:
        sent = output.size
    return sent


async def _patient_transport_send(self: Any, output: Any) -> int:
    """Waits for a stalled peer for ever."""
    with trio.CancelScope(shield=True):
        sent: int = await _transport_send(self, output)
    return sent


async def _leaky_transport_receive(self: Any) -> None:
    """Leaves a task behind when the stream raises what it does not know."""
    try:
        await _transport_receive(self)
    except OSError:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)
        raise


async def _narrow_transport_receive(self: Any) -> None:
    """Expects the errors of Trio's streams only, and waits when another one comes."""
    try:
        await _transport_receive(self)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise
    except Exception:
        await trio.sleep_forever()
        raise


async def _frank_send(self: Any, value: str | bytes, **options: Any) -> None:
    """Lets an error of TLS out as it is."""
    try:
        await _send(self, value, **options)
    except trio_ws.ConnectionClosed as exc:
        if isinstance(exc.__cause__, ssl.SSLError):
            raise exc.__cause__ from None
        raise


async def _terse_receive(self: Any) -> str | bytes:
    """Does not say why the connection was lost."""
    try:
        message: str | bytes = await _receive(self)
    except trio_ws.ConnectionClosed as exc:
        raise exc from None
    return message


async def _forgetful_receive(self: Any) -> str | bytes:
    """Drops the messages that came before the connection was lost."""
    message: str | bytes = await _receive(self)
    if self.closed is not None and self.closed.code == 1006:
        while True:
            await _receive(self)
    return message


async def _timed_out_receive(self: Any) -> str | bytes:
    """Takes the caller's deadline for one of its own."""
    try:
        message: str | bytes = await _receive(self)
    except trio.Cancelled:
        if trio.current_effective_deadline() <= trio.current_time():
            raise trio_ws.ConnectionTimeout from None
        raise
    return message


def _cases(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}-{end}" for name in names for end in ("mem-client", "tls-client"))


SABOTAGES: Final = [
    Sabotage(name, replaced(target, by), _cases(*cases), frozenset(finds))
    for name, target, by, cases, finds in (
        (
            "an OSError of the stream is swallowed",
            TRANSPORT_SEND,
            _careless_transport_send,
            ("send_large", "ping"),
            {"I2", "I4", "I8"},
        ),
        (
            "a stalled write has no deadline",
            TRANSPORT_SEND,
            _patient_transport_send,
            ("send_large",),
            {"I4", "I9"},
        ),
        (
            "a task is left when the stream raises OSError",
            TRANSPORT_RECEIVE,
            _leaky_transport_receive,
            ("receive",),
            {"I5"},
        ),
        (
            "errors that are not Trio's are not expected",
            TRANSPORT_RECEIVE,
            _narrow_transport_receive,
            ("receive", "wait_closed"),
            {"I4", "I8", "I9"},
        ),
        (
            "an SSLError comes out as it is",
            (Connection, "send"),
            _frank_send,
            ("send_large", "send_under_back_pressure"),
            {"I8"},
        ),
        (
            "it is not said why the connection was lost",
            (Connection, "receive"),
            _terse_receive,
            ("receive", "iterate"),
            {"I8"},
        ),
        (
            "what came before a fault is dropped",
            (Connection, "receive"),
            _forgetful_receive,
            ("ping", "send_with_ping"),
            {"I3"},
        ),
        (
            "the caller's deadline is taken for a timeout",
            (Connection, "receive"),
            _timed_out_receive,
            ("receive",),
            {"I8"},
        ),
        (
            "a cancelled receive ends the connection",
            (Connection, "receive"),
            on_cancelled(_receive, internals.give_up),
            ("receive",),
            {"I4"},
        ),
    )
]
