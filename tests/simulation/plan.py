"""What a seed stands for: a plan of a world, from which parts can be dropped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

# Virtual seconds.
CONNECT_TIMEOUT: Final = 8.0
DISCONNECT_TIMEOUT: Final = 5.0
SESSION_LIMIT: Final = 12.0
# In which all calls have to be told that the connection has ended; slow receivers take that long.
TOLD_WITHIN: Final = 40.0
WORLD_LIMIT: Final = 400.0

SUBPROTOCOLS: Final = ("chat", "log")
# What handlers do with a connection, and those that a calm session can have.
HANDLERS: Final = (
    "echo", "tasks", "push", "broadcast", "deaf", "leave", "raise", "aclose", "cancelled",
    "reject", "silent", "late",
)  # fmt: skip
CALM_HANDLERS: Final = ("echo", "tasks", "push", "late")
ENDINGS: Final = (
    "done", "aclose", "raise", "cancel", "deadline", "nursery", "wait", "force", "twice",
    "hasty",
)  # fmt: skip
# "busy" reads nothing before the connection has ended.
RECEIVING: Final = ("plain", "iterate", "impatient", "poll", "slow", "shared", "text", "busy")
CALM_RECEIVING: Final = ("plain", "iterate", "impatient", "poll", "shared")
FAULTS: Final = ("stall", "freeze", "reset", "fin", "refuse", "hang")
EVENTS: Final = ("jump", "jump", "shutdown", "hasty shutdown", "cancel")
# How a server is run: in its own nursery or the user's, as two of `trio_ws.serve_websocket`, or as
# a loop that calls `trio_ws.wrap_server_stream`.
SERVERS: Final = ("own", "serve", "user", "wrap")
# What ordinary requests ask of the ``http_handler``; the last one never comes to its end.
PAGES: Final = ("page", "page", "large", "slow", "raise", "half")


@dataclass(frozen=True)
class Fault:
    """Something that befalls one link.

    Args:
        name: for `Plan.without`.
        kind: of `FAULTS`.
        direction: whose bytes, "client" or "server".
        at: seconds after the link was made, or None.
        after: bytes in this direction, if `at` is None.
        seconds: how long a stall lasts.
    """

    name: str
    kind: str
    direction: str
    at: float | None
    after: int
    seconds: float


@dataclass(frozen=True)
class LinkPlan:
    """How a link carries bytes.

    Args:
        transport: "mem", "sock" or "tls".
        latency: the longest, in seconds.
        grain: the most bytes that travel at once, or 0.
        window: bytes that may be under way.
    """

    transport: str
    latency: float
    grain: int
    window: int


@dataclass(frozen=True)
class SessionPlan:
    """One connection of a client, or an attempt at one."""

    name: str
    calm: bool
    way: str
    link: LinkPlan
    options: dict[str, Any]
    subprotocol: str | None
    handler: str
    receiving: str
    server_receiving: str
    ending: str
    ending_at: float
    senders: int
    messages: int
    pings: int
    largest: int
    empties: float
    pause: float
    cancels: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class ClientPlan:
    """A client: its connections, one after another."""

    name: str
    starts_at: float
    sessions: tuple[SessionPlan, ...]


@dataclass(frozen=True)
class VisitPlan:
    """A client that sends an ordinary HTTP request.

    Args:
        name: for `Plan.without`, and its path.
        starts_at: when.
        link: to the server.
        method: of the request.
        page: one of `PAGES`.
        patience: seconds after which it goes away.
        faults: what befalls the link.
    """

    name: str
    starts_at: float
    link: LinkPlan
    method: str
    page: str
    patience: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Event:
    """Something that befalls the whole world at some time."""

    name: str
    kind: str
    at: float
    seconds: float


@dataclass(frozen=True)
class ServerPlan:
    """The server: one of `SERVERS`, with or without a ``handler_error`` and an ``http_handler``."""

    kind: str
    catches: bool
    has_pages: bool
    options: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A world."""

    seed: int
    server: ServerPlan
    clients: tuple[ClientPlan, ...]
    visits: tuple[VisitPlan, ...]
    events: tuple[Event, ...]

    def names(self) -> list[str]:
        """All that can be dropped, the large things first."""
        sessions = [session for client in self.clients for session in client.sessions]
        parties: list[SessionPlan | VisitPlan] = [*sessions, *self.visits]
        return [
            *(client.name for client in self.clients),
            *(visit.name for visit in self.visits),
            *(event.name for event in self.events),
            *(session.name for session in sessions),
            *(fault.name for party in parties for fault in party.faults),
        ]

    def without(self, dropped: Collection[str]) -> Plan:
        """The plan without what is named."""
        return replace(
            self,
            clients=tuple(
                replace(client, sessions=_kept_sessions(client, dropped))
                for client in self.clients
                if client.name not in dropped
            ),
            visits=tuple(
                _with_kept_faults(visit, dropped)
                for visit in self.visits
                if visit.name not in dropped
            ),
            events=tuple(event for event in self.events if event.name not in dropped),
        )


_Party = TypeVar("_Party", "SessionPlan", "VisitPlan")


def _kept_sessions(client: ClientPlan, dropped: Collection[str]) -> tuple[SessionPlan, ...]:
    return tuple(
        _with_kept_faults(session, dropped)
        for session in client.sessions
        if session.name not in dropped
    )


def _with_kept_faults(party: _Party, dropped: Collection[str]) -> _Party:
    return replace(
        party, faults=tuple(fault for fault in party.faults if fault.name not in dropped)
    )
