"""The grammar of headers: tokens, parameter lists, authorities (RFC 9110, RFC 6455 section 9.1).

Pure functions over bytes; the wire syntax of HTTP/1.1 lives in ``_head.py``.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Header fields in order. Received names are lower-case; names to be sent keep their spelling."""

Extension: TypeAlias = tuple[str, tuple[tuple[str, str | None], ...]]
"""An extension's name and its parameters in order; a parameter without a value has None."""

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"

_token = re.compile(TOKEN)
_protocol = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")  # RFC 9110 section 7.8
# What follows a ";" or "," of an extension list, up to the next one. The quantifiers are
# possessive, so that no input makes the match backtrack (linear time).
_item = re.compile(
    rb"[ \t]*+(?P<name>%b)"
    rb'(?:[ \t]*+=[ \t]*+(?:(?P<token>%b)|"(?P<quoted>(?:[^"\\]|\\.)*+)"))?+'
    rb"[ \t]*+(?P<delimiter>[;,]|\Z)" % (TOKEN, TOKEN),
    re.DOTALL,
)
_quoted_pair = re.compile(rb"\\(.)", re.DOTALL)
_host = re.compile(
    rb"(?:\[(?P<ipv6>[0-9A-Fa-f:.]++)\]|(?P<name>[0-9A-Za-z._-]++))(?::(?P<port>[0-9]{0,5}))?"
)
_field_value = re.compile(rb"[\t -~\x80-\xff]*")

# Only the handshake itself may set these (RFC 6455 sections 4.1 and 4.2.2, RFC 9110 section 7.8).
HANDSHAKE_OWNED = re.compile(
    rb"sec-websocket-.*|upgrade|connection|host|content-length|transfer-encoding",
    re.IGNORECASE,
)
# In an ordinary response "Upgrade" and "Sec-WebSocket-Version" are the user's business (426).
RESPONSE_OWNED = re.compile(rb"connection|transfer-encoding", re.IGNORECASE)


# Names that nearly all connections keep: they share them.
_names = {
    name: name
    for name in (
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"cookie",
        b"host",
        b"origin",
        b"pragma",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"upgrade",
        b"user-agent",
    )
}


class HeaderError(ValueError):
    """The peer's HTTP head is malformed or over a limit; *status_code* is what a server answers."""

    def __init__(self, message: str, status_code: int = 400) -> None:
        super().__init__(message)
        self.status_code = status_code


def show(data: bytes | str, limit: int = 64) -> str:
    """Quote peer data for a message: escaped, and never more than *limit* characters of it."""
    return ascii(data) if len(data) <= limit else ascii(data[:limit]) + "..."


def received(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers as they came, with their names in lower case."""
    return [(_names.get(lower := name.lower(), lower), value) for name, value in headers]


def by_name(headers: Headers) -> dict[bytes, list[bytes]]:
    """All values of each header, in order: for whoever looks at many of them."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return values


def get_all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """All values of the header *name* (lower-case), in order."""
    return [value for key, value in headers if key == name]


def get_one(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The value of a header that must be there exactly once; HeaderError otherwise."""
    return only(name, get_all(headers, name))


def only(name: bytes, values: Sequence[bytes]) -> bytes:
    """The one of the *values* of the header *name*; HeaderError if there is another number."""
    if len(values) != 1:
        raise HeaderError(f"send the header {name.decode()} exactly once, not {len(values)} times")
    return values[0]


def is_token(text: str) -> bool:
    """Whether *text* is a token (RFC 9110 section 5.6.2)."""
    return text.isascii() and _token.fullmatch(text.encode()) is not None


def parse_token_list(values: Iterable[bytes]) -> list[str]:
    """Parse ``1#token`` spread over any number of header lines, keeping the order.

    No header line at all gives the empty list; an empty element is a HeaderError.
    """
    elements = [part.strip(b" \t") for value in values for part in value.split(b",")]
    for element in elements:
        if _token.fullmatch(element) is None:
            raise HeaderError(f"a list element must be a token, not {show(element)}")
    return [element.decode() for element in elements]


def has_token(values: Sequence[bytes], token: bytes) -> bool:
    """Whether the lists of a Connection or Upgrade header name *token* (lower-case).

    Empty elements are ignored, as RFC 9110 section 5.6.1.2 asks. HeaderError for garbage.
    """
    if len(values) == 1 and values[0].lower() == token:
        return True
    elements = [part.strip(b" \t") for value in values for part in value.split(b",")]
    for element in filter(None, elements):
        if _protocol.fullmatch(element) is None:
            raise HeaderError(f"expected a list of names, not {show(element)}")
    return token in (element.lower() for element in elements)


def parse_extensions(values: Iterable[bytes]) -> list[Extension]:
    """Parse Sec-WebSocket-Extensions (RFC 6455 section 9.1) spread over any number of header lines.

    Takes linear time. HeaderError if the syntax is wrong; no header line gives the empty list.
    """
    lines = list(values)
    extensions: list[tuple[str, list[tuple[str, str | None]]]] = []
    # A quoted string cannot run on into the next line unnoticed: the comma makes it no token.
    data = b",".join(lines)
    position, delimiter = 0, b"," if lines else b""
    while delimiter:
        match = _item.match(data, position)
        if match is None:
            raise HeaderError(f"Sec-WebSocket-Extensions is malformed at {show(data[position:])}")
        name, value = match["name"].decode(), _parameter_value(match)
        if delimiter == b";":
            extensions[-1][1].append((name, value))
        elif value is None:
            extensions.append((name, []))
        else:
            raise HeaderError(f"an extension's name takes no value: {show(name)}")
        position, delimiter = match.end(), match["delimiter"]
    return [(name, tuple(parameters)) for name, parameters in extensions]


def _parameter_value(match: re.Match[bytes]) -> str | None:
    quoted = match["quoted"]
    if quoted is None:
        return None if match["token"] is None else match["token"].decode()
    # RFC 6455 section 9.1: after unquoting, the value must still be a token.
    value = _quoted_pair.sub(rb"\1", quoted)
    if _token.fullmatch(value) is None:
        raise HeaderError(f"a quoted parameter value must be a token, not {show(value)}")
    return value.decode()


def format_extensions(extensions: Sequence[Extension]) -> bytes:
    """Write *extensions* as the value of one Sec-WebSocket-Extensions header."""
    return ", ".join(
        "; ".join(
            [name, *(key if value is None else f"{key}={value}" for key, value in parameters)]
        )
        for name, parameters in extensions
    ).encode()


def parse_host(value: bytes) -> tuple[str, int | None]:
    """Parse ``host[:port]`` strictly: letters, digits and ``.-_``, or an IPv6 address in brackets.

    Returns the host in lower case and without brackets (an IPv6 address in its shortest form), and
    the port if there is one. HeaderError otherwise.
    """
    match = _host.fullmatch(value)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port or 0) > 65535:
        raise HeaderError(f"expected host[:port], not {show(value)}")
    if match["name"] is not None:
        return match["name"].decode().lower(), port
    try:
        return str(ipaddress.IPv6Address(match["ipv6"].decode())), port
    except ValueError:
        raise HeaderError(f"expected an IPv6 address in brackets, not {show(value)}") from None


def format_authority(host: str, port: int | None) -> str:
    """The opposite of ``parse_host``: brackets for IPv6, no colon without a port."""
    return (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")


def encode_headers(
    extra_headers: Iterable[tuple[bytes | str, bytes | str]] | None,
    owned: re.Pattern[bytes] = HANDSHAKE_OWNED,
) -> Headers:
    """Check and encode the user's own headers, before any byte is sent.

    Names keep their spelling; blanks around a value are dropped. *owned* matches the names that the
    library sets itself.
    Raises ValueError for a name that is no token or is *owned*, for CR, LF, NUL and other control
    characters, and for non-ASCII text; TypeError for anything but str and bytes.
    """
    return [_encode_header(item, owned) for item in extra_headers or ()]


def _encode_header(item: object, owned: re.Pattern[bytes]) -> tuple[bytes, bytes]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"extra_headers must hold (name, value) pairs, not {item!r}")
    name, value = (_encode_text(part) for part in item)
    if _token.fullmatch(name) is None:
        raise ValueError(f"extra_headers: a header name must be a token, not {name!r}")
    if owned.fullmatch(name) is not None:
        raise ValueError(f"extra_headers: leave out {name!r}, which the library sets itself")
    if _field_value.fullmatch(value) is None:
        raise ValueError(f"extra_headers: remove the control characters from the value of {name!r}")
    return name, value.strip(b" \t")


def _encode_text(text: object) -> bytes:
    if isinstance(text, str):
        try:
            return text.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError(f"extra_headers: encode {text!r}, and pass bytes") from None
    if isinstance(text, bytes):
        return text
    raise TypeError(f"extra_headers must hold pairs of str or bytes, not {type(text).__name__}")
