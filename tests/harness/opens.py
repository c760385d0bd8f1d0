"""Clients, and both ends over any stream: what opens a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

import trio_ws

from .links import SMALL
from .network import PORT, Network
from .networked import DOCUMENTED, adopt, echo, enclosed, networked, start_server, talk
from .scenario import TLS_CLIENT, TLS_SERVER, Scenario
from .side import Side
from .tls import HOST
from .world import ScenarioError, World, hold

SCENARIOS: list[Scenario] = []
scenario = partial(networked, SCENARIOS)


@scenario("client", more=(("takeover", "mem", "client"), ("plain", "unix", "client"), *TLS_CLIENT))
async def open_websocket_url(world: World, network: Network) -> None:
    """From the URL to the end of the block."""
    world.owns_connection = True
    await start_server(world, network, echo)

    async def call() -> None:
        async with network.open_websocket("/a") as conn:
            await talk(adopt(network, "client", "/a", conn))

    await enclosed(world, call)


@scenario(
    "client",
    kinds=("scope", "woken", "deadline", "nursery", "anywhere"),
    more=(("plain", "unix", "client"),),
)
async def open_websocket(world: World, network: Network) -> None:
    """From the address to an exception that leaves the block as it is."""
    world.owns_connection = True
    await start_server(world, network, echo)

    async def call() -> None:
        network.expect("/a")
        use_ssl = network.ssl_context or False
        async with trio_ws.open_websocket(
            HOST, PORT, "/a", use_ssl=use_ssl, **network.client_options
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


@scenario("client", more=(("plain", "unix", "client"),))
async def connect_websocket(world: World, network: Network) -> None:
    """The same with an address; the connection is left open."""
    await start_server(world, network, echo)
    nursery = await world.background.start(hold)

    async def call() -> None:
        network.expect("/a")
        conn = await trio_ws.connect_websocket(
            nursery,
            HOST,
            PORT,
            "/a",
            use_ssl=network.ssl_context or False,
            **network.client_options,
        )
        adopt(network, "client", "/a", conn)

    await world.run_victim(call, nursery=nursery.cancel_scope)


@scenario("client", kinds=("scope", "woken", "deadline", "anywhere"))
async def connect_to_a_silent_server(world: World, network: Network) -> None:
    """The handshake ends by its deadline, ``connect_timeout``."""

    async def call() -> None:
        async with network.open_websocket("/a"):
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
        async with network.open_websocket(path):
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


@scenario("server", use=True, more=(("takeover", "mem", "server"), *TLS_SERVER))
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
