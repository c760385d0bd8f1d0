"""Work must grow no faster than input: on the worst known inputs, time(2n)/time(n) is below 2.5.

::

    python -m tests.fuzz.complexity             processor time, the least of many runs
    python -m tests.fuzz.complexity --counted   lines executed and bytes copied, as the tests do
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import trio_ws

from .patterns import PATTERNS, Pattern

MOST: Final = 2.5
_PACKAGE: Final = str(Path(trio_ws.__file__).parent)
_SECONDS: Final = 0.003  # of the smaller size, if it takes that long: less would be noise
_LARGEST: Final = 40_000  # above, the processor's caches and the allocator are measured
_NOTHING: Final = 0.0005  # less than this for the largest input is refused at once
_RUNS: Final = 7  # of which the least time counts: what is above it is the machine's
_MOST_RUNS: Final = 40  # when the machine is busy


def counted(call: Callable[[], object]) -> int:
    """Lines that the package executes, and bytes of what its objects hold and functions return.

    Bytes count each time that an attribute is another object than before: so a buffer that is
    copied for each byte that comes shows, although it is one line.
    """
    total = 0
    held: dict[tuple[int, str], Any] = {}

    def local(frame: FrameType, event: str, value: object) -> Any:
        nonlocal total
        total += 1
        if event == "return":
            if isinstance(value, (bytes, str)):
                total += len(value)
            owner = frame.f_locals.get("self")
            for name in _attributes(type(owner)) if owner is not None else ():
                new = getattr(owner, name, None)
                if type(new) is bytes and held.get((id(owner), name)) is not new:
                    held[id(owner), name] = new
                    total += len(new)
        return local

    def trace(frame: FrameType, event: str, value: object) -> Any:
        return local if frame.f_code.co_filename.startswith(_PACKAGE) else None

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(previous)
    return total


def _attributes(owner: type) -> tuple[str, ...]:
    return tuple(name for name in getattr(owner, "__slots__", ()) if name != "__weakref__")


def count_ratio(pattern: Pattern) -> float:
    """How the work grows when the input doubles."""
    return counted(pattern.make(2 * pattern.size)) / counted(pattern.make(pattern.size))


def time_ratio(pattern: Pattern) -> tuple[float, int, float]:
    """How the time grows when the input doubles; with the size, and its seconds.

    What is quadratic grows too fast at each size. What has just outgrown one of the processor's
    caches does so once, so a second and a third size may prove the first one wrong.
    """
    size = pattern.size
    while _time(pattern.make(size)) < _SECONDS and size < _LARGEST:
        size *= 2
    ratio, seconds = _double(pattern, size)
    for _ in range(2):
        if ratio < MOST:
            break
        size *= 2
        ratio, seconds = _double(pattern, size)
    return ratio, size, seconds


def _double(pattern: Pattern, size: int) -> tuple[float, float]:
    """The least time for twice the size, divided by that for the size; and the latter."""
    gc.collect()
    calls = pattern.make(size), pattern.make(2 * size)
    least = [math.inf, math.inf]
    for run in range(_MOST_RUNS):
        least = [min(*pair) for pair in zip(least, map(_time, calls), strict=True)]
        if run >= _RUNS and least[1] < MOST * least[0]:
            break
    return least[1] / least[0], least[0]


def _time(call: Callable[[], object]) -> float:
    """The processor time of a call, without the garbage collector, whose turn comes anywhere."""
    gc.disable()
    started = time.process_time()
    try:
        call()
        return max(time.process_time() - started, 1e-9)
    finally:
        gc.enable()


def main() -> int:
    """Measure all patterns; 1 if one grows too fast."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.complexity")
    parser.add_argument("--counted", action="store_true")
    options = parser.parse_args()
    slow = 0
    for pattern in PATTERNS:
        if options.counted:
            ratio, size, seconds = count_ratio(pattern), pattern.size, 0.0
        else:
            ratio, size, seconds = time_ratio(pattern)
        bad = ratio >= MOST and (options.counted or seconds >= _NOTHING)
        slow += bad
        line = f"{pattern.name:40} {ratio:5.2f} {size:8} {1000 * seconds:8.1f} ms"
        sys.stdout.write(f"{line}{'  TOO FAST' if bad else ''}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(PATTERNS)} patterns, {slow} grow faster than {MOST}\n")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())
