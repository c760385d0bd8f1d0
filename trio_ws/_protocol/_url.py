"""ws and wss URLs (RFC 6455 section 3), hosts and resources as they go on the wire."""

import re
import unicodedata
from typing import NamedTuple
from urllib.parse import quote

from ._headers import parse_host

DEFAULT_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}

_url = re.compile(
    r"(?P<scheme>[^:/?#]*):(?://(?P<authority>[^/?#]*))?(?P<resource>[^#]*)(?P<fragment>#.*)?",
    re.DOTALL,
)
_zone = re.compile(r"%[0-9A-Za-z._~-]+$")
_blank = re.compile(r"[\x00-\x20\x7f-\xa0]")
# What RFC 3986 lets stand in a path and a query, beside letters, digits and "_.-~".
_SAFE = "/?%!$&'()*+,;=:@"


class Target(NamedTuple):
    """Where a URL leads: *host* in ASCII and without brackets, *resource* percent-encoded."""

    host: str
    port: int
    resource: str
    secure: bool


def parse_url(url: object) -> Target:
    """Parse anything whose ``str()`` is a ws or wss URL (RFC 6455 section 3).

    Raises ValueError, whose message never quotes the URL: there may be a password in it.
    """
    text = str(url)
    match = _url.fullmatch(text)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in ("ws", "wss"):
        raise ValueError("the URL must begin with ws:// or wss://")
    _refuse_blanks("the URL", text)
    if match["fragment"] is not None:
        raise ValueError("remove the fragment from the URL, or write '#' as %23")
    authority = match["authority"] or ""
    if "@" in authority:
        raise ValueError("remove user and password from the URL; send an Authorization header")
    try:
        host, port = parse_authority(authority)
    except ValueError:
        if not authority:
            raise
        raise ValueError("expected host[:port] in the URL, with IPv6 in brackets") from None
    port = check_port(DEFAULT_PORTS[scheme] if port is None else port)
    return Target(host, port, encode_resource(match["resource"]), scheme == "wss")


def parse_authority(text: str) -> tuple[str, int | None]:
    """Parse ``host[:port]`` as people write it; the host comes out in ASCII and without brackets.

    A bare IPv6 address is fine, too; its zone, which means nothing to the peer, is dropped.
    """
    if not text:
        raise ValueError("the host is missing: give a name or an address")
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{_zone.sub('', text)}]"
    if not text.isascii():
        host, colon, port = text.partition(":")
        text = _encode_idna(host) + colon + port
    try:
        return parse_host(text.encode())
    except ValueError:
        raise ValueError(f"expected host[:port], with IPv6 in brackets, not {text!r}") from None


def _encode_idna(host: str) -> str:
    """The ASCII form of *host*, if all versions of IDNA agree on it.

    Where they do not (sharp s, final sigma, joiners) the standard library's IDNA 2003 loses
    something, and would lead to another site than a browser does. A round trip shows that.
    """
    try:
        encoded = host.encode("idna")
        same = encoded.decode("idna") == unicodedata.normalize("NFC", host.lower())
    except UnicodeError:
        same = False
    if not same:
        raise ValueError(f"write the host {host!r} in its ASCII form (xn--...)")
    return encoded.decode()


def check_port(port: int) -> int:
    """Return *port*, or raise ValueError."""
    if not 1 <= port <= 65535:
        raise ValueError(f"the port must be in 1-65535, not {port}")
    return port


def encode_resource(resource: str) -> str:
    """The request target for *resource*: percent-encoded where needed, and with a leading slash.

    Raises ValueError for blanks, control characters, a fragment and lone surrogates.
    """
    _refuse_blanks("the resource", resource)
    if "#" in resource:
        raise ValueError(f"remove the fragment from {resource!r}, or write '#' as %23")
    try:
        encoded = quote(resource, safe=_SAFE)
    except UnicodeEncodeError:
        raise ValueError(f"remove the lone surrogates from {resource!r}") from None
    return encoded if encoded.startswith("/") else "/" + encoded


def _refuse_blanks(what: str, text: str) -> None:
    if _blank.search(text) is not None:
        raise ValueError(f"percent-encode the blanks and control characters in {what}")
