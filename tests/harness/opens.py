"""Scenarios with an opening handshake: clients, servers and their handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

import trio_ws

from .injection import CALL_KINDS, KINDS
from .links import HOST, SMALL
from .network import PORT, Network
from .runner import Scenario
from .world import ScenarioError, Side, World, hold

SCENARIOS: list[Scenario] = []

NetworkBody = Callable[[World, Network], Awaitable[None]]
DOCUMENTED = (trio_ws.ConnectionClosed, trio_ws.HandshakeError)


def scenario(
    role: str,
    *,
    kinds: tuple[str, ...] = KINDS,
    transports: tuple[str, ...] = ("mem", "tls", "sock"),
    compressed: tuple[tuple[str, str, str], ...] = (),
    use: bool = False,
) -> Callable[[NetworkBody], NetworkBody]:
    """Register a scenario on a network; see `Scenario`."""

    def register(body: NetworkBody) -> NetworkBody:
        async def run(world: World) -> None:
            network = Network(world)
            world.left_over.append(network)
            with network.installed():
                await body(world, network)

        SCENARIOS.append(
            Scenario(
                name=body.__name__,
                body=run,
                kinds=kinds,
                transports=transports,
                roles=(role,),
                compressed=compressed,
                cap=6,
                pair=False,
                use=use,
            )
        )
        return body

    return register


# The other party


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
        url = network.url(path)
        async with trio_ws.open_websocket_url(url, network.ssl_context, **network.options) as conn:
            await talk(adopt(network, "client", path, conn))
    except DOCUMENTED:
        pass


async def start_server(
    world: World, network: Network, handler: Callable[..., Awaitable[None]], **options: Any
) -> trio_ws.WebSocketServer:
    """A server in the background."""
    server: trio_ws.WebSocketServer = await world.background.start(
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


# Clients


@scenario("client", compressed=(("takeover", "mem", "client"),))
async def open_websocket_url(world: World, network: Network) -> None:
    """From the URL to the end of the block."""
    world.owns_connection = True
    await start_server(world, network, echo)

    async def call() -> None:
        url = network.url("/a")
        async with trio_ws.open_websocket_url(url, network.ssl_context, **network.options) as conn:
            await talk(adopt(network, "client", "/a", conn))

    await enclosed(world, call)


@scenario("client", kinds=("scope", "woken", "deadline", "nursery", "anywhere"))
async def open_websocket(world: World, network: Network) -> None:
    """From the address to an exception that leaves the block as it is."""
    world.owns_connection = True
    await start_server(world, network, echo)

    async def call() -> None:
        network.expect("/a")
        use_ssl = network.ssl_context or False
        async with trio_ws.open_websocket(
            HOST, PORT, "/a", use_ssl=use_ssl, **network.options
        ) as conn:
            side = adopt(network, "client", "/a", conn)
            await talk(side, 2)
            world.must_raise = ScenarioError
            raise ScenarioError

    await enclosed(world, call)


@scenario("client")
async def connect_websocket_url(world: World, network: Network) -> None:
    """Into a nursery that somebody else owns."""
    await start_server(world, network, echo)
    nursery = await world.background.start(hold)

    async def call() -> None:
        url = network.url("/a")
        conn = await trio_ws.connect_websocket_url(
            nursery, url, network.ssl_context, **network.options
        )
        side = adopt(network, "client", "/a", conn)
        await talk(side, 1)
        await side.close()

    await world.run_victim(call, nursery=nursery.cancel_scope)


@scenario("client")
async def connect_websocket(world: World, network: Network) -> None:
    """The same with an address; the connection is left open."""
    await start_server(world, network, echo)
    nursery = await world.background.start(hold)

    async def call() -> None:
        network.expect("/a")
        conn = await trio_ws.connect_websocket(
            nursery, HOST, PORT, "/a", use_ssl=network.ssl_context or False, **network.options
        )
        adopt(network, "client", "/a", conn)

    await world.run_victim(call, nursery=nursery.cancel_scope)


@scenario("client", kinds=("scope", "woken", "deadline", "anywhere"))
async def connect_to_a_silent_server(world: World, network: Network) -> None:
    """The handshake ends by its deadline, ``connect_timeout``."""

    async def call() -> None:
        url = network.url("/a")
        async with trio_ws.open_websocket_url(url, network.ssl_context, **network.options):
            raise AssertionError

    await enclosed(world, call)


@scenario("client", kinds=("scope", "woken", "deadline", "anywhere"))
async def connect_and_be_rejected(world: World, network: Network) -> None:
    """The server answers 403 with a body."""

    async def reject(network: Network, request: trio_ws.WebSocketRequest) -> None:
        await request.reject(403, body=b"no, " * 20)

    await start_server(world, network, reject)
    await enclosed(world, partial(_expect_rejection, network, "/a"))


async def _expect_rejection(network: Network, path: str) -> None:
    try:
        url = network.url(path)
        async with trio_ws.open_websocket_url(url, network.ssl_context, **network.options):
            raise AssertionError
    except trio_ws.HandshakeError:
        await trio.lowlevel.checkpoint()


# Over any stream


async def _wrap(world: World, call: Callable[[Side, trio.abc.Stream], Awaitable[None]]) -> None:
    link = world.new_link(step=SMALL[world.transport])
    link.chop()
    client_end, server_end = world.new_ends(link)
    ends = {"client": client_end, "server": server_end}
    me, peer = world.me, world.peer
    for side in (me, peer):
        side.nursery = await world.background.start(hold)
    calls = {"client": _wrap_client, "server": _wrap_server}

    async def other() -> None:
        try:
            await calls[peer.role](peer, ends[peer.role])
        except DOCUMENTED:
            pass

    world.spawn(other)
    await world.run_victim(partial(call, me, ends[me.role]))
    if me.conn is None:
        await trio.aclose_forcefully(ends[me.role])  # it may not have been taken over
    with trio.move_on_after(2):
        await world.wait_idle()


async def _wrap_client(side: Side, stream: trio.abc.Stream) -> None:
    assert side.nursery is not None
    side.conn = await trio_ws.wrap_client_stream(
        side.nursery, stream, HOST, "/", **side.world.options
    )


async def _wrap_server(side: Side, stream: trio.abc.Stream) -> None:
    assert side.nursery is not None
    request = await trio_ws.wrap_server_stream(side.nursery, stream, **side.world.options)
    side.conn = await request.accept(extra_headers=[(b"x-size", b"x" * 100)])


@scenario("client", use=True)
async def wrap_client_stream(world: World, _: Network) -> None:
    """A client over a stream."""
    await _wrap(world, _wrap_client)


@scenario("server", use=True, compressed=(("takeover", "mem", "server"),))
async def wrap_server_stream(world: World, _: Network) -> None:
    """A server over a stream, and accept."""
    await _wrap(world, _wrap_server)


@scenario("server", use=True, kinds=("scope", "woken", "deadline", "anywhere", "collapse"))
async def accept_twice(world: World, _: Network) -> None:
    """A cancelled accept has sent nothing: the second one is the first."""

    async def call(side: Side, stream: trio.abc.Stream) -> None:
        assert side.nursery is not None
        with trio.CancelScope(shield=True):
            request = await trio_ws.wrap_server_stream(side.nursery, stream, **world.options)
        try:
            side.conn = await request.accept()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                side.conn = await request.accept()
            raise

    await _wrap(world, call)


@scenario("server")
async def reject(world: World, _: Network) -> None:
    """A server that says no."""

    async def call(side: Side, stream: trio.abc.Stream) -> None:
        assert side.nursery is not None
        request = await trio_ws.wrap_server_stream(side.nursery, stream, **world.options)
        await request.reject(404, extra_headers=[("x-why", "gone")], body=b"not here " * 10)

    await _wrap(world, call)


# Servers


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


@scenario("server", compressed=(("takeover", "mem", "server"),))
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
    network.expect(path)
    stream = await network.connect(HOST, PORT)
    if network.ssl_context is not None:
        stream = trio.SSLStream(
            stream, network.ssl_context, server_hostname=HOST, https_compatible=True
        )
    answer = b""
    try:
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            while data := await stream.receive_some():
                answer += data
    except (trio.BrokenResourceError, OSError):
        pass
    return answer


@scenario("server", compressed=(("takeover", "mem", "server"),))
async def server_aclose(world: World, network: Network) -> None:
    """A graceful shutdown with clients that talk, one that says nothing, and one that is deaf."""
    server = await start_server(world, network, echo)
    started = trio.Event()

    async def idle(path: str) -> None:
        try:
            url = network.url(path)
            async with trio_ws.open_websocket_url(
                url, network.ssl_context, **network.options
            ) as conn:
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
