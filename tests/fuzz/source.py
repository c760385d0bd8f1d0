"""Choices out of a fuzzer's bytes, and ways to split bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")


class ByteSource:
    """Makes choices from bytes, front to back; once they are used up, each choice is the first.

    Small changes of the bytes are small changes of the case, which is what a fuzzer needs.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def left(self) -> int:
        """Bytes that are not used yet."""
        return len(self._data) - self._pos

    def byte(self) -> int:
        """The next byte, or 0."""
        return self.take(1)[0] if self.left else 0

    def choice(self, options: Sequence[_T]) -> _T:
        """One of the options, by one byte."""
        return options[self.byte() % len(options)]

    def take(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        begin = self._pos
        self._pos = min(begin + size, len(self._data))
        return self._data[begin : self._pos]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """Cut bytes into pieces, none of them empty: 0 is one piece, 1 is single bytes."""
    if seed == 0:
        if data:
            yield data
        return
    pos, state = 0, seed
    while pos < len(data):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        size = 1 if seed == 1 else 1 + (state >> 16) % (7 if state & 0x400 else 90)
        yield data[pos : pos + size]
        pos += size


def splittings(seed: int) -> tuple[int, ...]:
    """Seeds for `cut`: whole, single bytes, and one more."""
    return (0, 1, 2 + seed)
