"""A hostile peer and an application, at the two ends of a memory stream, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from unittest import mock

import trio
import trio.testing

import trio_ws

from . import http_oracle
from .properties import expect, same

HEAD: Final = http_oracle.HeadLimits(8192, 100, 32768)
_SECONDS: Final = 4.0  # of each deadline of a connection
_END: Final = 300.0  # virtual seconds after which a run counts as hung
_DEFLATE: Final = trio_ws.PerMessageDeflate(
    client_max_window_bits=15, server_max_window_bits=15, threshold=0
)


@dataclass
class Run:
    """One case: what both ends do, and what came of it.

    Args:
        client: the connection under test is the client.
        deflate: both ends want compression.
        opening: what the peer sends as its request or its answer; None is a good one.
        app: what the application does, bit by bit.
        max_size: its limit for a message.
        queue: its limit for messages that wait.
        seed: of the scheduler.
        script: what the peer does then: ("send", bytes), ("wait", seconds), ("half", None) for no
            more bytes, and ("vanish", None).
    """

    client: bool
    deflate: bool
    opening: bytes | None
    app: int
    max_size: int
    queue: int
    seed: int
    script: list[tuple[str, bytes | float | None]] = field(default_factory=list)

    sent: bytearray = field(default_factory=bytearray)  # by the peer, after the handshake
    out: bytearray = field(default_factory=bytearray)  # received by the peer
    received: list[str | bytes] = field(default_factory=list)
    confirmed: list[bytes] = field(default_factory=list)
    opened: bool = False
    code: int | None = None
    closing: bool = False
    received_all: bool = False  # receiving came to its end before this end closed

    @property
    def vanishes(self) -> bool:
        """Whether the peer closes without a word: what it has not read is lost."""
        return any(what == "vanish" for what, _ in self.script)


def play(run: Run) -> None:
    """Run it; it ends in time and leaves no task."""
    with _scheduled(run.seed):
        trio.run(_play, run, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def _scheduled(seed: int) -> Generator[None, None, None]:
    """The scheduler takes the tasks of a turn in an order that depends on the seed alone."""
    scheduler: Any = trio._core._run
    state = scheduler._r.getstate()
    scheduler._r.seed(seed)
    try:
        with mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
            yield
    finally:
        scheduler._r.setstate(state)


async def _play(run: Run) -> None:
    living = trio.lowlevel.current_statistics().tasks_living
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.move_on_after(_END) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_peer, run, theirs)
            await _application(run, ours)
    expect(not scope.cancelled_caught, "it hangs", run)
    same(trio.lowlevel.current_statistics().tasks_living, living, "living tasks")


async def _application(run: Run, stream: trio.abc.Stream) -> None:
    async with trio.open_nursery() as nursery:
        try:
            connection = await _open(run, nursery, stream)
        except trio_ws.HandshakeError as error:
            expect(run.opening is not None, "a good handshake failed", error)
            return
        run.opened = True
        run.deflate = bool(connection.extensions)
        async with trio.open_nursery() as users:
            users.start_soon(_receive, run, connection)
            users.start_soon(_send, run, connection)
            if run.app & 2:
                users.start_soon(_until_closed, connection.ping, b"are you there")
                users.start_soon(_until_closed, connection.pong, b"")
            if run.app & 4:
                users.start_soon(_close_later, run, connection)
        await connection.aclose()
        await connection.wait_closed()
        assert connection.closed is not None
        run.code = connection.closed.code
        expect(connection.statistics() is not None, "statistics")


async def _open(
    run: Run, nursery: trio.Nursery, stream: trio.abc.Stream
) -> trio_ws.WebSocketConnection:
    mark = 10 if run.app & 16 else 65536
    options: trio_ws.ConnectionOptions = {
        "max_message_size": run.max_size,
        "message_queue_size": run.queue,
        "connect_timeout": _SECONDS,
        "disconnect_timeout": _SECONDS,
        "ping_interval": _SECONDS if run.app & 8 else 20,
        "ping_timeout": _SECONDS,
        "compression": _DEFLATE if run.deflate else None,
        "limits": trio_ws.Limits(send_buffer_size=mark, write_timeout=_SECONDS),
    }
    if run.client:
        return await trio_ws.wrap_client_stream(nursery, stream, "example.org", "/", **options)
    request = await trio_ws.wrap_server_stream(nursery, stream, **options)
    return await request.accept()


async def _receive(run: Run, connection: trio_ws.WebSocketConnection) -> None:
    if run.app & 32:
        await trio.sleep(9)
    try:
        while True:
            run.received.append(await connection.receive())
            if run.app & 1:
                await trio.sleep(0.5)
    except trio_ws.ConnectionClosed as error:
        kinds = trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError
        expect(isinstance(error, kinds), "the kind of the exception", error)
        expect(str(error).isprintable() and len(repr(error)) < 600, "its text", error)
        run.received_all = not run.closing


async def _send(run: Run, connection: trio_ws.WebSocketConnection) -> None:
    for number in range(run.app >> 6):
        message = b"%d" % number * (1 + 70 * number)
        try:
            await connection.send(message)
        except trio_ws.ConnectionClosed:
            return
        run.confirmed.append(message)
        await trio.sleep(number)


async def _until_closed(call: Callable[[bytes], Awaitable[None]], payload: bytes) -> None:
    try:
        await call(payload)
    except trio_ws.ConnectionClosed:
        pass


async def _close_later(run: Run, connection: trio_ws.WebSocketConnection) -> None:
    await trio.sleep(run.app / 50)
    run.closing = True
    await connection.aclose(4000, "enough")


async def _peer(run: Run, stream: trio.abc.HalfCloseableStream) -> None:
    async with trio.open_nursery() as nursery:
        try:
            await _shake_hands(run, stream)
            nursery.start_soon(_follow, run, stream)
            while data := await stream.receive_some():
                run.out += data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the connection is closed, or the script has the peer vanish
    await trio.aclose_forcefully(stream)


async def _shake_hands(run: Run, stream: trio.abc.Stream) -> None:
    if not run.client:
        request = _REQUEST + (_EXTENSION if run.deflate else b"") + b"\r\n"
        await stream.send_all(request if run.opening is None else run.opening)
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some()
        if not data:
            return
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    run.out += rest
    if run.client:
        fields = http_oracle.read_head(head + b"\r\n\r\n", HEAD)
        accept = http_oracle.accept(fields.all(b"sec-websocket-key")[0])
        answer = _ANSWER + accept + b"\r\n" + (_EXTENSION if run.deflate else b"") + b"\r\n"
        if run.opening is not None:
            answer = run.opening.replace(b"{ACCEPT}", accept)
        await stream.send_all(answer)


async def _follow(run: Run, stream: trio.abc.HalfCloseableStream) -> None:
    try:
        await _play_script(run, stream)
    except trio.BrokenResourceError:
        pass  # the connection is closed


async def _play_script(run: Run, stream: trio.abc.HalfCloseableStream) -> None:
    for what, value in run.script:
        match what, value:
            case "send", bytes():
                if value:
                    await stream.send_all(value)
                run.sent += value
            case "wait", float():
                await trio.sleep(value)
            case "half", _:
                await stream.send_eof()
                return
            case _:
                await stream.aclose()
                return


_EXTENSION: Final = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
_REQUEST: Final = (
    b"GET /chat HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_ANSWER: Final = (
    b"HTTP/1.1 101 .\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
