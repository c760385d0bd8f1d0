"""The server of a world, and what its handlers do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import trio

import trio_ws
from trio_ws import ConnectionClosed, WebSocketRequest, WebSocketServer

from .ends import AppError, End
from .network import tls_contexts
from .tasks import OnMessage, ignore, receive_all, send_one, send_some, size_for
from .visits import page
from .world import Session, World

OnRequest: TypeAlias = Callable[[WebSocketRequest], Awaitable[None]]
OnStream: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]


async def serve(world: World, *, task_status: trio.TaskStatus[None]) -> None:
    """Serve until the world's end; or until a handler's error ends the server, as it may."""
    try:
        await _serve(world, task_status)
    except* AppError:
        if world.plan.server.catches:
            world.violate("leaked", "a handler's error has left the server")
        world.disturb("a handler's error ends the server")
    world.server_is_down = True
    await world.network.plain.aclose()


async def _serve(world: World, task_status: trio.TaskStatus[None]) -> None:
    plan = world.plan.server

    async def handler(request: WebSocketRequest) -> None:
        await Handler(world, request).run()

    def handler_error(_: object, exc: Exception) -> None:
        if not _is_ours(exc):
            world.violate("undocumented", f"handler_error was given {exc!r}")

    if plan.kind == "wrap":
        await _serve_in_a_loop(world, handler, task_status)
        return
    options = plan.options | {
        "handler_error": handler_error if plan.catches else None,
        "http_handler": partial(page, world) if plan.has_pages else None,
    }
    with trio.CancelScope() as world.server_scope:
        if plan.kind == "serve":
            await _serve_twice(world, handler, options, task_status)
            return
        async with trio.open_nursery() as nursery:
            if plan.kind == "user":
                options["handler_nursery"] = nursery
            server = WebSocketServer(handler, world.network.listeners(), **options)
            world.servers.append(server)
            task_status.started()
            await server.run()


async def _serve_twice(
    world: World, handler: OnRequest, options: dict[str, Any], task_status: trio.TaskStatus[None]
) -> None:
    """A server for each port: one without TLS, one with it."""
    async with trio.open_nursery() as nursery:
        for port, context in ((80, None), (443, tls_contexts()[1])):
            serve_port = partial(trio_ws.serve_websocket, handler, None, port, context, **options)
            world.servers.append(await nursery.start(serve_port))
        task_status.started()


def _is_ours(exc: BaseException) -> bool:
    """Whether an exception is of the application, or of connections that have ended."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(_is_ours, exc.exceptions))
    return isinstance(exc, (AppError, ConnectionClosed))


async def _serve_in_a_loop(
    world: World, handler: OnRequest, task_status: trio.TaskStatus[None]
) -> None:
    """What a program does that has listeners of its own."""

    async def serve_one(stream: trio.abc.Stream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                try:
                    request = await trio_ws.wrap_server_stream(
                        nursery, stream, **world.wrap_options
                    )
                except trio_ws.HandshakeError as exc:
                    world.trace.add("server", "refused", repr(exc))
                    return
                await handler(request)
                nursery.cancel_scope.cancel()
        except* (AppError, ConnectionClosed):
            pass
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    with trio.CancelScope() as world.server_scope:
        async with trio.open_nursery() as nursery:
            for listener in world.network.listeners():
                nursery.start_soon(_accept_for_ever, listener, nursery, serve_one)
            task_status.started()


async def _accept_for_ever(
    listener: trio.abc.Listener[trio.abc.Stream],
    nursery: trio.Nursery,
    serve_one: OnStream,
) -> None:
    async with listener:
        while True:
            nursery.start_soon(serve_one, await listener.accept())


class Handler:
    """One call of the server's handler."""

    def __init__(self, world: World, request: WebSocketRequest) -> None:
        self._world = world
        self._request = request
        session = world.sessions.get(request.path.removeprefix("/"))
        if session is None:
            world.violate("whole", f"a request for {request.path!r}")
            raise AppError
        self._session: Session = session
        self._end: End = session.server
        self._kind = session.plan.handler
        self._left = self._end.rng.randint(1, 4)  # messages before the handler acts

    async def run(self) -> None:
        """What the session's plan says."""
        end, request = self._end, self._request
        end.note("request", self._kind)
        if self._kind == "reject":
            await request.reject(end.rng.choice((401, 404, 503)), body=b"no")
            return
        if self._kind == "silent":
            return
        if self._kind == "late":
            await trio.sleep(end.rng.random())
        wanted = self._session.plan.subprotocol
        if wanted is not None and wanted not in request.proposed_subprotocols:
            end.violate("whole", f"subprotocols {request.proposed_subprotocols}")
            wanted = None
        conn = await request.accept(subprotocol=wanted)
        end.opened(conn)
        self._session.is_handled = False
        try:
            await self._use()
        except BaseException as exc:
            if isinstance(exc, trio.Cancelled):
                end.forced = True
            raise
        finally:
            end.leave()
            self._session.is_handled = True
            end.note("handled")
        if self._world.plan.server.kind == "wrap":
            await end.close(1000)

    async def _use(self) -> None:
        end, kind = self._end, self._kind
        if kind == "cancelled":
            with trio.move_on_after(end.plan.ending_at + 0.05):
                await self._converse()
            end.note("gave up")
        elif kind == "deaf":
            await send_some(end, 3)
            await end.call("wait_closed", end.connection.wait_closed)
        else:
            await self._converse()

    async def _converse(self) -> None:
        end = self._end
        on_message: OnMessage = {
            "echo": self._echo, "late": self._echo, "cancelled": self._echo,
            "broadcast": self._broadcast, "push": ignore,
        }.get(self._kind, self._act)  # fmt: skip
        async with trio.open_nursery() as self._nursery:
            if self._kind == "push":
                self._nursery.start_soon(send_some, end, 6, self._pushed)
            else:
                self._session.handler_is_done = True
            await receive_all(end, end.plan.server_receiving, on_message)

    def _pushed(self) -> None:
        self._session.handler_is_done = True
        self._world.wake()

    async def _echo(self, _: str | bytes) -> None:
        await send_one(self._end)

    async def _broadcast(self, _: str | bytes) -> None:
        for session in list(self._world.sessions.values()):
            other = session.server
            if session.plan.calm or other.conn is None or other.conn.closed is not None:
                continue  # a calm client leaves once it has all that it waits for
            try:
                with trio.move_on_after(0.2):
                    await other.send(size_for(other))
            except ConnectionClosed:
                if other is self._end:
                    raise

    async def _act(self, _: str | bytes) -> None:
        """Answer, and after some messages leave in some way."""
        end = self._end
        if self._kind == "tasks":
            end.busy += 1
            self._nursery.start_soon(self._answer)
            return
        self._left -= 1
        if self._left:
            await send_one(end)
            return
        end.note("ENDING", self._kind)
        if self._kind == "aclose":
            await end.close(end.rng.choice((1000, 1008, 4000)), "enough")
            return
        # In a nursery of the program's own, its tasks are cancelled by the error.
        end.leave(forced=self._world.plan.server.kind == "wrap")
        if self._kind == "raise":
            raise AppError(end.name)
        self._nursery.cancel_scope.cancel()

    async def _answer(self) -> None:
        try:
            await send_one(self._end)
        except ConnectionClosed:
            pass
        self._end.busy -= 1
        self._world.wake()
