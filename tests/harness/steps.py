"""Scenarios on a connected pair with messages that are compressed in steps, inflated in turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from .content import HUGE, LARGE
from .pairs import sizes
from .registry import DEFLATED, SOMEWHAT_DEFLATED
from .registry import scenario as register
from .runner import Scenario
from .world import Side, World

SCENARIOS: list[Scenario] = []
scenario = partial(register, SCENARIOS, transports=(), roles=())


async def _mixture(side: Side, *, count: int = 1) -> None:
    """Send messages of all sizes: in steps, at once, and not compressed."""
    for _ in range(count):
        await side.send(side.text(LARGE // 2))
        await side.send(side.binary(300))
        await side.send(side.text(40), compress=False)
        await side.send(side.binary(HUGE))


_MIXTURE = 4  # messages
# Bytes that inflate to more than what the library inflates in one turn.
_WIDE = 1000


# Sending


@scenario(compressed=DEFLATED, survives=True)
async def send_in_steps(world: World) -> None:
    """Messages of all sizes, with a reading peer; one of them cannot be sent."""
    me = world.me
    world.read(world.peer)
    await me.send(me.text(100))

    async def call() -> None:
        await _mixture(me)
        with suppress(ValueError):
            await me.connection.send("a lone surrogate\ud800".rjust(LARGE))
        await me.send(b"", compress=True)
        await me.send("", compress=True)
        await _mixture(me)

    await world.run_victim(call)


@scenario(compressed=DEFLATED, survives=True)
async def send_in_steps_under_back_pressure(world: World) -> None:
    """Large messages that also wait for room: the peer reads only after a while."""
    me = world.me
    # A socket takes more after the nursery was cancelled, and has no room for a Close frame then.
    world.check_goodbye = world.transport != "sock"
    pipe = me.link.pipes[me.role]
    pipe.stalled = True
    await me.send(me.text(100))

    async def read_late() -> None:
        await trio.sleep(0.5)
        pipe.stalled = False
        pipe.wake()
        await world.peer.drain()

    world.background.start_soon(read_late)

    async def call() -> None:
        for size in sizes(world, 2):
            await me.send(me.binary(LARGE))
            await me.send(me.binary(size))

    await world.run_victim(call)


@scenario(compressed=DEFLATED, survives=True)
async def send_in_steps_concurrently(world: World) -> None:
    """Several tasks send messages of all sizes; the one in the middle is cancelled."""
    me = world.me
    world.read(world.peer)
    await me.send(me.text(100))
    world.spawn(_mixture, me)
    await trio.lowlevel.checkpoint()
    world.background.start_soon(_later, partial(world.spawn, _mixture, me))
    await world.run_victim(partial(_mixture, me))


async def _later(call: Callable[[], None]) -> None:
    await trio.lowlevel.checkpoint()
    call()


@scenario(compressed=DEFLATED, survives=True)
async def send_behind_steps(world: World) -> None:
    """Small messages wait for their turn behind large ones of another task, and go on first."""
    me = world.me
    world.read(world.peer)
    await me.send(me.binary(100))

    async def large() -> None:
        for number in range(3):
            await me.send(me.binary(LARGE * (1 + number % 2)))

    async def call() -> None:
        for size in sizes(world, 4):
            await me.send(me.text(size // 4))

    world.spawn(large)
    await trio.lowlevel.checkpoint()
    await world.run_victim(call)


@scenario(compressed=DEFLATED)
async def send_in_steps_while_closing(world: World) -> None:
    """Another task closes this end in the middle of large messages."""
    me = world.me
    world.read(world.peer)
    await me.send(me.text(100))

    async def close() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        await me.close()

    world.spawn(close)
    await world.run_victim(partial(_mixture, me))


@scenario(compressed=SOMEWHAT_DEFLATED)
async def send_in_steps_while_the_peer_closes(world: World) -> None:
    """The peer closes in the middle of large messages."""

    async def close() -> None:
        await world.peer.receive()
        await world.peer.receive()
        await world.peer.close(1001)

    world.background.start_soon(world.until_closed, close)
    await world.run_victim(partial(_mixture, world.me, count=2))


@scenario(compressed=SOMEWHAT_DEFLATED)
async def aclose_during_steps(world: World) -> None:
    """Close while another task sends large messages; it is the close that is cancelled."""
    me = world.me
    world.read(world.peer)
    await me.send(me.text(100))
    world.spawn(_mixture, me)
    for _ in range(2):
        await trio.lowlevel.checkpoint()
    await world.run_victim(me.close)


@scenario(compressed=DEFLATED, survives=True)
async def ping_during_steps(world: World) -> None:
    """Pings wait for their turn behind large messages."""
    me = world.me
    world.read(world.peer)
    await me.send(me.text(100))
    world.spawn(_mixture, me)
    await trio.lowlevel.checkpoint()

    async def call() -> None:
        for _ in range(3):
            await me.connection.ping()
            await me.send(me.binary(100))

    await world.run_victim(call)


# Receiving


@scenario(compressed=DEFLATED, survives=True, step=_WIDE, cap=8)
async def receive_in_turns(world: World) -> None:
    """Large messages arrive, with small ones between them."""
    world.spawn(partial(_mixture, world.peer, count=2))

    async def call() -> None:
        for _ in range(2 * _MIXTURE):
            await world.me.receive()

    await world.run_victim(call)


@scenario(compressed=DEFLATED, survives=True, step=_WIDE, cap=12, message_queue_size=1)
async def receive_in_turns_from_a_full_queue(world: World) -> None:
    """The queue holds one message, so it is `receive` that goes on inflating."""
    world.spawn(_mixture, world.peer)
    await trio.testing.wait_all_tasks_blocked()

    async def call() -> None:
        for _ in range(_MIXTURE):
            await world.me.receive()

    await world.run_victim(call)


@scenario(compressed=DEFLATED, survives=True, step=_WIDE)
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
