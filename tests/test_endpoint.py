"""The ends of a connection, as users see them."""

import ipaddress
import ssl

import pytest
import trio
import trio.testing

from tests.support.connections import socket_pair
from trio_ws import Endpoint
from trio_ws._endpoint import socket_endpoint, stream_endpoint


@pytest.mark.parametrize(
    ("address", "port", "is_ssl", "url"),
    [
        ("127.0.0.1", 80, False, "ws://127.0.0.1"),
        ("127.0.0.1", 443, False, "ws://127.0.0.1:443"),
        ("127.0.0.1", 443, True, "wss://127.0.0.1"),
        ("127.0.0.1", 80, True, "wss://127.0.0.1:80"),
        ("::1", 8080, False, "ws://[::1]:8080"),
        ("fe80::1%eth0", 443, True, "wss://[fe80::1%eth0]"),
    ],
)
def test_an_endpoint_has_a_url(address: str, port: int, is_ssl: bool, url: str) -> None:
    """An endpoint's URL leaves out the scheme's own port and puts IPv6 in brackets."""
    endpoint = socket_endpoint((address, port), is_ssl=is_ssl)
    assert endpoint == Endpoint(ipaddress.ip_address(address), port, is_ssl)
    assert endpoint.url == url


@pytest.mark.parametrize("name", ["", "/run/socket", b"\0abstract"])
def test_a_name_without_address_is_no_endpoint(name: object) -> None:
    """A unix socket has no endpoint."""
    assert socket_endpoint(name, is_ssl=False) is None


async def test_endpoints_of_streams() -> None:
    """TCP has endpoints, also inside TLS inside TLS; anything else, closed TCP too, a repr."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    context = ssl.create_default_context()
    tls = trio.SSLStream(stream, context, server_hostname="x")
    tunnel = trio.SSLStream(tls, context, server_hostname="x")
    address = ipaddress.ip_address("127.0.0.1")
    assert stream_endpoint(stream, local=False) == Endpoint(address, port, is_ssl=False)
    assert stream_endpoint(tls, local=False) == Endpoint(address, port, is_ssl=True)
    assert stream_endpoint(tunnel, local=False) == Endpoint(address, port, is_ssl=True)
    local = stream_endpoint(stream, local=True)
    assert isinstance(local, Endpoint) and local.port == stream.socket.getsockname()[1]
    await stream.aclose()
    await listener.aclose()
    for local_end in (True, False):
        assert stream_endpoint(stream, local=local_end) == repr(stream)
        assert stream_endpoint(tls, local=local_end) == repr(tls)
    ours, theirs = socket_pair()
    assert stream_endpoint(ours, local=False) == repr(ours)
    await ours.aclose()
    await theirs.aclose()
    memory, _ = trio.testing.memory_stream_pair()
    assert stream_endpoint(memory, local=True) == repr(memory)
