"""From a seed to its plan.

All that is chosen at random comes from generators with names of their own, so that a dropped client
or fault changes nothing else in the plan.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

from trio_ws import Limits, PerMessageDeflate

from .plan import (
    CALM_HANDLERS,
    CALM_RECEIVING,
    CONNECT_TIMEOUT,
    DISCONNECT_TIMEOUT,
    ENDINGS,
    EVENTS,
    FAULTS,
    HANDLERS,
    PAGES,
    RECEIVING,
    SERVERS,
    SUBPROTOCOLS,
    ClientPlan,
    Event,
    Fault,
    LinkPlan,
    Plan,
    ServerPlan,
    SessionPlan,
    VisitPlan,
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
        kind=rng.choice(SERVERS),
        catches=rng.random() < 0.8,
        has_pages=rng.random() < 0.8,
        options=_options(rng, tight=tight, deflate=_deflate(rng, deflates=deflates)),
    )
    if server.kind != "wrap" and rng.random() < 0.1:
        server.options["max_connections"] = rng.randint(2, 4)
    clients = tuple(
        _client(seed, number, tight=tight, deflates=deflates) for number in range(count)
    )
    visits = tuple(_visit(seed, number) for number in range(rng.choice((0, 1, 2, 4))))
    return Plan(seed, server, clients, visits, events)


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
    plan = SessionPlan(
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
        empties=rng.choice((0, 0, 0.1, 0.5)),
        pause=rng.choice((0, 0, 0.01, 0.3)),
        cancels=rng.choice((0, 0.2, 0.6)),
        faults=() if calm else _faults(rng, name),
    )
    return plan if calm or rng.random() < 0.85 else _backlogged(rng, plan)


def _backlogged(rng: random.Random, plan: SessionPlan) -> SessionPlan:
    """One end writes to a link that takes nothing, with a full queue behind it."""
    role = rng.choice(("client", "server"))
    frozen = Fault(f"{plan.name}.f9", "freeze", role, None, rng.randint(1, 1000), 0)
    return replace(
        plan,
        link=replace(plan.link, window=100),
        options=plan.options | {"message_queue_size": rng.choice((1, 2))},
        handler="push",
        receiving="busy" if role == "client" else plan.receiving,
        server_receiving="busy" if role == "server" else plan.server_receiving,
        ending="wait",
        senders=3,
        messages=8,
        faults=(frozen,),
    )


def _visit(seed: int, number: int) -> VisitPlan:
    rng = random.Random(f"{seed}/visit/{number}")
    narrow = rng.random() < 0.3
    return VisitPlan(
        f"v{number}",
        rng.choice((0, rng.uniform(0, 3))),
        LinkPlan(
            transport=rng.choice(("mem", "mem", "sock", "tls")),
            latency=rng.choice((0, 0.001, 0.05)),
            grain=rng.choice((8, 40)) if narrow else 0,
            window=100 if narrow else 1 << 16,
        ),
        method=rng.choice(("GET", "GET", "HEAD")),
        page=rng.choice(PAGES),
        patience=rng.choice((math.inf, math.inf, 20, rng.uniform(0, 0.2))),
        faults=_faults(rng, f"v{number}") if rng.random() < 0.3 else (),
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
