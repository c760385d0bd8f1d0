"""Counting what an echo costs: scheduler steps, passes of the scheduler, reads and writes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from tests.support.connections import make_connection
from trio_ws import WebSocketConnection

Application = Callable[[WebSocketConnection], Awaitable[None]]


class Cost(NamedTuple):
    """What some echoes have cost, or one of them.

    Args:
        reader: steps of the connection's reader.
        application: steps of the task that receives and sends.
        writer: steps of the connection's writer.
        passes: passes of the scheduler, each with a system call, until the last of these steps.
        reads: calls that read from the socket or the stream.
        writes: calls that write to it.
    """

    reader: float
    application: float
    writer: float
    passes: float
    reads: float
    writes: float


class Meter(trio.abc.Instrument):
    """Counts for the tasks of one nursery: a connection's two and its application's."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._passes = 0  # since the last of the steps
        self.reads = self.writes = 0
        self.steps: list[str] = []
        self.passes = 0

    def before_io_wait(self, timeout: float) -> None:
        """A pass ends: the scheduler asks the system what has happened."""
        self._passes += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step, and the passes that it took to get there."""
        if task.parent_nursery is self._nursery:
            self.steps.append(task.name)
            self.passes += self._passes
            self._passes = 0

    def fed(self) -> None:
        """The peer has sent: the passes before it were its own."""
        self._passes = 0

    def reset(self) -> None:
        """Begin anew."""
        self._passes = self.passes = self.reads = self.writes = 0
        self.steps.clear()

    def cost(self, echoes: int = 1) -> Cost:
        """The cost of each of so many echoes."""
        reader = sum("_run_reader" in name for name in self.steps)
        writer = sum("_run_writer" in name for name in self.steps)
        application = len(self.steps) - reader - writer
        counts = (reader, application, writer, self.passes, self.reads, self.writes)
        return Cost(*(count / echoes for count in counts))


class Kernel:
    """A socket's system calls without a kernel, whose segments are never the same twice.

    Args:
        fd: the descriptor whose calls are taken over.
        meter: counts them.
        room: bytes that the peer leaves unread before a write has to wait.
    """

    def __init__(self, fd: int, meter: Meter, room: int = 2**30) -> None:
        self._fd = fd
        self._meter = meter
        self._room = room
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._readable = trio.lowlevel.ParkingLot()
        self._writable = trio.lowlevel.ParkingLot()
        self.written_by = ""  # the name of the last task that wrote

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of the system calls."""
        monkeypatch.setattr(os, "read", self._read)
        monkeypatch.setattr(os, "write", lambda fd, data: self._writev(fd, [data]))
        monkeypatch.setattr(os, "writev", self._writev)
        monkeypatch.setattr(trio.lowlevel, "wait_readable", self._wait_readable)
        monkeypatch.setattr(trio.lowlevel, "wait_writable", self._wait_writable)

    def send(self, data: bytes) -> None:
        """Send as the peer: the bytes can be read from now on."""
        self._meter.fed()
        self._incoming += data
        self._readable.unpark_all()

    def receive(self) -> bytes:
        """Receive as the peer, which makes room."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        if data:
            self._meter.fed()
            self._writable.unpark_all()
        return data

    def _read(self, fd: int, size: int) -> bytes:
        assert fd == self._fd
        self._meter.reads += 1
        if not self._incoming:
            raise BlockingIOError
        data = bytes(self._incoming[:size])
        del self._incoming[:size]
        return data

    def _writev(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        assert fd == self._fd
        self._meter.writes += 1
        self.written_by = trio.lowlevel.current_task().name
        taken = b"".join(buffers)[: self._room - len(self._outgoing)]
        if not taken:
            raise BlockingIOError
        self._outgoing += taken
        return len(taken)

    async def _wait_readable(self, _: object) -> None:
        if self._incoming:
            await trio.lowlevel.checkpoint()
        else:
            await self._readable.park()

    async def _wait_writable(self, _: object) -> None:
        if len(self._outgoing) < self._room:
            await trio.lowlevel.checkpoint()
        else:
            await self._writable.park()


class CountingStream(trio.abc.Stream):
    """A stream whose calls are counted."""

    def __init__(self, stream: trio.abc.Stream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Count a read."""
        self._meter.reads += 1
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Count a write."""
        self._meter.writes += 1
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


def count_system_calls(monkeypatch: pytest.MonkeyPatch, fd: int, meter: Meter) -> None:
    """Count the reads and writes of a real descriptor."""

    def counting(name: str, kind: str) -> Callable[..., Any]:
        call = getattr(os, name)

        def count(of: int, *args: Any) -> Any:
            setattr(meter, kind, getattr(meter, kind) + (of == fd))
            return call(of, *args)

        return count

    for name, kind in (("read", "reads"), ("write", "writes"), ("writev", "writes")):
        monkeypatch.setattr(os, name, counting(name, kind))


@asynccontextmanager
async def metered() -> AsyncIterator[tuple[trio.Nursery, Meter]]:
    """A nursery for a connection, cancelled in the end, and the meter of its tasks."""
    async with trio.open_nursery() as nursery:
        meter = Meter(nursery)
        trio.lowlevel.add_instrument(meter)
        try:
            yield nursery, meter
        finally:
            trio.lowlevel.remove_instrument(meter)
        nursery.cancel_scope.cancel()


async def start(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    application: Application,
    *,
    client: bool = False,
    **options: Any,
) -> None:
    """Start a connection over a stream, and its application."""
    connection = make_connection(stream, client=client, **options)
    await connection._start(nursery)
    nursery.start_soon(application, connection)
    await trio.testing.wait_all_tasks_blocked()


async def echo(connection: WebSocketConnection) -> None:
    """Answer each message with itself."""
    async for message in connection:
        await connection.send(message)
