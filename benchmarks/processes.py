"""Processes that are measured: started, pinned and looked at from outside (Linux)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# The load on one core, what is measured on another; on the same one if there is only one.
CORES: Final = sorted(os.sched_getaffinity(0))
LOAD_CORE: Final = frozenset(CORES[:1])
MEASURED_CORE: Final = frozenset(CORES[-1:])


def cpu_ns(pid: int) -> int:
    """Nanoseconds of CPU time, user and system, that all threads of a process have used.

    The kernel's clock of that process, as clock_getcpuclockid(3) names it. While the process runs
    it may lag by a tick of the scheduler; see `settle`.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def sleeps(pid: int) -> bool:
    """Whether a process waits for something."""
    return (
        Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "S"
    )


def settle(pid: int, pause: float = 0.001) -> int:
    """Wait until a process has nothing more to do; return its CPU time, which is exact then.

    Args:
        pid: the process.
        pause: seconds in which it does nothing.
    """
    while True:
        before = cpu_ns(pid)
        time.sleep(pause)
        if sleeps(pid) and cpu_ns(pid) == before:
            return before


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process has in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE


class Measured:
    """A server or a client in a process of its own, which answers on its standard output.

    Args:
        module: its module in this package, such as ``servers.bare``.
        arguments: its command line.
        environment: environment variables to add.
        core: where it runs.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        core: frozenset[int],
    ) -> None:
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{module}", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        os.sched_setaffinity(self.pid, core)
        self._ready: dict[str, Any] | None = None

    def ready(self) -> dict[str, Any]:
        """Wait until it is ready; its first line, which says so."""
        if self._ready is None:
            self._ready = self._answer()
        return self._ready

    def _answer(self) -> dict[str, Any]:
        """Its next line, which is JSON."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.module} ended with {self._process.wait()}")
        result: dict[str, Any] = json.loads(line)
        return result

    def ask(self, **question: object) -> dict[str, Any]:
        """Write a line of JSON and return the answer to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()
