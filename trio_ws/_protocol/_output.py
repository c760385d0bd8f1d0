"""The output buffer: whole frames in, any number of bytes out."""

from __future__ import annotations

from collections import deque
from typing import Final

# Chunks up to this many bytes together are made one as they come: each chunk costs some 50 bytes of
# its own, and the pongs that a flood of pings asks for have as few as 2.
_SMALL: Final = 4096


class Output:
    """Bytes on their way to the kernel, in the order in which they were appended."""

    __slots__ = ("_chunks", "_offset", "size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._offset = 0  # bytes of the first chunk that are gone already
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add bytes, at least one, at the end."""
        chunks = self._chunks
        if chunks and len(chunks[-1]) + len(data) <= _SMALL:
            chunks[-1] += data
        else:
            chunks.append(data)
        self.size += len(data)

    def peek(self, limit: int) -> bytes | memoryview:
        """Up to `limit` bytes from the front, which stay; small chunks are joined.

        What is returned never changes, whatever is done to the output meanwhile.
        """
        chunks = self._chunks
        # What is left of a chunk that went out in part goes out alone: to join it with those behind
        # it would copy them all again each time that the peer takes a little.
        if len(chunks) > 1 and not self._offset:
            self._join(limit)
        head = chunks[0]
        if not self._offset and len(head) <= limit:
            return head
        return memoryview(head)[self._offset : self._offset + limit]

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
        self._offset = 0
        self.size = 0

    def _join(self, limit: int) -> None:
        """Make one chunk of the whole ones at the front that have up to `limit` bytes together."""
        chunks = self._chunks
        size = 0
        front = []
        while chunks and size + len(chunks[0]) <= limit:
            size += len(chunks[0])
            front.append(chunks.popleft())
        if front:
            chunks.appendleft(b"".join(front))
