"""The client's side of the opening handshake over HTTP/1.1 (RFC 6455 section 4.1).

Whatever a server sends leads to "more bytes, please", a Response, or HandshakeFailure.
"""

import base64
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import h11

from ._head import HandshakeFailure, HeadLimits, HeadReader, format_head
from ._headers import (
    Extension,
    HeaderError,
    Headers,
    encode_headers,
    format_authority,
    format_extensions,
    get_all,
    get_one,
    has_token,
    received,
    show,
)
from ._negotiation import accept_key, check_subprotocols, verify_extensions, verify_subprotocol
from ._url import DEFAULT_PORTS, check_port, encode_resource, parse_authority

_MAX_INFORMATIONAL = 10  # responses such as 100 and 103 that a client skips

_status_line = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: .*)?")


@dataclass(frozen=True)
class Response:
    """A server's final answer: 101 and what was agreed, or a rejection and its body."""

    status_code: int
    headers: Headers
    body: bytes = b""
    subprotocol: str | None = None
    extensions: tuple[Extension, ...] = ()


class ClientHandshake:
    """Writes one request and reads the answer. Feed ``receive_data`` until it returns it or raises.

    Each attempt needs a new one: a key must not be used twice (RFC 6455 section 4.1).

    *host*: a name or an address; if *port* is None, ``host:port`` is fine as well. *secure*: over
    TLS, where port 443 goes without saying. *max_rejection_size*: how many bytes to keep of the
    body of an answer other than 101. Raises ValueError or TypeError for what cannot be sent.
    """

    def __init__(
        self,
        host: str,
        port: int | None,
        resource: str,
        *,
        secure: bool = False,
        subprotocols: Iterable[str] | None = None,
        extensions: Sequence[Extension] = (),
        extra_headers: Iterable[tuple[bytes | str, bytes | str]] | None = None,
        limits: HeadLimits | None = None,
        max_rejection_size: int = 65536,
    ) -> None:
        self._limits = limits or HeadLimits()
        self._max_rejection_size = max_rejection_size
        self._subprotocols = check_subprotocols(subprotocols)
        self._extensions = tuple(extensions)
        self._key = base64.b64encode(os.urandom(16))
        self.target = encode_resource(resource)
        headers = [
            (b"Host", _host_header(host, port, secure)),
            *self._proposal(),
            *encode_headers(extra_headers),
        ]
        self.request = format_head(f"GET {self.target} HTTP/1.1", headers)
        """The request to send."""
        self.trailing = b""
        """The bytes after a 101: the server's first frames."""
        self._head = HeadReader(self._limits, _check_status_line)
        self._informational = 0
        self._rejection: _Rejection | None = None

    def _proposal(self) -> Headers:
        headers = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", self._key),
            (b"Sec-WebSocket-Version", b"13"),
        ]
        if self._subprotocols:
            headers.append((b"Sec-WebSocket-Protocol", ", ".join(self._subprotocols).encode()))
        if self._extensions:
            headers.append((b"Sec-WebSocket-Extensions", format_extensions(self._extensions)))
        return headers

    @property
    def rejected(self) -> bool:
        """Whether a final answer other than 101 has come, whose body may still be on its way."""
        return self._rejection is not None

    def receive_data(self, data: bytes) -> Response | None:
        """Feed received bytes, split in any way. None means that more are needed.

        Returns the 101, checked, or any other final answer once its body is complete or cut.
        Raises HandshakeFailure.
        """
        if self._rejection is not None:
            return self._rejection.receive_data(data)
        try:
            while (done := self._head.receive_data(data)) is not None:
                head, data = done
                connection, event = _parse_response(head)
                if event.status_code == 101:
                    self.trailing = data
                    return self._verify(event)
                if event.status_code >= 200:
                    self._rejection = _Rejection(connection, event, self._max_rejection_size)
                    return self._rejection.receive_data(data)
                self._skip_informational()
        except HeaderError as error:
            raise HandshakeFailure(str(error)) from error
        return None

    def receive_eof(self) -> Response:
        """The server hung up. Returns a rejection that got past its head.

        Raises HandshakeFailure if there is none.
        """
        if self._rejection is None:
            raise HandshakeFailure("the server hung up before its answer was complete")
        return self._rejection.response()

    def _skip_informational(self) -> None:
        self._informational += 1
        if self._informational > _MAX_INFORMATIONAL:
            raise HandshakeFailure(f"the server sent more than {_MAX_INFORMATIONAL} responses 1xx")
        self._head = HeadReader(self._limits, _check_status_line)

    def _verify(self, event: h11.InformationalResponse | h11.Response) -> Response:
        """RFC 6455 section 4.1, what the client must check in a 101."""
        headers = received(event.headers.raw_items())
        if event.http_version == b"1.0":
            raise HandshakeFailure("the server answered 101 in HTTP/1.0, which knows no upgrade")
        upgrade = get_one(headers, b"upgrade")
        if upgrade.lower() != b"websocket":
            raise HandshakeFailure(f"the server must upgrade to websocket, not {show(upgrade)}")
        if not has_token(get_all(headers, b"connection"), b"upgrade"):
            raise HandshakeFailure("the server must answer 'Connection: Upgrade'")
        accept = get_one(headers, b"sec-websocket-accept")
        if accept != accept_key(self._key):
            raise HandshakeFailure(f"Sec-WebSocket-Accept does not fit our key: {show(accept)}")
        return Response(
            status_code=101,
            headers=headers,
            subprotocol=verify_subprotocol(self._subprotocols, headers),
            extensions=tuple(verify_extensions(self._extensions, headers)),
        )


class _Rejection:
    """The body of an answer other than 101, as far as it is kept.

    A rejection stays one whatever its body looks like: cut short or badly framed, it ends there.
    """

    def __init__(
        self,
        connection: h11.Connection,
        event: h11.InformationalResponse | h11.Response,
        max_size: int,
    ) -> None:
        self._h11 = connection
        self._event = event
        self._max_size = max_size
        self._body = bytearray()
        # Chunked framing may take as many bytes again, but must not go on for ever.
        self._budget = 2 * max_size + 1024

    def receive_data(self, data: bytes) -> Response | None:
        # h11 sees no byte over the budget, or the outcome would depend on how bytes were split.
        data = data[: self._budget]
        self._budget -= len(data)
        if data:  # h11 takes b"" for the end of the stream
            self._h11.receive_data(data)
        complete = self._read_body()
        if complete or self._budget == 0 or len(self._body) >= self._max_size:
            return self.response()
        return None

    def _read_body(self) -> bool:
        """Take what h11 has decoded; True at the end of the body."""
        try:
            while isinstance(event := self._h11.next_event(), h11.Data):
                self._body += event.data
        except h11.RemoteProtocolError:
            return True
        return event is not h11.NEED_DATA

    def response(self) -> Response:
        body = bytes(self._body[: self._max_size])
        return Response(self._event.status_code, list(self._event.headers), body)


def _host_header(host: str, port: int | None, secure: bool) -> bytes:
    name, own_port = parse_authority(host)
    port = own_port if port is None else check_port(port)
    default = DEFAULT_PORTS["wss" if secure else "ws"]
    return format_authority(name, None if port == default else port).encode()


def _check_status_line(line: bytes) -> None:
    if _status_line.fullmatch(line) is None:
        raise HeaderError(f"the server does not speak HTTP/1.1: {show(line)}")


def _parse_response(head: bytes) -> tuple[h11.Connection, h11.InformationalResponse | h11.Response]:
    # No limit of its own: the head is all there, and `_Rejection` bounds the body and its framing.
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**62)
    # h11 must have seen a request to read the answer; this one asks for the same protocol switch.
    connection.send(_REQUEST)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise HeaderError(f"the server's answer is malformed: {error}") from error
    assert isinstance(event, (h11.InformationalResponse, h11.Response))
    return connection, event


_REQUEST = h11.Request(
    method="GET",
    target="/",
    headers=[("Host", "host"), ("Upgrade", "websocket"), ("Connection", "Upgrade")],
)
