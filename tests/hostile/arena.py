"""Where an attack takes place: the attacked side, the honest connection beside it, the meters."""

from __future__ import annotations

import gc
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

import trio_ws
from tests.support.tls import client_context, server_context

from .raw import Raw, dial
from .table import MAX_MESSAGE, Attack

# Seconds after which an attack counts as one that hangs.
GUARD = 20.0
HONEST = "/honest"

Use = Callable[[trio_ws.WebSocketConnection], Awaitable[object]]
Serve = Callable[[trio_ws.WebSocketRequest], Awaitable[object]]
Lure = Callable[[Raw], Awaitable[str]]


def told(exc: BaseException | None) -> str:
    """How an exception of the library is told in an outcome."""
    match exc:
        case None:
            return "no error"
        case trio_ws.ConnectionRejected():
            return f"ConnectionRejected {exc.status_code}"
        case trio_ws.ConnectionClosed() if exc.reason is not None:
            return f"closed {exc.reason.code}"
    return type(exc).__name__


async def drain(connection: trio_ws.WebSocketConnection) -> None:
    """Receive until the end, and raise why."""
    while True:
        await connection.receive()


async def echo(connection: trio_ws.WebSocketConnection) -> None:
    """Answer each message with itself until the end, and raise why."""
    while True:
        await connection.send(await connection.receive())


@dataclass
class Arena:
    """What a script needs.

    Args:
        attack: the one that takes place.
        nursery: for what goes on during it.
    """

    attack: Attack
    nursery: trio.Nursery

    def __post_init__(self) -> None:
        self.server: trio_ws.WebSocketServer
        """The attacked one; for an attack on a client, one where all is well."""
        self.honest: trio_ws.WebSocketConnection
        """A connection to it."""
        self.served = 0
        """Echoes of the honest connection during the attack."""
        self.serve: Serve | None = None
        """What the attacked server's handler does, if it is not to echo."""
        self._ends, self.ends = trio.open_memory_channel[str](2000)
        self._before = 0
        self.cost = 0
        """Bytes of memory at the peak of the attack."""

    # Meters

    def measure(self) -> None:
        """Count memory from now on: what the attacker has prepared costs nobody else."""
        gc.collect()
        self._before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()

    def stop(self) -> None:
        """The attack is over: take note of what it has cost."""
        self.cost = tracemalloc.get_traced_memory()[1] - self._before

    async def beside(self, times: int = 1) -> None:
        """The honest connection is served."""
        for _ in range(times):
            message = f"honest {self.served}"
            await self.honest.send(message)
            answer = await self.honest.receive()
            assert answer == message, f"the honest connection received {answer!r}"
            self.served += 1

    # Attacks on the server

    async def handle(self, request: trio_ws.WebSocketRequest) -> None:
        """The handler of the server: serves the honest, and takes note of the others' end."""
        if request.path == HONEST:
            async with await request.accept() as connection:
                async for message in connection:
                    await connection.send(message)
            return
        end: BaseException | None = None
        try:
            if self.serve is not None:
                await self.serve(request)
            else:
                await echo(await request.accept())
        except Exception as exc:
            end = exc
            raise
        finally:
            self._ends.send_nowait(told(end))

    async def end(self) -> str:
        """How the attacked connection ended for its handler."""
        return await self.ends.receive()

    async def dial(self, *, small: bool = False) -> Raw:
        """A raw client of the server."""
        context = client_context() if self.attack.tls else None
        return await dial(self.server.port, context, small=small)

    async def open(self, *lines: bytes, small: bool = False) -> Raw:
        """A raw client whose request was accepted."""
        peer = await self.dial(small=small)
        head = await peer.open(*lines)
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    # Attacks on a client

    async def lure(
        self,
        script: Lure,
        use: Use = drain,
        *,
        url: str = "{}/",
        context: ssl.SSLContext | None = None,
        **options: Any,
    ) -> str:
        """Let a client connect to a raw server; return what either of them tells.

        Args:
            script: the raw server.
            use: what the client does with its connection.
            url: the URL, with ``{}`` for its beginning.
            context: the server's, for TLS; the client trusts the tests' authority.
            options: more of the client's.
        """
        told_by_server, tell = "", trio.Event()  # the latter when a connection has ended

        async def serve(stream: trio.SocketStream) -> None:
            nonlocal told_by_server
            outer: trio.abc.Stream = stream
            if context is not None:
                outer = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            peer = Raw(outer, client=False)
            told_by_server = ", ".join(filter(None, [told_by_server, await script(peer)]))
            await trio.aclose_forcefully(peer.stream)
            tell.set()

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        options = {**self.attack.options, **options}
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, serve, listeners))
            scheme, trust = ("ws", None) if context is None else ("wss", client_context())
            result = await call(url.format(f"{scheme}://127.0.0.1:{port}"), use, options, trust)
            await self.beside()
            await tell.wait()
            nursery.cancel_scope.cancel()
        return ", ".join(filter(None, [told_by_server, result]))


async def call(url: str, use: Use, options: dict[str, Any], context: Any = None) -> str:
    """Open a connection as a client, and tell how it ended."""
    options = {"max_message_size": MAX_MESSAGE, "ping_interval": None, **options}
    try:
        async with trio_ws.open_websocket_url(url, context, **options) as connection:
            await use(connection)
    except Exception as exc:
        return told(exc)
    return "no error"


@asynccontextmanager
async def running(attack: Attack) -> AsyncIterator[Arena]:
    """A server and a connection to it; both must be as well afterwards as before."""
    server_options: dict[str, Any] = {"max_message_size": MAX_MESSAGE, "ping_interval": None}
    if attack.name.startswith("server/"):
        server_options |= attack.options
    server_options.setdefault("handler_error", lambda request, exc: None)
    async with trio.open_nursery() as nursery:
        arena = Arena(attack, nursery)
        context = server_context("127.0.0.1") if attack.tls else None
        serve = partial(
            trio_ws.serve_websocket,
            arena.handle,
            "127.0.0.1",
            0,
            context,
            **server_options,
        )
        arena.server = await nursery.start(serve)
        url = f"{'wss' if attack.tls else 'ws'}://127.0.0.1:{arena.server.port}{HONEST}"
        trust = client_context() if attack.tls else None
        async with trio_ws.open_websocket_url(url, trust, ping_interval=None) as arena.honest:
            yield arena
        served = arena.served
        async with trio_ws.open_websocket_url(url, trust, ping_interval=None) as arena.honest:
            await arena.beside()
        arena.served = served
        nursery.cancel_scope.cancel()
