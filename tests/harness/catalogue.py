"""All cases of the harness, and how a point is written down and found again."""

from __future__ import annotations

from typing import Final

from . import (
    closing,
    opens,
    pinging,
    receiving,
    running,
    sending,
    servers,
    shutdown,
    steps,
    together,
)
from .injection import Injection
from .runner import FIRST_SEED
from .scenario import Case, cases

SCENARIOS: Final = [
    scenario
    for module in (
        *(sending, receiving, pinging, closing, together, steps),
        *(opens, servers, running, shutdown),
    )
    for scenario in module.SCENARIOS
]
CASES: Final = {str(case): case for scenario in SCENARIOS for case in cases(scenario)}
SEEDS: Final = (FIRST_SEED, FIRST_SEED + 1)


def find(point: str) -> tuple[Case, int, Injection | None]:
    """The case, seed and injection of ``case/seed/kind:step``; without the last, none."""
    name, seed, *rest = point.split("/")
    injection = None
    if rest:
        kind, _, step = rest[0].partition(":")
        injection = Injection(kind, int(step))
    return CASES[name], int(seed), injection
