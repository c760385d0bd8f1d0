"""Mutations of inputs that depend on a seed alone: the fuzzer of the tests, blind but quick."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Final

from .registry import Target

_OCTETS: Final = b'\x00\x01\x7d\x7e\x7f\x80\x81\x88\x89\xc0\xff \t\r\n,;:="\\/#?%@[]09Aa'

_DELIMITER: Final = re.compile(rb"\r\n|[,;=/:\"]")


def mutations(target: Target, inputs: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` inputs, each some steps away from one of `inputs`."""
    choices = random.Random(f"{target.name} {seed}")
    for _ in range(count):
        data = bytearray(choices.choice(inputs) if inputs else b"")
        for _ in range(choices.choice((1, 1, 2, 3, 6))):
            _mutate(data, inputs, target.words, choices)
        yield bytes(data[: target.max_size])


def _mutate(
    data: bytearray, inputs: Sequence[bytes], words: Sequence[bytes], choices: random.Random
) -> None:
    """One step."""
    places = [match.end() for match in _DELIMITER.finditer(data)]
    at = (
        choices.choice(places)
        if places and choices.randrange(2)
        else choices.randrange(len(data) + 1)
    )
    size = choices.choice((1, 2, 4, 8, 30))
    match choices.randrange(9):
        case 0 if data:
            data[at % len(data)] ^= 1 << choices.randrange(8)
        case 1 if data:
            data[at % len(data)] = choices.choice(_OCTETS)
        case 2:
            data[at:at] = choices.choice(words)
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[at : at + size] * choices.choice((1, 1, 2, 20))
        case 5 if inputs:
            other = choices.choice(inputs)
            data[at:] = other[choices.randrange(len(other) + 1) :]
        case 6:
            data[at:at] = choices.randbytes(size)
        case 7 if data:
            del data[at:]
        case _:
            data[at : at + 1] = bytes([choices.randrange(256)])
