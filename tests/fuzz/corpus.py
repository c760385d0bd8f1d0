"""Corpora: one text file for each target, an input on each line as Python writes bytes."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import trio_ws

from .registry import Target

MOST_INPUTS: Final = 60
MOST_BYTES: Final = 12_000
"""What a target's file may have: all together stay below 100 kB."""

_DIRECTORY: Final = Path(__file__).parent / "corpus"
_PACKAGE: Final = str(Path(trio_ws.__file__).parent)


def path(target: Target) -> Path:
    """The file of a target."""
    return _DIRECTORY / f"{target.name}.txt"


def load(target: Target) -> list[bytes]:
    """The inputs that are kept."""
    if not path(target).exists():
        return []
    return [ast.literal_eval(line) for line in path(target).read_text("ascii").splitlines()]


def save(target: Target, inputs: Iterable[bytes]) -> None:
    """Keep these inputs."""
    path(target).write_text("".join(f"{data!r}\n" for data in inputs), "ascii")


def extended(target: Target, candidates: Iterable[bytes]) -> list[bytes]:
    """The kept inputs, and the candidates that go where they do not: what adds most for its size.

    As many as there is room for.
    """
    chosen = load(target)
    seen = set().union(*(traced(target.run, data) for data in chosen))
    size = sum(len(repr(data)) + 1 for data in chosen)
    steps = {data: traced(target.run, data) - seen for data in candidates}
    while len(chosen) < MOST_INPUTS:
        left = [data for data in steps if steps[data] and size + len(repr(data)) < MOST_BYTES]
        if not left:
            break
        best = max(left, key=lambda data: (len(steps[data]) / (30 + len(data)), data))
        chosen.append(best)
        size += len(repr(best)) + 1
        found = steps.pop(best)
        for data in steps:
            steps[data] -= found
    return chosen


def traced(run: Callable[[bytes], None], data: bytes) -> set[Any]:
    """The steps from line to line that the package takes on an input, each with about how often."""
    steps: Counter[Any] = Counter()
    before: dict[FrameType, int] = {}

    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            steps[frame.f_code, before.get(frame, 0), frame.f_lineno] += 1
            before[frame] = frame.f_lineno
        elif event == "return":
            before.pop(frame, None)
        return local

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return local if frame.f_code.co_filename.startswith(_PACKAGE) else None

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        run(data)
    finally:
        sys.settrace(previous)
    return {(step, count.bit_length()) for step, count in steps.items()}
