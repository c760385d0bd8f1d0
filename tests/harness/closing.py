"""Ways to close a connected pair."""

from __future__ import annotations

from functools import partial

import trio

from .meanwhile import flood, flood_and_close, send_all, sizes
from .scenario import SOMEWHAT_DEFLATED, TLS_CLIENT, TLS_SERVER, TLS_SOCKETS, Scenario, register
from .world import ScenarioError, World

SCENARIOS: list[Scenario] = []
scenario = partial(register, SCENARIOS)


@scenario(more=(*SOMEWHAT_DEFLATED, *TLS_SOCKETS))
async def aclose(world: World) -> None:
    """Close while messages are under way in both directions, then close again."""
    me, peer = world.me, world.peer
    world.read(peer)
    world.spawn(flood, world, 3)
    await send_all(me, [size // 2 for size in sizes(world, 2)])

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


@scenario(more=TLS_CLIENT)
async def aclose_with_a_stalled_peer(world: World) -> None:
    """The peer's link takes nothing any more, so the close ends by its own deadline."""
    me = world.me
    world.check_goodbye = False
    me.link.pipes[me.role].stalled = True
    with trio.move_on_after(1):
        await send_all(me, [2 * size for size in sizes(world, 4)])

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
    world.spawn(flood_and_close, world, 2)
    await world.run_victim(world.me.connection.wait_closed)


@scenario(more=(*SOMEWHAT_DEFLATED, *TLS_SOCKETS))
async def leave_the_block(world: World) -> None:
    """`async with connection`, left normally."""
    me = world.me
    world.read(world.peer)

    async def call() -> None:
        async with me.connection:
            await send_all(me, sizes(world, 2))

    me.has_closed = me.says_close = True
    await world.run_victim(call)


@scenario(more=TLS_SERVER)
async def leave_the_block_by_an_exception(world: World) -> None:
    """`async with connection`, left by an exception, which comes out even if cancelled."""
    me = world.me
    world.read(world.peer)
    me.has_closed = me.says_close = True

    async def call() -> None:
        async with me.connection:
            await send_all(me, 2 * sizes(world, 1))
            world.must_raise = ScenarioError
            raise ScenarioError

    await world.run_victim(call)
