"""What a defect is, that the harness has to find."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass(frozen=True)
class Sabotage:
    """A defect, and where it has to show.

    Args:
        name: what is broken.
        patch: breaks it.
        cases: where to look.
        finds: invariants, any of which must be reported as violated.
    """

    name: str
    patch: Callable[[], ExitStack]
    cases: tuple[str, ...]
    finds: frozenset[str]


def patched(target: Any, **methods: Any) -> Callable[[], ExitStack]:
    """What replaces methods of a class."""

    def patch() -> ExitStack:
        stack = ExitStack()
        for name, method in methods.items():
            stack.enter_context(mock.patch.object(target, name, method))
        return stack

    return patch
