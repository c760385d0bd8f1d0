"""Frames for tests, built and parsed apart from the library; the illegal ones as well."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = b"\x37\xfa\x21\x3d"
"""The masking key of the examples of RFC 6455 section 5.7."""


class Frame(NamedTuple):
    """A frame off the wire; `key` is None if it is not masked."""

    opcode: int
    payload: bytes
    fin: bool
    rsv: int
    key: bytes | None
    head: bytes


@functools.cache
def _table(octet: int) -> bytes:
    return bytes(value ^ octet for value in range(256))


def xor(data: bytes, key: bytes) -> bytes:
    """Mask as RFC 6455 section 5.3 defines it: octet i with octet i modulo 4 of the key."""
    masked = bytearray(data)
    for lane, octet in enumerate(key):
        masked[lane::4] = masked[lane::4].translate(_table(octet))
    return bytes(masked)


def build(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    length_form: int | None = None,
    declared: int | None = None,
) -> bytes:
    """A frame.

    Args:
        opcode: 0 to 15.
        payload: before masking.
        fin: the FIN bit.
        rsv: the reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3.
        mask: the masking key, or None for a frame without.
        length_form: 7, 16 or 64 bits; None is the shortest.
        declared: the length that the header tells, if it is not the payload's.
    """
    size = len(payload) if declared is None else declared
    if length_form is None:
        length_form = 7 if size < 126 else 16 if size < 1 << 16 else 64
    first = fin << 7 | rsv << 4 | opcode
    masked = (mask is not None) << 7
    if length_form == 7:
        head = bytes([first, masked | size])
    elif length_form == 16:
        head = bytes([first, masked | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, masked | 127]) + size.to_bytes(8, "big")
    return head + payload if mask is None else head + mask + xor(payload, mask)


def fragmented(opcode: int, fragments: Iterable[bytes], key: bytes | None) -> bytes:
    """A message of these fragments, each a frame masked with `key`."""
    pieces = list(fragments)
    return b"".join(
        build(CONTINUATION if i else opcode, piece, fin=i == len(pieces) - 1, mask=key)
        for i, piece in enumerate(pieces)
    )


def close(code: int | None = None, reason: bytes = b"", *, mask: bytes | None = None) -> bytes:
    """A Close frame."""
    payload = b"" if code is None else code.to_bytes(2, "big") + reason
    return build(CLOSE, payload, mask=mask)


def parse(data: bytes) -> Iterator[Frame]:
    """Yield the frames in `data`; they must be whole and have the shortest form of length."""
    pos = 0
    while pos < len(data):
        begin = pos
        first, second = data[pos], data[pos + 1]
        pos += 2
        size = second & 127
        if size > 125:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[pos : pos + width], "big")
            pos += width
            assert 125 < size < 1 << 63
            assert (width == 8) == (size > 65535)
        key = None
        if second & 128:
            key = data[pos : pos + 4]
            pos += 4
        head = data[begin:pos]
        payload = data[pos : pos + size]
        assert len(payload) == size, "the last frame is torn"
        pos += size
        payload = payload if key is None else xor(payload, key)
        yield Frame(first & 15, payload, bool(first & 128), first >> 4 & 7, key, head)
