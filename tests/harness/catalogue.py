"""All cases of the harness, and how a point is written down and found again."""

from __future__ import annotations

from typing import Final

from . import opens, pairs
from .injection import Injection
from .runner import FIRST_SEED, Case

SCENARIOS: Final = [*pairs.SCENARIOS, *opens.SCENARIOS]
CASES: Final = {
    str(case): case
    for case in (
        Case(scenario, transport, role)
        for scenario in SCENARIOS
        for transport in scenario.transports
        for role in scenario.roles
    )
}
SEEDS: Final = (FIRST_SEED, FIRST_SEED + 1)


def find(point: str) -> tuple[Case, int, Injection | None]:
    """The case, seed and injection of ``case/seed/kind:step``; without the last, none."""
    name, seed, *rest = point.split("/")
    injection = None
    if rest:
        kind, _, step = rest[0].partition(":")
        injection = Injection(kind, int(step))
    return CASES[name], int(seed), injection
