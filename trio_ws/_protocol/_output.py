"""The output buffer: whole frames in, any number of bytes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

# Chunks below this many bytes are small: to copy one costs less than to hand it over by itself.
_SMALL: Final = 4096
# Small chunks in a row that are made one: each costs some 50 bytes of its own, and the pongs that a
# flood of pings asks for have as few as 2.
_RUN: Final = 64
# Bytes up to which all chunks are made one to be sent.
_JOINED: Final = 16 * 1024


class Output:
    """Bytes on their way to the kernel, in the order in which they were appended."""

    __slots__ = ("_chunks", "_offset", "_run", "size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._offset = 0  # bytes of the first chunk that are gone already
        self._run = 0  # small chunks at the end; there may be fewer, if they were sent
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add bytes, at least one, at the end."""
        self._chunks.append(data)
        self.size += len(data)
        if len(data) >= _SMALL:
            self._run = 0
        else:
            self._run += 1
            if self._run >= _RUN:
                self._join_run()

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

    def vector(self, limit: int) -> list[bytes | memoryview]:
        """Up to `limit` chunks from the front, which stay, or all in one if they are small."""
        # What is left of a chunk that went out in part is not joined to those behind it: that would
        # copy them all again each time that the peer takes a little.
        if len(self._chunks) > 1 and self.size <= _JOINED and not self._offset:
            joined = b"".join(self._chunks)
            self._chunks.clear()
            self._chunks.append(joined)
        vector: list[bytes | memoryview] = list(islice(self._chunks, limit))
        if self._offset:
            vector[0] = memoryview(vector[0])[self._offset :]
        return vector

    def advance(self, size: int) -> None:
        """Drop `size` bytes from the front: they were sent. After `clear` there may be fewer."""
        if size >= self.size:
            self.clear()
            return
        self.size -= size
        self._offset += size
        while self._offset >= len(self._chunks[0]):
            self._offset -= len(self._chunks.popleft())

    def clear(self) -> None:
        """Drop all: nobody will take them any more."""
        self._chunks.clear()
        self._offset = self._run = self.size = 0

    def _join_run(self) -> None:
        """Make one chunk of the small ones at the end."""
        chunks = self._chunks
        # The first may have gone out in part; where it ends must stay.
        run = min(self._run, len(chunks) - 1)
        self._run = 0
        tail = [chunks.pop() for _ in range(run)]
        chunks.append(b"".join(reversed(tail)))
