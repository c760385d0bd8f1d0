"""A stream that fails, ends or stalls at a chosen byte of what the victim's end sends or receives.

The bytes are counted since the victim's call began. In an undisturbed run a `Fault` writes down
which bytes passed; `offsets` says at which of them it is worth failing: each one of a frame, of a
TLS record, of an HTTP head; of a very long one its beginning, its end and many in between.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import trio

from .wire import HEAD_END, frame_ends

if TYPE_CHECKING:
    from .links import Link

INJECTED: Final = "injected"
# The streams' errors. Plain ones: whoever catches only their relatives has forgotten something.
ERRORS: Final[dict[str, Callable[[], Exception]]] = {
    "broken": lambda: trio.BrokenResourceError(INJECTED),
    "closed": lambda: trio.ClosedResourceError(INJECTED),
    "oserror": lambda: OSError(errno.EIO, INJECTED),
    "sslerror": lambda: ssl.SSLError(1, INJECTED),
}
# broken, closed, oserror, sslerror: the call on the stream raises, and each one after it.
# end: both directions end there, as if the peer had gone.
# stall: nothing moves any more in this direction.
# garbage: the byte is another one than was sent.
_IN_MEMORY: Final = (*ERRORS, "end", "stall")
# Sockets raise their own errors: reset by the peer, or closed by somebody else in the process.
_ON_SOCKETS: Final = ("oserror", "closed", "end", "stall")
# What can go wrong while sending, and while receiving, on each kind of link.
FAULTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "mem": {"send": _IN_MEMORY, "receive": _IN_MEMORY},
    "tls": {"send": (*_IN_MEMORY, "garbage"), "receive": _IN_MEMORY},
    "sock": {"send": _ON_SOCKETS, "receive": _ON_SOCKETS},
    "tlssock": {"send": _ON_SOCKETS, "receive": _ON_SOCKETS},
    "unix": {"send": _ON_SOCKETS, "receive": _ON_SOCKETS},
}

OTHER: Final = {"client": "server", "server": "client"}

# Bytes of a unit of the wire, for example a frame, each of which is a point.
_EACH_BYTE: Final = 700
_AT_THE_ENDS: Final = 20
_BETWEEN: Final = 64


def fault_kinds(transport: str) -> list[str]:
    """The kinds of points that are faults, as they are written in a point."""
    return [f"{way}-{what}" for way, faults in FAULTS[transport].items() for what in faults]


def is_fault(kind: str) -> bool:
    """Whether a kind of point is a fault."""
    return kind.startswith(("send-", "receive-"))


class Fault:
    """Counts what passes the victim's end, and says when it is enough.

    Args:
        kind: one of `fault_kinds`, or anything else for none.
        at: the bytes that pass before it.
        role: of the victim's end.
    """

    def __init__(self, kind: str, at: int, role: str) -> None:
        self.way, _, self.what = kind.partition("-") if is_fault(kind) else ("", "", "")
        self.armed = False
        self.struck = False
        self.on_strike: Callable[[], None] = lambda: None
        self.role = role
        self._left = at
        # Of each way: the link, where in its log, and how many bytes.
        self._passed: dict[str, list[tuple[Link, int, int]]] = {"send": [], "receive": []}
        self._limits: dict[str, int] = {}

    def allow(self, link: Link, role: str, way: str, position: int, size: int) -> int:
        """How many of `size` bytes may pass at the end `role`; 0 if it is time to `strike`.

        Args:
            link: over which.
            role: of the end that sends or receives them.
            way: "send" or "receive".
            position: of the first byte in the log of its direction.
            size: at least 1.
        """
        if not self.armed or role != self.role or self.struck:
            return size
        if way == self.way:
            size = min(size, self._left)
            self._left -= size
        elif not self.way:
            self._passed[way].append((link, position, size))
        return size

    def strike(self) -> None:
        """It happens now."""
        self.struck = True
        self.on_strike()

    def end(self, waiting: int) -> None:
        """What the scenario is about is over, but for so many bytes that wait to be sent."""
        for way, more in (("send", waiting), ("receive", 0)):
            self._limits[way] = more + sum(size for _, _, size in self._passed[way])

    def offsets(self, way: str) -> list[int]:
        """At which bytes to fail, after an undisturbed run."""
        passed, points, total = self._passed[way], [], 0
        chosen: dict[Link, set[int]] = {}
        for link, position, size in passed:
            if link not in chosen:
                sender = self.role if way == "send" else OTHER[self.role]
                chosen[link] = set(_chosen(link, sender))
            points += [total + n for n in range(size) if position + n in chosen[link]]
            total += size
        limit = min(total, self._limits.get(way, total))  # the body may not have ended
        return [*(point for point in points if point < limit), limit] if limit else []


def _chosen(link: Link, sender: str) -> Iterator[int]:
    start = 0
    for end in _unit_ends(bytes(link.pipes[sender].log), tls=link.plain is not None):
        size = end - start
        if size <= _EACH_BYTE:
            yield from range(start, end)
        else:
            yield from range(start, start + _AT_THE_ENDS)
            yield from range(start + _AT_THE_ENDS, end - _AT_THE_ENDS, size // _BETWEEN)
            yield from range(end - _AT_THE_ENDS, end)
        start = end


def _unit_ends(log: bytes, *, tls: bool) -> Iterator[int]:
    """Where each TLS record ends, or else the HTTP head and each frame; the last may be torn."""
    position = 0
    if tls:
        while position + 5 <= len(log):
            position += 5 + int.from_bytes(log[position + 3 : position + 5], "big")
            yield min(position, len(log))
    else:
        head, found, _ = log.partition(HEAD_END)
        position = len(head) + len(found)
        if position:
            yield position
        if head.startswith((b"GET ", b"HTTP/1.1 101 ")):
            for end in frame_ends(log, position):
                yield end
                position = end
    if position < len(log):
        yield len(log)
