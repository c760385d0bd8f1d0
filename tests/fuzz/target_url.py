"""URLs, hosts and resources that a program passes on (RFC 6455 section 3)."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes, urlsplit

from . import core, http_oracle
from .properties import expect, same

_RESOURCE = frozenset(range(0x21, 0x7F)) - frozenset(b'#"<>\\^`{|}[]')


def url(data: bytes) -> None:
    """ValueError or a target that is safe to write in a request, and leads where it says."""
    text = data.decode("utf-8", "surrogateescape" if data[:1] == b"\xff" else "replace")
    try:
        target = core.parse_url(text)
    except ValueError as error:
        message = str(error)
        # Whatever stands before an "@" may be a password, a slash or two in it included.
        for secret in re.split("[/?#:@]", text.rpartition("@")[0]):
            plain = len(secret) < 8 or secret.isalpha()  # as the words of the message itself
            expect(plain or secret not in message, "a password in a message", message)
    else:
        _check_target(text, target.host, target.port, target.resource, secure=target.secure)
    _check_resource(text)
    _check_host(text)


def _check_target(text: str, host: str, port: int, resource: str, *, secure: bool) -> None:
    expect(host.isascii() and host == host.lower() and 1 <= port <= 65535, "host", host, port)
    same(http_oracle.host(core.format_authority(host, port).encode()), (host, port), "authority")
    _check_written(resource)
    authority = re.split("[/?#]", text.partition("//")[2], maxsplit=1)[0]
    if authority.count(":") > 1 and not authority.startswith("["):
        return  # a bare IPv6 address, which no standard allows, and urlsplit does not know
    if not authority.startswith("["):
        name = re.sub(":[0-9]*$", "", authority)
        spoken = host if name.isascii() else _spoken(host)
        same(spoken, unicodedata.normalize("NFC", name.lower()), "the host that was asked for")
    try:
        split = urlsplit(text)
    except ValueError:
        return  # U+FE13 was no character in IDNA's Unicode 3.2, and is a colon to urlsplit
    same({"ws": False, "wss": True}[split.scheme], secure, "scheme")
    expect(not split.fragment and split.username is None, "fragment and user", text)
    same(split.port or (443 if secure else 80), port, "port")
    path = split.path + ("?" + split.query if "?" in text else "")
    path = path if path.startswith("/") else "/" + path
    same(unquote_to_bytes(resource), unquote_to_bytes(path), "path")
    scheme = "wss" if secure else "ws"
    again = core.parse_url(f"{scheme}://{core.format_authority(host, port)}{resource}")
    same(tuple(again), (host, port, resource, secure), "read, written, read")


def _spoken(host: str) -> str:
    """A name as people write it: each label that is in Punycode (RFC 3492) decoded."""
    labels = host.encode().split(b".")
    return ".".join(
        label[4:].decode("punycode") if label[:4] == b"xn--" else label.decode() for label in labels
    )


def _check_written(resource: str) -> None:
    octets = resource.encode("ascii")
    expect(octets.startswith(b"/") and all(byte in _RESOURCE for byte in octets), "path", resource)


def _check_resource(text: str) -> None:
    try:
        resource = core.encode_resource(text)
    except ValueError:
        return
    _check_written(resource)
    same(core.encode_resource(resource), resource, "encoded twice")
    request = core.client_handshake("host", None, text).request
    same(request.split(b"\r\n")[0], f"GET {resource} HTTP/1.1".encode(), "request line")
    http_oracle.request(request, http_oracle.HeadLimits(1 << 20, 100, 1 << 20))


def _check_host(text: str) -> None:
    try:
        request = core.client_handshake(text, None, "/").request
    except ValueError:
        return
    head, upgrade = http_oracle.request(request, http_oracle.HeadLimits(1 << 20, 100, 1 << 20))
    expect(upgrade and not head.rest, "a request of its own", request)
    same(len(head.headers), 5, "headers")
