"""Peers as subprocesses that report facts as lines of JSON on their standard output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

ROOT = Path(__file__).parents[2]
NODE = Path(__file__).parent / "node"
DEADLINE = 60.0  # seconds; nothing here takes more than a few unless it hangs,
RETRY_DEADLINE = 1.0  # and whatever hung once is not waited for again and again
Fact = dict[str, Any]


class PeerError(AssertionError):
    """A peer ended, or did not report what it should have."""


class Peer:
    """A running subprocess. Context manager: leaving it ends the process."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        input: object = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start `argv`, with `input` as JSON on its standard input."""
        self.argv = [str(argument) for argument in argv]
        self.facts: list[Fact] = []
        self.errors: list[str] = []
        self._patience = DEADLINE
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            pass_fds=pass_fds,
            start_new_session=True,  # browsers have children: they end as a group
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._readers = [
            threading.Thread(target=self._read, args=(self._process.stdout, self._add_fact)),
            threading.Thread(target=self._read, args=(self._process.stderr, self.errors.append)),
        ]
        for reader in self._readers:
            reader.start()
        self._running = len(self._readers)
        try:
            with self._process.stdin as stdin:
                stdin.write("" if input is None else json.dumps(input))
        except BrokenPipeError:
            pass  # it has ended already: whoever waits for a fact is told why

    def _add_fact(self, line: str) -> None:
        try:
            self.facts.append(json.loads(line))
        except ValueError:  # browsers talk
            self.errors.append(line)

    def _read(self, pipe: IO[str], add: Callable[[str], None]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    add(line)
                    self._changed.notify_all()
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[Fact], bool], what: str) -> Fact:
        """The first fact that is `wanted`; PeerError when it cannot come any more."""
        self._wait(lambda: any(map(wanted, self.facts)), what)
        return next(filter(wanted, self.facts))

    def wait_for_error(self, text: str) -> None:
        """Wait until a line of standard error contains `text`."""
        self._wait(lambda: any(text in line for line in self.errors), f"{text!r} as an error")

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: happened() or not self._running, self._patience)
            if happened():
                return
        state = "in time" if self._running else "before it ended"
        self._patience = RETRY_DEADLINE
        raise PeerError(f"{what}: not {state}\n{self.describe()}")

    def ports(self) -> dict[str, int]:
        """The ports of a server by the setup of compression, as soon as it listens."""
        ports: dict[str, int] = self.wait_for(lambda fact: "ports" in fact, "ports")["ports"]
        return ports

    def port(self) -> int:
        """The port of a server that belongs to no setup."""
        return self.ports()[""]

    def record(self, run: str) -> Fact:
        """How a server saw the connection of this name end."""
        return self.wait_for(lambda fact: fact.get("run") == run, f"record of {run}")

    def outcome(self, case: str) -> Fact:
        """What a client reports of this case."""
        return self.wait_for(lambda fact: fact.get("case") == case, f"outcome of {case}")

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def describe(self) -> str:
        """The command and the end of its standard error, for messages."""
        return " ".join(self.argv) + "\n" + "".join(self.errors[-40:])

    def _end(self, *, force: bool) -> None:
        if sys.platform == "win32":
            self._process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL if force else signal.SIGTERM)

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(force=False)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        self._end(force=True)
        self._process.wait()
        for reader in self._readers:
            reader.join()


def python(module: str, *arguments: str | Path) -> list[str | Path]:
    """The command that runs a module of tests.interop.peers."""
    return [sys.executable, "-m", f"tests.interop.peers.{module}", *arguments]
