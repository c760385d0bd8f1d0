"""Many seeds, in one process or several."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from types import FrameType
from typing import Final

from .making import make_plan
from .run import run

# Seeds that a process runs before it reports.
_CHUNK: Final = 25
# Real seconds after which a world counts as stuck.
_WORLD_SECONDS: Final = 60.0


class Endless(BaseException):
    """A world takes too long in real time: something goes round in circles."""


@dataclass
class Summary:
    """What many worlds have shown."""

    worlds: int = 0
    connections: int = 0
    messages: int = 0
    losses: int = 0
    answers: int = 0
    cpu_seconds: float = 0.0
    failures: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: Summary) -> None:
        """Take in what others have shown."""
        self.worlds += other.worlds
        self.connections += other.connections
        self.messages += other.messages
        self.losses += other.losses
        self.answers += other.answers
        self.cpu_seconds += other.cpu_seconds
        self.failures.update(other.failures)

    def kinds(self) -> Counter[str]:
        """How many worlds show a violation of each kind."""
        return Counter(
            kind
            for violations in self.failures.values()
            for kind in {violation.partition(":")[0] for violation in violations}
        )

    def __str__(self) -> str:
        return (
            f"{self.worlds} worlds, {len(self.failures)} with violations {dict(self.kinds())}; "
            f"{self.connections} connections, {self.losses} ends of which were cut off, "
            f"{self.messages} messages received, {self.answers} requests answered; "
            f"{self.cpu_seconds:.1f} CPU seconds"
        )


def run_seeds(seeds: list[int]) -> Summary:
    """Run the worlds of some seeds."""
    summary = Summary()
    started = time.process_time()
    gc.collect()
    gc.freeze()  # so that looking for garbage is cheap
    try:
        for seed in seeds:
            with alarm():
                outcome = run(make_plan(seed))
            summary.worlds += 1
            summary.connections += outcome.connections
            summary.messages += outcome.messages
            summary.losses += outcome.losses
            summary.answers += outcome.answers
            if outcome.violations:
                summary.failures[seed] = outcome.violations
    finally:
        gc.unfreeze()
    summary.cpu_seconds = time.process_time() - started
    return summary


@contextmanager
def alarm(seconds: float = _WORLD_SECONDS) -> Iterator[None]:
    """End what is run meanwhile, if it goes round in circles; in real time."""

    def ring(_: int, frame: FrameType | None) -> None:
        raise Endless(f"after {seconds} s, in {frame}")

    if sys.platform == "win32":  # which has no timers
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_batch(
    first: int,
    number: int | None,
    *,
    processes: int = 1,
    seconds: float | None = None,
    report: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Run many seeds.

    Args:
        first: the first seed.
        number: how many, or None for as many as there is time for.
        processes: how many run at the same time.
        seconds: after so many no new worlds are begun.
        report: called with the sum so far, now and then.
    """
    ends_at = None if seconds is None else time.monotonic() + seconds
    seeds = iter(count(first) if number is None else range(first, first + number))
    chunks = iter(lambda: list(islice(seeds, _CHUNK)), [])
    total = Summary()

    def more() -> list[int] | None:
        late = ends_at is not None and time.monotonic() >= ends_at
        return None if late else next(chunks, None)

    if processes == 1:
        while (chunk := more()) is not None:
            total.add(run_seeds(chunk))
            report(total)
        return total
    with ProcessPoolExecutor(processes) as pool:
        running: set[Future[Summary]] = set()
        while True:
            while len(running) < 2 * processes and (chunk := more()) is not None:
                running.add(pool.submit(run_seeds, chunk))
            if not running:
                return total
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                total.add(future.result())
            report(total)
