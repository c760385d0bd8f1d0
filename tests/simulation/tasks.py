"""What the tasks of an application do with a connection, at either end."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from trio_ws import ConnectionClosed

from .ends import End
from .model import EMPTY
from .plan import TOLD_WITHIN

# What is done with each message that is received.
OnMessage: TypeAlias = Callable[[str | bytes], Awaitable[None]]

_SIZES = (0, 1, 40, 90, 100, 126, 200, 300)


async def ignore(_: str | bytes) -> None:
    """Do nothing with a message."""


def size_for(end: End) -> int:
    """The size of the next message's content; or that there is nothing in it at all."""
    if end.rng.random() < end.plan.empties:
        return EMPTY
    largest = end.plan.largest
    if end.rng.random() < 0.2:
        return end.rng.randint(largest // 2, largest)
    return min(end.rng.choice(_SIZES), largest)


async def send_some(end: End, count: int, done: Callable[[], None] | None = None) -> None:
    """Send `count` messages; some of the calls are cancelled."""
    try:
        for _ in range(count):
            await send_one(end)
            if end.plan.pause:
                await trio.sleep(end.rng.random() * end.plan.pause)
    except ConnectionClosed:
        pass
    finally:
        if done is not None:
            done()


async def send_one(end: End) -> None:
    """Send a message, and maybe cancel that."""
    if end.rng.random() >= end.plan.cancels:
        await end.send(size_for(end))
        return
    with end.cancelled((0, 0.001, 0.05, 5)) as scope:
        if end.rng.random() < 0.1:
            scope.cancel()
        await end.send(size_for(end))


async def ping_some(end: End) -> None:
    """Ping, and send pongs; some of the calls are cancelled."""
    try:
        for number in range(end.plan.pings):
            if end.rng.random() < 0.3:
                await end.call("pong", end.connection.pong, b"%d" % number)
                continue
            with end.cancelled((0, 0.01, 1, 20)):
                await end.call("ping", end.connection.ping)
                end.note("pinged", end.connection.latency)
            await trio.sleep(end.rng.random() * 0.1)
    except ConnectionClosed:
        pass


async def receive_all(end: End, style: str, on_message: OnMessage = ignore) -> None:
    """Receive until the end, whatever that is, in one of the styles of `plan.RECEIVING`."""

    async def handle(message: str | bytes) -> None:
        end.busy += 1
        await on_message(message)
        end.busy -= 1
        end.world.wake()

    try:
        if style == "shared":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_receive_plain, end, "r1", handle, 0.0)
                nursery.start_soon(_receive_plain, end, "r2", handle, 0.0)
        elif style == "iterate":
            await _iterate(end, handle)
        elif style == "impatient":
            await _receive_impatiently(end, handle)
        elif style == "text":
            await _receive_text(end, handle)
        elif style == "poll":
            await _poll(end, handle)
        else:
            pause = end.rng.choice((0.3, 1.2)) if style == "slow" else 0.0
            if style == "slow":
                await trio.sleep(end.rng.choice((0, 0, 9)))
            elif style == "busy":
                with trio.move_on_after(TOLD_WITHIN):
                    await end.call("wait_closed", end.connection.wait_closed)
            await _receive_plain(end, "r", handle, pause)
    except ConnectionClosed:
        pass
    end.world.wake()


async def _receive_plain(end: End, task: str, on_message: OnMessage, pause: float) -> None:
    try:
        while True:
            await on_message(await end.receive(task))
            if pause:
                await trio.sleep(end.rng.random() * pause)
    except ConnectionClosed:
        pass


async def _iterate(end: End, on_message: OnMessage) -> None:
    try:
        while True:
            await on_message(await end.receive(iterate=True))
    except StopAsyncIteration:
        await end.receive()  # which now says why


async def _receive_impatiently(end: End, on_message: OnMessage) -> None:
    idle = 0
    while True:
        messages: list[str | bytes] = []
        with end.cancelled((0, 0.001, 0.01, 0.5, math.inf)):
            messages.append(await end.receive())
        idle = 0 if messages else idle + 1
        if not messages:
            await _idle(idle)  # so that time goes on
        for message in messages:
            await on_message(message)


async def _receive_text(end: End, on_message: OnMessage) -> None:
    end.codes.add(1003)
    while True:
        message = await end.call("receive_text", end.connection.receive_text)
        await on_message(end.arrived(message, "r"))


async def _idle(times: int) -> None:
    """Wait a little; each time longer, for a world has many seconds."""
    await trio.sleep(min(0.001 * 2.0**times, 0.7))


async def _poll(end: End, on_message: OnMessage) -> None:
    idle = 0
    while True:
        try:
            message = end.receive_nowait()
        except trio.WouldBlock:
            idle += 1
            await _idle(idle)
        else:
            idle = 0
            await on_message(message)
