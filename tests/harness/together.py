"""Every pair of calls on one connection at the same time; the first of them is the victim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from .links import ON_SOCKETS
from .meanwhile import receive_several, send_all, sizes
from .scenario import Scenario
from .world import World

SCENARIOS: list[Scenario] = []

Call = Callable[[World], Awaitable[None]]


async def _send(world: World) -> None:
    small, large = 30, sizes(world, 1)[0]
    await send_all(world.me, [small, large, small])


async def _receive(world: World) -> None:
    await receive_several(world.me, 2)


async def _receive_all(world: World) -> None:
    async for message in world.me.connection:
        world.me.note(message)


async def _ping(world: World) -> None:
    await world.me.connection.ping()
    await world.me.connection.ping(world.rng.randbytes(9))


async def _pong(world: World) -> None:
    await world.me.connection.pong(b"here")
    await world.me.connection.pong()


async def _aclose(world: World) -> None:
    await world.me.close()


async def _wait_closed(world: World) -> None:
    await world.me.connection.wait_closed()


async def _leave(world: World) -> None:
    me = world.me
    me.has_closed = me.says_close = True
    async with me.connection:
        await trio.lowlevel.checkpoint()


_CALLS: dict[str, Call] = {
    "send": _send,
    "receive": _receive,
    "iterate": _receive_all,
    "ping": _ping,
    "pong": _pong,
    "aclose": _aclose,
    "wait_closed": _wait_closed,
    "leave": _leave,
}
# Whoever waits for the end needs an end: then the peer closes, when it has sent all.
_WAIT = {"iterate", "wait_closed"}
_CLOSE = {"aclose", "leave"}
_RECEIVE = {"receive", "iterate"}


async def _run(world: World, victim: str, other: str) -> None:
    peer = world.peer
    both = {victim, other}
    world.read(peer)
    enough = 2 * [30] + sizes(world, 1) + [30]

    async def speak() -> None:
        await send_all(peer, enough)
        if both & _WAIT:
            await peer.close(1001)

    world.spawn(speak)
    # A socket takes more after the nursery was cancelled, and has no room for a Close frame then.
    world.check_goodbye = world.transport not in ON_SOCKETS or "send" not in both
    # Who receives may wait for what the other one has got.
    world.spawn(partial(_CALLS[other], world), waits=other in _RECEIVE)
    await trio.lowlevel.checkpoint()
    await world.run_victim(partial(_CALLS[victim], world))


def _register(victim: str, other: str) -> None:
    both = {victim, other}
    moves = bool(both & {"send", *_RECEIVE})
    SCENARIOS.append(
        Scenario(
            f"{victim}_with_{other}",
            partial(_run, victim=victim, other=other),
            transports=("mem",),
            more=(
                ("plain", "tls", "client"),
                ("plain", "sock", "server"),
                *((("takeover", "mem", "server"),) if moves else ()),
            ),
            cap=2,
            survives=not both & (_WAIT | _CLOSE),
        )
    )


for _victim in _CALLS:
    for _other in _CALLS:
        _register(_victim, _other)
NAMES = [scenario.name for scenario in SCENARIOS]
