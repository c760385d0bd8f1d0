"""What a scenario is, on which ends and links it runs, and how it is registered."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from .injection import KINDS
from .world import World

Body = Callable[[World], Awaitable[None]]

# Compression, transport and role of more cases of a scenario. Compressor and inflater know nothing
# of the transport; but it decides what waits, and for how long.
DEFLATED: Final = (
    ("takeover", "mem", "client"),
    ("takeover", "mem", "server"),
    ("takeover", "tls", "client"),
    ("takeover", "sock", "server"),
    ("fresh", "mem", "server"),
    ("fresh", "sock", "client"),
)
# Of a scenario that has more to do with other things.
SOMEWHAT_DEFLATED: Final = (
    ("takeover", "mem", "client"),
    ("takeover", "sock", "server"),
    ("fresh", "mem", "server"),
)
# TLS over sockets, of a scenario for which it matters that the library writes there itself.
TLS_CLIENT: Final = (("plain", "tlssock", "client"),)
TLS_SERVER: Final = (("plain", "tlssock", "server"),)
TLS_SOCKETS: Final = (*TLS_CLIENT, *TLS_SERVER)
DEFLATED_TLS: Final = (("takeover", "tlssock", "client"), ("fresh", "tlssock", "server"))


@dataclass(frozen=True)
class Scenario:
    """A use of the library, one call of which is the victim.

    Args:
        name: for people.
        body: runs it in a world.
        kinds: how it is cancelled.
        transports: over which links.
        roles: on which end the victim is.
        more: compression, transport and role of further cases.
        cap: the most points of a kind of cancellation and a seed, where not every one is taken.
        faults: the same for each kind of fault; 0 if the stream never fails in this scenario.
        pair: the body gets a connected pair.
        use: a connection that is open afterwards is used, before it is closed.
        survives: the connection must be usable after the call was cancelled.
        step: of the pair's link, the most bytes that travel at once; None leaves it to `STEP`.
        options: of the pair's connections.
    """

    name: str
    body: Body
    kinds: tuple[str, ...] = KINDS
    transports: tuple[str, ...] = ("mem", "tls", "sock")
    roles: tuple[str, ...] = ("client", "server")
    more: tuple[tuple[str, str, str], ...] = ()
    cap: int = 3
    faults: int = 1
    pair: bool = True
    use: bool = True
    survives: bool = False
    step: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A scenario on one transport and one end, with compression or without."""

    scenario: Scenario
    transport: str
    role: str
    compression: str = "plain"

    def __str__(self) -> str:
        name = f"{self.scenario.name}-{self.transport}-{self.role}"
        return name if self.compression == "plain" else f"{name}-{self.compression}"


def cases(scenario: Scenario) -> Iterator[Case]:
    """All cases of a scenario that the platform has."""
    plain = (("plain", how, role) for how in scenario.transports for role in scenario.roles)
    for compression, transport, role in (*plain, *scenario.more):
        if transport != "unix" or hasattr(socket, "AF_UNIX"):
            yield Case(scenario, transport, role, compression)


def register(scenarios: list[Scenario], **fields: Any) -> Callable[[Body], Body]:
    """Append a scenario to `scenarios`, named like its body; the fields are those of `Scenario`."""

    def append(body: Body) -> Body:
        scenarios.append(Scenario(body.__name__, body, **fields))
        return body

    return append
