"""What the two ends of a connection agree on: subprotocol, extensions, origin, credentials.

Works on header lists alone, so that it serves WebSockets over HTTP/2 (RFC 8441) as well.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final, final

from ._headers import (
    Extension,
    HeaderError,
    Headers,
    format_authority,
    get_all,
    get_one,
    is_token,
    parse_extensions,
    parse_host,
    parse_token_list,
    show,
)
from ._url import DEFAULT_PORTS

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
# Base64 of 16 bytes: 22 characters, the last of which carries only two bits.
_key = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_origin = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


@final
class AnyOrigin:
    """The type of ``any_origin``."""

    def __repr__(self) -> str:
        return "trio_ws.any_origin"


any_origin: Final = AnyOrigin()
"""For ``origins=``: let the pages of every web site connect.

Unsafe wherever cookies, client certificates or the network say who the user is.
"""


def accept_key(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that proves that *key* was understood (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def is_key(key: bytes) -> bool:
    """Whether *key* is the strict base64 form of 16 bytes (RFC 6455 section 11.3.1)."""
    return _key.fullmatch(key) is not None


# --- Subprotocols


def check_subprotocols(subprotocols: Iterable[str] | None) -> tuple[str, ...]:
    """Check our own list: tokens, each once. ValueError otherwise, TypeError for a bare string."""
    if isinstance(subprotocols, (str, bytes)):
        raise TypeError(f"subprotocols must be a list of names; write [{subprotocols!r}]")
    names = tuple(subprotocols or ())
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"subprotocols must hold str, not {type(name).__name__}")
        if not is_token(name):
            raise ValueError(f"a subprotocol must be a token of RFC 9110, not {name!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"name each subprotocol once: {names!r}")
    return names


def parse_subprotocols(headers: Headers) -> tuple[str, ...]:
    """The client's offer, in order. HeaderError if it is malformed, or a name comes twice."""
    names = parse_token_list(get_all(headers, b"sec-websocket-protocol"))
    if len(set(names)) != len(names):
        raise HeaderError("offer each subprotocol once")
    return tuple(names)


def verify_subprotocol(offered: Sequence[str], headers: Headers) -> str | None:
    """The subprotocol in a server's answer, or None. HeaderError if it was not *offered*."""
    if not get_all(headers, b"sec-websocket-protocol"):
        return None
    value = get_one(headers, b"sec-websocket-protocol")
    for name in offered:
        if name.encode() == value:  # case matters: RFC 6455 section 4.1
            return name
    raise HeaderError(f"the server chose the subprotocol {show(value)}, which was not offered")


# --- Extensions


def verify_extensions(offered: Sequence[Extension], headers: Headers) -> list[Extension]:
    """The extensions in a server's answer. HeaderError for one not *offered*, or there twice.

    Whether the parameters are a legal answer is for the extension to say.
    """
    if not get_all(headers, b"sec-websocket-extensions"):
        return []
    accepted = parse_extensions([get_one(headers, b"sec-websocket-extensions")])
    left = {name for name, _ in offered}
    for name, _ in accepted:
        if name not in left:
            raise HeaderError(f"the server chose an extension not offered, or twice: {show(name)}")
        left.remove(name)
    return accepted


# --- Origins


def check_origins(origins: Iterable[str] | AnyOrigin | None) -> frozenset[str] | AnyOrigin | None:
    """Check and normalise the user's list, for ``origin_allowed``. ValueError, TypeError."""
    if origins is None or isinstance(origins, AnyOrigin):
        return origins
    if isinstance(origins, (str, bytes)):
        raise TypeError(f"origins must be a list of origins; write [{origins!r}]")
    return frozenset(_check_origin(origin) for origin in origins)


def _check_origin(origin: object) -> str:
    if not isinstance(origin, str):
        raise TypeError(f"origins must hold str, not {type(origin).__name__}")
    serialised = _serialise(origin)
    if serialised is None:
        raise ValueError(f"an origin is 'scheme://host[:port]' or 'null', not {origin!r}")
    return serialised


def origin_allowed(
    origin: Sequence[bytes],
    host: bytes,
    origins: frozenset[str] | AnyOrigin | None,
    require_origin: bool = False,
) -> bool:
    """Whether a page with this Origin may connect (RFC 6455 sections 4.2.2 and 10.2).

    *origin*: the values of all Origin headers. *host*: the value of the Host header. *origins*:
    from ``check_origins``; None allows the own host only.
    """
    if len(origin) != 1:
        return not origin and not require_origin
    if isinstance(origins, AnyOrigin):
        return True
    serialised = _serialise(origin[0].decode("latin-1"))
    if serialised is None:
        return False
    if origins is not None:
        return serialised in origins
    scheme, _, authority = serialised.partition("://")
    return scheme in DEFAULT_PORTS and authority == _authority(scheme, host)


def _serialise(origin: str) -> str | None:
    """*origin* in lower case without a default port; None if it is none (RFC 6454 section 6.1)."""
    origin = origin.lower()
    if origin == "null":
        return origin
    match = _origin.fullmatch(origin)
    if match is None or not match[2].isascii():
        return None
    try:
        return f"{match[1]}://{_authority(match[1], match[2].encode())}"
    except HeaderError:
        return None


def _authority(scheme: str, value: bytes) -> str:
    host, port = parse_host(value)
    return format_authority(host, None if port == DEFAULT_PORTS.get(scheme) else port)


# --- Credentials


def check_basic_auth(headers: Iterable[tuple[bytes, bytes]], username: str, password: str) -> bool:
    """Whether a request carries these Basic credentials (RFC 7617), compared in constant time.

    *headers*: of the request. Anything missing, repeated or malformed is False.
    Raises ValueError if *username* holds a colon, which no client can send.
    """
    if ":" in username:
        raise ValueError("username must not hold a colon: RFC 7617 cannot transport it")
    values = get_all(headers, b"authorization")
    if len(values) != 1:
        return False
    scheme, _, credentials = values[0].partition(b" ")
    # Base64 has one proper form; comparing that leaves nothing malformed to decode.
    expected = base64.b64encode(f"{username}:{password}".encode())
    return hmac.compare_digest(credentials.lstrip(b" "), expected) and scheme.lower() == b"basic"
