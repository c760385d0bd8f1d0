"""`send` on a connected pair."""

from __future__ import annotations

from functools import partial

import trio

import trio_ws

from .meanwhile import (
    closes_once_it_has_received,
    flood,
    read_late,
    receive_several,
    send_all,
    sizes,
    started_first,
    starts_later,
)
from .scenario import (
    DEFLATED,
    DEFLATED_TLS,
    SOMEWHAT_DEFLATED,
    TLS_CLIENT,
    TLS_SERVER,
    TLS_SOCKETS,
    Scenario,
    register,
)
from .side import Side
from .world import World

SCENARIOS: list[Scenario] = []
scenario = partial(register, SCENARIOS)


@scenario(survives=True, more=(*DEFLATED, *TLS_CLIENT))
async def send_small(world: World) -> None:
    """Text, binary and empty messages, with a reading peer."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        for _ in range(2):
            await me.send(me.text())
            await me.send(me.binary())
            await me.send("")
            await me.send(b"")
            await trio.lowlevel.checkpoint()

    await world.run_victim(call)


@scenario(survives=True, more=(*DEFLATED, *TLS_SOCKETS, *DEFLATED_TLS))
async def send_large(world: World) -> None:
    """Messages over the output's mark, so that each but the first waits for room."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        for size in sizes(world, 3):
            await me.send(me.text(size // 2))
            await me.send(me.binary(size))

    await world.run_victim(call)


@scenario(survives=True, more=(*DEFLATED, *TLS_SOCKETS))
async def send_under_back_pressure(world: World) -> None:
    """The peer reads only after a while."""
    read_late(world)
    await world.run_victim(partial(send_all, world.me, sizes(world, 6)))


@scenario(survives=True, more=(*DEFLATED, *TLS_SERVER))
async def send_concurrently(world: World) -> None:
    """Four tasks send; one of them is cancelled, in the middle of the queue."""
    me = world.me
    world.read(world.peer)

    sender = partial(send_all, me, [size // 2 for size in sizes(world, 4)])
    await started_first(world, sender, 2)
    starts_later(world, sender)
    await world.run_victim(sender)


@scenario(survives=True, more=(*DEFLATED, *TLS_SOCKETS))
async def send_both_ways(world: World) -> None:
    """Both ends send more than the link holds before they receive anything."""
    me, peer = world.me, world.peer

    async def exchange() -> None:
        await send_all(peer, sizes(world, 3))
        world.read(peer)

    world.spawn(exchange)

    async def call() -> None:
        await send_all(me, sizes(world, 3))
        await receive_several(me, 3)

    await world.run_victim(call)


@scenario(
    kinds=("scope", "woken", "deadline", "anywhere"),
    survives=True,
    transports=("sock", "tlssock"),
    options={"message_queue_size": 1},
    faults=2,
)
async def send_before_receiving(world: World) -> None:
    """The queue is full, so what has come is still in the socket when sending fails."""
    me, peer = world.me, world.peer
    world.read(peer)
    await _send_slowly(peer)

    async def call() -> None:
        try:
            await _send_slowly(me)
        except trio_ws.ConnectionClosed:
            await me.drain()
            raise
        await receive_several(me, 4)

    await world.run_victim(call)


async def _send_slowly(side: Side) -> None:
    """Messages each of which leaves in a write of its own."""
    for _ in range(4):
        await side.send(side.text(50))
        await trio.sleep(0.1)


@scenario(kinds=("scope", "woken", "deadline", "anywhere"), survives=True, more=SOMEWHAT_DEFLATED)
async def send_message_and_get_message(world: World) -> None:
    """The names of trio-websocket."""
    me = world.me
    world.read(world.peer)
    world.spawn(flood, world, 3)

    async def call() -> None:
        for _ in range(6):
            message = me.text(60)
            entry = me.enter(message)
            with entry:
                await me.connection.send_message(message)
            me.note(await me.connection.get_message())

    await world.run_victim(call)


@scenario(
    kinds=("scope", "woken", "deadline", "nursery", "collapse"),
    more=(*SOMEWHAT_DEFLATED, *TLS_CLIENT),
)
async def send_while_the_peer_closes(world: World) -> None:
    """The peer closes in the middle of a flood."""
    closes_once_it_has_received(world, 1)
    await world.run_victim(partial(send_all, world.me, sizes(world, 6)))
