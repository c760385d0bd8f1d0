"""A clock for deadlines of a fraction of a second, on a machine that may be busy with others."""

from __future__ import annotations

import time
from typing import Final

import trio

_SHORT: Final = 0.01


class OwnClock(trio.abc.Clock):
    """Time passes while this process computes, or has nothing to do, and not while it has to wait.

    Both ends of all connections are in this process. If it is kept from running for longer than a
    deadline, that says nothing of either of them.
    """

    def __init__(self) -> None:
        self._slept = 0.0
        self._asleep: tuple[float, float] | None = None  # since when, and for how long at most

    def start_clock(self) -> None:
        """Nothing to do."""

    def current_time(self) -> float:
        """Seconds of the processor, and of sleep."""
        if self._asleep is not None:
            since, seconds = self._asleep
            self._asleep = None
            # More than that it was awake, and others had the processor.
            self._slept += min(time.monotonic() - since, seconds)
        return self._slept + time.process_time()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Seconds to sleep for a deadline; the scheduler, which asks, does so, then asks again.

        These are half of what is left: whoever sleeps, is woken by an event and then has to wait
        for the processor is not to find that the deadline has come, too.
        """
        seconds = max(0.0, deadline - self.current_time())
        if seconds > _SHORT:
            seconds /= 2
        self._asleep = time.monotonic(), seconds
        return seconds
