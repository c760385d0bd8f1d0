"""A call of a handler while the server shuts down; either of them is the victim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio

import trio_ws

from .network import Network
from .networked import DOCUMENTED, adopt, networked, start_server
from .scenario import TLS_SERVER, Scenario
from .side import Side
from .world import World, hold

SCENARIOS: list[Scenario] = []


async def _send(side: Side) -> None:
    for size in (30, 500, 30):
        await side.send(side.text(size))


async def _receive(side: Side) -> None:
    while True:
        await side.receive()


async def _ping(side: Side) -> None:
    for _ in range(3):
        await side.connection.ping()


async def _aclose(side: Side) -> None:
    await side.close()


async def _wait_closed(side: Side) -> None:
    await side.connection.wait_closed()


async def _iterate(side: Side) -> None:
    async for message in side.connection:
        side.note(message)


async def _pong(side: Side) -> None:
    for _ in range(3):
        await side.connection.pong(b"alive")


async def _leave(side: Side) -> None:
    async with side.connection:
        await side.send(side.text(30))


_CALLS: dict[str, Callable[[Side], Awaitable[None]]] = {
    "send": _send,
    "receive": _receive,
    "iterate": _iterate,
    "pong": _pong,
    "leave": _leave,
    "ping": _ping,
    "aclose": _aclose,
    "wait_closed": _wait_closed,
}


async def _client(network: Network) -> None:
    """Says hello, then receives what comes."""
    with suppress(*DOCUMENTED):
        async with network.open_websocket("/a") as conn:
            side = adopt(network, "client", "/a", conn)
            await side.send(side.text())
            await side.drain()


async def _run(world: World, network: Network, call: str, *, server_is_victim: bool) -> None:
    world.owns_connection = True
    world.may_be_cancelled = not server_is_victim  # handlers that take too long are
    nursery = await world.background.start(hold)
    begun = trio.Event()

    async def handle(network: Network, request: trio_ws.WebSocketRequest) -> None:
        side = adopt(network, "server", request.path, await request.accept())
        await side.receive()
        begun.set()
        if server_is_victim:
            await _CALLS[call](side)
        else:
            await world.run_victim(
                partial(_CALLS[call], side), nursery=nursery.cancel_scope, enclosed=True
            )

    server = await start_server(world, network, handle, handler_nursery=nursery)
    async with trio.open_nursery() as clients:
        clients.start_soon(_client, network)
        await begun.wait()
        if server_is_victim:
            await world.run_victim(server.aclose, nursery=nursery.cancel_scope)
        else:
            await server.aclose()


def _register(call: str, *, server_is_victim: bool) -> None:
    body = partial(_run, call=call, server_is_victim=server_is_victim)
    name = f"shutdown_with_{call}" if server_is_victim else f"{call}_with_shutdown"
    more = TLS_SERVER if call == "send" else ()
    networked(SCENARIOS, "server", name=name, more=more)(body)


for _call in _CALLS:
    _register(_call, server_is_victim=True)
    _register(_call, server_is_victim=False)


@partial(networked, SCENARIOS, "server")()
async def shutdown_with_shutdown(world: World, network: Network) -> None:
    """Two tasks end the same server."""
    begun = trio.Event()

    async def handle(network: Network, request: trio_ws.WebSocketRequest) -> None:
        side = adopt(network, "server", request.path, await request.accept())
        begun.set()
        await side.drain()

    server = await start_server(world, network, handle)
    async with trio.open_nursery() as clients:
        clients.start_soon(_client, network)
        await begun.wait()
        clients.start_soon(server.aclose)
        await world.run_victim(server.aclose, nursery=world.background.cancel_scope, enclosed=True)


async def _answering(world: World, network: Network, *, accept: bool, server: bool) -> None:
    """A request is answered while the server shuts down; the client may hear nothing of it."""
    world.owns_connection = True
    world.may_be_cancelled = not server
    nursery = await world.background.start(hold)
    begun = trio.Event()

    async def handle(network: Network, request: trio_ws.WebSocketRequest) -> None:
        async def call() -> None:
            if accept:
                side = adopt(network, "server", request.path, await request.accept())
                await side.send(side.text(30))
            else:
                await request.reject(403, body=b"no, " * 20)

        begun.set()
        if server:
            await call()
        else:
            await world.run_victim(call, nursery=nursery.cancel_scope, enclosed=True)

    shutting = await start_server(world, network, handle, handler_nursery=nursery)
    async with trio.open_nursery() as clients:
        clients.start_soon(_client, network)
        await begun.wait()
        if server:
            await world.run_victim(shutting.aclose, nursery=nursery.cancel_scope)
        else:
            await shutting.aclose()


for _accept, _name in ((True, "accept"), (False, "reject")):
    _body = partial(_answering, accept=_accept)
    networked(SCENARIOS, "server", name=f"shutdown_with_{_name}")(partial(_body, server=True))
    networked(SCENARIOS, "server", name=f"{_name}_with_shutdown")(partial(_body, server=False))
