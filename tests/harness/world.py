"""One run of a scenario: its links and connections, the victim, and what is known of them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import trio

import trio_ws
from trio_ws import Limits, PerMessageDeflate

from .faults import Fault
from .injection import Injection, Injector
from .links import ON_SOCKETS, UNDER_TLS, Link, MemoryEnd
from .relay import Relay, socket_pair
from .side import Side
from .tls import HOST, tls_contexts

# Virtual seconds; I9 measures with them.
DISCONNECT_TIMEOUT: Final = 5.0
CONNECT_TIMEOUT: Final = 8.0
WRITE_TIMEOUT: Final = 6.0
PROBE_TIMEOUT: Final = 4.0
RUN_LIMIT: Final = 120.0

TIMING: Final[Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "disconnect_timeout": DISCONNECT_TIMEOUT,
    "limits": Limits(send_buffer_size=200, write_timeout=WRITE_TIMEOUT),
}
# How messages are compressed: not, with one context for all, or with a new one for each.
COMPRESSIONS: Final[dict[str, PerMessageDeflate | None]] = {
    "plain": None,
    "takeover": PerMessageDeflate(),
    "fresh": PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True),
}
# Bytes that a connection and the link below it hold without any help of the peer.
FLOOD: Final = {"mem": 400, "tls": 600, "sock": 16_000, "tlssock": 16_000}
# The largest piece that travels at once.
STEP: Final = {"mem": 48, "tls": 160, "sock": 4000, "tlssock": 4000}


class ScenarioError(Exception):
    """What scenarios raise themselves, to see it come out as it is."""


@dataclass
class Victim:
    """The task that is cancelled."""

    started_at: float = 0.0
    ended_at: float | None = None
    outcome: BaseException | None = None
    cancelled: bool = False  # Cancelled came out of the call
    watched: bool = False  # its end is not ours to see
    enclosed: bool = False  # by the nursery that the kinds nursery and collapse cancel


@dataclass
class World:
    """What a scenario has at hand.

    Args:
        transport: "mem", "tls" over that, "sock", "tlssock" over that; on a network also "unix".
        role: which end the victim is on.
        seed: of all that is chosen at random.
        injection: where to cancel, or None for a run that counts.
        compression: one of `COMPRESSIONS`.
    """

    transport: str
    role: str
    seed: int
    injection: Injection | None
    compression: str = "plain"
    window: int = 160
    inflated: int = 0  # messages that the parser of the wire has inflated
    violations: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    sides: dict[Link, dict[str, Side]] = field(default_factory=dict)
    victim: Victim = field(default_factory=Victim)
    usable: bool | None = None  # whether the connection of a pair was, afterwards
    # What the call must raise now, whether it is cancelled or not.
    must_raise: type[BaseException] | None = None
    check_goodbye: bool = True
    # The call encloses the connection's own tasks: cancelled, it has to say goodbye.
    owns_connection: bool = False
    # It is cancelled by what it encloses, or by what goes on meanwhile: a server's end.
    may_be_cancelled: bool = False
    # What the call may raise.
    allowed: tuple[type[BaseException], ...] = (trio_ws.ConnectionClosed, trio_ws.HandshakeError)

    def __post_init__(self) -> None:
        self.injector = injector = Injector(self.injection)
        kind, step = (self.injection.kind, self.injection.step) if self.injection else ("", 0)
        self.fault = Fault(kind, step, self.role)
        self.fault.on_strike = injector.strike
        self.rng = random.Random(self.seed)
        self.background: trio.Nursery
        self.left_over: list[trio.abc.AsyncResource] = []  # closed at the very end
        self.spawned = 0  # tasks of `spawn` that have not ended
        self._idle = trio.lowlevel.ParkingLot()
        injector.before_firing.append(self._before_firing)

    def violate(self, invariant: str, what: str) -> None:
        """Write down a violation."""
        self.violations.append(f"{invariant}: {what}")

    @property
    def deflate(self) -> PerMessageDeflate | None:
        """What both ends want of compression."""
        return COMPRESSIONS[self.compression]

    @property
    def options(self) -> Any:
        """Of every connection."""
        return TIMING if self.deflate is None else TIMING | {"compression": self.deflate}

    # Links

    def new_link(self, step: int | None = None) -> Link:
        """A link with two sides, on which up to `step` bytes travel at once."""
        tls = self.transport in UNDER_TLS
        step = step or STEP[self.transport]
        link = Link(self.rng, window=self.window, step=step, tls=tls, fault=self.fault)
        self.links.append(link)
        self.sides[link] = {role: Side(self, link, role) for role in ("client", "server")}
        return link

    def new_plain_ends(self, link: Link) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        """The client's and the server's stream over `link`, without TLS."""
        if self.transport in ON_SOCKETS:
            (client, near), (server, far) = socket_pair(), socket_pair()
            link.sockets = {"client": client, "server": server}
            self.background.start_soon(Relay(link, near, far).run)
            return client, server
        return MemoryEnd(link, "client"), MemoryEnd(link, "server")

    def new_ends(self, link: Link) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        """The client's and the server's stream over `link`, TLS not shaken hands yet."""
        client, server = self.new_plain_ends(link)
        if self.transport not in UNDER_TLS:
            return client, server
        contexts = tls_contexts()
        return (
            trio.SSLStream(client, contexts[0], server_hostname=HOST, https_compatible=True),
            trio.SSLStream(server, contexts[1], server_side=True, https_compatible=True),
        )

    # A connected pair, each end's tasks in a nursery of its own

    @property
    def me(self) -> Side:
        """The victim's end of the first link."""
        return self.sides[self.links[0]][self.role]

    @property
    def peer(self) -> Side:
        """The other end of the first link."""
        return self.me.peer

    async def open_pair(self, step: int | None, **options: Any) -> None:
        """Connect; from then on bytes travel in small pieces, of up to `step` bytes."""
        link = self.new_link(step)
        link.window = max(link.window, step or 0)
        client, server = self.sides[link]["client"], self.sides[link]["server"]
        client.nursery = await self.background.start(hold)
        server.nursery = await self.background.start(hold)
        client_end, server_end = self.new_ends(link)
        options = self.options | options

        async def accept() -> None:
            assert server.nursery is not None
            request = await trio_ws.wrap_server_stream(server.nursery, server_end, **options)
            server.conn = await request.accept()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            assert client.nursery is not None
            client.conn = await trio_ws.wrap_client_stream(
                client.nursery, client_end, HOST, "/", **options
            )
        link.chop()

    def read(self, side: Side) -> None:
        """Have a task receive all that comes to `side`."""
        self.background.start_soon(side.drain)

    def spawn(
        self, call: Callable[..., Awaitable[object]], *args: object, waits: bool = False
    ) -> None:
        """Run something in the background whose end may be that of its connection.

        Unless it `waits` for something that need not come, it has to end before `wait_idle` does.
        """
        if waits:
            self.background.start_soon(self.until_closed, partial(call, *args))
            return
        self.spawned += 1
        self.background.start_soon(self._spawned, partial(call, *args))

    async def wait_idle(self) -> None:
        """Wait until all that was spawned has ended."""
        while self.spawned:
            await self._idle.park()

    async def _spawned(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await self.until_closed(call)
        finally:
            self.spawned -= 1
            self._idle.unpark_all()

    async def until_closed(self, call: Callable[[], Awaitable[object]]) -> None:
        """Run something whose end may be that of its connection."""
        try:
            await call()
        except trio_ws.ConnectionClosed:
            pass

    def end_of_body(self) -> None:
        """All that a fault can be about has happened; what follows need not be slow."""
        mine = [sides[self.role].conn for sides in self.sides.values()]
        self.fault.end(sum(conn.statistics().bytes_buffered for conn in mine if conn is not None))
        for link in self.links:
            link.widen()

    # The victim

    async def run_victim(
        self,
        call: Callable[[], Awaitable[object]],
        *,
        nursery: trio.CancelScope | None = None,
        enclosed: bool = False,
    ) -> None:
        """Run `call` as the victim: cancelled at the chosen step.

        Args:
            call: the library's call, or several.
            nursery: what the kinds nursery and collapse cancel; None is that of `me`'s tasks.
            enclosed: whether that nursery encloses this task.
        """
        if nursery is None and self.links and self.me.nursery is not None:
            nursery = self.me.nursery.cancel_scope
        victim = self.victim
        victim.enclosed = enclosed
        victim.started_at = trio.current_time()
        with trio.CancelScope() as scope:
            self.injector.watch(scope, nursery)
            self.fault.armed = True
            try:
                await call()
            except BaseException as exc:
                victim.outcome = exc
                victim.cancelled = is_cancelled(exc)
                if victim.cancelled or isinstance(exc, KeyboardInterrupt):
                    raise
            finally:
                self.injector.release()
                victim.ended_at = trio.current_time()

    def watch(self, nursery: trio.CancelScope) -> None:
        """From now to its end the current task is the victim, of the nursery kinds only.

        For what a task of the library's does when the user's part of it is over.
        """
        self.victim.watched = True
        self.victim.started_at = self.victim.ended_at = trio.current_time()
        self.injector.watch(trio.CancelScope(), nursery)
        self.fault.armed = True

    def _before_firing(self) -> None:
        """It happens now: who has to hear a goodbye (invariant 10)?"""
        if self.injector.breaks:
            for link, sides in self.sides.items():
                if self.fault.struck:
                    continue
                link.cut()
                for side in sides.values():
                    side.has_closed = True  # so what it has not received may be lost
            return
        if not (self.injector.targets_nursery or self.owns_connection):
            return
        for sides in self.sides.values():
            for side in sides.values():
                if side.conn is None or side.role != self.role:
                    continue
                side.has_closed = True
                side.goodbye_due = (
                    self.check_goodbye
                    and side.conn.closed is None
                    and side.conn.statistics().bytes_buffered == 0
                    and side.link.takes_bytes(side.role)
                )


async def hold(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Keep a nursery open until it is cancelled."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


def is_cancelled(exc: BaseException) -> bool:
    """Whether an exception is nothing but `trio.Cancelled`, in groups or not."""
    if isinstance(exc, BaseExceptionGroup):
        return all(is_cancelled(inner) for inner in exc.exceptions)
    return isinstance(exc, trio.Cancelled)
