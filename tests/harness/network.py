"""A network of links: what the library reaches through Trio's functions for TCP."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import trio

import trio_ws

from .links import SMALL, UNDER_TLS, Link
from .side import Side
from .tls import HOST, tls_contexts
from .world import World

PORT = 4711


class Network(trio.abc.Listener[trio.abc.Stream]):
    """One server's address; who connects there gets a link of the world.

    Links are told apart by path: a client names the path that it is about to ask for.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._incoming, self._accepted = trio.open_memory_channel[trio.abc.Stream](100)
        self._paths: dict[trio.lowlevel.Task, str] = {}
        self._links: dict[str, Link] = {}

    @contextmanager
    def installed(self) -> Generator[None, None, None]:
        """Have Trio's functions lead here."""
        originals = (
            trio.open_tcp_stream, trio.open_tcp_listeners, trio.open_ssl_over_tcp_listeners
        )  # fmt: skip
        trio.open_tcp_stream = self.connect  # type: ignore[assignment]
        trio.open_tcp_listeners = self._listen  # type: ignore[assignment]
        trio.open_ssl_over_tcp_listeners = self._listen_tls  # type: ignore[assignment]
        try:
            yield
        finally:
            (trio.open_tcp_stream, trio.open_tcp_listeners, trio.open_ssl_over_tcp_listeners) = (
                originals
            )

    @property
    def options(self) -> Any:
        """Of every connection."""
        return self._world.options

    # The client's side

    @property
    def client_options(self) -> Any:
        """Of every client that connects by itself."""
        return self.options

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """A client's, if TLS is spoken."""
        return tls_contexts()[0] if self._world.transport in UNDER_TLS else None

    @property
    def server_ssl_context(self) -> ssl.SSLContext | None:
        """A server's, if TLS is spoken."""
        return tls_contexts()[1] if self._world.transport in UNDER_TLS else None

    def url(self, path: str) -> str:
        """The URL that the current task is about to open."""
        self.expect(path)
        return f"{'ws' if self.ssl_context is None else 'wss'}://{HOST}:{PORT}{path}"

    def expect(self, path: str) -> None:
        """The current task is about to ask for `path`."""
        self._paths[trio.lowlevel.current_task()] = path

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """What `trio.open_tcp_stream` is for the library."""
        await trio.lowlevel.checkpoint()
        link = self._new_link()
        client, server = self._world.new_plain_ends(link)
        try:
            self._incoming.send_nowait(server)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(client)
            await trio.aclose_forcefully(server)
            raise ConnectionRefusedError(f"{host}:{port}") from None
        return client

    def _new_link(self) -> Link:
        """The link on which the current task will ask for what it has said."""
        link = self._world.new_link(step=SMALL[self._world.transport])
        link.chop()
        self._links[self._paths[trio.lowlevel.current_task()]] = link
        return link

    def open_websocket(self, path: str) -> AbstractAsyncContextManager[trio_ws.WebSocketConnection]:
        """A client that asks for `path`, for the length of a block."""
        return trio_ws.open_websocket_url(self.url(path), self.ssl_context, **self.client_options)

    async def open_stream(self, path: str) -> trio.abc.Stream:
        """A stream to the server, for a client that is not the library's."""
        self.expect(path)
        stream = await self.connect(HOST, PORT)
        if self.ssl_context is None:
            return stream
        return trio.SSLStream(stream, self.ssl_context, server_hostname=HOST, https_compatible=True)

    def side(self, role: str, path: str) -> Side:
        """The end `role` of the link on which `path` was asked for."""
        return self._world.sides[self._links[path]][role]

    # The server's side

    async def listen(self) -> list[trio.abc.Listener[Any]]:
        """What a server that is not `serve_websocket` listens on."""
        if self.server_ssl_context is None:
            return await self._listen(PORT)
        return await self._listen_tls(PORT, self.server_ssl_context)

    async def _listen(self, port: int, **_: object) -> list[trio.abc.Listener[Any]]:
        await trio.lowlevel.checkpoint()
        return [self]

    async def _listen_tls(
        self, port: int, ssl_context: ssl.SSLContext, **_: object
    ) -> list[trio.abc.Listener[Any]]:
        await trio.lowlevel.checkpoint()
        return [trio.SSLListener(self, ssl_context, https_compatible=True)]

    async def accept(self) -> trio.abc.Stream:
        """The next client."""
        return await self._accepted.receive()

    async def aclose(self) -> None:
        """Refuse whoever comes from now on, and whoever waits."""
        try:
            while True:
                await trio.aclose_forcefully(self._accepted.receive_nowait())
        except (trio.WouldBlock, trio.ClosedResourceError):
            pass
        self._accepted.close()
        await trio.lowlevel.checkpoint()
