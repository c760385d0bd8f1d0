"""Servers, their handlers, and their end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

import trio_ws

from .injection import CALL_KINDS, KINDS
from .network import PORT, Network
from .networked import DOCUMENTED, adopt, client, echo, networked, start_server, talk
from .scenario import Scenario
from .tls import HOST
from .world import ScenarioError, World, hold

SCENARIOS: list[Scenario] = []
scenario = partial(networked, SCENARIOS)


@scenario("server", kinds=CALL_KINDS)
async def serve_websocket(world: World, network: Network) -> None:
    """A server with two clients; when they are done it shuts down."""
    world.owns_connection = True
    world.allowed = ()
    server: trio_ws.WebSocketServer

    async def call() -> None:
        async with trio.open_nursery() as nursery:
            nonlocal server
            server = await nursery.start(
                partial(
                    trio_ws.serve_websocket,
                    partial(echo, network),
                    None,
                    PORT,
                    network.server_ssl_context,
                    **network.options,
                )
            )
            await started.send(None)

    async def clients() -> None:
        await listening.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client, network, "/a")
            nursery.start_soon(client, network, "/b")
        await server.aclose()

    started, listening = trio.open_memory_channel[None](1)
    with started, listening:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clients)
            await world.run_victim(call)
            nursery.cancel_scope.deadline = trio.current_time() + 20


@scenario("server", more=(("takeover", "mem", "server"),))
async def handler(world: World, network: Network) -> None:
    """A handler is cancelled, or the handler nursery."""
    world.owns_connection = True
    nursery = await world.background.start(hold)

    async def handle(network: Network, request: trio_ws.WebSocketRequest) -> None:
        async def call() -> None:
            await echo(network, request)

        if request.path == "/victim":
            await world.run_victim(call, nursery=nursery.cancel_scope, enclosed=True)
        else:
            await call()

    await start_server(world, network, handle, handler_nursery=nursery)
    async with trio.open_nursery() as clients:
        clients.start_soon(client, network, "/other")
        clients.start_soon(client, network, "/victim")


async def _handler_ends(world: World, network: Network, how: Callable[[], None]) -> None:
    world.owns_connection = True
    nursery = await world.background.start(hold)
    errors: list[Exception] = []

    async def handle(network: Network, request: trio_ws.WebSocketRequest) -> None:
        side = adopt(network, "server", request.path, await request.accept())
        await side.send(await side.receive())
        world.watch(nursery.cancel_scope)
        how()

    await start_server(
        world,
        network,
        handle,
        handler_nursery=nursery,
        max_connections=1,
        handler_error=lambda _, exc: errors.append(exc),
    )
    await client(network, "/a")
    if any(not isinstance(error, ScenarioError) for error in errors):
        world.violate("I8", f"handler_error got {errors}")


@scenario("server", kinds=("nursery", "collapse"))
async def handler_returns(world: World, network: Network) -> None:
    """The nursery is cancelled while the connection of a handler that has returned is closed."""
    await _handler_ends(world, network, lambda: None)


@scenario("server", kinds=("nursery", "collapse"))
async def handler_raises(world: World, network: Network) -> None:
    """The same after an exception, of which ``handler_error`` hears."""

    def fail() -> None:
        raise ScenarioError

    await _handler_ends(world, network, fail)


@scenario("server", kinds=tuple(kind for kind in KINDS if kind != "break"))
async def http_handler(world: World, network: Network) -> None:
    """An ordinary request; its handler is cancelled while it works, and the nursery any time."""
    nursery = await world.background.start(hold)

    async def handle(_: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        response = trio_ws.HTTPResponse(500)

        async def call() -> None:
            nonlocal response
            for _ in range(6):
                await trio.sleep(0.1)
            response = trio_ws.HTTPResponse(200, [], b"hello " * 20)

        await world.run_victim(call, nursery=nursery.cancel_scope, enclosed=True)
        return response

    await start_server(world, network, echo, handler_nursery=nursery, http_handler=handle)
    await _get(network, "/page")


async def _get(network: Network, path: str) -> bytes:
    """An ordinary request; returns the answer."""
    stream = await network.open_stream(path)
    answer = b""
    # No client waits for an answer for ever.
    with suppress(trio.BrokenResourceError, OSError), trio.move_on_after(60):
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            while data := await stream.receive_some():
                answer += data
    return answer


@scenario("server", more=(("takeover", "mem", "server"),))
async def server_aclose(world: World, network: Network) -> None:
    """A graceful shutdown with clients that talk, one that says nothing, and one that is deaf."""
    server = await start_server(world, network, echo)
    started = trio.Event()

    async def idle(path: str) -> None:
        try:
            async with network.open_websocket(path) as conn:
                side = adopt(network, "client", path, conn)
                await talk(side, 1)
                if path == "/deaf":
                    side.link.pipes["server"].stalled = True
                started.set()
                await conn.wait_closed()
        except DOCUMENTED:
            pass

    async def call() -> None:
        await server.aclose()

    async with trio.open_nursery() as clients:
        clients.start_soon(idle, "/deaf")
        clients.start_soon(idle, "/quiet")
        clients.start_soon(client, network, "/talks")
        await started.wait()
        await world.run_victim(call, nursery=world.background.cancel_scope, enclosed=True)
        side = network.side("client", "/deaf")
        side.link.pipes["server"].stalled = False
        side.link.pipes["server"].wake()
