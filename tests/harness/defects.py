"""What a defect is, that the harness has to find."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

import trio


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


def replaced(target: tuple[Any, str], by: object) -> Callable[[], ExitStack]:
    """What replaces an attribute of a class or module."""

    def patch() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(mock.patch.object(*target, by))
        return stack

    return patch


def on_cancelled(call: Callable[..., Any], act: Callable[[Any], object]) -> Callable[..., Any]:
    """A method of a connection that does something when it is cancelled, and is cancelled then."""

    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await call(self, *args, **kwargs)
        except trio.Cancelled:
            act(self)
            raise

    return method
