"""How the scenarios on a connected pair are registered, and with which compression they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from .injection import KINDS
from .runner import Scenario
from .world import World

Body = Callable[[World], Awaitable[None]]

# Compression, transport and role of a scenario's cases with compression. Compressor and inflater
# know nothing of the transport; but it decides what waits, and for how long.
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


def scenario(
    scenarios: list[Scenario],
    *,
    kinds: tuple[str, ...] = KINDS,
    transports: tuple[str, ...] = ("mem", "tls", "sock"),
    roles: tuple[str, ...] = ("client", "server"),
    compressed: tuple[tuple[str, str, str], ...] = (),
    survives: bool = False,
    step: int | None = None,
    cap: int = 3,
    **options: Any,
) -> Callable[[Body], Body]:
    """Append a scenario on a pair to `scenarios`; see `Scenario`."""

    def register(body: Body) -> Body:
        scenarios.append(
            Scenario(
                name=body.__name__,
                body=body,
                kinds=kinds,
                transports=transports,
                roles=roles,
                compressed=compressed,
                cap=cap,
                survives=survives,
                step=step,
                options=options,
            )
        )
        return body

    return register
