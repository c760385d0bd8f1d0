"""Calls in processes of their own, made by fork, so that all that is imported is there already."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")

# Memory that a process may take beyond what it has got, in bytes.
_MEMORY: Final = 2**30
# Seconds after which a process that waits for something is ended.
_PATIENCE: Final = 300


def forked(
    calls: Iterable[tuple[Callable[[], T], float | None]], jobs: int
) -> Iterator[tuple[int, T | None]]:
    """Make each call in its own process, `jobs` at a time; yield its index and what it returned.

    With each comes the CPU time in seconds that it may take; None is no limit, and leaves it its
    output. The result is None for a process that died, because of its time or for another reason.
    """
    # Plain descriptors: a file of ours that is collected in a test's process would be its fault.
    running: dict[int, tuple[int, int]] = {}
    if sys.platform == "win32":
        raise NotImplementedError
    for index, (call, seconds) in enumerate(calls):
        result, path = tempfile.mkstemp()
        os.unlink(path)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _be_child(call, seconds, result)
        running[pid] = index, result
        if len(running) >= jobs:
            yield _reap(running)
    while running:
        yield _reap(running)


def _reap(running: dict[int, tuple[int, int]]) -> tuple[int, T | None]:
    if sys.platform == "win32":
        raise NotImplementedError
    pid, status = os.wait()
    index, result = running.pop(pid)
    with open(result, "rb") as file:
        if status:
            return index, None
        file.seek(0)
        value: T = pickle.load(file)
        return index, value


def _be_child(call: Callable[[], T], seconds: float | None, result: int) -> None:
    status = 1
    try:
        if seconds is not None:
            _limit(seconds)
        value = pickle.dumps(call())
        with open(result, "wb") as file:
            file.write(value)
        status = 0
    finally:
        if status and seconds is None:
            sys.excepthook(*sys.exc_info())
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def limit_seconds(seconds: float) -> None:
    """End this process unless it asks again before it has used so much CPU time."""
    if sys.platform == "win32":
        raise NotImplementedError
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit(seconds: float) -> None:
    """Bound the CPU time, the memory and the waiting of this process, and take its output away."""
    if sys.platform == "win32":
        raise NotImplementedError
    signal.alarm(_PATIENCE)
    limit = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, size + _MEMORY))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
