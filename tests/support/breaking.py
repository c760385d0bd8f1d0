"""Breaks the library on purpose: what finds bugs has to find these."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

Break = Callable[[], AbstractContextManager[object]]


def around(path: str, change: Callable[..., Any]) -> Break:
    """What replaces a function or a method by `change`, which gets the true one first.

    Args:
        path: a module of the package, a colon, and the name in it: ``_protocol._mask:mask``.
        change: is called instead.
    """

    def begin() -> AbstractContextManager[object]:
        module_name, _, names = path.partition(":")
        *owners, name = names.split(".")
        target: Any = importlib.import_module(f"trio_ws.{module_name}")
        for owner in owners:
            target = getattr(target, owner)
        true = getattr(target, name)

        def broken(*args: Any, **kwargs: Any) -> Any:
            return change(true, *args, **kwargs)

        return mock.patch.object(target, name, broken)

    return begin


def instead(path: str, value: object) -> Break:
    """What replaces a name by `value`; `path` as for `around`."""
    module, _, names = path.partition(":")
    return lambda: mock.patch(f"trio_ws.{module}.{names}", value)
