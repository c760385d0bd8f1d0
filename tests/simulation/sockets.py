"""Links below real sockets: each end has a socket pair, and the link carries between them.

So the library's path for plain sockets runs as it does in production. The kernel's part takes no
virtual time, and each of its answers depends on nothing but what was written before.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

import trio

from .links import Link

# Small, so that writes are cut.
_BUFFER: Final = 4096


class SocketEnds:
    """The two ends of a link, as socket streams.

    Args:
        link: what carries between them.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._near: dict[str, trio.socket.SocketType] = {}
        self.streams: dict[str, trio.SocketStream] = {}
        for role in ("client", "server"):
            ours, theirs = socket.socketpair()
            for one in (ours, theirs):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._near[role] = trio.socket.from_stdlib_socket(theirs)
            self.streams[role] = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    @property
    def open_ends(self) -> list[str]:
        """The ends that nobody has closed."""
        return [role for role, stream in self.streams.items() if stream.socket.fileno() >= 0]

    def close(self) -> None:
        """Close what a world has left open, once that was noticed."""
        ours = [stream.socket for stream in self.streams.values()]
        for one in (*ours, *self._near.values()):
            if one.fileno() >= 0:
                os.close(one.detach())  # Trio runs no more

    async def run(self) -> None:
        """Carry until both directions have ended, or cancelled."""
        with self._near["client"], self._near["server"]:
            async with trio.open_nursery() as nursery:
                for role, other in (("client", "server"), ("server", "client")):
                    nursery.start_soon(self._take, role)
                    nursery.start_soon(self._give, role, other)

    async def _take(self, role: str) -> None:
        """From an end's socket into its pipe."""
        pipe, source = self._link.pipes[role], self._near[role]
        try:
            while data := await source.recv(_BUFFER):
                await pipe.write(data)
        except (OSError, trio.BrokenResourceError):
            pass
        pipe.end()
        with suppress(OSError):
            source.shutdown(socket.SHUT_RD)  # so that writing fails there
        if pipe.reset:
            source.close()

    async def _give(self, role: str, other: str) -> None:
        """Out of a pipe into the other end's socket."""
        pipe, sink = self._link.pipes[role], self._near[other]
        try:
            while data := await pipe.read(None):
                while data:
                    data = data[await sink.send(data) :]
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        pipe.broken = True
        pipe.drop()
        pipe.wake()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
