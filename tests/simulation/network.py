"""The network of a world: where Trio's functions for TCP lead, and who listens there."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import trio
import trustme

from .links import Link, MemoryEnd
from .plan import SessionPlan, VisitPlan
from .sockets import SocketEnds

if TYPE_CHECKING:
    from .world import Session, Visit, World

_BACKLOG: Final = 100


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's and the server's context, made once."""
    authority = trustme.CA()
    client = ssl.create_default_context()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.num_tickets = 0  # their sizes differ from run to run
    authority.configure_trust(client)
    authority.issue_cert(Network.tls_name).configure_cert(server)
    return client, server


class Refused(ConnectionRefusedError):
    """Nobody listens."""


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """Gives a server the far ends of new links."""

    def __init__(self) -> None:
        self.connect, self._incoming = trio.open_memory_channel[trio.abc.Stream](_BACKLOG)

    async def accept(self) -> trio.abc.Stream:
        """The next client."""
        return await self._incoming.receive()

    async def aclose(self) -> None:
        """Refuse clients from now on; those that wait are lost, as they are in a kernel."""
        with trio.CancelScope(shield=True):
            while True:
                try:
                    stream = self._incoming.receive_nowait()
                except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                    break
                await trio.aclose_forcefully(stream)
        self._incoming.close()
        await trio.lowlevel.cancel_shielded_checkpoint()


class Network:
    """Links of a world, by session.

    Args:
        world: whose.
    """

    tls_name: Final = "server.test"

    def __init__(self, world: World) -> None:
        self._world = world
        self.plain = Listener()
        self._secret = Listener()
        self.sockets: list[SocketEnds] = []

    def listeners(self) -> list[trio.abc.Listener[Any]]:
        """Where the server listens: without TLS, and with it."""
        inner: trio.abc.Listener[Any] = self._secret
        tls = trio.SSLListener(inner, tls_contexts()[1], https_compatible=True)
        return [self.plain, tls]

    async def _listen(self, port: int, **_: object) -> list[trio.abc.Listener[Any]]:
        await trio.lowlevel.checkpoint()
        return self.listeners()[:1]

    async def _listen_tls(
        self, port: int, ssl_context: ssl.SSLContext, **_: object
    ) -> list[trio.abc.Listener[Any]]:
        await trio.lowlevel.checkpoint()
        return self.listeners()[1:]

    @staticmethod
    def host(plan: SessionPlan) -> str:
        """The name by which `connect` knows the session."""
        return f"{plan.name}.test"

    @staticmethod
    def path(plan: SessionPlan) -> str:
        """The path by which the server knows it."""
        return f"/{plan.name}"

    @staticmethod
    def client_context(plan: SessionPlan | VisitPlan) -> ssl.SSLContext | None:
        """For a client that speaks TLS."""
        return tls_contexts()[0] if plan.link.transport == "tls" else None

    @contextmanager
    def installed(self) -> Generator[None, None, None]:
        """Have Trio's functions lead here, and know what TLS decrypts."""
        receive_some = trio.SSLStream.receive_some

        async def logging_receive_some(
            stream: trio.SSLStream[Any], max_bytes: int | None = None
        ) -> bytes | bytearray:
            data = await receive_some(stream, max_bytes)
            end = stream.transport_stream
            if isinstance(end, MemoryEnd):
                end.link.pipes["server" if end.role == "client" else "client"].log += data
            return data

        with (
            mock.patch.object(trio, "open_tcp_stream", self._connect),
            mock.patch.object(trio, "open_tcp_listeners", self._listen),
            mock.patch.object(trio, "open_ssl_over_tcp_listeners", self._listen_tls),
            mock.patch.object(trio.SSLStream, "receive_some", logging_receive_some),
        ):
            yield

    async def _connect(self, host: str, port: int) -> trio.abc.Stream:
        """What `trio.open_tcp_stream` is in a world."""
        return await self._link(self._world.sessions[host.removesuffix(".test")])

    async def stream(self, party: Session | Visit) -> trio.abc.Stream:
        """A stream that has connected, for a client that is not the library's, or wraps it."""
        stream = await self._link(party)
        context = self.client_context(party.plan)
        if context is None:
            return stream
        return trio.SSLStream(stream, context, server_hostname=self.tls_name, https_compatible=True)

    async def _link(self, party: Session | Visit) -> trio.abc.Stream:
        """A new link to the server."""
        plan, world = party.plan, self._world
        await trio.sleep(party.rng.random() * plan.link.latency)
        for fault in plan.faults:
            if fault.kind == "hang":
                party.struck = True
                await trio.sleep(fault.seconds)
            elif fault.kind == "refuse":
                party.struck = True
                raise Refused(f"{plan.name}: {fault.name}")
        faults = tuple(fault for fault in plan.faults if fault.kind not in {"hang", "refuse"})
        link = party.link = Link(
            plan.name, world.plan.seed, plan.link, faults, world.trace, world.nursery
        )
        listener = self._secret if plan.link.transport == "tls" else self.plain
        near, far = self._ends(link)
        try:
            listener.connect.send_nowait(far)
        except (trio.BrokenResourceError, trio.WouldBlock):
            await trio.aclose_forcefully(far)
            await trio.aclose_forcefully(near)
            raise Refused(plan.name) from None
        if link.by_time:
            world.nursery.start_soon(link.befall)
        return near

    def _ends(self, link: Link) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        if link.plan.transport != "sock":
            return MemoryEnd(link, "client"), MemoryEnd(link, "server")
        ends = SocketEnds(link)
        self.sockets.append(ends)
        self._world.nursery.start_soon(ends.run)
        return ends.streams["client"], ends.streams["server"]
