"""`WebSocketServer.run` and its `aclose`, while clients are in the middle of something.

Either of them is the victim, and the other one goes on.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio

import trio_ws

from .injection import CALL_KINDS
from .links import Pipe
from .network import Network
from .networked import DOCUMENTED, adopt, enclosed, networked, talk
from .scenario import Scenario
from .side import Side
from .tls import HOST
from .world import World

SCENARIOS: list[Scenario] = []
# The clients that are in the middle of each of these, by path.
_MIDDLES: Final = {
    "handshake": ("/half", "/asks"),
    "echo": ("/a", "/b"),
    "close": ("/leaves", "/left"),
}
# Virtual seconds: after which the shutdown waits for no client; how long what they wait for takes,
# if nobody is in a hurry; and how soon `run` has to return after `aclose`, cancelled or not.
_PATIENCE: Final = 4.0
_PAUSE: Final = 2.0
_RETURNS_WITHIN: Final = 1.01
# What a client of ours gets on a link that has failed.
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class _Clients:
    """A server's clients and its handler, on their way into the middle of something.

    Args:
        world: where they live.
        network: which they use.
        paths: what they ask for.
    """

    def __init__(self, world: World, network: Network, paths: tuple[str, ...]) -> None:
        self._world = world
        self._network = network
        self._begun = {path: trio.Event() for path in paths}

    async def run(self) -> None:
        """Be all of them."""
        async with trio.open_nursery() as nursery:
            for path in self._begun:
                nursery.start_soon(self._ask if path == "/half" else self._talk, path)

    async def wait(self) -> None:
        """Wait until all of them have begun, or will not any more."""
        with trio.move_on_after(_PATIENCE):
            for event in self._begun.values():
                await event.wait()

    async def _ask(self, path: str) -> None:
        """Never come to the end of a request."""
        with suppress(*_GONE), trio.move_on_after(60):
            async with await self._network.open_stream(path) as stream:
                await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpg".encode())
                self._begun[path].set()
                while await stream.receive_some():
                    pass

    async def _talk(self, path: str) -> None:
        network = self._network
        with suppress(*DOCUMENTED):
            async with network.open_websocket(path) as conn:
                side = adopt(network, "client", path, conn)
                await talk(side, 1)
                if path != "/left":
                    self._begun[path].set()
                if path == "/leaves":
                    await side.close()
                await talk(side, 3)

    async def handle(self, request: trio_ws.WebSocketRequest) -> None:
        """The server's handler, an echo unless a client needs something else."""
        path = request.path
        if path == "/asks":
            self._begun[path].set()
            await trio.sleep(_PAUSE)
        side = adopt(self._network, "server", path, await request.accept())
        await side.send(await side.receive())
        if path == "/left":
            await self._leave(side)
        while True:
            await side.send(await side.receive())

    async def _leave(self, side: Side) -> None:
        """Close, with the client's answer late."""
        pipe = side.link.pipes["client"]
        pipe.stalled = True
        self._world.background.start_soon(_resume, pipe)
        self._begun["/left"].set()
        await side.close()


async def _resume(pipe: Pipe) -> None:
    await trio.sleep(_PAUSE)
    pipe.stalled = False
    pipe.wake()


class _Listening:
    """What `run` tells that it listens."""

    def __init__(self) -> None:
        self.server: trio_ws.WebSocketServer
        self._event = trio.Event()

    def started(self, value: Any = None) -> None:
        """Now it does."""
        self.server = value
        self._event.set()

    async def wait(self) -> trio_ws.WebSocketServer:
        """Wait for that."""
        await self._event.wait()
        return self.server


async def _run(world: World, network: Network, middle: str) -> None:
    """`run` is the victim, from the first listener on; then comes `aclose`."""
    world.owns_connection = True
    world.allowed = ()
    clients = _Clients(world, network, _MIDDLES[middle])
    listening = _Listening()

    async def call() -> None:
        listeners = await network.listen()
        server = trio_ws.WebSocketServer(clients.handle, listeners, **network.options)
        await server.run(task_status=listening)

    async def shut_down() -> None:
        await clients.wait()
        await (await listening.wait()).aclose()

    async def connect() -> None:
        await listening.wait()
        await clients.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        nursery.start_soon(shut_down)
        await world.run_victim(call)
        nursery.cancel_scope.deadline = trio.current_time() + 20


async def _aclose(world: World, network: Network, middle: str) -> None:
    """`aclose` is the victim, once the clients are there; `run` has to return then."""
    world.allowed = ()
    clients = _Clients(world, network, _MIDDLES[middle])
    server = trio_ws.WebSocketServer(clients.handle, await network.listen(), **network.options)
    returned = trio.Event()

    async def run() -> None:
        await server.run()
        returned.set()

    world.background.start_soon(run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.run)
        await clients.wait()
        await world.run_victim(server.aclose, nursery=world.background.cancel_scope, enclosed=True)
        with trio.move_on_after(_RETURNS_WITHIN):
            await returned.wait()
        if not returned.is_set():
            world.violate("I9", f"run goes on {_RETURNS_WITHIN} s after aclose")


for _middle in _MIDDLES:
    for _body, _kinds in ((_run, CALL_KINDS), (_aclose, None)):
        networked(
            SCENARIOS,
            "server",
            name=f"{_body.__name__[1:]}_in_the_middle_of_{_middle}",
            transports=("mem", "tls", "tlssock", "unix"),
            **({"kinds": _kinds} if _kinds else {}),
        )(partial(_body, middle=_middle))


@partial(networked, SCENARIOS, "server")(transports=("unix",), faults=0)
async def open_unix_listener(world: World, network: Network) -> None:
    """Where an earlier server has left its file; then where another one listens."""
    world.allowed = ()
    await _listen_for_a_moment(network)

    async def call() -> None:
        (listener,) = await network.listen()
        async with listener:
            try:
                await network.listen()
            except OSError:
                return
            world.violate("I8", "two servers listen at one path")

    await enclosed(world, call)
    await _listen_for_a_moment(network)


async def _listen_for_a_moment(network: Network) -> None:
    for listener in await network.listen():
        await listener.aclose()
