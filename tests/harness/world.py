"""One run of a scenario: its links and connections, the victim, and what is known of them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import trio

import trio_ws
from trio_ws import Limits, PerMessageDeflate, WebSocketConnection

from . import content
from .injection import Injection, Injector
from .links import HOST, Link, MemoryEnd, Relay, tls_contexts

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
FLOOD: Final = {"mem": 400, "tls": 600, "sock": 16_000}
# The largest piece that travels at once.
STEP: Final = {"mem": 48, "tls": 160, "sock": 4000}


class ScenarioError(Exception):
    """What scenarios raise themselves, to see it come out as it is."""


@dataclass
class Sent:
    """A message that a task has tried to send, and what came of it."""

    message: str | bytes
    state: str = "pending"  # confirmed, cancelled, failed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, _: object) -> None:
        if exc is None:
            self.state = "confirmed"
        else:
            self.state = "cancelled" if isinstance(exc, trio.Cancelled) else "failed"


class Side:
    """One end of a connection, with a log of what it was asked to do."""

    def __init__(self, world: World, link: Link, role: str) -> None:
        self.world = world
        self.link = link
        self.role = role
        self.conn: WebSocketConnection | None = None
        self.nursery: trio.Nursery | None = None
        self.sent: list[Sent] = []
        self.received: list[str | bytes] = []
        self.has_closed = False  # this end has closed, or its tasks were cancelled
        self.says_close = False  # this end calls aclose itself, so its Close may have come first
        self.goodbye_due = False
        self._arrived = trio.lowlevel.ParkingLot()

    @property
    def peer(self) -> Side:
        """The other end."""
        return self.world.sides[self.link]["server" if self.role == "client" else "client"]

    @property
    def connection(self) -> WebSocketConnection:
        """The connection, which there must be."""
        assert self.conn is not None
        return self.conn

    def text(self, size: int = 20) -> str:
        """A text that is sent only once."""
        name = f"{self.role} {len(self.sent)} "
        return content.text(name, size) if self.world.deflate else name.ljust(size, "é")

    def binary(self, size: int = 20) -> bytes:
        """Bytes that are sent only once."""
        name = f"{self.role} {len(self.sent)} "
        if self.world.deflate:
            return content.binary(name, size)
        return name.encode().ljust(size, b"\xff")

    async def send(self, message: str | bytes, *, compress: bool | None = None) -> None:
        """Send, and write down what came of it."""
        with self.enter(message):
            await self.connection.send(message, compress=compress)

    def enter(self, message: str | bytes) -> Sent:
        """A context for the call that sends `message`."""
        self.sent.append(Sent(message))
        return self.sent[-1]

    async def receive(self) -> str | bytes:
        """Receive, and write it down."""
        return self.note(await self.connection.receive())

    def note(self, message: str | bytes) -> str | bytes:
        """Write down that `message` was received."""
        self.received.append(message)
        self._arrived.unpark_all()
        return message

    async def close(self, code: int = 1000) -> None:
        """Close this end."""
        self.has_closed = self.says_close = True
        await self.connection.aclose(code)

    async def drain(self) -> None:
        """Receive until the end, whatever that is."""
        try:
            while True:
                await self.receive()
        except trio_ws.ConnectionClosed:
            self._arrived.unpark_all()

    async def wait_received(self, count: int) -> None:
        """Wait until so many messages were received, or the connection has ended."""
        while len(self.received) < count and self.connection.closed is None:
            await self._arrived.park()


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
        transport: "mem", "tls" or "sock".
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
    # What the call may raise.
    allowed: tuple[type[BaseException], ...] = (trio_ws.ConnectionClosed, trio_ws.HandshakeError)

    def __post_init__(self) -> None:
        self.injector = Injector(self.injection)
        self.rng = random.Random(self.seed)
        self.background: trio.Nursery
        self.left_over: list[trio.abc.AsyncResource] = []  # closed at the very end
        self.spawned = 0  # tasks of `spawn` that have not ended
        self._idle = trio.lowlevel.ParkingLot()
        self.injector.before_firing.append(self._before_firing)

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
        tls = self.transport == "tls"
        step = step or STEP[self.transport]
        link = Link(self.rng, window=self.window, step=step, tls=tls)
        self.links.append(link)
        self.sides[link] = {role: Side(self, link, role) for role in ("client", "server")}
        return link

    def new_plain_ends(self, link: Link) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        """The client's and the server's stream over `link`, without TLS."""
        if self.transport == "sock":
            relay = Relay(link)
            link.sockets = {"client": relay.client, "server": relay.server}
            self.background.start_soon(relay.run)
            return relay.client, relay.server
        return MemoryEnd(link, "client"), MemoryEnd(link, "server")

    def new_ends(self, link: Link) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        """The client's and the server's stream over `link`, TLS not shaken hands yet."""
        client, server = self.new_plain_ends(link)
        if self.transport != "tls":
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

    def spawn(self, call: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run something in the background whose end may be that of its connection."""
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
            try:
                await call()
            except BaseException as exc:
                victim.outcome = exc
                victim.cancelled = is_cancelled(exc)
                if victim.cancelled:
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

    def _before_firing(self) -> None:
        """A nursery is about to be cancelled: who has to hear a goodbye (invariant 10)?"""
        if self.injector.breaks:
            for link, sides in self.sides.items():
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
