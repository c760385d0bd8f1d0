"""The server: from listeners to handlers, one task a connection.

Each connection's task lives in the handler nursery: it reads the request, runs the handler, closes
the connection. Nothing that a peer does gets out of it, only a handler's own exceptions (invariant
11). What the connection needs besides, its reader and writer, lives in the same nursery if that is
the server's own, and has ended when the task ends; in a nursery of the user's the connection's task
stays the only one, with a nursery for the two inside it.
"""

from __future__ import annotations

import errno
import inspect
import logging
import math
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, Unpack

import trio

from ._arguments import check_close, check_type
from ._endpoint import Endpoint, listener_endpoint, stream_endpoint
from ._errors import ConnectionClosed, HandshakeError
from ._options import ConnectionOptions, OriginOptions, OriginSettings
from ._protocol._frames import encode_close
from ._protocol._handshake import upgrade_required
from ._request import (
    Exchange,
    HTTPRequest,
    HTTPResponse,
    WebSocketRequest,
    arrived,
    is_closed,
    read_request,
    whole_request,
)
from ._services import ServiceNursery

_log = logging.getLogger("trio_ws.server")

# What accept(2) fails with while the system is short of something, and seconds until another try.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_PAUSE = 0.1
# Seconds before it is said again that there is a shortage, or its clients could fill the log.
_SILENCE = 60
# Given, it need not be made for each task.
_SERVE_NAME = "trio_ws.WebSocketServer._serve"

Handler: TypeAlias = Callable[[WebSocketRequest], Awaitable[object]]

HTTPHandler: TypeAlias = Callable[[HTTPRequest], Awaitable[HTTPResponse]]
HandlerErrorCallback: TypeAlias = Callable[[WebSocketRequest | HTTPRequest, Exception], object]


class ServerOptions(ConnectionOptions, OriginOptions, total=False):
    """The keywords of a server.

    handler_nursery: where the connections' tasks run; None is a nursery of the server's own.
    http_handler: answers the requests that ask for no WebSocket; None answers them 426.
    handler_error: called with the request and the exception when a handler has raised one, instead
        of raising it out of the server.
    max_connections: connections at a time, those included whose handshake is under way; beyond it
        clients wait until one ends. None is any number.
    """

    handler_nursery: trio.Nursery | None
    http_handler: HTTPHandler | None
    handler_error: HandlerErrorCallback | None
    max_connections: int | None


@dataclass(frozen=True, kw_only=True)
class ServerSettings(OriginSettings):
    """The options of a server; see `ServerOptions`."""

    handler_nursery: trio.Nursery | None = None
    http_handler: HTTPHandler | None = None
    handler_error: HandlerErrorCallback | None = None
    max_connections: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("handler_nursery", self.handler_nursery, trio.Nursery, None)
        if self.max_connections == 0:
            raise ValueError("max_connections must be over 0 or None")
        for name in ("http_handler", "handler_error"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be callable, not {value!r}")
        for part in (self.handler_error, type(self.handler_error).__call__):
            if inspect.iscoroutinefunction(part):
                raise TypeError("handler_error is not awaited: it must be a plain function")


async def serve_websocket(
    handler: Handler,
    host: str | bytes | None,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[ServerOptions],
) -> None:
    """Serve WebSocket over TCP until cancelled, or until `WebSocketServer.aclose`.

    Args:
        handler: called with a `WebSocketRequest` for each client, in a task of its own.
        host: the address to listen on; None is all of them.
        port: 0 is any free one.
        ssl_context: for TLS; None is without.
        task_status: gets the `WebSocketServer` once it listens: ``await nursery.start(...)``.
        options: `ServerOptions`.

    Raises:
        ValueError: an option's value, before any I/O.
        TypeError: an option's type, before any I/O.
        OSError: listening failed.
        BaseException: whatever a handler raises, in the groups of its nursery, unless there is a
            ``handler_error`` for it.
    """
    # Wrong arguments are to raise before there are listeners; an iterable can be read only once.
    _check_handler(handler)
    check_type("host", host, str, bytes, None)
    check_type("port", port, int)
    check_type("ssl_context", ssl_context, ssl.SSLContext, None)
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 to 65535, and is {port}")
    options["origins"] = ServerSettings(**options).allowed_origins
    listeners: Sequence[trio.abc.Listener[Any]]
    if ssl_context is None:
        listeners = await trio.open_tcp_listeners(port, host=host)
    else:
        listeners = await trio.open_ssl_over_tcp_listeners(
            port, ssl_context, host=host, https_compatible=True
        )
    server = WebSocketServer(handler, listeners, **options)
    await server.run(task_status=task_status)


class WebSocketServer:
    """Serves WebSocket on listeners.

    Args:
        handler: called with a `WebSocketRequest` for each client, in a task of its own. When it
            returns, the connection is closed with 1000; when it raises, with 1011, and the
            exception leaves the server, unless there is a ``handler_error`` for it. A
            `ConnectionClosed` because its client has left is the normal end of a handler.
        listeners: any `trio.abc.Listener`; at least one.
        options: `ServerOptions`.

    Raises:
        ValueError: no listeners, or an option's value.
        TypeError: an option's type.
    """

    def __init__(
        self,
        handler: Handler,
        listeners: Sequence[trio.abc.Listener[Any]],
        **options: Unpack[ServerOptions],
    ) -> None:
        _check_handler(handler)
        check_type("listeners", listeners, Iterable)
        self._handler = handler
        self._listeners = list(listeners)
        if not self._listeners:
            raise ValueError("listeners must not be empty")
        self._settings = ServerSettings(**options)
        for listener in self._listeners:
            check_type("each of listeners", listener, trio.abc.Listener)
        limit = self._settings.max_connections
        self._capacity = None if limit is None else trio.Semaphore(limit)
        self._accepting = trio.CancelScope()
        self._sessions: set[_Session] = set()
        self._nursery: trio.Nursery | None = None  # for all connections, unless the user has one
        self._listening = False
        self._ended = trio.lowlevel.ParkingLot()  # whoever waits for sessions and listeners to end

    @property
    def listeners(self) -> list[Endpoint | str]:
        """Where the server listens, an `Endpoint` for each TCP socket, else a description."""
        return [listener_endpoint(listener) for listener in self._listeners]

    @property
    def port(self) -> int:
        """The port of the only listener.

        Raises:
            RuntimeError: there are several listeners, or it is not a TCP socket.
        """
        if len(self._listeners) > 1:
            raise RuntimeError("the server has several listeners; see `listeners` for their ports")
        endpoint = listener_endpoint(self._listeners[0])
        if isinstance(endpoint, Endpoint):
            return endpoint.port
        raise RuntimeError(f"this listener has no port: {endpoint}")

    async def run(
        self, *, task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled, or until `aclose`.

        Args:
            task_status: gets this server once it listens.

        Raises:
            BaseException: whatever a handler raises; see `WebSocketServer`.
        """
        async with trio.open_nursery() as nursery:
            if self._settings.handler_nursery is None:
                self._nursery = nursery
            await nursery.start(self._accept, self._settings.handler_nursery or nursery)
            task_status.started(self)

    async def _accept(self, handlers: trio.Nursery, *, task_status: trio.TaskStatus[None]) -> None:
        self._listening = True
        try:
            with self._accepting:
                async with trio.open_nursery() as nursery:
                    for listener in self._listeners:
                        nursery.start_soon(self._accept_from, listener, handlers)
                    task_status.started()
        finally:
            self._listening = False
            self._ended.unpark_all()

    async def _accept_from(self, listener: trio.abc.Listener[Any], handlers: trio.Nursery) -> None:
        """Start a task for each client, for ever; errors are dealt with as Trio's servers do.

        `trio.serve_listeners` would cost a cancelled close more for each connection, which is as
        much as two parsed requests; here whoever serves the stream sees to its end.
        """
        async with listener:
            silent_until = -math.inf
            while True:
                try:
                    stream = await listener.accept()
                except OSError as exc:
                    if exc.errno not in _SHORTAGES:
                        raise
                    now = trio.current_time()
                    if now >= silent_until:
                        _log.error("accept failed: %s; trying again each %s s", exc, _PAUSE)
                        silent_until = now + _SILENCE
                    await trio.sleep(_PAUSE)
                    continue
                if self._capacity is not None:
                    await self._enter(self._capacity, stream)
                handlers.start_soon(self._serve, stream, name=_SERVE_NAME)

    async def _enter(self, capacity: trio.Semaphore, stream: trio.abc.Stream) -> None:
        """Keep the first client beyond the capacity waiting; the rest waits in the kernel's queue.

        Capacity is taken after accepting, or a listener that nobody connects to would keep others
        from using it.
        """
        try:
            await capacity.acquire()
        except BaseException:
            with trio.CancelScope(shield=True):  # cancelled, it would raise, too
                await trio.aclose_forcefully(stream)
            raise

    async def aclose(self, code: int = 1001, reason: str | None = None) -> None:
        """Shut down: accept no more, send Close to all clients, let the handlers end.

        After ``disconnect_timeout`` seconds the handlers that are left are cancelled; when this
        call is cancelled, at once. `run` then returns. A handler that calls it waits for itself, so
        it is cancelled in the end.

        Args:
            code: the close code for the clients.
            reason: up to 123 bytes of UTF-8.

        Raises:
            ValueError: `code` may not be sent, or `reason` is too long.
            TypeError: `code` is not an `int`, or `reason` not a `str`.
        """
        check_close(code, reason)
        encode_close(code, reason)  # what may not be sent raises before anything is done
        self._accepting.cancel()
        for session in self._sessions.copy():
            session.shut_down(code, reason)
        try:
            with trio.move_on_after(self._settings.disconnect_timeout):
                await self._all_ended()
        finally:
            for session in self._sessions:
                session.cancel()
            if self._nursery is not None and self._sessions:
                self._nursery.cancel_scope.cancel()
        await self._all_ended()

    async def _all_ended(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._listening or self._sessions:
            await self._ended.park()

    # One connection

    async def _serve(self, stream: trio.abc.Stream) -> None:
        session = _Session()
        self._sessions.add(session)
        try:
            exchange = await self._open(session, stream)
            # What can be cancelled, and what serves the connection, are nurseries: one for all
            # connections, which costs each of them nothing, but in a user's one for each.
            if exchange is None:
                pass
            elif self._nursery is None:
                await self._run_apart(session, exchange)
            else:
                await self._run_handler(session, exchange, self._nursery)
        finally:
            try:
                if not is_closed(stream):
                    await trio.aclose_forcefully(stream)  # cancelled, it closes and raises
            finally:
                self._sessions.remove(session)
                if self._ended:
                    self._ended.unpark_all()
                if self._capacity is not None:
                    self._capacity.release()

    async def _open(self, session: _Session, stream: trio.abc.Stream) -> Exchange | None:
        """Read the request; None if there is none, or none that could be accepted."""
        if self._accepting.cancel_called:  # it was accepted at the moment of `aclose`
            return None
        data = arrived(stream)  # a client behind a proxy, or on this machine, is as fast as that
        exchange = whole_request(stream, self._settings, data) if data else None
        if exchange is None:
            session.scope = trio.CancelScope()
            try:
                exchange = await read_request(stream, self._settings, session.scope, data)
            except HandshakeError as exc:
                _log.info("no connection with %s: %s", stream_endpoint(stream, local=False), exc)
                return None
            session.scope = None
        session.exchange = exchange
        return exchange

    async def _run_apart(self, session: _Session, exchange: Exchange) -> None:
        with trio.CancelScope() as session.scope:
            async with ServiceNursery() as nursery:
                await self._run_handler(session, exchange, nursery)

    async def _run_handler(
        self, session: _Session, exchange: Exchange, nursery: trio.Nursery
    ) -> None:
        if exchange.request.websocket is None:
            await self._run_http_handler(exchange)
            return
        request = session.request = WebSocketRequest(nursery, exchange, self._settings)
        try:
            await self._handler(request)
        except BaseException as exc:  # noqa: BLE001 - whatever it was, `_handle_error` raises it on
            if not (request._has_ended() and _is_about_closing(exc)):
                await request._leave(exc)
                self._handle_error(request, exc)
                return
        if not exchange.answered:
            _log.warning("no answer by the handler to %r: the client gets a 500", request.path)
        await request._leave(None)

    async def _run_http_handler(self, exchange: Exchange) -> None:
        handler, method = self._settings.http_handler, exchange.request.method
        if handler is None:
            await exchange.reply(upgrade_required(method).response)
            return
        request = exchange.http_request()
        try:
            response = await handler(request)
            if not isinstance(response, HTTPResponse):
                raise TypeError(f"http_handler must return an HTTPResponse, not {response!r}")
            answer = response._encode(method)
        except BaseException as exc:  # noqa: BLE001 - as above
            await exchange.fail(exc)
            self._handle_error(request, exc)
        else:
            await exchange.reply(answer)

    def _handle_error(self, request: WebSocketRequest | HTTPRequest, exc: BaseException) -> None:
        """A handler has raised: tell the callback, or raise it on."""
        # Beside a handler's own error a cancellation of ours has done its work.
        if isinstance(exc, BaseExceptionGroup) and not isinstance(exc, Exception):
            exc = exc.split(trio.Cancelled)[1] or exc
        if self._settings.handler_error is None or not isinstance(exc, Exception):
            raise exc
        self._settings.handler_error(request, exc)


@dataclass(slots=True, eq=False, repr=False)
class _Session:
    """What the server knows of one connection, to shut it down."""

    scope: trio.CancelScope | None = None  # around what can be cancelled now
    exchange: Exchange | None = None  # once the request was read
    request: WebSocketRequest | None = None  # once the handler has it

    def shut_down(self, code: int, reason: str | None) -> None:
        """End as politely as can be, without waiting."""
        if self.exchange is None:
            self.cancel()  # there is no request yet that could be answered
        elif self.request is not None:
            self.request._begin_close(code, reason)

    def cancel(self) -> None:
        """End at once; without a scope of its own, with the server's nursery."""
        if self.scope is not None:
            self.scope.cancel()


def _check_handler(handler: object) -> None:
    if not callable(handler):
        raise TypeError(f"handler must be callable, not {handler!r}")


def _is_about_closing(exc: BaseException) -> bool:
    """Whether an exception is nothing but `ConnectionClosed`, in groups or not."""
    if isinstance(exc, BaseExceptionGroup):
        return all(
            isinstance(inner, trio.Cancelled) or _is_about_closing(inner)
            for inner in exc.exceptions
        )
    return isinstance(exc, ConnectionClosed)
