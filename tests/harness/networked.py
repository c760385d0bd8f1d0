"""What scenarios with an opening handshake have in common: the network, and the other party."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import trio

import trio_ws

from .network import PORT, Network
from .scenario import Scenario
from .side import Side
from .unix import UnixNetwork
from .world import World

NetworkBody = Callable[[World, Network], Awaitable[None]]
DOCUMENTED = (trio_ws.ConnectionClosed, trio_ws.HandshakeError)


def networked(
    scenarios: list[Scenario], role: str, **fields: Any
) -> Callable[[NetworkBody], NetworkBody]:
    """Append a scenario on a network to `scenarios`; the fields are those of `Scenario`."""
    defaults: dict[str, Any] = {"cap": 6, "use": False, "roles": (role,), "pair": False}
    fields = defaults | fields

    def append(body: NetworkBody) -> NetworkBody:
        async def run(world: World) -> None:
            with ExitStack() as stack:
                if world.transport == "unix":
                    folder = stack.enter_context(tempfile.TemporaryDirectory())
                    network: Network = UnixNetwork(world, folder)
                else:
                    network = Network(world)
                world.left_over.append(network)
                stack.enter_context(network.installed())
                await body(world, network)

        name = fields.get("name") or body.__name__
        scenarios.append(Scenario(**(fields | {"name": name, "body": run})))
        return body

    return append


async def echo(network: Network, request: trio_ws.WebSocketRequest) -> None:
    """A handler that sends back what it gets."""
    side = adopt(network, "server", request.path, await request.accept())
    while True:
        await side.send(await side.receive())


def adopt(network: Network, role: str, path: str, conn: trio_ws.WebSocketConnection) -> Side:
    """The log of a connection that some context closes, so that its queue may be dropped."""
    side = network.side(role, path)
    side.conn = conn
    side.has_closed = side.says_close = True
    return side


async def talk(side: Side, count: int = 3) -> None:
    """Send, and wait for the echo."""
    for _ in range(count):
        await side.send(side.text(50))
        await side.receive()


async def client(network: Network, path: str) -> None:
    """A client that talks, and ends as it may."""
    try:
        async with network.open_websocket(path) as conn:
            await talk(adopt(network, "client", path, conn))
    except DOCUMENTED:
        pass


async def start_server(
    world: World, network: Network, handler: Callable[..., Awaitable[None]], **options: Any
) -> trio_ws.WebSocketServer:
    """A server in the background."""
    server: trio_ws.WebSocketServer
    if world.transport == "unix":
        server = trio_ws.WebSocketServer(
            partial(handler, network), await network.listen(), **(network.options | options)
        )
        await world.background.start(server.run)
        return server
    server = await world.background.start(
        partial(
            trio_ws.serve_websocket,
            partial(handler, network),
            None,
            PORT,
            network.server_ssl_context,
            **(network.options | options),
        )
    )
    return server


async def enclosed(world: World, call: Callable[[], Awaitable[None]]) -> None:
    """Run the victim in a nursery of its own, which the kind nursery cancels."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(world.run_victim, call, nursery=nursery.cancel_scope, enclosed=True)
        )
