"""Links over sockets: what an end writes to its socket is carried to the other end's."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import trio

from .faults import OTHER
from .links import Link


class Relay:
    """Carries bytes between two sockets and logs them: neither end knows of it.

    Args:
        link: what knows of them.
        near: connected to the client's.
        far: connected to the server's.
    """

    def __init__(
        self, link: Link, near: trio.socket.SocketType, far: trio.socket.SocketType
    ) -> None:
        self._link = link
        self._near = near
        self._far = far

    async def run(self) -> None:
        """Carry until both directions have ended, or cancelled."""
        with self._near, self._far:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, "client", self._near, self._far)
                nursery.start_soon(self._carry, "server", self._far, self._near)

    async def _carry(
        self, role: str, source: trio.socket.SocketType, sink: trio.socket.SocketType
    ) -> None:
        pipe, link = self._link.pipes[role], self._link
        data: bytes | None = None
        try:
            while True:
                while pipe.stalled:
                    await pipe.changed.park()
                data = None
                data = await source.recv(link.size())
                if not data:
                    break
                size = self._allowed(role, len(data))
                pipe.log += data[:size]
                view = data[:size]
                while view:
                    sent = await sink.send(view)
                    pipe.taken += sent
                    view = view[sent:]
                if size < len(data):
                    await self._strike()
                    break
        except (OSError, trio.ClosedResourceError) as exc:
            # An end has gone: nobody is left to carry to, or from.
            unread = isinstance(exc, ConnectionResetError) and os.name == "posix"
            if unread and not link.was_cut:
                link.resets.add(role if data is None else OTHER[role])
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            source.shutdown(socket.SHUT_RD)

    def _allowed(self, role: str, size: int) -> int:
        """How many bytes from `role` may pass, both as sent there and as received elsewhere."""
        link, position = self._link, len(self._link.pipes[role].log)
        size = link.fault.allow(link, role, "send", position, size)
        return size and link.fault.allow(link, OTHER[role], "receive", position, size)

    async def _strike(self) -> None:
        """The fault happens here and now."""
        link, fault = self._link, self._link.fault
        fault.strike()
        link.was_cut = True
        if fault.what == "stall":
            await trio.sleep_forever()
        elif fault.what == "end":
            link.cut()
        elif fault.what == "closed" and fault.role in link.sockets:
            link.sockets[fault.role].socket.close()
        else:
            self._near.close()
            self._far.close()


def socket_pair() -> tuple[trio.SocketStream, trio.socket.SocketType]:
    """A stream for the library, and the other end of it."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that writes are cut
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        trio.socket.from_stdlib_socket(theirs),
    )
