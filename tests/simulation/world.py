"""A world: the server, the clients, what befalls them, and what is known of it all."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

import trio_ws

from .ends import SLACK, End
from .links import Link
from .model import Flow
from .network import Network
from .plan import DISCONNECT_TIMEOUT, TOLD_WITHIN, Event, Plan, SessionPlan, VisitPlan
from .trace import Trace


@dataclass
class Session:
    """One connection, or an attempt at one, with both its ends."""

    plan: SessionPlan
    client: End
    server: End
    rng: random.Random
    link: Link | None = None
    refused: Exception | None = None
    rejected: bool = False
    struck: bool = False  # connecting met a fault
    handler_is_done: bool = False  # it sends nothing more by itself
    is_over: bool = False
    is_handled: bool = True  # its handler does not run

    @property
    def flows(self) -> tuple[tuple[End, End], ...]:
        """Who sends, and who receives: both directions."""
        return (self.client, self.server), (self.server, self.client)


@dataclass
class Visit:
    """An ordinary request of a client, and what has come of it."""

    plan: VisitPlan
    rng: random.Random
    link: Link | None = None
    struck: bool = False  # connecting met a fault
    answer: bytes = b""
    has_ended: bool = False  # the server has closed
    is_over: bool = False


@dataclass
class World:
    """What happens in one simulation.

    Args:
        plan: of the world.
    """

    plan: Plan
    trace: Trace = field(default_factory=Trace)
    violations: list[str] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    visits: dict[str, Visit] = field(default_factory=dict)
    cancelled_at: dict[str, float] = field(default_factory=dict)
    jumped: bool = False  # the clock has
    servers: list[trio_ws.WebSocketServer] = field(default_factory=list)
    server_scope: trio.CancelScope | None = None
    server_is_down: bool = False
    ending: bool = False  # the server is, or was, told to end

    def __post_init__(self) -> None:
        self.network = Network(self)
        self.nursery: trio.Nursery
        self.disturbances: list[str] = []  # of the whole world
        self._changed = trio.lowlevel.ParkingLot()

    def violate(self, kind: str, what: str) -> None:
        """Write down a violation."""
        self.violations.append(f"{kind}: {what}")
        with suppress(RuntimeError):  # the world may have ended, and its clock with it
            self.trace.add("world", "VIOLATION", f"{kind}: {what}")

    def disturb(self, what: str) -> None:
        """From now on no session has a right to be calm."""
        self.disturbances.append(what)
        self.trace.add("world", "EVENT", what)

    def is_calm(self, session: Session) -> bool:
        """Whether nothing may go wrong in a session."""
        return session.plan.calm and not self.disturbances

    def check_time(
        self, what: str, name: str, started: float, timeout: float = DISCONNECT_TIMEOUT
    ) -> None:
        """A call ends now that may have taken so long, and a little more."""
        took = trio.current_time() - started
        if took > timeout + SLACK and not self.jumped:
            self.violate("time", f"{name}: {what} took {took:.3f} s")

    # Options

    def options(self, end: End) -> dict[str, Any]:
        """The options of an end."""
        return end.plan.options if end.role == "client" else self.plan.server.options

    @property
    def wrap_options(self) -> dict[str, Any]:
        """The server's, for `wrap_server_stream`."""
        return {k: v for k, v in self.plan.server.options.items() if k != "max_connections"}

    # Sessions

    def new_session(self, plan: SessionPlan) -> Session:
        """A client is about to connect."""
        up = Flow(f"{plan.name}>", self.violate)
        down = Flow(f"{plan.name}<", self.violate)
        client = End(self, plan, "client", out=up, into=down)
        server = End(self, plan, "server", out=down, into=up)
        session = Session(plan, client, server, random.Random(f"{self.plan.seed}/{plan.name}/link"))
        self.sessions[plan.name] = session
        return session

    def new_visit(self, plan: VisitPlan) -> Visit:
        """A client is about to connect that speaks HTTP alone."""
        visit = Visit(plan, random.Random(f"{self.plan.seed}/{plan.name}/link"))
        self.visits[plan.name] = visit
        return visit

    def wake(self) -> None:
        """Something has happened that somebody may wait for."""
        self._changed.unpark_all()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; the world looks whenever a message has arrived."""
        while not condition():
            with trio.move_on_after(0.25):
                await self._changed.park()

    # Events

    async def run_event(self, event: Event) -> None:
        """Something befalls the whole world."""
        await trio.sleep(event.at)
        self.disturb(f"{event.name} {event.kind} {event.seconds}")
        if event.kind == "jump":
            self.jumped = True
            clock: Any = trio.lowlevel.current_clock()
            clock.jump(event.seconds)
        elif event.kind == "cancel":
            self._end_all()
            if self.server_scope is not None:
                self.server_scope.cancel()
        elif event.kind == "shutdown":
            await self.shut_down()
        else:
            with trio.move_on_after(event.seconds / 10):
                await self.shut_down()

    async def shut_down(self) -> None:
        """Shut the server down as it can be."""
        self._end_all()
        if not self.servers and self.server_scope is not None:
            self.server_scope.cancel()
        async with trio.open_nursery() as nursery:
            for server in self.servers:
                nursery.start_soon(self._close_server, server)

    async def check_handlers(self) -> None:
        """Handlers whose connection has ended have been told, and have ended."""
        late = []
        for session in self.sessions.values():
            conn = session.server.conn
            if conn is None or session.is_handled:
                continue
            with trio.move_on_after(0.001):
                await conn.wait_closed()
                late.append(session)
        if late:
            await trio.sleep(TOLD_WITHIN)
        for session in late:
            if not session.is_handled:
                session.server.violate("hang", "the handler was not told of the end")

    def _end_all(self) -> None:
        """Each of the server's ends may be told that it was closed here."""
        self.ending = True
        for session in self.sessions.values():
            conn = session.server.conn
            if conn is None or conn.closed is None:
                session.server.leave(forced=True)

    async def _close_server(self, server: trio_ws.WebSocketServer) -> None:
        started = trio.current_time()
        try:
            await server.aclose()
        except Exception as exc:
            self.violate("undocumented", f"server.aclose raised {exc!r}")
        self.check_time("server.aclose", "world", started)
