"""Bugs put in on purpose, by name, into the server process; the soak must find each.

They wrap public names, but for two that the library's private ones stand in.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

import trio_ws
from trio_ws import WebSocketConnection, WebSocketRequest

EACH: Final = 5000  # messages until the next one that is dropped, doubled, ...

Async = Callable[..., Awaitable[Any]]
_kept: Any = []


def _after(kind: type, name: str, then: Callable[[Any, Any], object]) -> None:
    """Have a method of a class do something afterwards, with its object and its result."""
    method: Async = getattr(kind, name)

    async def wrapped(self: Any, *args: Any, **options: Any) -> Any:
        result = await method(self, *args, **options)
        then(self, result)
        return result

    setattr(kind, name, wrapped)


def _instead(other: Callable[[Async, Any, str | bytes], Awaitable[None]]) -> None:
    """Do something else than ``send`` with one message in `EACH`; not with an empty one."""
    send, count = WebSocketConnection.send, 0

    async def wrapped(self: Any, value: str | bytes, **options: Any) -> None:
        nonlocal count
        count += bool(value)
        if value and count % EACH == 0:
            await other(send, self, value)
        else:
            await send(self, value, **options)

    WebSocketConnection.send = wrapped  # type: ignore[method-assign]


def task_per_connection() -> None:
    """A task stays for each connection."""

    def leave(connection: Any, result: object) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)

    _after(WebSocketRequest, "accept", leave)


def list_per_message() -> None:
    """Each connection keeps a list that grows with each message, until it ends."""

    def keep(connection: Any, result: object) -> None:
        connection.__dict__.setdefault("kept", []).append(None)

    _after(WebSocketConnection, "receive", keep)


def bytes_per_message() -> None:
    """Memory grows with each message, and no object that the garbage collector knows."""
    _kept.append(bytearray())
    _after(WebSocketConnection, "receive", lambda connection, result: _kept[0].extend(bytes(300)))


def message_dropped() -> None:
    """A message in 5,000 is lost."""

    async def drop(send: Async, connection: Any, value: str | bytes) -> None:
        await trio.lowlevel.checkpoint()

    _instead(drop)


def message_doubled() -> None:
    """A message in 5,000 is sent twice."""

    async def double(send: Async, connection: Any, value: str | bytes) -> None:
        await send(connection, value)
        await send(connection, value)

    _instead(double)


def message_damaged() -> None:
    """A message in 5,000 has another last character."""

    async def damage(send: Async, connection: Any, value: str | bytes) -> None:
        other: str | bytes = (
            value[:-1] + ("y" if value[-1] == "x" else "x")
            if isinstance(value, str)
            else value[:-1] + bytes([value[-1] ^ 1])
        )
        await send(connection, other)

    _instead(damage)


def message_overtaken() -> None:
    """A message in 5,000 arrives after the next one of its connection."""

    async def delay(send: Async, connection: Any, value: str | bytes) -> None:
        waiting: deque[str | bytes] = deque([value])
        inner = connection.send

        async def later(message: str | bytes, **options: Any) -> None:
            await inner(message, **options)
            while waiting:
                await send(connection, waiting.popleft())

        connection.send = later
        await trio.lowlevel.checkpoint()

    _instead(delay)


def descriptor_per_reset() -> None:
    """A file descriptor stays open for each connection that its peer has reset."""
    receive = WebSocketConnection.receive

    async def wrapped(self: WebSocketConnection) -> str | bytes:
        try:
            return await receive(self)
        except trio.BrokenResourceError:
            os.dup(2)
            raise

    WebSocketConnection.receive = wrapped  # type: ignore[method-assign]


def session_kept() -> None:
    """One session in ten stays in the server's set."""

    class Set(set[Any]):
        count = 0

        def remove(self, item: Any) -> None:
            self.count += 1
            if self.count % 10:
                super().remove(item)

    _replace_attribute(trio_ws.WebSocketServer, "_sessions", Set)


def connection_kept() -> None:
    """One connection in twenty stays in memory, long after its end."""
    count = 0

    def keep(request: object, connection: object) -> None:
        nonlocal count
        count += 1
        if count % 20 == 0:
            _kept.append(connection)

    _after(WebSocketRequest, "accept", keep)


def object_per_connection() -> None:
    """One small object stays for each connection, which the garbage collector does not know."""
    _after(WebSocketRequest, "accept", lambda request, connection: _kept.append(object()))


def buffer_per_connection() -> None:
    """One buffer of 1 KiB stays for each connection."""
    _after(WebSocketRequest, "accept", lambda request, connection: _kept.append(bytearray(1024)))


def memory_per_connection() -> None:
    """1 KiB of C's memory stays for each connection, and Python knows nothing of it."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    _after(WebSocketRequest, "accept", lambda request, connection: library.malloc(1024))


def patient_server() -> None:
    """The server waits for every peer, however long it takes."""
    start = trio_ws.WebSocketServer.__init__

    def patient(self: Any, *args: Any, **options: Any) -> None:
        options |= {"connect_timeout": 1e6, "ping_interval": None, "limits": trio_ws.Limits()}
        start(self, *args, **options)

    trio_ws.WebSocketServer.__init__ = patient  # type: ignore[method-assign]


def _replace_attribute(kind: Any, name: str, new: Callable[[], Any]) -> None:
    """Have each new object of a class have another attribute."""
    start = kind.__init__

    def wrapped(self: Any, *args: Any, **options: Any) -> None:
        start(self, *args, **options)
        assert hasattr(self, name), f"{kind.__name__}.{name} has another name now"
        setattr(self, name, new())

    kind.__init__ = wrapped


BUGS: Final[dict[str, Callable[[], None]]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        task_per_connection,
        list_per_message,
        bytes_per_message,
        message_dropped,
        message_doubled,
        message_damaged,
        message_overtaken,
        descriptor_per_reset,
        session_kept,
        connection_kept,
        object_per_connection,
        buffer_per_connection,
        memory_per_connection,
        patient_server,
    )
}


def apply(name: str | None) -> None:
    """Put a bug in, or none."""
    if name is not None:
        BUGS[name]()
