"""TLS: names, addresses and certificates, on both sides, over sockets and over other streams."""

import ssl
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    CLOSE,
    NORMAL,
    Dial,
    MemoryListener,
    Peer,
    echo,
    frame,
    header,
    nothing_left,
    pair,
    serving,
)
from tests.support.tls import authority, client_context, server_context, tls_peer


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> Dial:
    """TCP in memory."""
    dial = Dial()
    dial.install(monkeypatch)
    return dial


class Named:
    """A server's context, and the names that clients have asked it for."""

    def __init__(self, *names: str) -> None:
        self.asked: list[str | None] = []
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority().issue_cert(*names).configure_cert(self.context)
        self.context.sni_callback = self._sni

    def _sni(self, connection: object, name: str | None, context: ssl.SSLContext) -> None:
        self.asked.append(name)


async def accepting(dial: Dial, context: ssl.SSLContext, heads: list[bytes]) -> None:
    """Be a TLS server for one connection: accept, wait for the Close, answer it."""
    peer = tls_peer((await dial.peer()).stream, context)
    heads.append(await peer.accept())
    assert await peer.receive_frame() == (CLOSE, NORMAL)
    await peer.send(frame(CLOSE, NORMAL, mask=False))
    await peer.aclose()


@pytest.mark.checklist("CH12")
@pytest.mark.parametrize(
    ("host", "certified", "server_hostname", "asked"),
    [
        ("server.example", "server.example", None, "server.example"),
        ("SERVER.example", "server.example", None, "SERVER.example"),
        ("127.0.0.1", "127.0.0.1", None, None),
        ("::1", "::1", None, None),
        ("127.0.0.1", "server.example", "server.example", "server.example"),
        ("b\xfccher.example", "b\xfccher.example", None, "xn--bcher-kva.example"),
    ],
)
async def test_the_name_is_sent_and_verified(
    dial: Dial, host: str, certified: str, server_hostname: str | None, asked: str | None
) -> None:
    """The name goes out as SNI, unless it is an address, which an IP SAN must certify."""
    heads: list[bytes] = []
    named = Named(certified)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepting, dial, named.context, heads)
        async with trio_ws.open_websocket(
            host, 443, "/", use_ssl=client_context(), server_hostname=server_hostname
        ):
            pass
    assert named.asked == [asked]
    assert b":443" not in header(heads[0], b"host")[0]  # the default port of wss


@pytest.mark.checklist("CH12")
@pytest.mark.parametrize(
    ("host", "certified", "options"),
    [
        ("server.example", "other.example", {}),
        ("127.0.0.1", "localhost", {}),
        ("127.0.0.1", "127.0.0.2", {}),
        ("other.example", "other.example", {"server_hostname": "server.example"}),
    ],
    ids=["name", "address without IP SAN", "other address", "server_hostname"],
)
@pytest.mark.parametrize("trusted", [True, False], ids=["wrong name", "unknown authority"])
async def test_a_wrong_certificate_is_an_error_at_once(
    dial: Dial, host: str, certified: str, options: dict[str, str], trusted: bool
) -> None:
    """Not at the deadline, with the cause, and no byte of HTTP was sent."""
    received: list[bytes] = []

    async def server() -> None:
        peer = tls_peer((await dial.peer()).stream, server_context(certified))
        received.append(await peer.receive_all())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        with pytest.raises(trio_ws.HandshakeError, match="TLS handshake failed") as caught:
            await trio_ws.connect_websocket(
                nursery,
                host,
                443,
                "/",
                use_ssl=client_context() if trusted else True,
                server_hostname=options.get("server_hostname"),
            )
        assert type(caught.value) is trio_ws.HandshakeError
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert "certificate verify failed" in str(caught.value)
    assert received == [b""]


async def test_true_is_the_systems_certificates(
    dial: Dial, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """`use_ssl=True`, or wss without a context, trusts what OpenSSL trusts."""
    heads: list[bytes] = []
    path = f"{tmp_path}/authority.pem"
    authority().cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", path)
    context = server_context("server.example")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepting, dial, context, heads)
        async with trio_ws.open_websocket("server.example", 8443, "/", use_ssl=True):
            pass
        nursery.start_soon(accepting, dial, context, heads)
        async with trio_ws.open_websocket_url("wss://server.example:8443/"):
            pass
    assert [header(head, b"host") for head in heads] == [[b"server.example:8443"]] * 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"use_ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}, ValueError),
        ({"use_ssl": True, "server_hostname": ".example"}, ValueError),
        ({"use_ssl": True, "server_hostname": "a" * 64}, ValueError),
        ({"use_ssl": True, "server_hostname": "a\r\nb"}, ValueError),
        ({"use_ssl": True, "server_hostname": "a b"}, ValueError),
        ({"use_ssl": True, "server_hostname": 5}, TypeError),
    ],
    ids=["server's context", "leading dot", "long label", "CR and LF", "a blank", "number"],
)
def test_what_tls_cannot_use_is_an_error_before_any_io(
    dial: Dial, options: dict[str, Any], error: type[Exception]
) -> None:
    """Not a socket left open with an exception that nobody expects."""
    with pytest.raises(error, match="server_hostname"):
        trio_ws.open_websocket("server.example", 443, "/", **options)
    assert dial.addresses == []


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\0" * 99]
)
async def test_a_server_without_tls(dial: Dial, greeting: bytes) -> None:
    """Garbage instead of a TLS handshake is a `HandshakeError` at once."""

    async def server() -> None:
        peer = await dial.peer()
        await peer.send(greeting)
        await peer.receive_all()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        with pytest.raises(trio_ws.HandshakeError) as caught:
            await trio_ws.connect_websocket_url(nursery, "wss://server.example/")
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_a_server_that_hangs_up_during_tls(dial: Dial) -> None:
    """So is the end of the connection."""

    async def server() -> None:
        peer = await dial.peer()
        await peer.receive_exactly(5)
        await peer.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        with pytest.raises(trio_ws.HandshakeError) as caught:
            await trio_ws.connect_websocket_url(nursery, "wss://server.example/")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("certificate", ["client@client.example", None], ids=["with", "without"])
async def test_client_certificates(certificate: str | None) -> None:
    """The context's certificate is presented; without one the server's refusal is an error."""
    server = server_context("127.0.0.1", require_client=True)
    client = client_context(certificate=certificate)
    async with nothing_left(), trio.open_nursery() as nursery:
        served: trio_ws.WebSocketServer = await nursery.start(
            trio_ws.serve_websocket, echo, "127.0.0.1", 0, server
        )
        opening = trio_ws.open_websocket("127.0.0.1", served.port, "/", use_ssl=client)
        if certificate is not None:
            async with opening as connection:
                await connection.send("hello")
                assert await connection.receive() == "hello"
        else:
            with pytest.raises(trio_ws.HandshakeError) as caught:
                await opening.__aenter__()
            assert caught.value.__cause__ is not None
        await served.aclose()


async def test_the_endpoints_know_about_tls() -> None:
    """`is_ssl` is set on both sides and on the listener."""
    found: list[trio_ws.Endpoint | str] = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        found.extend([request.local, request.remote])
        await (await request.accept()).wait_closed()

    async with trio.open_nursery() as nursery:
        serve = partial(
            trio_ws.serve_websocket, handler, "127.0.0.1", 0, server_context("127.0.0.1")
        )
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        (endpoint,) = server.listeners
        assert isinstance(endpoint, trio_ws.Endpoint)
        assert (endpoint.is_ssl, endpoint.port) == (True, server.port)
        async with trio_ws.open_websocket_url(endpoint.url, client_context()) as connection:
            assert found == [connection.remote, connection.local]
            assert endpoint == connection.remote
        await server.aclose()


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
async def test_tls_over_any_stream(torn: bool) -> None:
    """Both sides take a `trio.SSLStream` over whatever stream."""
    stream, peer = pair(torn=torn)
    names = server_context("server.example")
    listener = MemoryListener()
    listener.deliver(trio.SSLStream(peer.stream, names, server_side=True, https_compatible=True))
    server = trio_ws.WebSocketServer(echo, [listener])
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.run))
        client = trio.SSLStream(
            stream, client_context(), server_hostname="server.example", https_compatible=True
        )
        connection = await trio_ws.wrap_client_stream(nursery, client, "server.example:443", "/")
        message = "x" * (500 if torn else 100_000)
        await connection.send(message)
        assert await connection.receive() == message
        await connection.aclose()
        assert connection.closed == trio_ws.CloseReason(1000)
        await server.aclose()


async def test_the_default_port_of_a_wrapped_stream_depends_on_tls() -> None:
    """Over TLS port 443 is left out of the Host header, and port 80 is not."""
    for host, value in [("a.example:443", b"a.example"), ("a.example:80", b"a.example:80")]:
        stream, peer = pair()
        tls = tls_peer(peer.stream, server_context("a.example"))
        client = trio.SSLStream(stream, client_context(), server_hostname="a.example")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio_ws.wrap_client_stream, nursery, client, host, "/")
            assert header(await tls.accept(), b"host") == [value]
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


@pytest.mark.checklist("LM04")
@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"", b"\x16\x03"],
    ids=["http", "bad tls", "nothing", "half"],
)
async def test_a_tls_server_survives_other_talk(data: bytes) -> None:
    """Whatever comes instead of a TLS handshake, and hangs up, hurts nobody else."""
    context = server_context("server.example")
    async with serving(echo) as served:

        async def tls(peer: Peer) -> None:
            served.listener.deliver(
                trio.SSLStream(peer.stream, context, server_side=True, https_compatible=True)
            )

        _, bad = stream, peer = pair()
        await tls(Peer(stream))
        await bad.send(data)
        await bad.aclose()
        stream, peer = pair()
        await tls(peer)
        async with trio.open_nursery() as nursery:
            client = trio.SSLStream(stream, client_context(), server_hostname="server.example")
            connection = await trio_ws.wrap_client_stream(nursery, client, "server.example", "/")
            await connection.send("hello")
            assert await connection.receive() == "hello"
            await connection.aclose()
