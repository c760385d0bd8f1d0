"""Makes a failing world small: drops clients, events, sessions and faults while it still fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .plan import Plan
from .run import run

# Runs that it may take.
_RUNS: Final = 150


def kinds(violations: list[str]) -> set[str]:
    """The kinds of some violations."""
    return {violation.partition(":")[0] for violation in violations}


def shrink(
    plan: Plan, wanted: set[str], runs: Callable[[Plan], list[str]] | None = None
) -> set[str]:
    """What can be dropped from a plan that violates one of the kinds `wanted`, which it still does.

    Args:
        plan: fails.
        wanted: kinds of violations, any of which it must show.
        runs: runs a plan and returns the violations.
    """
    look = runs or (lambda plan: run(plan).violations)
    dropped: set[str] = set()
    budget = _RUNS
    # From the last to the first, groups before single things: most worlds need one client.
    names = plan.names()
    size = max(1, len(names) // 2)
    while size and budget:
        for start in range(0, len(names), size):
            group = {name for name in names[start : start + size] if name not in dropped}
            if not group or not budget:
                continue
            budget -= 1
            if kinds(look(plan.without(dropped | group))) & wanted:
                dropped |= group
        size //= 2
    return dropped


def minimal(names: list[str], dropped: set[str]) -> list[str]:
    """What to name on the command line: nothing that is part of something dropped."""
    return [
        name
        for name in names
        if name in dropped
        and not any(name.startswith(f"{other}.") for other in dropped if other != name)
    ]
