"""Numbered, checksummed messages: what each side of an honest connection sends and checks.

All about a message but the answers that it asks for follows from the seed, the connection, the
direction and its number. Its first characters are a head with all of these and a checksum of the
rest; it is the same in text and in binary messages. A message without room for a head, the empty
one, has its place in the order: each number that ends with hexadecimal 7.
"""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Final

LARGEST: Final = 64 * 1024
HEAD: Final = 28
EMPTY: Final = (7, 16)  # the remainder and the divisor of the numbers of empty messages
# Of 64 messages so many have a body of at most so many bytes.
SIZES: Final = ((30, 64), (56, 1024), (62, 8 * 1024), (63, LARGEST - HEAD), (64, -LARGEST + HEAD))
POOL: Final = 2 * LARGEST
_WORDS: Final = ("soak ", "\u00e9t\u00e9 ", "\u20ac", "\U0001d11e", "0123456789", "\x00\x7f", "zz")
CLIENT, SERVER = 0, 1  # who sends
FIRST: Final = 1
SHORT: Final = 1 << 27  # in the numbers of connections that come and go
TO_COMPRESS: Final = (None, None, True, False)


class Damage(Exception):
    """A message is not the one that was due: lost, doubled, reordered or changed."""


@cache
def pools(seed: int) -> tuple[bytes, str]:
    """What bodies are cut from: bytes, half of them compressible, and text of all widths."""
    chance = random.Random(seed)
    plain = chance.randbytes(POOL // 2) + b"".join(
        chance.choices([b"compress", b"me", bytes(16)], k=POOL // 8)
    )
    return plain[:POOL].ljust(POOL, b"."), "".join(chance.choices(_WORDS, k=POOL))[:POOL]


@dataclass(frozen=True)
class Shape:
    """What follows from the number of a message.

    Args:
        text: whether it is text.
        size: bytes of the body, at most.
        start: where the body begins in the pool.
        compress: the argument of ``send``.
    """

    text: bool
    size: int
    start: int
    compress: bool | None


def shape(seed: int, connection: int, sender: int, number: int) -> Shape:
    """The shape of a message.

    The first ones of a connection that stays are large, so that the buffers of zlib and of TLS,
    which are filled little by little, are not taken for memory that grows.
    """
    if number < FIRST and connection & SHORT == 0:
        return Shape(False, LARGEST - HEAD, 0, True)
    dice = zlib.crc32(struct.pack("<QIBI", seed, connection, sender, number))
    group, rest = dice & 63, dice >> 6
    most = next(most for end, most in SIZES if group < end)
    size = -most if most < 0 else rest % (most + 1)
    return Shape(bool(rest & 1), size, rest % (POOL - LARGEST), TO_COMPRESS[rest >> 2 & 3])


def is_empty(number: int) -> bool:
    """Whether the message with this number is empty, and so asks for no answers."""
    return number % EMPTY[1] == EMPTY[0]


class Outgoing:
    """What one side sends on one connection."""

    def __init__(self, seed: int, connection: int, sender: int) -> None:
        self._key = seed, connection, sender
        self.number = 0

    def next(self, answers: int = 0, *, beside: bool = False) -> tuple[str | bytes, bool | None]:
        """The next message, and whether to compress it.

        Args:
            answers: how many messages the peer is to send for it.
            beside: whether the peer goes on receiving meanwhile.
        """
        seed, connection, sender = self._key
        number = self.number
        self.number += 1
        form = shape(seed, connection, sender, number)
        if is_empty(number):
            return ("" if form.text else b""), form.compress
        octets, text = pools(seed)
        body = octets[form.start : form.start + form.size]
        if form.text:
            body = text[form.start : form.start + form.size // 4].encode()
        check = zlib.crc32(body)
        head = f"{connection:08x}{sender}{number:08x}{answers:02x}{beside:d}{check:08x}"
        message = head.encode() + body
        return (message.decode() if form.text else message), form.compress


class Incoming:
    """What the other side sends on one connection, and has to send."""

    def __init__(self, seed: int, connection: int, sender: int) -> None:
        self._key = seed, connection, sender
        self.number = 0

    def take(self, message: str | bytes) -> tuple[int, bool]:
        """Check the next message; return the answers that it asks for, and whether beside.

        Raises:
            Damage: it is not the next one.
        """
        seed, connection, sender = self._key
        number = self.number
        self.number += 1
        due = f"connection {connection:x}, sender {sender}, message {number}"
        if isinstance(message, str) is not shape(seed, connection, sender, number).text:
            raise Damage(f"{due}: wrong type, {message[:HEAD]!r}")
        if is_empty(number):
            if message:
                raise Damage(f"{due}: not empty, {message[:HEAD]!r}")
            return 0, False
        octets = message.encode() if isinstance(message, str) else message
        start, head = f"{connection:08x}{sender}{number:08x}".encode(), octets[:HEAD]
        if len(head) < HEAD or not head.startswith(start):
            raise Damage(f"{due}: instead of it came {head!r}")
        if int(head[20:], 16) != zlib.crc32(memoryview(octets)[HEAD:]):
            raise Damage(f"{due}: the checksum is wrong")
        return int(head[17:19], 16), head[19:20] == b"1"
