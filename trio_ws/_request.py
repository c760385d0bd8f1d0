"""A server's side of the opening handshake: from a stream to a request, to an answer."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Unpack

import trio

from ._arguments import check_type
from ._connection import WebSocketConnection
from ._endpoint import Endpoint, stream_endpoint
from ._errors import ConnectionTimeout, HandshakeError
from ._facts import Opening
from ._options import ExtraHeaders, OriginOptions, OriginSettings
from ._protocol._deflate import Deflate, accept_offer
from ._protocol._handshake import (
    BadRequest,
    HandshakeFailure,
    Request,
    ServerHandshake,
    upgrade_required,
)
from ._protocol._headers import RESPONSE_OWNED, Extension, encode_headers
from ._protocol._negotiation import origin_allowed
from ._transport import close_after_reply

# Seconds that a client may take for each piece of an answer that ends the connection. Most answers
# are one piece, and fit the kernel's buffer.
_ANSWER_TIMEOUT = 30
_ANSWER_PIECE = 16 * 1024
_READ_SIZE = 64 * 1024


@dataclass(frozen=True)
class HTTPRequest:
    """An ordinary HTTP request, for a server's ``http_handler``. It has no body.

    Args:
        method: such as ``"GET"``.
        path: the path, with the query if there is one.
        headers: names in lower case.
        local: this side's end of the connection.
        remote: the client's.
    """

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    local: Endpoint | str
    remote: Endpoint | str


@dataclass(frozen=True)
class HTTPResponse:
    """The answer of a server's ``http_handler``; the connection is closed after it.

    Args:
        status_code: 200 to 599.
        headers: as (name, value) of bytes or str; Content-Length is added.
        body: the content.
    """

    status_code: int
    headers: ExtraHeaders = ()
    body: bytes = b""

    def _encode(self, method: str) -> bytes:
        """The response as bytes; without its body if it answers a HEAD."""
        check_type("status_code", self.status_code, int)
        check_type("headers", self.headers, Iterable)
        check_type("body", self.body, bytes)
        headers = encode_headers(self.headers, RESPONSE_OWNED)
        return ServerHandshake.respond(self.status_code, headers, self.body, method=method)


@dataclass(slots=True, eq=False, repr=False)
class Exchange:
    """One request on one stream, and the one answer to it."""

    stream: trio.abc.Stream
    request: Request
    early: bytes  # frames of a client that did not wait for the 101
    answered: bool = False

    async def reply(self, response: bytes) -> None:
        """Answer with something else than 101, and close."""
        self.answered = True
        await _reply(self.stream, response)

    async def fail(self, exc: BaseException) -> None:
        """Answer 500 because a handler has raised `exc`, or has not answered, if there is time."""
        if isinstance(exc, Exception):
            method = self.request.method
            with suppress(trio.Cancelled):  # `exc` is what the caller has to hear of
                await self.reply(BadRequest(500, "the server failed", method=method).response)

    def http_request(self) -> HTTPRequest:
        """The request as an ``http_handler`` gets it."""
        return HTTPRequest(
            self.request.method,
            self.request.target,
            self.request.headers,
            stream_endpoint(self.stream, local=True),
            stream_endpoint(self.stream, local=False),
        )

    def take(self) -> None:
        """Take the right to answer.

        Raises:
            RuntimeError: there was an answer already.
        """
        if self.answered:
            raise RuntimeError("accept() or reject() was called already")
        self.answered = True


class WebSocketRequest:
    """A client's request for a connection, which waits for `accept` or `reject`."""

    def __init__(self, nursery: trio.Nursery, exchange: Exchange, settings: OriginSettings) -> None:
        self._nursery = nursery
        self._exchange = exchange
        self._settings = settings
        self._connection: WebSocketConnection | None = None
        self._close: tuple[int, str | None] | None = None  # with which the server is shut down

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The request's headers, names in lower case."""
        return self._exchange.request.headers

    @property
    def path(self) -> str:
        """The request's path, with its query."""
        return self._exchange.request.target

    @property
    def proposed_subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client speaks, the preferred first (RFC 6455 section 1.9)."""
        upgrade = self._exchange.request.websocket
        assert upgrade is not None
        return upgrade.subprotocols

    @property
    def local(self) -> Endpoint | str:
        """This side's end of the TCP connection; for other streams a description."""
        return stream_endpoint(self._exchange.stream, local=True)

    @property
    def remote(self) -> Endpoint | str:
        """The client's end of the TCP connection; for other streams a description."""
        return stream_endpoint(self._exchange.stream, local=False)

    def _has_ended(self) -> bool:
        """Whether the connection was accepted and is closed, or closing, but by no error here."""
        connection = self._connection
        return connection is not None and connection._has_ended() and not connection._failed

    async def accept(
        self,
        *,
        subprotocol: str | None = None,
        extra_headers: ExtraHeaders | None = None,
    ) -> WebSocketConnection:
        """Answer 101, and return the connection (RFC 6455 section 4.2.2).

        The answer leaves whole or not at all: if cancelled, nothing was sent and the request still
        waits for its answer.

        Args:
            subprotocol: one of `proposed_subprotocols`.
            extra_headers: headers to add, as (name, value) of bytes or str.

        Raises:
            RuntimeError: the request was answered before.
            ValueError: a subprotocol that was not proposed, or a header that cannot be sent.
            TypeError: an argument of the wrong type.
        """
        check_type("subprotocol", subprotocol, str, None)
        check_type("extra_headers", extra_headers, Iterable, None)
        exchange = self._exchange
        extensions, deflate = self._negotiate()
        answer = ServerHandshake.accept(
            exchange.request,
            subprotocol=subprotocol,
            extensions=extensions,
            extra_headers=encode_headers(extra_headers),
        )
        await trio.lowlevel.checkpoint_if_cancelled()
        exchange.take()
        connection = WebSocketConnection(
            exchange.stream,
            Opening(self.path, subprotocol, tuple(self.headers), extensions),
            self._settings,
            client=False,
            first_out=answer,
            first_in=exchange.early,
            deflate=deflate,
        )
        await connection._start(self._nursery)
        self._connection = connection
        if self._close is not None:
            connection._begin_close(*self._close)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return connection

    def _negotiate(self) -> tuple[tuple[Extension, ...], Deflate | None]:
        """The extensions to agree on (RFC 6455 section 9.1)."""
        upgrade, wish = self._exchange.request.websocket, self._settings.deflate
        answer = accept_offer(upgrade.extensions, wish) if upgrade and wish else None
        if answer is None or wish is None:
            return (), None
        extension, agreement = answer
        return (extension,), Deflate.of(agreement, wish)

    async def reject(
        self,
        status_code: int,
        *,
        extra_headers: ExtraHeaders | None = None,
        body: bytes | None = None,
    ) -> None:
        """Answer with another status than 101, and close the stream.

        Args:
            status_code: 200 to 599.
            extra_headers: headers to add, as (name, value) of bytes or str.
            body: the content.

        Raises:
            RuntimeError: the request was answered before.
            ValueError: a status, header or body that cannot be sent.
            TypeError: an argument of the wrong type.
        """
        check_type("extra_headers", extra_headers, Iterable, None)
        check_type("body", body, bytes, None)
        response = HTTPResponse(status_code, extra_headers or (), body or b"")._encode("GET")
        self._exchange.take()
        await self._exchange.reply(response)

    def _begin_close(self, code: int, reason: str | None) -> None:
        """Close the connection without waiting: now, or as soon as there is one."""
        self._close = (code, reason)
        if self._connection is not None:
            self._connection._begin_close(code, reason)

    async def _leave(self, exc: BaseException | None) -> None:
        """The handler has returned, or raised `exc`: close, and answer if it has not."""
        if self._connection is not None:
            if not self._connection._closed.is_set():
                await self._connection._leave(exc)
        elif not self._exchange.answered:
            await self._exchange.fail(exc or RuntimeError("the handler has not answered"))


def arrived(stream: trio.abc.Stream) -> bytes:
    """What a client has sent already, as far as that can be told without waiting."""
    if sys.platform == "win32" or type(stream) is not trio.SocketStream:
        return b""
    try:
        return os.read(stream.socket.fileno(), _READ_SIZE)
    except OSError:
        return b""  # nothing yet; anything else is found again by whoever waits for it


def whole_request(
    stream: trio.abc.Stream, settings: OriginSettings, data: bytes
) -> Exchange | None:
    """The request in `data`, if it is all there and acceptable; else it is for `read_request`."""
    try:
        return _feed(ServerHandshake(settings.limits._head), stream, settings, data)
    except HandshakeFailure:
        return None


async def read_request(
    stream: trio.abc.Stream,
    settings: OriginSettings,
    scope: trio.CancelScope,
    data: bytes = b"",
) -> Exchange:
    """Read a request, and answer it here if it is a bad one or of a wrong origin.

    Args:
        stream: where from.
        settings: the server's options.
        scope: all is done in it; it is not entered yet, and its deadline is set here.
        data: what was read already.

    Raises:
        HandshakeError: there is no request to go on with; the stream is closed.
        ConnectionTimeout: not within ``connect_timeout``, or `scope` was cancelled; the stream is
            closed.
    """
    scope.deadline = deadline = trio.current_time() + settings.connect_timeout
    try:
        with scope:
            try:
                return await _read_request(stream, settings, data)
            except BadRequest as exc:
                scope.deadline = math.inf
                await _reply(stream, exc.response)
                raise HandshakeError(f"refused a request: {exc}") from exc
            except HandshakeFailure as exc:
                raise HandshakeError(str(exc)) from exc
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise HandshakeError(f"no request: {exc.__cause__ or exc}") from exc
        if trio.current_time() < deadline:
            raise ConnectionTimeout("no request before the server was shut down")
        raise ConnectionTimeout(f"no request within {settings.connect_timeout} s")
    except BaseException:
        await trio.aclose_forcefully(stream)  # cancelled, it closes and raises
        raise


async def _read_request(stream: trio.abc.Stream, settings: OriginSettings, data: bytes) -> Exchange:
    handshake = ServerHandshake(settings.limits._head)
    while (exchange := _feed(handshake, stream, settings, data)) is None:
        data = bytes(await stream.receive_some())
        if not data:
            handshake.receive_eof()
    return exchange


def _feed(
    handshake: ServerHandshake, stream: trio.abc.Stream, settings: OriginSettings, data: bytes
) -> Exchange | None:
    request = handshake.receive_data(data)
    if request is None:
        return None
    upgrade = request.websocket
    if upgrade is not None and not origin_allowed(
        upgrade.origins, upgrade.host, settings.allowed_origins, settings.require_origin
    ):
        raise BadRequest(403, "pages of this origin may not connect")
    return Exchange(stream, request, handshake.trailing)


def is_closed(stream: trio.abc.Stream) -> bool:
    """Whether it is known of a stream that it is closed already."""
    return isinstance(stream, trio.SocketStream) and stream.socket.fileno() < 0


async def _reply(stream: trio.abc.Stream, response: bytes) -> None:
    """Send the last bytes of a stream, and close it."""
    try:
        with trio.move_on_after(_ANSWER_TIMEOUT) as scope:
            for start in range(0, len(response), _ANSWER_PIECE):
                await stream.send_all(response[start : start + _ANSWER_PIECE])
                scope.deadline = trio.current_time() + _ANSWER_TIMEOUT
            await close_after_reply(stream)
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client has gone; it does not need the answer
    finally:
        await trio.aclose_forcefully(stream)


async def wrap_server_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    message_queue_size: float = 16,
    max_message_size: int = 2**20,
    receive_buffer_size: int | None = None,
    **options: Unpack[OriginOptions],
) -> WebSocketRequest:
    """Read a request from a stream, which is taken over; the connection's tasks run in `nursery`.

    Args:
        nursery: where the connection's tasks run, once it is accepted.
        stream: any stream, a `trio.SSLStream` as well.
        message_queue_size: as in `ConnectionOptions`.
        max_message_size: as in `ConnectionOptions`.
        receive_buffer_size: as in `ConnectionOptions`.
        options: `OriginOptions`.

    Raises:
        HandshakeError: no valid request came; it was answered, and the stream is closed.
        ConnectionTimeout: none came within ``connect_timeout``; the stream is closed.
    """
    check_type("nursery", nursery, trio.Nursery)
    check_type("stream", stream, trio.abc.Stream)
    settings = OriginSettings(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        **options,
    )
    exchange = await read_request(stream, settings, trio.CancelScope())
    if exchange.request.websocket is None:
        refusal = upgrade_required(exchange.request.method)
        await exchange.reply(refusal.response)
        raise HandshakeError(f"refused a request: {refusal}")
    return WebSocketRequest(nursery, exchange, settings)
