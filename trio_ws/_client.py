"""The client: from an address to a `WebSocketConnection`.

Connecting, TLS and the opening handshake run in the caller's task, before there is a nursery of
ours, so what goes wrong there is an ordinary exception (RFC 6455 section 4.1).
"""

from __future__ import annotations

import ssl
import types
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, Unpack

import trio

from ._arguments import check_type
from ._connection import WebSocketConnection
from ._errors import ConnectionRejected, ConnectionTimeout, DisconnectionTimeout, HandshakeError
from ._facts import Opening
from ._options import ClientOptions, ClientSettings
from ._protocol._deflate import Deflate, check_answer
from ._protocol._handshake import ClientHandshake, HandshakeFailure, Response, parse_url
from ._protocol._headers import HeaderError
from ._protocol._output import Output
from ._services import ServiceNursery
from ._transport import open_tcp, transport_over

_T = TypeVar("_T")


def open_websocket(
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    **options: Unpack[ClientOptions],
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Open a connection for the length of an ``async with`` block.

    Leaving the block closes the connection: with 1000, or with 1001 if an exception leaves it; then
    that exception comes out as it is. Cancelled, it says goodbye (1001) and waits for nobody.

    Args:
        host: a name or an address.
        port: a TCP port.
        resource: the path, with the query if there is one.
        use_ssl: True for TLS with the system's certificates, an `ssl.SSLContext` for TLS with it,
            False for none.
        options: `ClientOptions`.

    Raises:
        ValueError: an argument that cannot be sent, before any I/O.
        TypeError: `use_ssl` is neither bool nor `ssl.SSLContext`, or another argument of the wrong
            type, before any I/O.
        HandshakeError: no connection came about; on entering.
        ConnectionTimeout: not within ``connect_timeout`` seconds; on entering.
        ConnectionRejected: the server answered with another status than 101; on entering.
        DisconnectionTimeout: the peer did not answer the Close frame within ``disconnect_timeout``
            seconds, and the block raised nothing; on leaving. The connection is closed.
    """
    return _Manager(
        _Attempt(host, port, resource, _ssl_context(use_ssl), ClientSettings(**options))
    )


def open_websocket_url(
    url: object,
    ssl_context: ssl.SSLContext | None = None,
    **options: Unpack[ClientOptions],
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Open a connection to a ``ws:`` or ``wss:`` URL for the length of an ``async with`` block.

    Args:
        url: anything whose ``str()`` is the URL (RFC 6455 section 3).
        ssl_context: for ``wss:``, instead of TLS with the system's certificates.
        options: `ClientOptions`.

    Raises:
        ValueError: not a WebSocket URL, or a context with ``ws:``; at once.
        HandshakeError: as `open_websocket`.
        DisconnectionTimeout: as `open_websocket`.
    """
    return _Manager(_url_attempt(url, ssl_context, ClientSettings(**options)))


async def connect_websocket(
    nursery: trio.Nursery,
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    **options: Unpack[ClientOptions],
) -> WebSocketConnection:
    """Open a connection whose tasks run in `nursery`; the caller closes it.

    Args and Raises: as `open_websocket`, all at the call; and `RuntimeError` if `nursery` was
    closed meanwhile.
    """
    check_type("nursery", nursery, trio.Nursery)
    attempt = _Attempt(host, port, resource, _ssl_context(use_ssl), ClientSettings(**options))
    return await attempt.run_in(nursery)


async def connect_websocket_url(
    nursery: trio.Nursery,
    url: object,
    ssl_context: ssl.SSLContext | None = None,
    **options: Unpack[ClientOptions],
) -> WebSocketConnection:
    """Open a connection to a URL; its tasks run in `nursery`, and the caller closes it.

    Args and Raises: as `open_websocket_url`, all at the call.
    """
    check_type("nursery", nursery, trio.Nursery)
    attempt = _url_attempt(url, ssl_context, ClientSettings(**options))
    return await attempt.run_in(nursery)


async def wrap_client_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    host: str,
    resource: str,
    **options: Unpack[ClientOptions],
) -> WebSocketConnection:
    """Open a connection over a stream, which it takes over; its tasks run in `nursery`.

    Args:
        nursery: where the connection's tasks run.
        stream: any stream, a `trio.SSLStream` as well.
        host: for the Host header: ``host[:port]``.
        resource: the path, with the query if there is one.
        options: `ClientOptions`.

    Raises:
        HandshakeError: as `open_websocket`; the stream is closed then.
        ValueError: an argument that cannot be sent; the stream is left alone.
        RuntimeError: `nursery` was closed meanwhile; so is the stream.
    """
    check_type("nursery", nursery, trio.Nursery)
    check_type("stream", stream, trio.abc.Stream)
    attempt = _Attempt(host, None, resource, None, ClientSettings(**options), stream=stream)
    return await attempt.run_in(nursery)


class _Attempt:
    """One attempt at a connection: its arguments are checked here, before any I/O."""

    def __init__(
        self,
        host: str,
        port: int | None,
        resource: str,
        ssl_context: ssl.SSLContext | None,
        settings: ClientSettings,
        *,
        stream: trio.abc.Stream | None = None,
    ) -> None:
        check_type("host", host, str)
        check_type("resource", resource, str)
        if stream is None:
            _check_address(host, port)
        elif settings.unix_socket is not None:
            raise ValueError("unix_socket: there is a stream already")
        if settings.server_hostname is not None and ssl_context is None:
            raise ValueError("server_hostname: this connects without TLS, or not by itself")
        self._address = (host, port)
        self._ssl_context = ssl_context
        name = settings.server_hostname
        self._server_hostname = host if name is None else name
        if ssl_context is not None:
            _check_tls(ssl_context, self._server_hostname)
        self._settings = settings
        self._stream = stream
        self._handshake = ClientHandshake(
            host,
            port,
            resource,
            secure=ssl_context is not None or isinstance(stream, trio.SSLStream),
            subprotocols=settings.subprotocols,
            extra_headers=settings.extra_headers,
            extensions=settings.deflate._offers() if settings.deflate else (),
            limits=settings.limits._head,
            max_rejection_size=settings.limits.max_rejection_size,
        )

    async def run(self) -> WebSocketConnection:
        """Connect and shake hands, all within ``connect_timeout``."""
        timeout = self._settings.connect_timeout
        with trio.move_on_after(timeout):
            stream = await self._connect() if self._stream is None else self._stream
            try:
                return await _reporting("the opening handshake", self._shake_hands, stream)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        if self._handshake.rejected:  # with a body that does not end in time
            raise _rejection(self._handshake.receive_eof())
        raise ConnectionTimeout(f"no connection within {timeout} s")

    async def run_in(self, nursery: trio.Nursery) -> WebSocketConnection:
        """`run`, and let `nursery` serve the connection."""
        connection = await self.run()
        await connection._start(nursery)
        return connection

    async def _connect(self) -> trio.abc.Stream:
        stream = await _reporting("connecting", self._connect_plain)
        if self._ssl_context is None:
            return stream
        tls = trio.SSLStream(
            stream,
            self._ssl_context,
            server_hostname=self._server_hostname,
            https_compatible=True,
        )
        try:
            await _reporting("the TLS handshake", tls.do_handshake)
        except BaseException:
            await trio.aclose_forcefully(tls)
            raise
        return tls

    async def _connect_plain(self) -> trio.SocketStream:
        if self._settings.unix_socket is not None:
            return await trio.open_unix_socket(self._settings.unix_socket)
        host, port = self._address
        assert port is not None
        return await open_tcp(host, port)

    async def _shake_hands(self, stream: trio.abc.Stream) -> WebSocketConnection:
        transport = transport_over(stream, None)  # on sockets a quicker way to write and read
        request = Output()
        request.append(self._handshake.request)
        while request.size:
            request.advance(transport.send_nowait(request) or await transport.send(request))
        response = None
        while response is None:
            try:
                await transport.wait_readable()
                data = transport.receive_nowait()
            except (OSError, trio.BrokenResourceError):
                if not self._handshake.rejected:
                    raise
                data = b""  # a rejection remains one, however it ends
            if data is None:
                continue
            answer = self._handshake
            response = answer.receive_data(data) if data else answer.receive_eof()
        if response.status_code != 101:
            raise _rejection(response)
        return self._connection(stream, response)

    def _connection(self, stream: trio.abc.Stream, response: Response) -> WebSocketConnection:
        wish = self._settings.deflate
        try:
            agreement = check_answer(response.extensions, wish) if wish else None
        except HeaderError as exc:
            raise HandshakeFailure(str(exc)) from exc
        opening = Opening(
            self._handshake.target,
            response.subprotocol,
            tuple(response.headers),
            response.extensions,
        )
        return WebSocketConnection(
            stream,
            opening,
            self._settings,
            client=True,
            first_in=self._handshake.trailing,
            deflate=Deflate.of(agreement, wish) if agreement and wish else None,
        )


def _rejection(response: Response) -> ConnectionRejected:
    return ConnectionRejected(response.status_code, tuple(response.headers), response.body)


async def _reporting(what: str, step: Callable[..., Awaitable[_T]], *args: object) -> _T:
    """Run a step of an attempt; what the network or the peer does to it is a `HandshakeError`."""
    try:
        return await step(*args)
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, HandshakeFailure) as exc:
        cause = exc.__cause__ if isinstance(exc, trio.BrokenResourceError) else None
        raise HandshakeError(f"{what} failed: {_why(cause or exc)}") from cause or exc


def _why(exc: BaseException) -> str:
    """What an exception says; and that of each attempt, where Trio has tried several addresses."""
    attempts = exc.__cause__
    if isinstance(attempts, ExceptionGroup):
        return f"{exc}: " + "; ".join(map(str, attempts.exceptions))
    tried = isinstance(attempts, OSError) and str(getattr(attempts, "strerror", "")) not in str(exc)
    return f"{exc}: {attempts}" if tried else str(exc)


def _check_address(host: str, port: object) -> None:
    check_type("port", port, int)
    if host.startswith("[") or host.count(":") == 1:
        raise ValueError("host: leave out the port, and the brackets of an IPv6 address")


def _ssl_context(use_ssl: object) -> ssl.SSLContext | None:
    if isinstance(use_ssl, ssl.SSLContext):
        return use_ssl
    if isinstance(use_ssl, bool):
        return ssl.create_default_context() if use_ssl else None
    raise TypeError(f"use_ssl must be bool or ssl.SSLContext, not {type(use_ssl).__name__}")


def _check_tls(context: ssl.SSLContext, server_hostname: str) -> None:
    """Try what the TLS handshake will begin with, to find wrong arguments before any I/O."""
    if not server_hostname.isprintable() or " " in server_hostname:
        raise ValueError("server_hostname: there is a blank or a control character in it")
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=server_hostname)
    except (ValueError, ssl.SSLError) as exc:
        raise ValueError(f"the ssl_context or server_hostname is no use: {exc}") from exc


def _url_attempt(
    url: object, ssl_context: ssl.SSLContext | None, settings: ClientSettings
) -> _Attempt:
    check_type("ssl_context", ssl_context, ssl.SSLContext, None)
    host, port, resource, secure = parse_url(url)
    if ssl_context is not None and not secure:
        raise ValueError("ssl_context: a ws: URL means no TLS; use wss:")
    return _Attempt(host, port, resource, _ssl_context(ssl_context or secure), settings)


class _Manager(AbstractAsyncContextManager[WebSocketConnection]):
    """A connection for the length of a block."""

    def __init__(self, attempt: _Attempt) -> None:
        self._attempt: _Attempt | None = attempt

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> WebSocketConnection:
        attempt, self._attempt = self._attempt, None
        if attempt is None:  # RFC 6455 section 4.1: a key is for one attempt
            raise RuntimeError("this can be entered once; call open_websocket() again")
        self._connection = await attempt.run()
        self._services = ServiceNursery()
        await self._connection._start(await self._services.__aenter__())
        return self._connection

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        try:
            await self._connection._leave(exc)
        finally:
            await self._services.__aexit__(None, None, None)
        if exc is None and self._connection._close_timed_out:
            raise DisconnectionTimeout("the peer did not close the connection in time")
