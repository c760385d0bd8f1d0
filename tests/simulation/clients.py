"""The clients of a world: each opens its sessions one after another, and ends them somehow."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

import trio_ws
from trio_ws import ConnectionClosed, WebSocketConnection

from .ends import AppError, End, check_ended
from .network import Refused
from .plan import CONNECT_TIMEOUT, SESSION_LIMIT, TOLD_WITHIN, ClientPlan, SessionPlan
from .tasks import ping_some, receive_all, send_some
from .world import Session, World


async def run_client(world: World, plan: ClientPlan) -> None:
    """All sessions of a client."""
    await trio.sleep(plan.starts_at)
    for session_plan in plan.sessions:
        session = world.new_session(session_plan)
        try:
            await _Use(world, session).run()
        except Exception as exc:
            world.violate("undocumented", f"{session.plan.name}: out of the client: {exc!r}")
        session.is_over = True
        await trio.sleep(0.05)


class _Use:
    """What a client does with one session."""

    def __init__(self, world: World, session: Session) -> None:
        self._world = world
        self._session = session
        self._plan: SessionPlan = session.plan
        self._end: End = session.client
        self._scope = trio.CancelScope()  # around all of it
        self._services: trio.CancelScope | None = None  # around the connection's tasks
        self._senders = self._plan.senders
        self._has_pinged = False

    async def run(self) -> None:
        """Open, use and leave the connection."""
        end, plan = self._end, self._plan
        if plan.ending == "deadline":
            self._scope.deadline = trio.current_time() + plan.ending_at
        started = left_at = trio.current_time()
        try:
            with self._scope:
                async with self._opened() as conn:
                    end.opened(conn)
                    await self._use()
                    left_at = trio.current_time()
                    end.leave()
                    if plan.ending == "raise":
                        raise AppError(plan.name)
        except AppError:
            self._world.check_time("leaving", end.name, left_at)
            if plan.ending != "raise":
                end.violate("undocumented", "an AppError of somebody else")
        except trio_ws.DisconnectionTimeout as exc:
            end.note("leave", repr(exc))
            self._world.check_time("leaving", end.name, left_at)
        except (trio_ws.HandshakeError, Refused) as exc:
            self._refused(exc, started)
        else:
            if plan.ending == "raise" and end.conn is not None:
                end.violate("leaked", "the block's exception has not come out")
        if self._scope.cancelled_caught:
            end.leave(forced=True)
            end.left_open = True
            self._world.check_time("cancelled", end.name, self._cancelled_at(), 0)
        if end.conn is not None:
            await self._see_the_end()

    def _cancelled_at(self) -> float:
        at = self._world.cancelled_at.get(self._end.name, math.inf)
        return min(at, self._scope.deadline)

    async def _see_the_end(self) -> None:
        end = self._end
        with trio.move_on_after(0.001) as scope:
            await end.connection.wait_closed()
        if scope.cancelled_caught:
            end.violate("state", "left, and not closed")
        elif end.leaving:
            await check_ended(end)

    def _refused(self, exc: Exception, started: float) -> None:
        self._end.note("refused", f"{exc!r} {exc.__cause__!r}")
        self._session.refused = exc
        took = trio.current_time() - started
        late = isinstance(exc, trio_ws.ConnectionTimeout)
        if not self._world.jumped and self._plan.way != "wrap" and took > CONNECT_TIMEOUT + 0.1:
            self._end.violate("time", f"connecting took {took} s")
        if late and took < CONNECT_TIMEOUT - 0.001:
            self._end.violate("time", f"{exc!r} after {took} s")
        rejected = isinstance(exc, trio_ws.ConnectionRejected)
        if rejected and self._plan.handler not in {"reject", "silent", "raise"}:
            self._session.rejected = True

    # Opening

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[WebSocketConnection, None]:
        end, plan, network = self._end, self._plan, self._world.network
        options: dict[str, Any] = dict(plan.options)
        if plan.subprotocol is not None:
            options["subprotocols"] = ["other", plan.subprotocol]
        context = network.client_context(plan)
        host, path = network.host(plan), network.path(plan)
        if context is not None and plan.way != "wrap":
            options["server_hostname"] = network.tls_name
        if plan.way == "open":
            async with trio_ws.open_websocket(
                host, 80, path, use_ssl=context or False, **options
            ) as conn:
                yield conn
        elif plan.way == "url":
            url = f"{'wss' if context else 'ws'}://{host}{path}"
            async with trio_ws.open_websocket_url(url, context, **options) as conn:
                yield conn
        else:
            nursery = await self._world.nursery.start(self._hold)
            try:
                if plan.way == "connect":
                    conn = await trio_ws.connect_websocket(
                        nursery, host, 80, path, use_ssl=context or False, **options
                    )
                else:
                    stream = await network.stream(self._session)
                    conn = await trio_ws.wrap_client_stream(
                        nursery, stream, network.host(plan), path, **options
                    )
                async with conn:
                    yield conn
                end.note("left")
            finally:
                nursery.cancel_scope.cancel()

    async def _hold(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        async with trio.open_nursery() as nursery:
            self._services = nursery.cancel_scope
            task_status.started(nursery)
            await trio.sleep_forever()

    # Using

    async def _use(self) -> None:
        end, plan = self._end, self._plan
        async with trio.open_nursery() as tasks:
            for _ in range(plan.senders):
                tasks.start_soon(send_some, end, plan.messages, self._sender_is_done)
            tasks.start_soon(receive_all, end, plan.receiving)
            tasks.start_soon(self._ping)
            with trio.move_on_after(SESSION_LIMIT) as limit:
                await self._until_the_end()
            if limit.cancelled_caught and plan.calm and self._world.is_calm(self._session):
                end.violate("calm", f"not done within {SESSION_LIMIT} s")
            if end.connection.closed is None or limit.cancelled_caught:
                tasks.cancel_scope.cancel()
            else:  # now everybody has to be told
                tasks.cancel_scope.deadline = trio.current_time() + TOLD_WITHIN
        if tasks.cancel_scope.deadline < trio.current_time() and not self._world.jumped:
            end.violate("hang", "tasks were not told of the connection's end")

    async def _ping(self) -> None:
        await ping_some(self._end)
        self._has_pinged = True
        self._world.wake()

    def _sender_is_done(self) -> None:
        self._senders -= 1
        self._world.wake()

    async def _until_the_end(self) -> None:
        end, plan = self._end, self._plan
        if plan.ending == "done":
            await self._world.wait_for(self._is_done)
            return
        if plan.ending in {"wait", "deadline"}:
            await end.call("wait_closed", end.connection.wait_closed)
            end.note("closed", end.connection.closed)
            return
        await trio.sleep(plan.ending_at)
        await self._bring_about()

    def _is_done(self) -> bool:
        session, end = self._session, self._end
        if end.connection.closed is not None:
            return True
        server = session.server
        return (
            self._senders == 0
            and self._has_pinged
            and session.handler_is_done
            and end.out.outstanding == server.busy == 0
            and server.out.outstanding == 0
            and all(entry.state != "pending" for entry in server.out.sent)
        )

    async def _bring_about(self) -> None:
        end, kind = self._end, self._plan.ending
        end.note("ENDING", kind)
        if kind == "aclose":
            await end.close(end.rng.choice((1000, 1001, 3000, 4999)), "because")
        elif kind == "twice":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end.close, 1000)
                nursery.start_soon(end.close, 4000)
        elif kind == "hasty":
            end.leave(forced=True)
            deadline = trio.current_time() + end.rng.uniform(0.0001, 0.2)
            with trio.move_on_at(deadline):
                await end.close(1000)
                if trio.current_time() >= deadline and not self._world.jumped:
                    end.violate("swallowed", "aclose was cancelled, and returns")
        elif kind == "cancel":
            end.leave(forced=True)
            self._world.cancelled_at[end.name] = trio.current_time()
            self._scope.cancel()
            await trio.sleep_forever()
        elif kind == "nursery":
            end.leave(forced=True)
            if self._services is not None:
                self._services.cancel()
                await end.call("wait_closed", end.connection.wait_closed)
        elif kind == "force":
            end.leave(forced=True)
            started = trio.current_time()
            try:
                await trio.aclose_forcefully(end.connection)
            except ConnectionClosed as exc:
                end.violate("undocumented", f"aclose_forcefully raised {exc!r}")
            self._world.check_time("aclose_forcefully", end.name, started, 0)
