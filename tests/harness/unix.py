"""A network of real unix sockets: the library connects to a path, and listens there.

What the client gets is not the socket that the server has accepted: a relay is between them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

import trio

import trio_ws

from .links import Link
from .network import Network
from .relay import Relay, socket_pair
from .world import World

_T = TypeVar("_T")


class UnixNetwork(Network):
    """A server's path; who connects there gets a link of the world.

    Args:
        world: whose.
        folder: where the socket is.
    """

    def __init__(self, world: World, folder: str) -> None:
        super().__init__(world)
        self.path = os.path.join(folder, "socket")
        # Of those that are connected, in their order, until the server has accepted them.
        self._connected: deque[Link | None] = deque()
        self._originals = trio.open_unix_socket, trio.SocketListener.accept

    @contextmanager
    def installed(self) -> Generator[None, None, None]:
        """Have Trio's functions tell of what they connect and accept."""

        async def accept(listener: trio.SocketListener) -> trio.SocketStream:
            return await self._accept(listener)

        with (
            super().installed(),
            mock.patch.object(trio, "open_unix_socket", self._open),
            mock.patch.object(trio.SocketListener, "accept", accept),
            mock.patch.object(trio.to_thread, "run_sync", _run_sync),
        ):
            yield

    @property
    def client_options(self) -> Any:
        """The path is among them."""
        return self.options | {"unix_socket": self.path}

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """There is no TCP here, so it is for clients that are not the library's."""
        return await self._open(self.path)

    async def listen(self) -> list[trio.abc.Listener[Any]]:
        """The library's listener."""
        return [await trio_ws.open_unix_listener(self.path)]

    async def _open(self, path: str) -> trio.SocketStream:
        """What `trio.open_unix_socket` is for the library."""
        is_client = trio.lowlevel.current_task() in self._paths
        link = self._new_link() if is_client else None
        self._connected.append(link)  # Trio connects before anybody else runs
        try:
            stream = await self._originals[0](path)
        except BaseException:
            self._connected.remove(link)
            raise
        if link is None:
            return stream
        client, near = socket_pair()
        link.sockets["client"] = client
        self._world.background.start_soon(Relay(link, near, stream.socket).run)
        return client

    async def _accept(self, listener: trio.SocketListener) -> trio.SocketStream:
        stream = await self._originals[1](listener)
        link = self._connected.popleft()
        if link is not None:
            link.sockets["server"] = stream
        return stream


async def _run_sync(call: Callable[..., _T], *args: object) -> _T:
    """What `trio.to_thread.run_sync` is for Trio's ``bind``: virtual time waits for no thread."""
    await trio.lowlevel.checkpoint_if_cancelled()
    result = call(*args)
    await trio.lowlevel.cancel_shielded_checkpoint()
    return result
