"""What a seed stands for: a plan of a world, from which parts can be dropped.

All that is chosen at random comes from generators with names of their own, so that a dropped client
or fault changes nothing else in the plan.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from trio_ws import Limits, PerMessageDeflate

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
RECEIVING: Final = ("plain", "iterate", "impatient", "poll", "slow", "shared", "text")
CALM_RECEIVING: Final = ("plain", "iterate", "impatient", "poll", "shared")
FAULTS: Final = ("stall", "freeze", "reset", "fin", "refuse", "hang")
EVENTS: Final = ("jump", "jump", "shutdown", "hasty shutdown", "cancel")


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
class Event:
    """Something that befalls the whole world at some time."""

    name: str
    kind: str
    at: float
    seconds: float


@dataclass(frozen=True)
class ServerPlan:
    """The server: "own" nursery, the "user"'s, or a loop that calls "wrap"_server_stream."""

    kind: str
    catches: bool
    options: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A world."""

    seed: int
    server: ServerPlan
    clients: tuple[ClientPlan, ...]
    events: tuple[Event, ...]

    def names(self) -> list[str]:
        """All that can be dropped, the large things first."""
        sessions = [session for client in self.clients for session in client.sessions]
        return [
            *(client.name for client in self.clients),
            *(event.name for event in self.events),
            *(session.name for session in sessions),
            *(fault.name for session in sessions for fault in session.faults),
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
            events=tuple(event for event in self.events if event.name not in dropped),
        )


def _kept_sessions(client: ClientPlan, dropped: Collection[str]) -> tuple[SessionPlan, ...]:
    return tuple(
        replace(
            session,
            faults=tuple(fault for fault in session.faults if fault.name not in dropped),
        )
        for session in client.sessions
        if session.name not in dropped
    )


def make_plan(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(f"{seed}")
    tight = rng.random() < 0.5  # options and links that make everybody wait
    deflates = rng.random() < 0.5
    count = min(rng.randint(3, 12), rng.randint(3, 12))
    events = tuple(
        Event(f"e{number}", rng.choice(EVENTS), rng.uniform(0.05, 4), rng.choice((0.3, 3, 30)))
        for number in range(rng.choice((0, 0, 0, 1, 1, 2)))
    )
    server = ServerPlan(
        kind=rng.choice(("own", "own", "user", "wrap")),
        catches=rng.random() < 0.8,
        options=_options(rng, tight=tight, deflate=_deflate(rng, deflates=deflates)),
    )
    if server.kind != "wrap" and rng.random() < 0.1:
        server.options["max_connections"] = rng.randint(2, 4)
    clients = tuple(
        _client(seed, number, tight=tight, deflates=deflates) for number in range(count)
    )
    return Plan(seed, server, clients, events)


def _deflate(rng: random.Random, *, deflates: bool) -> PerMessageDeflate | None:
    if rng.random() < 0.2 or not deflates:
        return None
    return PerMessageDeflate(
        server_no_context_takeover=rng.random() < 0.3,
        client_no_context_takeover=rng.random() < 0.3,
        server_max_window_bits=rng.choice((9, 12, 15)),
        client_max_window_bits=rng.choice((9, 12, 15)),
        threshold=rng.choice((0, 30, 64)),
    )


def _options(
    rng: random.Random, *, tight: bool, deflate: PerMessageDeflate | None
) -> dict[str, Any]:
    limits = Limits(
        send_buffer_size=rng.choice((0, 60, 500)) if tight else rng.choice((500, 64 * 1024)),
        write_timeout=rng.choice((8, 30)),
        message_timeout=rng.choice((math.inf, math.inf, 20)),
        message_queue_bytes=rng.choice((None, None, 1, 2000)),
    )
    return {
        "message_queue_size": rng.choice((1, 2, 3, 16)) if tight else 16,
        "receive_buffer_size": rng.choice((None, None, 9, 40)) if tight else None,
        "ping_interval": rng.choice((None, 0.5, 2, 20)),
        "ping_timeout": rng.choice((None, 3, 20)),
        "connect_timeout": CONNECT_TIMEOUT,
        "disconnect_timeout": DISCONNECT_TIMEOUT,
        "compression": deflate,
        "limits": limits,
    }


def _client(seed: int, number: int, *, tight: bool, deflates: bool) -> ClientPlan:
    rng = random.Random(f"{seed}/{number}")
    count = rng.choice((1, 1, 1, 2, 2, 3))
    return ClientPlan(
        f"c{number}",
        rng.choice((0, 0, rng.uniform(0, 2))),
        tuple(
            _session(seed, f"c{number}.{index}", tight=tight, deflates=deflates)
            for index in range(count)
        ),
    )


def _session(seed: int, name: str, *, tight: bool, deflates: bool) -> SessionPlan:
    rng = random.Random(f"{seed}/{name}")
    calm = rng.random() < 0.35
    messages = rng.choice((1, 2, 3, 5, 8))
    narrow = rng.random() < (0.5 if tight else 0.2)
    link = LinkPlan(
        transport=rng.choice(("mem", "mem", "mem", "sock", "sock", "tls")),
        latency=rng.choice((0, 0.001, 0.05)),
        grain=rng.choice((8, 40, 200)) if narrow else rng.choice((0, 0, 300)),
        window=rng.choice((100, 600, 4000)) if narrow else 1 << 16,
    )
    large = 300 if tight or narrow else rng.choice((300, 1500, 20_000))
    if not (tight or narrow) and rng.random() < 0.05:
        large = 200_000
    options = _options(rng, tight=tight, deflate=_deflate(rng, deflates=deflates))
    if not calm and rng.random() < 0.1:
        options["max_message_size"] = 200  # some are larger, and end the connection with 1009
    return SessionPlan(
        name=name,
        calm=calm,
        way=rng.choice(("open", "open", "url", "connect", "wrap")),
        link=link,
        options=options,
        subprotocol=rng.choice((None, *SUBPROTOCOLS)),
        handler=rng.choice(CALM_HANDLERS if calm else HANDLERS),
        receiving=rng.choice(CALM_RECEIVING if calm else RECEIVING),
        server_receiving=rng.choice(CALM_RECEIVING if calm else RECEIVING),
        ending="done" if calm else rng.choice(ENDINGS),
        ending_at=rng.choice((0, rng.uniform(0, 0.2), rng.uniform(0, 3))),
        senders=rng.choice((1, 1, 2, 3)),
        messages=messages if large <= 20_000 else 2,
        pings=rng.choice((0, 0, 1, 3)),
        largest=large,
        pause=rng.choice((0, 0, 0.01, 0.3)),
        cancels=rng.choice((0, 0.2, 0.6)),
        faults=() if calm else _faults(rng, name),
    )


def _faults(rng: random.Random, session: str) -> tuple[Fault, ...]:
    return tuple(
        Fault(
            name=f"{session}.f{number}",
            kind=rng.choice(FAULTS),
            direction=rng.choice(("client", "server")),
            at=rng.choice((None, rng.uniform(0, 0.1), rng.uniform(0, 2))),
            after=rng.choice((rng.randint(1, 400), rng.randint(200, 3000))),
            seconds=rng.choice((0.2, 2, 15)),
        )
        for number in range(rng.choice((0, 0, 1, 1, 2)))
    )
