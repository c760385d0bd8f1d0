"""Compression broken on purpose: what violates I7, each in another way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import trio

import trio_ws
from trio_ws._protocol._deflate import Compressor
from trio_ws._turns import Turns

from .defects import Sabotage, patched

_Connection: Any = trio_ws.WebSocketConnection
_send, _receive = _Connection.send, _Connection.receive
_new_compressor: Any = Compressor.__init__


def _eager_steps(self: Any, message: bytes) -> Iterator[bytes | None]:
    """Advances before the steps, in which the send may be cancelled."""
    payload = self.compress(message)
    yield None
    yield None
    yield payload


async def _early_send(self: Any, value: str | bytes, *, compress: bool | None = None) -> None:
    """Compresses before it waits for room, where it may be cancelled."""
    text = isinstance(value, str)
    message = value.encode() if isinstance(value, str) else value
    protocol = self._protocol
    if not protocol.compresses(message, compress):
        await _send(self, value, compress=compress)
        return
    payload = protocol._deflate.compressor.compress(message)
    await self._hand_over(partial(protocol._append_message, payload, text=text, compressed=True))


async def _overtaken_steps(self: Any, message: bytes, *, text: bool) -> None:
    """Compresses at once, and queues the frame when others have queued theirs."""
    await trio.lowlevel.checkpoint_if_cancelled()
    self._check_sendable()
    payload = self._protocol._deflate.compressor.compress(message)
    for _ in range(3):
        await trio.lowlevel.cancel_shielded_checkpoint()
    self._check_sendable()
    self._protocol._append_message(payload, text=text, compressed=True)
    self._writer.flush()


async def _forgetful_send(self: Any, value: str | bytes, *, compress: bool | None = None) -> None:
    """Begins a new context when it was cancelled, which is legal, and costs the window."""
    try:
        await _send(self, value, compress=compress)
    except trio.Cancelled:
        self._protocol._deflate.compressor._context = None
        raise


async def _forgetful_receive(self: Any) -> str | bytes:
    """Begins a new context when it was cancelled."""
    try:
        message: str | bytes = await _receive(self)
    except trio.Cancelled:
        self._protocol._deflate.inflater._context = None
        raise
    return message


async def _tidy_receive(self: Any) -> str | bytes:
    """Drops what is still to be inflated when it was cancelled."""
    try:
        message: str | bytes = await _receive(self)
    except trio.Cancelled:
        inflater = self._protocol._deflate.inflater
        if inflater.pending:
            inflater.feed(b"", last=True)
        raise
    return message


def _hoard(self: Any, *args: Any) -> None:
    """Keeps its window whatever was agreed on."""
    _new_compressor(self, *args)
    self._takeover = True


_I7: Final = frozenset({"I7"})
# Each on both ends, and on the transport with the most steps.
SABOTAGES: Final = [
    Sabotage(name, patch, tuple(f"{case}-mem-{end}" for end in ends for case in cases), _I7)
    for name, patch, cases, ends in (
        (
            "the compressor advances though a large send is cancelled",
            patched(Compressor, steps=_eager_steps),
            ("send_in_steps",),
            ("client-takeover", "server-takeover"),
        ),
        (
            "the compressor advances though a waiting send is cancelled",
            patched(_Connection, send=_early_send),
            ("send_under_back_pressure", "send_concurrently"),
            ("client-takeover", "server-takeover"),
        ),
        (
            "a frame is queued later than it was compressed",
            patched(_Connection, _send_in_steps=_overtaken_steps),
            ("send_in_steps_concurrently",),
            ("client-takeover", "server-takeover"),
        ),
        (
            "a large send does not keep its turn",
            patched(Turns, reserve=lambda self: None),
            ("send_in_steps_concurrently",),
            ("client-takeover", "server-takeover"),
        ),
        (
            "the compressor begins anew after a cancelled send",
            patched(_Connection, send=_forgetful_send),
            ("send_in_steps", "send_large"),
            ("client-takeover", "server-takeover"),
        ),
        (
            "the compressor keeps a window that it may not keep",
            patched(Compressor, __init__=_hoard),
            ("send_small",),
            ("server-fresh",),
        ),
        (
            "the inflater begins anew after a cancelled receive",
            patched(_Connection, receive=_forgetful_receive),
            ("receive_in_turns", "send_both_ways"),
            ("client-takeover", "server-takeover"),
        ),
        (
            "a cancelled receive drops what is to be inflated",
            patched(_Connection, receive=_tidy_receive),
            ("receive_in_turns", "receive_in_turns_from_a_full_queue"),
            ("client-takeover", "server-takeover", "server-fresh"),
        ),
    )
]
