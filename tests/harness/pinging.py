"""Pings and pongs on a connected pair."""

from __future__ import annotations

from functools import partial

import trio

from .meanwhile import receive_several, send_all, sizes, started_first
from .scenario import SOMEWHAT_DEFLATED, TLS_CLIENT, TLS_SERVER, Scenario, register
from .world import World

SCENARIOS: list[Scenario] = []
scenario = partial(register, SCENARIOS)


@scenario(survives=True, more=TLS_CLIENT)
async def ping(world: World) -> None:
    """Pings of both kinds, between messages."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        for number in range(3):
            await me.connection.ping()
            await me.connection.ping(f"number {number}".encode())
            await me.send(me.binary(30))

    await world.run_victim(call)


@scenario(survives=True, more=(*SOMEWHAT_DEFLATED, *TLS_SERVER))
async def ping_under_back_pressure(world: World) -> None:
    """Pings wait for their turn behind a flood, and answer one another."""
    me = world.me
    world.read(world.peer)

    async def pings() -> None:
        for _ in range(3):
            await me.connection.ping()

    world.spawn(send_all, me, sizes(world, 6))
    await started_first(world, pings)
    await world.run_victim(pings)


@scenario(
    kinds=("scope", "woken", "deadline", "anywhere", "nursery"),
    survives=True,
    more=SOMEWHAT_DEFLATED,
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


@scenario(survives=True, options={"ping_interval": 0.5, "ping_timeout": 2})
async def receive_with_keepalive(world: World) -> None:
    """Keepalive pings and pongs go on around slow messages."""
    me, peer = world.me, world.peer

    async def send_slowly() -> None:
        for _ in range(6):
            await trio.sleep(0.4)
            await peer.send(peer.binary(60))

    world.spawn(send_slowly)
    await world.run_victim(partial(receive_several, me, 6))
