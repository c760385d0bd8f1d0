"""Scenarios on a connected pair: what a connection's methods do when they are cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

import trio_ws

from .injection import KINDS
from .registry import DEFLATED, SOMEWHAT_DEFLATED
from .registry import scenario as register
from .runner import Scenario
from .world import FLOOD, ScenarioError, World

SCENARIOS: list[Scenario] = []
scenario = partial(register, SCENARIOS)


def sizes(world: World, count: int) -> list[int]:
    """Sizes of messages that need several writes each."""
    return [FLOOD[world.transport] * (1 + number % 2) // 2 for number in range(count)]


# Sending


@scenario(survives=True, compressed=DEFLATED)
async def send_small(world: World) -> None:
    """Text, binary and empty messages, with a reading peer."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        for _ in range(4):
            await me.send(me.text())
            await me.send(me.binary())
            await me.send("")
            await me.send(b"")
            await trio.lowlevel.checkpoint()

    await world.run_victim(call)


@scenario(survives=True, compressed=DEFLATED)
async def send_large(world: World) -> None:
    """Messages over the output's mark, so that each but the first waits for room."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        for size in sizes(world, 5):
            await me.send(me.text(size // 2))
            await me.send(me.binary(size))

    await world.run_victim(call)


@scenario(survives=True, compressed=DEFLATED)
async def send_under_back_pressure(world: World) -> None:
    """The peer reads only after a while."""
    me = world.me
    pipe = me.link.pipes[me.role]
    pipe.stalled = True

    async def read_late() -> None:
        await trio.sleep(0.5)
        pipe.stalled = False
        pipe.wake()
        await world.peer.drain()

    world.background.start_soon(read_late)

    async def call() -> None:
        for size in sizes(world, 6):
            await me.send(me.binary(size))

    await world.run_victim(call)


@scenario(survives=True, compressed=DEFLATED)
async def send_concurrently(world: World) -> None:
    """Four tasks send; one of them is cancelled, in the middle of the queue."""
    me = world.me
    world.read(world.peer)

    async def sender() -> None:
        for size in sizes(world, 4):
            await me.send(me.binary(size // 2))

    world.spawn(sender)
    world.spawn(sender)
    await trio.lowlevel.checkpoint()
    world.background.start_soon(_later, world, sender)
    await world.run_victim(sender)


async def _later(world: World, call: Callable[[], Awaitable[None]]) -> None:
    await trio.lowlevel.checkpoint()
    world.spawn(call)


@scenario(survives=True, compressed=DEFLATED)
async def send_both_ways(world: World) -> None:
    """Both ends send more than the link holds before they receive anything."""
    me, peer = world.me, world.peer

    async def exchange() -> None:
        for size in sizes(world, 3):
            await peer.send(peer.binary(size))
        world.read(peer)

    world.spawn(exchange)

    async def call() -> None:
        for size in sizes(world, 3):
            await me.send(me.binary(size))
        for _ in range(3):
            await me.receive()

    await world.run_victim(call)


@scenario(
    kinds=("scope", "woken", "deadline", "anywhere"), survives=True, compressed=SOMEWHAT_DEFLATED
)
async def send_message_and_get_message(world: World) -> None:
    """The names of trio-websocket."""
    me = world.me
    world.read(world.peer)
    world.spawn(_flood, world, 3)

    async def call() -> None:
        for _ in range(6):
            message = me.text(60)
            entry = me.enter(message)
            with entry:
                await me.connection.send_message(message)
            me.note(await me.connection.get_message())

    await world.run_victim(call)


@scenario(kinds=("scope", "woken", "nursery", "collapse"), compressed=SOMEWHAT_DEFLATED)
async def send_while_the_peer_closes(world: World) -> None:
    """The peer closes in the middle of a flood."""
    me = world.me

    async def close() -> None:
        await world.peer.receive()
        await world.peer.close(1001)

    world.background.start_soon(world.until_closed, close)

    async def call() -> None:
        for size in sizes(world, 6):
            await me.send(me.binary(size))

    await world.run_victim(call)


# Receiving


async def _flood(world: World, count: int = 8) -> None:
    peer = world.peer
    for size in sizes(world, count):
        await peer.send(peer.text(size // 4))
        await peer.send(peer.binary(size // 8))


@scenario(survives=True, compressed=SOMEWHAT_DEFLATED)
async def receive(world: World) -> None:
    """Messages arrive one after the other."""
    world.spawn(_flood, world)

    async def call() -> None:
        for _ in range(16):
            await world.me.receive()

    await world.run_victim(call)


@scenario(survives=True, message_queue_size=1, compressed=SOMEWHAT_DEFLATED)
async def receive_from_a_full_queue(world: World) -> None:
    """The queue holds one message, so each receive starts the reader again."""
    world.spawn(_flood, world)
    await trio.testing.wait_all_tasks_blocked()

    async def call() -> None:
        for _ in range(16):
            await world.me.receive()

    await world.run_victim(call)


@scenario(survives=True, compressed=SOMEWHAT_DEFLATED)
async def receive_concurrently(world: World) -> None:
    """Three tasks receive; each message goes to one."""
    world.spawn(_flood, world)

    async def call() -> None:
        for _ in range(5):
            await world.me.receive()

    world.background.start_soon(world.until_closed, call)
    world.background.start_soon(world.until_closed, call)
    await world.run_victim(call)


@scenario(compressed=SOMEWHAT_DEFLATED)
async def iterate(world: World) -> None:
    """`async for` until the peer closes."""
    me = world.me

    async def send_and_close() -> None:
        await _flood(world, 4)
        await world.peer.close()

    world.spawn(send_and_close)

    async def call() -> None:
        async for message in me.connection:
            me.note(message)

    await world.run_victim(call)


@scenario(kinds=("scope", "woken", "deadline", "anywhere", "nursery"), survives=True)
async def receive_text_and_bytes(world: World) -> None:
    """The typed receives, each with what it wants."""
    me = world.me
    world.spawn(_flood, world, 4)

    async def call() -> None:
        for _ in range(4):
            me.note(await me.connection.receive_text())
            me.note(await me.connection.receive_bytes())

    await world.run_victim(call)


@scenario(kinds=("scope", "woken", "anywhere", "nursery"))
async def receive_of_the_wrong_type(world: World) -> None:
    """The typed receive closes with 1003; the message itself is used up."""
    me, peer = world.me, world.peer

    async def send() -> None:
        await peer.send(peer.text())
        await peer.send(peer.text())

    world.spawn(send)

    async def call() -> None:
        await me.receive()
        expected = peer.sent[1].message
        try:
            await me.connection.receive_bytes()
        except trio_ws.ConnectionClosed as exc:
            me.has_closed = True
            if exc.reason is not None and exc.reason.code == 1003:
                me.note(expected)
            raise

    await world.run_victim(call)


@scenario(kinds=("scope", "woken", "anywhere", "nursery"), survives=True)
async def receive_nowait(world: World) -> None:
    """Take what is there, and wait with `receive` for more."""
    me = world.me
    world.spawn(_flood, world, 4)

    async def call() -> None:
        while len(me.received) < 8:
            try:
                me.note(me.connection.receive_nowait())
            except trio.WouldBlock:
                await me.receive()

    await world.run_victim(call)


# Pings


@scenario(survives=True)
async def ping(world: World) -> None:
    """Pings of both kinds, between messages."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        for number in range(5):
            await me.connection.ping()
            await me.connection.ping(f"number {number}".encode())
            await me.send(me.binary(30))

    await world.run_victim(call)


@scenario(survives=True, compressed=SOMEWHAT_DEFLATED)
async def ping_under_back_pressure(world: World) -> None:
    """Pings wait for their turn behind a flood, and answer one another."""
    me = world.me
    world.read(world.peer)

    async def flood() -> None:
        for size in sizes(world, 6):
            await me.send(me.binary(size))

    async def pings() -> None:
        for _ in range(3):
            await me.connection.ping()

    world.spawn(flood)
    world.spawn(pings)
    await trio.lowlevel.checkpoint()
    await world.run_victim(pings)


@scenario(
    kinds=("scope", "woken", "deadline", "anywhere", "nursery"),
    survives=True,
    compressed=SOMEWHAT_DEFLATED,
)
async def pong(world: World) -> None:
    """Unsolicited pongs, behind large messages."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        for size in sizes(world, 5):
            await me.send(me.binary(size))
            await me.connection.pong(b"alive")
            await me.connection.pong()

    await world.run_victim(call)


@scenario(survives=True, ping_interval=0.5, ping_timeout=2)
async def receive_with_keepalive(world: World) -> None:
    """Keepalive pings and pongs go on around slow messages."""
    me, peer = world.me, world.peer

    async def send_slowly() -> None:
        for _ in range(6):
            await trio.sleep(0.4)
            await peer.send(peer.binary(60))

    world.spawn(send_slowly)

    async def call() -> None:
        for _ in range(6):
            await me.receive()

    await world.run_victim(call)


# Closing


@scenario(compressed=SOMEWHAT_DEFLATED)
async def aclose(world: World) -> None:
    """Close while messages are under way in both directions, then close again."""
    me, peer = world.me, world.peer
    world.read(peer)
    world.spawn(_flood, world, 3)
    for size in sizes(world, 2):
        await me.send(me.binary(size // 2))

    async def call() -> None:
        await me.close(1000)
        await me.close(1000)

    await world.run_victim(call)


@scenario()
async def aclose_on_both_sides(world: World) -> None:
    """Both ends close at once."""
    me, peer = world.me, world.peer
    await me.send(me.binary(60))
    await peer.send(peer.binary(60))
    world.spawn(peer.close, 1001)
    await world.run_victim(me.close)


@scenario()
async def aclose_by_several_tasks(world: World) -> None:
    """Three tasks close the same end."""
    me = world.me
    world.read(world.peer)
    await me.send(me.binary(100))
    world.spawn(me.close)
    world.spawn(me.close)
    await world.run_victim(me.close)


@scenario()
async def aclose_with_a_stalled_peer(world: World) -> None:
    """The peer's link takes nothing any more, so the close ends by its own deadline."""
    me = world.me
    world.check_goodbye = False
    me.link.pipes[me.role].stalled = True
    with trio.move_on_after(1):
        for size in sizes(world, 4):
            await me.send(me.binary(size * 2))

    async def call() -> None:
        await me.close()

    await world.run_victim(call)
    for pipe in me.link.pipes.values():
        pipe.stalled = False
        pipe.wake()


@scenario()
async def wait_closed(world: World) -> None:
    """Wait while the peer sends and closes."""
    world.read(world.me)

    async def send_and_close() -> None:
        await _flood(world, 2)
        await world.peer.close()

    world.spawn(send_and_close)
    await world.run_victim(world.me.connection.wait_closed)


@scenario(kinds=KINDS, compressed=SOMEWHAT_DEFLATED)
async def leave_the_block(world: World) -> None:
    """`async with connection`, left normally."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        async with me.connection:
            for size in sizes(world, 2):
                await me.send(me.binary(size))

    me.has_closed = me.says_close = True
    await world.run_victim(call)


@scenario()
async def leave_the_block_by_an_exception(world: World) -> None:
    """`async with connection`, left by an exception, which comes out even if cancelled."""
    me = world.me
    world.read(world.peer)
    me.has_closed = me.says_close = True

    async def call() -> None:
        async with me.connection:
            await me.send(me.binary(sizes(world, 1)[0]))
            await me.send(me.binary(sizes(world, 1)[0]))
            world.must_raise = ScenarioError
            raise ScenarioError

    await world.run_victim(call)
