"""Scenarios on a connected pair with messages that are compressed in steps, inflated in turns."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import trio

from .content import HUGE, LARGE
from .links import ON_SOCKETS
from .meanwhile import (
    closes_once_it_has_received,
    read_late,
    receive_several,
    send_all,
    sizes,
    started_first,
    starts_later,
)
from .scenario import DEFLATED, DEFLATED_TLS, SOMEWHAT_DEFLATED, Scenario, register
from .side import Side
from .world import World

SCENARIOS: list[Scenario] = []
scenario = partial(register, SCENARIOS, transports=(), roles=())


async def _mixture(side: Side, *, count: int = 1) -> None:
    """Send messages of all sizes: in steps, at once, and not compressed."""
    for _ in range(count):
        await side.send(side.text(LARGE // 2))
        await side.send(side.binary(300))
        await side.send(side.text(40), compress=False)
        await side.send(side.binary(HUGE))


async def _begun(world: World) -> Side:
    """The victim's end, whose compressor is in use, with a reading peer."""
    world.read(world.peer)
    await world.me.send(world.me.text(100))
    return world.me


_MIXTURE = 4  # messages
# Bytes that inflate to more than what the library inflates in one turn.
_WIDE = 1000


# Sending


@scenario(more=(*DEFLATED, *DEFLATED_TLS), survives=True)
async def send_in_steps(world: World) -> None:
    """Messages of all sizes, with a reading peer; one of them cannot be sent."""
    me = await _begun(world)

    async def call() -> None:
        await _mixture(me)
        with suppress(ValueError):
            await me.connection.send("a lone surrogate\ud800".rjust(LARGE))
        await me.send(b"", compress=True)
        await me.send("", compress=True)
        await _mixture(me)

    await world.run_victim(call)


@scenario(more=DEFLATED, survives=True)
async def send_in_steps_under_back_pressure(world: World) -> None:
    """Large messages that also wait for room: the peer reads only after a while."""
    me = world.me
    # A socket takes more after the nursery was cancelled, and has no room for a Close frame then.
    world.check_goodbye = world.transport not in ON_SOCKETS
    read_late(world)
    await me.send(me.text(100))
    small, middle = sizes(world, 2)
    await world.run_victim(partial(send_all, me, [LARGE, small, LARGE, middle]))


@scenario(more=DEFLATED, survives=True)
async def send_in_steps_concurrently(world: World) -> None:
    """Several tasks send messages of all sizes; the one in the middle is cancelled."""
    me = await _begun(world)
    mixture = partial(_mixture, me)
    await started_first(world, mixture)
    starts_later(world, mixture)
    await world.run_victim(mixture)


@scenario(more=DEFLATED, survives=True)
async def send_behind_steps(world: World) -> None:
    """Small messages wait for their turn behind large ones of another task, and go on first."""
    me = await _begun(world)

    async def large() -> None:
        for number in range(3):
            await me.send(me.binary(LARGE * (1 + number % 2)))

    async def call() -> None:
        for size in sizes(world, 4):
            await me.send(me.text(size // 4))

    await started_first(world, large)
    await world.run_victim(call)


@scenario(more=DEFLATED)
async def send_in_steps_while_closing(world: World) -> None:
    """Another task closes this end in the middle of large messages."""
    me = await _begun(world)

    async def close() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        await me.close()

    world.spawn(close)
    await world.run_victim(partial(_mixture, me))


@scenario(more=SOMEWHAT_DEFLATED)
async def send_in_steps_while_the_peer_closes(world: World) -> None:
    """The peer closes in the middle of large messages."""
    closes_once_it_has_received(world, 2)
    await world.run_victim(partial(_mixture, world.me, count=2))


@scenario(more=SOMEWHAT_DEFLATED)
async def aclose_during_steps(world: World) -> None:
    """Close while another task sends large messages; it is the close that is cancelled."""
    me = await _begun(world)
    world.spawn(_mixture, me)
    for _ in range(2):
        await trio.lowlevel.checkpoint()
    await world.run_victim(me.close)


@scenario(more=DEFLATED, survives=True)
async def ping_during_steps(world: World) -> None:
    """Pings wait for their turn behind large messages."""
    me = await _begun(world)
    await started_first(world, partial(_mixture, me))

    async def call() -> None:
        for _ in range(3):
            await me.connection.ping()
            await me.send(me.binary(100))

    await world.run_victim(call)


# Receiving


@scenario(more=DEFLATED, survives=True, step=_WIDE, cap=8)
async def receive_in_turns(world: World) -> None:
    """Large messages arrive, with small ones between them."""
    world.spawn(partial(_mixture, world.peer, count=2))
    await world.run_victim(partial(receive_several, world.me, 2 * _MIXTURE))


@scenario(more=DEFLATED, survives=True, step=_WIDE, cap=12, options={"message_queue_size": 1})
async def receive_in_turns_from_a_full_queue(world: World) -> None:
    """The queue holds one message, so it is `receive` that goes on inflating."""
    world.spawn(_mixture, world.peer)
    await trio.testing.wait_all_tasks_blocked()
    await world.run_victim(partial(receive_several, world.me, _MIXTURE))


@scenario(more=DEFLATED, survives=True, step=_WIDE)
async def exchange_in_steps(world: World) -> None:
    """Both ends send and receive large messages at the same time."""
    me, peer = world.me, world.peer

    world.read(peer)

    async def send() -> None:
        for _ in range(3):
            await peer.send(peer.text(LARGE // 2))

    world.spawn(send)

    async def call() -> None:
        for _ in range(3):
            await me.send(me.binary(LARGE))
            await me.receive()

    await world.run_victim(call)
