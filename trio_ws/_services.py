"""The hidden nursery in which a connection's reader and writer live."""

from __future__ import annotations

import types
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio


class ServiceNursery:
    """A nursery for tasks that never raise, inside a context manager of ours.

    It is no child of an `async with` of its own, since a nursery wraps the exception of its body in
    a group; here the body's exception is none of the nursery's business, so it comes out as it is.
    """

    def __init__(self) -> None:
        self._manager: AbstractAsyncContextManager[trio.Nursery, Any] = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> trio.Nursery:
        self._nursery = await self._manager.__aenter__()
        return self._nursery

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Stop the services and wait for them. Never raises.

        A nursery that is cancelled leaves `trio.Cancelled` and Ctrl-C of its owner to the owner's
        next checkpoint.
        """
        assert self._nursery is not None
        if self._nursery.child_tasks:  # else they have ended by themselves
            self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)
