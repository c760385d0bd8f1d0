"""`receive` and its relatives on a connected pair."""

from __future__ import annotations

from functools import partial

import trio

import trio_ws

from .meanwhile import flood, flood_and_close, receive_several
from .scenario import SOMEWHAT_DEFLATED, TLS_CLIENT, TLS_SERVER, Scenario, register
from .world import World

SCENARIOS: list[Scenario] = []
scenario = partial(register, SCENARIOS)


@scenario(survives=True, more=(*SOMEWHAT_DEFLATED, *TLS_SERVER))
async def receive(world: World) -> None:
    """Messages arrive one after the other."""
    world.spawn(flood, world, 6)
    await world.run_victim(partial(receive_several, world.me, 12))


@scenario(survives=True, options={"message_queue_size": 1}, more=(*SOMEWHAT_DEFLATED, *TLS_CLIENT))
async def receive_from_a_full_queue(world: World) -> None:
    """The queue holds one message, so each receive starts the reader again."""
    world.spawn(flood, world, 6)
    await trio.testing.wait_all_tasks_blocked()
    await world.run_victim(partial(receive_several, world.me, 12))


@scenario(survives=True, more=SOMEWHAT_DEFLATED)
async def receive_concurrently(world: World) -> None:
    """Three tasks receive; each message goes to one."""
    world.spawn(flood, world, 6)
    call = partial(receive_several, world.me, 4)
    world.spawn(call, waits=True)
    world.spawn(call, waits=True)
    await world.run_victim(call)


@scenario(more=SOMEWHAT_DEFLATED)
async def iterate(world: World) -> None:
    """`async for` until the peer closes."""
    me = world.me
    world.spawn(flood_and_close, world, 4)

    async def call() -> None:
        async for message in me.connection:
            me.note(message)

    await world.run_victim(call)


@scenario(kinds=("scope", "woken", "deadline", "anywhere", "nursery"), survives=True)
async def receive_text_and_bytes(world: World) -> None:
    """The typed receives, each with what it wants."""
    me = world.me
    world.spawn(flood, world, 4)

    async def call() -> None:
        for _ in range(4):
            me.note(await me.connection.receive_text())
            me.note(await me.connection.receive_bytes())

    await world.run_victim(call)


@scenario(kinds=("scope", "woken", "deadline", "anywhere", "nursery"))
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


@scenario(kinds=("scope", "woken", "deadline", "anywhere", "nursery"), survives=True)
async def receive_nowait(world: World) -> None:
    """Take what is there, and wait with `receive` for more."""
    me = world.me
    world.spawn(flood, world, 4)

    async def call() -> None:
        while len(me.received) < 8:
            try:
                me.note(me.connection.receive_nowait())
            except trio.WouldBlock:
                await me.receive()

    await world.run_victim(call)
