"""Processes that do what they are told: a line of JSON in, a line of JSON out."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import trio

ROOT: Final = Path(__file__).parents[2]
LONGEST: Final = 2**16

Command = Callable[..., Awaitable[object]]


def raise_limit() -> int:
    """Let this process open as many files as it may; return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


async def answer_commands(commands: Mapping[str, Command]) -> None:
    """Run the commands that come on standard input, until it ends."""
    async with trio.lowlevel.FdStream(os.dup(0)) as lines, trio.lowlevel.FdStream(os.dup(1)) as out:
        buffer = b""
        async for data in lines:
            buffer += data
            while b"\n" in buffer:
                line, _, buffer = buffer.partition(b"\n")
                question = json.loads(line)
                answer = await commands[question.pop("command")](**question)
                await out.send_all(json.dumps(answer).encode() + b"\n")


class Worker:
    """A process that answers commands.

    Args:
        name: its module in this package.
        process: what runs it.
    """

    def __init__(self, name: str, process: trio.Process) -> None:
        self.name = name
        self.process = process
        self._lock = trio.Lock()
        self._buffer = b""

    async def ask(self, command: str, **arguments: object) -> Any:
        """Have a command run; what it returns.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self.process.stdin and self.process.stdout
        async with self._lock:
            line = json.dumps({"command": command, **arguments}).encode() + b"\n"
            try:
                await self.process.stdin.send_all(line)
                return json.loads(await self._line())
            except (EOFError, trio.BrokenResourceError):
                status = await self.process.wait()
                raise RuntimeError(f"the {self.name} ended with {status} at {command}") from None

    async def _line(self) -> bytes:
        assert self.process.stdout
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some(LONGEST)
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def stop(self) -> None:
        """End it: an end of its input, and the signal if that is not enough."""
        assert self.process.stdin
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await self.process.stdin.aclose()
            await self.process.wait()
        if self.process.poll() is None:
            self.process.kill()
        with trio.CancelScope(shield=True):
            await self.process.wait()


async def start(name: str, arguments: Mapping[str, object]) -> Worker:
    """Start a process; its arguments are one of JSON."""
    command = [sys.executable, "-m", f"{__package__}.{name}", json.dumps(arguments)]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    return Worker(name, process)
