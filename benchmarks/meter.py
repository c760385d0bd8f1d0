"""Counts and times what runs in its own process: clients, and zlib alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any


class Meter:
    """Says when to go on, and what it took; ask it after each unit of work.

    Args:
        warmup: seconds that do not count.
        seconds: seconds that count.
    """

    def __init__(self, warmup: float, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.perf_counter() + warmup
        self._measuring = False
        self._cpu = 0.0
        self._times: list[float] = []
        self.result: dict[str, Any] = {}

    def running(self) -> bool:
        """Whether to do another unit of work."""
        now = time.perf_counter()
        if self._measuring:
            self._times.append(now)
        if now < self._next:
            return True
        if self._measuring:
            self._finish()
            return False
        self._measuring = True
        self._cpu = time.process_time()
        now = time.perf_counter()
        self._times.append(now)
        self._next = now + self._seconds
        return True

    def _finish(self) -> None:
        cpu = time.process_time() - self._cpu
        times = self._times
        count, taken = len(times) - 1, times[-1] - times[0]
        each = sorted(end - start for start, end in pairwise(times))
        self.result = {
            "messages": count,
            "seconds": taken,
            "cpu": cpu * 1e6 / count,
            "rate": count / taken,
            "p50": each[count // 2] * 1e6,
            "p99": each[count * 99 // 100] * 1e6,
            "busy": cpu / taken,
        }


def questions() -> Iterator[dict[str, Any]]:
    """Say that this process is ready, then yield what it is asked."""
    answer({})
    for line in sys.stdin:
        yield json.loads(line)


def answer(result: dict[str, Any]) -> None:
    """Answer the last question."""
    print(json.dumps(result), flush=True)
