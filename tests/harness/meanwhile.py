"""What others do while the victim's call goes on, on a connected pair."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .side import Side
from .world import FLOOD, World


def sizes(world: World, count: int) -> list[int]:
    """Sizes of messages that need several writes each."""
    return [FLOOD[world.transport] * (1 + number % 2) // 2 for number in range(count)]


async def send_all(side: Side, messages: list[int]) -> None:
    """Send binary messages of these sizes."""
    for size in messages:
        await side.send(side.binary(size))


async def flood(world: World, count: int = 8) -> None:
    """The peer sends pairs of messages, which take several reads."""
    peer = world.peer
    for size in sizes(world, count):
        await peer.send(peer.text(size // 4))
        await peer.send(peer.binary(size // 8))


async def flood_and_close(world: World, count: int) -> None:
    """The same, and then the peer closes."""
    await flood(world, count)
    await world.peer.close()


def read_late(world: World) -> None:
    """The link takes what the victim's end sends, but nobody gets it before half a second."""
    pipe = world.me.link.pipes[world.me.role]
    pipe.stalled = True

    async def read() -> None:
        await trio.sleep(0.5)
        pipe.stalled = False
        pipe.wake()
        await world.peer.drain()

    world.background.start_soon(read)


async def receive_several(side: Side, count: int) -> None:
    """Receive so many messages."""
    for _ in range(count):
        await side.receive()


async def started_first(world: World, call: Callable[[], Awaitable[None]], times: int = 1) -> None:
    """Have a call begin before the victim's, so often."""
    for _ in range(times):
        world.spawn(call)
    await trio.lowlevel.checkpoint()


def starts_later(world: World, call: Callable[[], Awaitable[None]]) -> None:
    """Have a call begin when the victim's has begun."""

    async def later() -> None:
        await trio.lowlevel.checkpoint()
        world.spawn(call)

    world.background.start_soon(later)


def closes_once_it_has_received(world: World, count: int) -> None:
    """The peer closes with 1001 after so many messages."""

    async def close() -> None:
        await receive_several(world.peer, count)
        await world.peer.close(1001)

    world.spawn(close, waits=True)
