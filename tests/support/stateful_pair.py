"""Two real connections and what is done to them, judged by a model of their messages and ends."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import ConnectionClosed, WebSocketConnection

Message = str | bytes
Operation = tuple[Any, ...]

# Virtual seconds after which a call hangs; no wait of the library is that long.
_HANGS = 1000


@dataclass(frozen=True)
class Setup:
    """How the two are connected.

    Args:
        lockstep: each write waits for its read.
        torn: bytes of one read.
        compression: both want it.
        queue: messages that wait to be received.
    """

    lockstep: bool
    torn: int | None
    compression: bool
    queue: int

    @property
    def capacity(self) -> float:
        """Messages of which no side reads more before one is received."""
        return math.inf if self.lockstep else self.queue


class World:
    """The pair and its model; sides are 0, the client, and 1, the server.

    `arriving[side]` are the messages that were sent to a side and not received yet. `ended[side]`
    says what the next failure is: "here", "peer" or "lost", and the close code.
    """

    def __init__(self, ends: list[WebSocketConnection], streams: Any, setup: Setup) -> None:
        self.ends = ends
        self.streams = streams
        self.setup = setup
        self.arriving: tuple[deque[Message], deque[Message]] = (deque(), deque())
        self.ended: list[tuple[str, int] | None] = [None, None]

    async def do(self, operation: Operation) -> None:
        """Do something, and compare what comes of it with the model."""
        name, *arguments = operation
        with trio.fail_after(_HANGS):
            await getattr(self, name)(*arguments)

    # What may be done

    async def send(self, side: int, message: Message, compress: bool | None) -> None:
        """Send; it is confirmed, or the right error comes."""
        if self.ended[side] is not None:
            await self._fails(side, lambda: self.ends[side].send(message), sending=True)
            return
        await self.ends[side].send(message, compress=compress)
        self.arriving[1 - side].append(message)

    async def receive(self, side: int) -> None:
        """Receive what is next, or the end, or nothing."""
        ended, arriving = self.ended[side], self.arriving[side]
        if arriving and ended == ("lost", 1006):
            try:
                assert await self.ends[side].receive() == arriving.popleft()
            except ConnectionClosed:  # it did not come through; then nothing else does
                arriving.clear()
                await self._fails(side, self.ends[side].receive)
        elif arriving:
            assert await self.ends[side].receive() == arriving.popleft()
        elif ended is not None:
            await self._fails(side, self.ends[side].receive)
        else:
            with trio.move_on_after(0.5) as scope:
                message = await self.ends[side].receive()
                raise AssertionError(f"{message!r} out of nothing")
            assert scope.cancelled_caught

    async def cancelled_send(self, side: int, message: Message, steps: int) -> None:
        """A send that is cancelled some steps later is done, or has done nothing."""
        if self.ended[side] is not None:
            return
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_after, scope, steps)
                await self.ends[side].send(message)
                self.arriving[1 - side].append(message)
                scope.cancel()

    async def cancelled_receive(self, side: int, message: Message, steps: int) -> None:
        """A receive that is cancelled while a message comes has it, or has lost nothing."""
        if self.ended[0] is not None or self.ended[1] is not None:
            return
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.send, 1 - side, message, None)
                nursery.start_soon(_cancel_after, scope, steps)
                received = await self.ends[side].receive()
                # The task that sends may have found no time to note it.
                if not self.arriving[side]:
                    self.arriving[side].append(message)
                    assert received == message
                    nursery.cancel_scope.cancel()
                assert received == self.arriving[side].popleft()
                scope.cancel()

    async def burst(self, side: int, count: int) -> None:
        """Of tasks that send at the same time, each message arrives once."""
        if self.ended[side] is not None:
            return
        await self._make_room(1 - side, 0)
        messages = [f"burst {number}" for number in range(count)]
        received = []
        async with trio.open_nursery() as nursery:
            for message in messages:
                nursery.start_soon(self.ends[side].send, message)
            received = [await self.ends[1 - side].receive() for _ in messages]
        assert sorted(map(str, received)) == sorted(messages)

    async def ping(self, side: int) -> None:
        """A ping is answered, or the right error comes."""
        if self.ended[side] is not None:
            await self._fails(side, self.ends[side].ping, sending=True)
            return
        for each in (0, 1):  # control frames wait behind messages for which there is no room
            await self._make_room(each, self.setup.capacity - 1)
        await self.ends[side].ping()
        assert self.ends[side].latency is not None

    async def wait(self, seconds: float) -> None:
        """Time goes by, and nothing happens."""
        await trio.sleep(seconds)
        for side in (0, 1):
            assert (self.ends[side].closed is None) == (self.ended[side] is None)

    async def close(self, side: int, code: int, reason: str) -> None:
        """A side closes: it is over here, and the peer gets all that came before, and the code."""
        await self._make_room(1 - side, self.setup.capacity - 1)
        await self.ends[side].aclose(code, reason)
        if self.ended[side] is None:
            self.ended = [("peer", code), ("peer", code)]
            self.ended[side] = "here", code
            await self.ends[1 - side].wait_closed()
            for end in self.ends:
                assert end.closed is not None
                assert end.closed.code == code
            assert self.ends[1 - side].closed.reason == (reason or None)  # type: ignore[union-attr]
        elif self.ended[side][0] != "here":  # type: ignore[index]
            self.ended[side] = "here", self.ended[side][1]  # type: ignore[index]
        self.arriving[side].clear()

    async def cut(self, side: int) -> None:
        """The transport breaks: both have lost the connection."""
        if self.ended[side] is None:
            await trio.aclose_forcefully(self.streams[side])
            self.ended = [("lost", 1006), ("lost", 1006)]
            for each in (0, 1):
                # A side whose queue is full does not look at its transport.
                await self._make_room(each, 0)
                await self.ends[each].wait_closed()

    async def finish(self) -> None:
        """Receive the rest, and close."""
        for side in (0, 1):
            while self.arriving[side]:
                await self.do(("receive", side))
        await self.do(("close", 0, 1000, ""))
        await self.do(("receive", 0))
        await self.do(("receive", 1))
        await self.do(("close", 1, 1000, ""))

    # The model

    async def _make_room(self, side: int, most: float) -> None:
        while len(self.arriving[side]) > max(0, most):
            await self.receive(side)

    async def _fails(
        self, side: int, call: Callable[[], Awaitable[object]], *, sending: bool = False
    ) -> None:
        """A call raises what goes with the end of a side."""
        ended = self.ended[side]
        assert ended is not None
        kinds: dict[str, type[Exception]] = {
            "here": trio.ClosedResourceError,
            "peer": trio.BrokenResourceError if sending else trio.EndOfChannel,
            "lost": trio.BrokenResourceError,
        }
        with pytest.raises(ConnectionClosed) as caught:
            await call()
        error = caught.value
        assert isinstance(error, kinds[ended[0]])
        assert error.reason is not None
        assert error.reason.code == ended[1]


async def _cancel_after(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@asynccontextmanager
async def world(setup: Setup) -> AsyncIterator[World]:
    """A pair, connected through the opening handshake."""
    make = trio.testing.lockstep_stream_pair if setup.lockstep else trio.testing.memory_stream_pair
    streams = make()
    options: dict[str, Any] = {
        "message_queue_size": math.inf if setup.lockstep else setup.queue,
        "receive_buffer_size": setup.torn,
        "limits": trio_ws.Limits(send_buffer_size=200),
        "compression": trio_ws.PerMessageDeflate(threshold=0) if setup.compression else None,
    }
    ends: list[WebSocketConnection] = []
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            request = await trio_ws.wrap_server_stream(nursery, streams[1], **options)
            ends.append(await request.accept())

        nursery.start_soon(serve)
        client = await trio_ws.wrap_client_stream(nursery, streams[0], "host", "/", **options)
        await trio.testing.wait_all_tasks_blocked()
        yield World([client, *ends], streams, setup)
