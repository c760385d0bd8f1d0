"""The library broken on purpose: what the harness has to find.

::

    python -m tests.harness.sabotage
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest import mock

import trio

import trio_ws
from trio_ws._protocol import _frames

from . import sabotage_deflate
from .catalogue import CASES
from .defects import Sabotage, patched
from .runner import run_all
from .tally import invariant

_Connection: Any = trio_ws.WebSocketConnection


async def _torn_send(self: Any, value: str | bytes, **_: object) -> None:
    """Writes in the caller's task, where cancellation tears the frame."""
    await trio.lowlevel.checkpoint_if_cancelled()
    self._check_sendable()
    opcode, payload = (1, value.encode()) if isinstance(value, str) else (2, value)
    frame = _frames.encode_frame(opcode, payload, masked=self.is_client)
    lock = vars(self).setdefault("_lock", trio.Lock())
    async with lock:
        try:
            await self._transport.stream.send_all(frame)
        except trio.BrokenResourceError:
            raise self._error(sending=True) from None


async def _late_checkpoint_send(self: Any, value: str | bytes, **_: object) -> None:
    """Can be cancelled once the message is queued, so the caller sends it again."""
    await _send(self, value)
    await trio.lowlevel.checkpoint()


async def _greedy_receive(self: Any) -> str | bytes:
    """Takes the message before its last checkpoint."""
    message: str | bytes = await _receive(self)
    await trio.lowlevel.checkpoint()
    return message


async def _deaf_aclose(self: Any, code: int = 1000, reason: str | None = None) -> None:
    """Swallows Cancelled."""
    try:
        await _aclose(self, code, reason)
    except trio.Cancelled:
        pass


_send, _receive, _aclose = _Connection.send, _Connection.receive, _Connection.aclose


class _Unshielded:
    """Trio as the writer sees it, without shields."""

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)

    @staticmethod
    def CancelScope(*, shield: bool = False, **options: Any) -> trio.CancelScope:  # noqa: N802
        """A scope without a shield."""
        return trio.CancelScope(**options)


def _unshielded_writer() -> ExitStack:
    stack = ExitStack()
    stack.enter_context(mock.patch("trio_ws._writer.trio", _Unshielded()))
    return stack


def _silent_goodbye() -> ExitStack:
    stack = ExitStack()
    stack.enter_context(
        mock.patch("trio_ws._writer.Writer.goodbye", lambda self, code=1001: self.hurry())
    )
    return stack


def _leaking_transport() -> ExitStack:
    async def aclose(self: Any, *, force: bool) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()

    stack = ExitStack()
    stack.enter_context(mock.patch("trio_ws._transport.StreamTransport.aclose", aclose))
    return stack


def _cases(*names: str, transport: str = "mem") -> tuple[str, ...]:
    return tuple(f"{name}-{transport}-{role}" for name in names for role in ("client", "server"))


SABOTAGES: Final = {
    sabotage.name: sabotage
    for sabotage in (
        Sabotage(
            "send tears frames",
            patched(_Connection, send=_torn_send),
            _cases("send_large"),
            frozenset({"I1"}),
        ),
        Sabotage(
            "send is cancelled too late",
            patched(_Connection, send=_late_checkpoint_send),
            _cases("send_small", "send_large"),
            frozenset({"I2"}),
        ),
        Sabotage(
            "receive pops before its checkpoint",
            patched(_Connection, receive=_greedy_receive),
            _cases("receive_from_a_full_queue"),
            frozenset({"I3"}),
        ),
        Sabotage(
            "aclose swallows Cancelled",
            patched(_Connection, aclose=_deaf_aclose),
            _cases("aclose", "aclose_on_both_sides"),
            frozenset({"I8"}),
        ),
        Sabotage(
            "the writer has no shield",
            _unshielded_writer,
            _cases("send_large"),
            frozenset({"I4", "I5", "I9"}),
        ),
        Sabotage(
            "no goodbye",
            _silent_goodbye,
            _cases("receive", "wait_closed", transport="sock"),
            frozenset({"goodbye"}),
        ),
        Sabotage(
            "the transport is left open",
            _leaking_transport,
            _cases("aclose"),
            frozenset({"I5"}),
        ),
        *sabotage_deflate.SABOTAGES,
    )
}


@contextmanager
def sabotaged(sabotage: Sabotage) -> Generator[None, None, None]:
    """The library is broken meanwhile."""
    with sabotage.patch():
        yield


def found(sabotage: Sabotage) -> Counter[str]:
    """How many violations of each invariant the harness reports."""
    counts: Counter[str] = Counter()
    with sabotaged(sabotage):
        for name in sabotage.cases:
            counts.update(map(invariant, run_all(CASES[name], 1).violations))
    return counts


def main() -> int:
    """Print what each sabotage leads to; 1 if one goes unnoticed."""
    unnoticed = False
    for sabotage in SABOTAGES.values():
        counts = found(sabotage)
        noticed = bool(sabotage.finds & counts.keys())
        unnoticed |= not noticed
        sys.stdout.write(f"{sabotage.name}: {'' if noticed else 'UNNOTICED, '}{dict(counts)}\n")
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
