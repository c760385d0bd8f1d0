"""The server's side of the opening handshake over HTTP/1.1 (RFC 6455 section 4.2).

``_head.py`` lets a strict head pass, h11 parses it, the checks here say whether it is an upgrade.
Whatever a client sends leads to "more bytes, please", a Request, or BadRequest.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NoReturn

import h11

from ._head import HandshakeFailure, HeadLimits, HeadReader, format_headers, format_response_head
from ._headers import (
    TOKEN,
    Extension,
    HeaderError,
    Headers,
    by_name,
    format_extensions,
    has_token,
    only,
    parse_extensions,
    parse_host,
    received,
    show,
)
from ._negotiation import accept_key, is_key, parse_subprotocols

_request_line = re.compile(rb"(" + TOKEN + rb") ([^ \t]+) HTTP/([0-9]\.[0-9])")
_origin_form = re.compile(rb"/[!-~]*")  # RFC 9112 section 3.2.1
# What frames a body (RFC 9112 section 6), in the raw head, because h11 merges repetitions.
_body_header = re.compile(rb"(?im)^(transfer-encoding|content-length):(.*)$")


_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


class BadRequest(HandshakeFailure):
    """A request that a server refuses: send ``response``, then close."""

    def __init__(
        self,
        status_code: int,
        message: str,
        headers: Headers | None = None,
        *,
        method: str = "GET",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.headers: Headers = [(b"Content-Type", b"text/plain; charset=utf-8"), *(headers or [])]
        self.body = message.encode() + b"\n"
        self.method = method

    @property
    def response(self) -> bytes:
        """The whole HTTP response."""
        return ServerHandshake.respond(
            self.status_code, self.headers, self.body, method=self.method
        )


class Upgrade(NamedTuple):
    """What a valid WebSocket request proposes (RFC 6455 section 4.2.1)."""

    key: bytes
    subprotocols: tuple[str, ...]
    extensions: list[Extension]
    origins: list[bytes]
    host: bytes


class Request(NamedTuple):
    """An HTTP request without a body; *target* is the path with its query.

    The names in *headers* are lower-case. *websocket* is None if the request does not ask for a
    WebSocket.
    """

    method: str
    target: str
    headers: Headers
    websocket: Upgrade | None


class ServerHandshake:
    """Reads one request. Feed ``receive_data`` until it returns it or raises."""

    def __init__(self, limits: HeadLimits | None = None) -> None:
        self._head = HeadReader(limits or HeadLimits(), _check_request_line)
        self.trailing = b""
        """The bytes after the request: the first frames, if the client did not wait for the 101."""

    def receive_data(self, data: bytes) -> Request | None:
        """Feed received bytes, split in any way. None means that more are needed.

        Raises BadRequest; nothing that follows may then be interpreted (RFC 9110 section 7.8).
        """
        try:
            done = self._head.receive_data(data)
            if done is None:
                return None
            head, self.trailing = done
            return _parse_request(head)
        except HeaderError as error:
            raise BadRequest(error.status_code, str(error)) from error

    def receive_eof(self) -> NoReturn:
        """The peer hung up before its request was complete: raises HandshakeFailure."""
        raise HandshakeFailure("the client hung up before its request was complete")

    @staticmethod
    def accept(
        request: Request,
        *,
        subprotocol: str | None = None,
        extensions: Sequence[Extension] = (),
        extra_headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> bytes:
        """The 101 for a valid upgrade. *extra_headers*: from ``encode_headers``.

        Raises ValueError if the client did not offer *subprotocol*, or did not ask for a WebSocket.
        """
        upgrade = request.websocket
        if upgrade is None:
            raise ValueError("this request does not ask for a WebSocket: reject it")
        headers = [(b"Sec-WebSocket-Accept", accept_key(upgrade.key))]
        if subprotocol is not None:
            if subprotocol not in upgrade.subprotocols:
                raise ValueError(f"choose a subprotocol that was offered, not {subprotocol!r}")
            headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode()))
        if extensions:
            headers.append((b"Sec-WebSocket-Extensions", format_extensions(extensions)))
        return _SWITCHING + format_headers([*headers, *extra_headers])

    @staticmethod
    def respond(
        status_code: int,
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        *,
        method: str = "GET",
    ) -> bytes:
        """A whole HTTP response other than a 101, after which the connection is closed.

        *status_code*: 200-599. *headers*: from ``encode_headers``. *method*: of the request; the
        answer to HEAD carries no body. Raises ValueError if the parts do not fit together.
        """
        if not 200 <= status_code <= 599:
            raise ValueError(f"status_code must be in 200-599, not {status_code}")
        bodiless = status_code in (204, 205, 304)  # RFC 9110 sections 15.3.5, 15.3.6, 15.4.5
        if bodiless and body:
            raise ValueError(f"a response {status_code} has no body: leave it out")
        length = (b"Content-Length", str(len(body)).encode())
        fields = []
        for name, value in headers:
            if name.lower() != b"content-length":
                fields.append((name, value))
            elif value != length[1]:
                raise ValueError(f"leave out Content-Length, or make it {len(body)}")
        if status_code not in (204, 304):
            fields.append(length)
        head = format_response_head(status_code, [*fields, (b"Connection", b"close")])
        return head if method == "HEAD" else head + body


def upgrade_required(
    method: str = "GET", message: str = "this server speaks WebSocket only"
) -> BadRequest:
    """What a server without anything else to serve answers to a request for something else."""
    if method != "GET":
        return BadRequest(405, "use GET for a WebSocket", [(b"Allow", b"GET")], method=method)
    # RFC 9110 section 15.5.22 and RFC 6455 section 4.4: a 426 names what to upgrade to.
    headers = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
    ]
    return BadRequest(426, message, headers)


def _check_request_line(line: bytes) -> None:
    match = _request_line.fullmatch(line)
    if match is None:
        raise HeaderError(f"the request line must be 'GET /path HTTP/1.1', not {show(line)}")
    if match[3][:2] != b"1." or match[3] == b"1.0":  # RFC 6455 section 4.2.1: 1.1 or higher
        raise HeaderError(f"use HTTP/1.1, not HTTP/{match[3].decode()}", 505)
    if _origin_form.fullmatch(match[2]) is None or b"#" in match[2]:
        raise HeaderError(f"the request target must be a path, not {show(match[2])}")


def _parse_request(head: bytes) -> Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        _refuse_body(head)
        raise HeaderError(f"send a valid HTTP request: {error}") from error
    assert isinstance(event, h11.Request)
    method, headers = event.method.decode(), received(event.headers.raw_items())
    fields = by_name(headers)
    if b"content-length" in fields or b"transfer-encoding" in fields:
        _refuse_body(head)
    parse_host(only(b"host", fields.get(b"host", ())))
    return Request(method, event.target.decode(), headers, _parse_upgrade(method, headers, fields))


def _refuse_body(head: bytes) -> None:
    fields = [(name.lower(), value.strip(b" \t\r")) for name, value in _body_header.findall(head)]
    if fields in ([], [(b"content-length", b"0")]):
        return
    if any(name == b"transfer-encoding" for name, _ in fields):
        raise HeaderError("send no body: Transfer-Encoding is not supported", 501)
    if len(fields) == 1 and fields[0][1].isdigit():
        raise HeaderError("send no body", 413)
    raise HeaderError("send Content-Length once, as a plain number")


def _parse_upgrade(
    method: str, headers: Headers, fields: dict[bytes, list[bytes]]
) -> Upgrade | None:
    """RFC 6455 section 4.2.1. HeaderError for what is malformed, BadRequest for what is refused."""
    upgrade = has_token(fields.get(b"upgrade", ()), b"websocket")
    # A lone "Upgrade: h2c" is an ordinary request: RFC 9110 section 7.8 lets a server ignore it.
    if not upgrade and not any(name.startswith(b"sec-websocket-") for name in fields):
        return None
    if method != "GET" or not upgrade:
        raise upgrade_required(method, "send 'Upgrade: websocket'")
    if not has_token(fields.get(b"connection", ()), b"upgrade"):
        raise upgrade_required(method, "send 'Connection: Upgrade'")
    versions = fields.get(b"sec-websocket-version", [])
    if len(versions) > 1:
        raise HeaderError("send Sec-WebSocket-Version once")  # RFC 6455 section 11.3.5
    if versions != [b"13"]:
        raise upgrade_required(method, "send 'Sec-WebSocket-Version: 13'")
    key = only(b"sec-websocket-key", fields.get(b"sec-websocket-key", ()))
    if not is_key(key):
        raise HeaderError(f"Sec-WebSocket-Key must be the base64 form of 16 bytes, not {show(key)}")
    return Upgrade(
        key=key,
        subprotocols=parse_subprotocols(headers),
        extensions=parse_extensions(fields.get(b"sec-websocket-extensions", ())),
        origins=fields.get(b"origin", []),
        host=fields[b"host"][0],
    )
