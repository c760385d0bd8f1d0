"""The library broken on purpose: what the harness has to find.

::

    python -m tests.harness.sabotage
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections import Counter
from typing import Any, Final

import trio

from . import internals, sabotage_deflate, sabotage_faults, sabotage_servers, sabotage_tls
from .catalogue import CASES
from .defects import Sabotage, replaced
from .internals import SAY_GOODBYE, TRANSPORT_ACLOSE, WRITER_MODULE, Connection
from .runner import cheap_garbage, run_all
from .tally import invariant


async def _torn_send(self: Any, value: str | bytes, **_: object) -> None:
    """Writes in the caller's task, where cancellation tears the frame."""
    await trio.lowlevel.checkpoint_if_cancelled()
    internals.check_sendable(self)
    frame = internals.frame(value, masked=self.is_client)
    lock = vars(self).setdefault("_a_lock", trio.Lock())
    async with lock:
        try:
            await internals.stream(self).send_all(frame)
        except trio.BrokenResourceError:
            raise internals.lost(self) from None


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


_send, _receive, _aclose = Connection.send, Connection.receive, Connection.aclose


class _Unshielded:
    """Trio as the writer sees it, without shields."""

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)

    @staticmethod
    def CancelScope(*, shield: bool = False, **options: Any) -> trio.CancelScope:  # noqa: N802
        """A scope without a shield."""
        return trio.CancelScope(**options)


async def _leaking_aclose(self: Any, *, force: bool) -> None:
    """Leaves the transport open."""
    await trio.lowlevel.cancel_shielded_checkpoint()


def _cases(*names: str, transport: str = "mem") -> tuple[str, ...]:
    return tuple(f"{name}-{transport}-{role}" for name in names for role in ("client", "server"))


SABOTAGES: Final = {
    sabotage.name: sabotage
    for sabotage in (
        Sabotage(
            "send tears frames",
            replaced((Connection, "send"), _torn_send),
            _cases("send_large"),
            frozenset({"I1"}),
        ),
        Sabotage(
            "send is cancelled too late",
            replaced((Connection, "send"), _late_checkpoint_send),
            _cases("send_small", "send_large"),
            frozenset({"I2"}),
        ),
        Sabotage(
            "receive pops before its checkpoint",
            replaced((Connection, "receive"), _greedy_receive),
            _cases("receive_from_a_full_queue"),
            frozenset({"I3"}),
        ),
        Sabotage(
            "aclose swallows Cancelled",
            replaced((Connection, "aclose"), _deaf_aclose),
            _cases("aclose", "aclose_on_both_sides"),
            frozenset({"I8"}),
        ),
        Sabotage(
            "the writer has no shield",
            replaced((WRITER_MODULE, "trio"), _Unshielded()),
            _cases("send_large"),
            frozenset({"I4", "I5", "I9"}),
        ),
        Sabotage(
            "no goodbye",
            replaced(SAY_GOODBYE, internals.hurry),
            _cases("receive", "wait_closed", transport="sock"),
            frozenset({"goodbye"}),
        ),
        Sabotage(
            "the transport is left open",
            replaced(TRANSPORT_ACLOSE, _leaking_aclose),
            _cases("aclose"),
            frozenset({"I5"}),
        ),
        *sabotage_faults.SABOTAGES,
        *sabotage_deflate.SABOTAGES,
        *sabotage_servers.SABOTAGES,
        *sabotage_tls.SABOTAGES,
    )
}


def found(sabotage: Sabotage) -> Counter[str]:
    """How many violations of each invariant the harness reports; it stops when that is enough."""
    counts: Counter[str] = Counter()
    with sabotage.patch():
        for name in sabotage.cases:
            counts.update(map(invariant, run_all(CASES[name], 1).violations))
            if sabotage.finds & counts.keys():
                break
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sockets that were left open: nobody else is to blame
        gc.collect()
    return counts


def main() -> int:
    """Print what each sabotage leads to; 1 if one goes unnoticed."""
    unnoticed = False
    for sabotage in SABOTAGES.values():
        with cheap_garbage():
            counts = found(sabotage)
        noticed = bool(sabotage.finds & counts.keys())
        unnoticed |= not noticed
        sys.stdout.write(f"{sabotage.name}: {'' if noticed else 'UNNOTICED, '}{dict(counts)}\n")
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
