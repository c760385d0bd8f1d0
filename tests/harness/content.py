"""What is sent over connections that compress: messages that refer to one another.

All of them are made of the same words, each time in another order, at their beginning and at their
end. A compressor replaces a word by the distance to where it was last; so whoever's window differs
by a single message gets other words. What is in between is new in each message.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Final

# Bytes that the library compresses in several steps, and inflates in several turns.
LARGE: Final = 140_000
HUGE: Final = 300_000

# Above this size the rest of a message is a run, for it has to go through a narrow link.
_RANDOM: Final = 20_000


@cache
def _words() -> tuple[str, ...]:
    rng = random.Random("words")
    return tuple(rng.randbytes(10).hex() for _ in range(12))


def text(name: str, size: int) -> str:
    """A text of `size` characters, of two bytes each but for the words; `name` begins it."""
    rng = random.Random(name)
    words, tail = _shuffled(rng), _shuffled(rng)
    size -= len(name) + len(words) + len(tail)
    if size < 0:
        return f"{name} é{words}"
    if size > _RANDOM:
        return f"{name} é{words}{rng.randbytes(2).hex() * (size // 2)}{tail}"
    return f"{name} é{words}{rng.randbytes(size).hex()}{tail}"


def binary(name: str, size: int) -> bytes:
    """A binary message of `size` bytes, or a few more; `name` begins it."""
    rng = random.Random(name)
    words, tail = _shuffled(rng).encode(), _shuffled(rng).encode()
    size -= len(name) + len(words) + len(tail)
    if size < 0:
        return name.encode() + b" \xff" + words
    if size > _RANDOM:
        return name.encode() + b" \xff" + words + rng.randbytes(4) * (size // 4) + tail
    return name.encode() + b" \xff" + words + rng.randbytes(size) + tail


def _shuffled(rng: random.Random) -> str:
    words = list(_words())
    rng.shuffle(words)
    return "".join(words)
