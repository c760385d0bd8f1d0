"""Where the ends of a connection are."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import trio

from ._protocol._headers import format_authority
from ._protocol._url import DEFAULT_PORTS
from ._transport import SocketUnderTLS


@dataclass(frozen=True)
class Endpoint:
    """One end of a TCP connection.

    Args:
        address: the IP address; a `str` is parsed.
        port: the port.
        is_ssl: whether TLS is spoken there.
    """

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    is_ssl: bool

    def __post_init__(self) -> None:
        # Programs make endpoints too, out of what they have.
        object.__setattr__(self, "address", ipaddress.ip_address(self.address))

    @property
    def url(self) -> str:
        """The address as a URL, without the port if it is the scheme's own."""
        scheme = "wss" if self.is_ssl else "ws"
        port = None if self.port == DEFAULT_PORTS[scheme] else self.port
        return f"{scheme}://{format_authority(str(self.address), port)}"


def stream_endpoint(stream: trio.abc.Stream, *, local: bool) -> Endpoint | str:
    """The end of a stream: an `Endpoint` if it is TCP, with or without TLS; else the repr."""
    inner: object = stream
    is_ssl = isinstance(inner, trio.SSLStream)
    while isinstance(inner, trio.SSLStream):
        inner = inner.transport_stream
    if not isinstance(inner, (trio.SocketStream, SocketUnderTLS)):
        return repr(stream)
    try:
        name = inner.socket.getsockname() if local else inner.socket.getpeername()
    except OSError:  # closed, or the peer has gone
        return repr(stream)
    return socket_endpoint(name, is_ssl=is_ssl) or repr(stream)


def listener_endpoint(listener: trio.abc.Listener[Any]) -> Endpoint | str:
    """Where a listener listens: an `Endpoint` if it is TCP, with or without TLS; else the repr."""
    inner: object = listener
    is_ssl = isinstance(inner, trio.SSLListener)
    while isinstance(inner, trio.SSLListener):
        inner = inner.transport_listener
    if not isinstance(inner, trio.SocketListener):
        return repr(listener)
    try:
        name = inner.socket.getsockname()
    except OSError:  # it is closed
        return repr(listener)
    return socket_endpoint(name, is_ssl=is_ssl) or repr(listener)


def socket_endpoint(name: object, *, is_ssl: bool) -> Endpoint | None:
    """The endpoint of a socket's name, or None if it is no IP address and port."""
    if not isinstance(name, tuple):
        return None
    # The scope of a link-local address ("fe80::1%eth0") is kept: ipaddress knows it.
    return Endpoint(ipaddress.ip_address(name[0]), name[1], is_ssl)
