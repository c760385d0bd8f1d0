"""Compression broken on purpose: what violates I7, each in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import trio

from . import internals
from .defects import Sabotage, on_cancelled, replaced
from .internals import COMPRESS_IN_STEPS, KEEP_THE_TURN, SEND_IN_STEPS, Compressor, Connection

_send, _receive = Connection.send, Connection.receive
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
    if not internals.compresses(self, message, compress):
        await _send(self, value, compress=compress)
        return
    payload = internals.compress(self, message)
    queue = partial(internals.append_compressed, self, payload, text=text)
    await internals.hand_over(self, queue)


async def _overtaken_steps(self: Any, message: bytes, *, text: bool) -> None:
    """Compresses at once, and queues the frame when others have queued theirs."""
    await trio.lowlevel.checkpoint_if_cancelled()
    internals.check_sendable(self)
    payload = internals.compress(self, message)
    for _ in range(3):
        await trio.lowlevel.cancel_shielded_checkpoint()
    internals.check_sendable(self)
    internals.append_compressed(self, payload, text=text)
    internals.flush(self)


def _forget_compressor(conn: Any) -> None:
    """Legal, but it costs the window."""
    internals.forget_window(internals.compressor(conn))


def _forget_inflater(conn: Any) -> None:
    internals.forget_window(internals.inflater(conn))


def _drop_pending(conn: Any) -> None:
    internals.drop_pending(internals.inflater(conn))


def _hoard(self: Any, *args: Any) -> None:
    """Keeps its window whatever was agreed on."""
    _new_compressor(self, *args)
    internals.keep_window(self)


_I7: Final = frozenset({"I7"})
_TAKEOVER: Final = ("client-takeover", "server-takeover")


def _sabotage(
    name: str,
    patch: Callable[[], ExitStack],
    cases: tuple[str, ...],
    ends: tuple[str, ...] = _TAKEOVER,
) -> Sabotage:
    """One that shows on both ends, and on the transport with the most steps."""
    return Sabotage(name, patch, tuple(f"{case}-mem-{end}" for end in ends for case in cases), _I7)


SABOTAGES: Final = [
    _sabotage(
        "the compressor advances though a large send is cancelled",
        replaced(COMPRESS_IN_STEPS, _eager_steps),
        ("send_in_steps",),
    ),
    _sabotage(
        "the compressor advances though a waiting send is cancelled",
        replaced((Connection, "send"), _early_send),
        ("send_under_back_pressure", "send_concurrently"),
    ),
    _sabotage(
        "a frame is queued later than it was compressed",
        replaced(SEND_IN_STEPS, _overtaken_steps),
        ("send_in_steps_concurrently",),
    ),
    _sabotage(
        "a large send does not keep its turn",
        replaced(KEEP_THE_TURN, lambda self: None),
        ("send_in_steps_concurrently",),
    ),
    _sabotage(
        "the compressor begins anew after a cancelled send",
        replaced((Connection, "send"), on_cancelled(_send, _forget_compressor)),
        ("send_in_steps", "send_large"),
    ),
    _sabotage(
        "the compressor keeps a window that it may not keep",
        replaced((Compressor, "__init__"), _hoard),
        ("send_small",),
        ("server-fresh",),
    ),
    _sabotage(
        "the inflater begins anew after a cancelled receive",
        replaced((Connection, "receive"), on_cancelled(_receive, _forget_inflater)),
        ("receive_in_turns", "send_both_ways"),
    ),
    _sabotage(
        "a cancelled receive drops what is to be inflated",
        replaced((Connection, "receive"), on_cancelled(_receive, _drop_pending)),
        ("receive_in_turns", "receive_in_turns_from_a_full_queue"),
        (*_TAKEOVER, "server-fresh"),
    ),
]
