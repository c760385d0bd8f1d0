"""What has happened in a world, in order: for people, and as a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import trio

# Bytes of a detail that a line shows.
_SHOWN = 60


class Entry(NamedTuple):
    """Something that has happened.

    Args:
        time: virtual seconds since the world's beginning.
        who: a connection's end, a link, or the world.
        what: in one word.
        detail: all else; equal in each run of a seed.
    """

    time: float
    who: str
    what: str
    detail: object


class Trace:
    """The entries of a world, in the order in which they were made."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, who: str, what: str, detail: object = None) -> None:
        """Write down something that happens now."""
        self.entries.append(Entry(trio.current_time(), who, what, detail))

    def digest(self) -> str:
        """A hash of all that has happened: times, events and bytes."""
        total = hashlib.sha256()
        for entry in self.entries:
            total.update(repr(tuple(entry)).encode())
        return total.hexdigest()

    def lines(self) -> Iterator[str]:
        """A line for each entry."""
        for time, who, what, detail in self.entries:
            if isinstance(detail, bytes):
                size = len(detail)
                shown = f"{size} bytes {detail[:_SHOWN]!r}" + ("..." if size > _SHOWN else "")
            else:
                shown = "" if detail is None else str(detail)
            yield f"{time:10.4f}  {who:<10} {what:<10} {shown}"
