"""Broken on purpose: TLS over sockets, where the library keeps what a socket does not take."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio

from . import internals
from .defects import Sabotage, replaced
from .internals import (
    DRAIN,
    TLS_SEND,
    UNDER_TLS_ACLOSE,
    UNDER_TLS_FLUSH,
    UNDER_TLS_SEND,
)

_send: Any = getattr(*TLS_SEND)
_send_below: Any = getattr(*UNDER_TLS_SEND)


def _forgetful_flush(self: Any) -> None:
    """Drops what was kept."""
    internals.take_kept(self)


async def _overtaking_send(self: Any, output: Any) -> int:
    """Sends what comes next in front of what is kept."""
    below = internals.below_tls(self)
    kept = internals.take_kept(below)
    await _send(self, output)
    internals.keep_more(below, kept)
    return internals.piece_size(self)


async def _hasty_send(self: Any, output: Any) -> int:
    """Takes what is kept for sent."""
    await _send(self, output)
    return internals.piece_size(self)


async def _frank_send_below(self: Any, data: bytes | memoryview) -> None:
    """Has a failed write come out of the SSLStream, which reads nothing after that."""
    if internals.keeps_rest(self):
        with suppress(BlockingIOError):
            data = memoryview(data)[os.write(self.socket.fileno(), data) :]
    if data:
        await _send_below(self, data)


async def _leaking_aclose(_: Any) -> None:
    """Leaves the socket open."""
    await trio.lowlevel.checkpoint()


def _careless_drain(*_: Any) -> None:
    """Leaves bytes unread, so that the kernel sends a reset when the socket is closed."""


def _cases(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}-tlssock-{role}" for name in names for role in ("client", "server"))


_Row = tuple[str, tuple[Any, str], Callable[..., Any], tuple[str, ...], set[str]]
_TABLE: Final[tuple[_Row, ...]] = (
    (
        "what a socket did not take is dropped",
        UNDER_TLS_FLUSH,
        _forgetful_flush,
        _cases("send_large"),
        {"I2", "I4"},
    ),
    (
        "what a socket did not take is overtaken",
        TLS_SEND,
        _overtaking_send,
        _cases("send_large"),
        {"I2", "I4"},
    ),
    (
        "what a socket did not take counts as sent",
        TLS_SEND,
        _hasty_send,
        _cases("send_large"),
        {"I2", "I4"},
    ),
    (
        "a failed write leaves TLS good for nothing",
        UNDER_TLS_SEND,
        _frank_send_below,
        _cases("send_before_receiving"),
        {"I3"},
    ),
    (
        "a socket under TLS is left open",
        UNDER_TLS_ACLOSE,
        _leaking_aclose,
        _cases("aclose"),
        {"I5"},
    ),
    (
        "a socket is closed with unread bytes",
        DRAIN,
        _careless_drain,
        _cases("send_both_ways"),
        {"goodbye"},
    ),
)
SABOTAGES: Final = [
    Sabotage(name, replaced(target, by), cases, frozenset(finds))
    for name, target, by, cases, finds in _TABLE
    # Windows has another way to write; elsewhere a pair of sockets has no resets.
    if os.name == "posix" and (target is not DRAIN or platform.system() == "Linux")
]
