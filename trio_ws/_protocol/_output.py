"""The output buffer: whole frames in, any number of bytes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

# Chunks below this many bytes are small: to copy one costs less than to hand it over by itself.
_SMALL: Final = 4096
# Chunks after which the small ones among the last are made one: each costs some 50 bytes of its
# own, and the pongs that a flood of pings asks for have as few as 2.
_RUN: Final = 64
# Bytes up to which all chunks are made one to be sent.
_JOINED: Final = 16 * 1024


class Output:
    """Bytes on their way to the kernel, in the order in which they were appended."""

    __slots__ = ("_chunks", "_offset", "size")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []  # an empty deque takes ten times as much
        self._offset = 0  # bytes of the first chunk that are gone already
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add bytes, at least one, at the end."""
        self._chunks.append(data)
        self.size += len(data)
        if not len(self._chunks) % _RUN:
            self._join_small()

    def peek(self, limit: int) -> bytes | memoryview:
        """Up to `limit` bytes from the front, which stay; for a transport that will take them all.

        What is returned never changes, whatever is done to the output meanwhile.
        """
        chunks = self._chunks
        head = chunks[0]
        if len(chunks) > 1 and len(head) - self._offset < limit:
            return b"".join(self._front(limit))
        if not self._offset and len(head) <= limit:
            return head
        return memoryview(head)[self._offset : self._offset + limit]

    def _front(self, limit: int) -> Iterator[memoryview]:
        begin = self._offset
        for chunk in self._chunks:
            piece = memoryview(chunk)[begin : begin + limit]
            yield piece
            begin = 0
            limit -= len(piece)
            if not limit:
                return

    def vector(self, limit: int) -> Sequence[bytes | memoryview]:
        """Up to `limit` chunks from the front, which stay, or all in one if they are small."""
        chunks = self._chunks
        if not self._offset:
            if len(chunks) > 1 and self.size <= _JOINED:
                chunks = self._chunks = [b"".join(chunks)]
            return chunks if len(chunks) <= limit else chunks[:limit]
        # What is left of a chunk that went out in part is not joined to those behind it: that would
        # copy them all again each time that the peer takes a little.
        return [memoryview(chunks[0])[self._offset :], *chunks[1:limit]]

    def advance(self, size: int) -> None:
        """Drop `size` bytes from the front: they were sent. After `clear` there may be fewer."""
        if size >= self.size:
            self._chunks.clear()
            self._offset = self.size = 0
            return
        self.size -= size
        self._offset += size
        gone = 0
        while self._offset >= len(self._chunks[gone]):
            self._offset -= len(self._chunks[gone])
            gone += 1
        del self._chunks[:gone]

    def clear(self) -> None:
        """Drop all: nobody will take them any more."""
        self.advance(self.size)

    def _join_small(self) -> None:
        """Make one chunk of the small ones at the end."""
        chunks = self._chunks
        first = len(chunks)
        # The first of all may have gone out in part; where it ends must stay.
        while first > 1 and len(chunks[first - 1]) < _SMALL:
            first -= 1
        chunks[first:] = [b"".join(chunks[first:])] if first < len(chunks) else []
