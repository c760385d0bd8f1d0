"""Masking (RFC 6455 section 5.3): the XOR itself, and where the keys come from.

A client masks each frame so that a page cannot choose the bytes that an intermediary sees
(section 10.3). That holds only while keys are unpredictable, so they come from the operating
system's generator: taken by the pool, since one system call a frame would cost more than the frame,
and never used twice.
"""

from __future__ import annotations

import os
from struct import iter_unpack
from typing import Final

KEY_SIZE: Final = 4
_POOL_SIZE: Final = 256 * KEY_SIZE


def mask_in_python(
    data: bytes | bytearray | memoryview,
    key: bytes | bytearray | memoryview,
    offset: int = 0,
    /,
) -> bytes:
    """XOR `data` with the 4 bytes of `key`; masking and unmasking are the same operation.

    `offset` is the position of ``data[0]`` in its frame's payload: a payload that arrives in pieces
    is unmasked piece by piece.

    One XOR of two large integers: the fastest way that plain Python has.
    """
    if type(data) is not bytes:
        data = bytes(memoryview(data))
    if type(key) is not bytes:
        key = bytes(memoryview(key))
    if len(key) != KEY_SIZE:
        raise ValueError(f"key: {len(key)} bytes instead of 4")
    size = len(data)
    offset &= KEY_SIZE - 1
    if offset:
        key = key[offset:] + key[:offset]
    pad = (key * (size // KEY_SIZE + 1))[:size]
    xored = int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")
    return xored.to_bytes(size, "little")


# The same in C, where it was built and is not switched off.
if os.environ.get("TRIO_WS_NO_EXTENSION"):
    mask = mask_in_python
else:
    try:
        from ._speedups import mask
    except ImportError:
        mask = mask_in_python

MASKS_IN_C: Final = mask is not mask_in_python


class KeyPool:
    """Masking keys from the operating system's generator (RFC 6455 section 10.3).

    Connections of several threads share it, so a key leaves the stock in one step that no other
    thread can come between.
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[bytes] = []

    def take(self) -> bytes:
        """Return 4 unpredictable bytes that were never returned before."""
        try:
            return self._keys.pop()
        except IndexError:
            keys: list[bytes] = [key for (key,) in iter_unpack("4s", os.urandom(_POOL_SIZE))]
            key = keys.pop()
            self._keys += keys
            return key

    def clear(self) -> None:
        """Forget the keys in stock: after a fork, parent and child must not share them."""
        self._keys.clear()


masking_keys: Final = KeyPool()

if hasattr(os, "register_at_fork"):  # pragma: no branch - absent on Windows, which has no fork
    os.register_at_fork(after_in_child=masking_keys.clear)
