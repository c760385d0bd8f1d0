"""Clients: arguments, what goes on the wire, and what each end of an attempt looks like."""

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    CLOSE,
    TEXT,
    Dial,
    Peer,
    TornStream,
    accept_value,
    frame,
    header,
    pair,
    switching,
)

pytestmark = pytest.mark.filterwarnings("error")

WAYS = ("whole", "torn")


@pytest.fixture(params=WAYS)
def torn(request: pytest.FixtureRequest) -> bool:
    """Whether the library receives one byte at a time."""
    return bool(request.param == "torn")


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> Dial:
    """TCP in memory."""
    dial = Dial()
    dial.install(monkeypatch)
    return dial


async def shake(
    server: Callable[[Peer], Awaitable[object]],
    *,
    torn: bool = False,
    **options: Any,
) -> trio_ws.WebSocketConnection:
    """Let a client shake hands with a scripted server; return the connection, closed by force."""
    stream, peer = pair(torn=torn)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server, peer)
        async with trio.open_nursery() as own:
            try:
                connection = await trio_ws.wrap_client_stream(
                    own,
                    stream,
                    "server.example",
                    "/",
                    **options,
                )
            except trio_ws.HandshakeError as error:
                nursery.cancel_scope.cancel()
                raise Refused(error) from None
            await trio.testing.wait_all_tasks_blocked()
            own.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    return connection


class Refused(BaseException):  # so that nurseries leave it alone in `refusal`
    """Carries a handshake's error out of nurseries."""

    def __init__(self, error: trio_ws.HandshakeError) -> None:
        super().__init__(error)
        self.error = error


async def refusal(
    server: Callable[[Peer], Awaitable[object]],
    *,
    torn: bool = False,
    **options: Any,
) -> trio_ws.HandshakeError:
    """The error with which a client leaves a scripted server."""
    try:
        await shake(server, torn=torn, **options)
    except BaseExceptionGroup as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            (found,) = found.exceptions
        assert isinstance(found, Refused)
        return found.error
    raise AssertionError("the client has accepted")


def answering(data: bytes, *, hang_up: bool = False) -> Callable[[Peer], Awaitable[None]]:
    """A server that answers with these bytes, where ACCEPT stands for the accept value."""

    async def server(peer: Peer) -> None:
        request = await peer.receive_head()
        await peer.send(data.replace(b"ACCEPT", accept_value(request)))
        if hang_up:
            await peer.aclose()

    return server


GOOD = (
    b"HTTP/1.1 101 Switching Protocols",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Accept: ACCEPT",
)


def changed(name: bytes, *lines: bytes) -> bytes:
    """The good answer with other lines for a header."""
    kept = [line for line in GOOD if not line.startswith(name + b":")]
    return b"\r\n".join([*kept, *lines, b"", b""])


# --- What goes on the wire


@pytest.mark.checklist("CH02")
@pytest.mark.parametrize(
    ("host", "port", "value"),
    [
        ("server.example", 80, b"server.example"),
        ("server.example", 443, b"server.example:443"),
        ("Server.Example", 8765, b"server.example:8765"),
        ("127.0.0.1", 8765, b"127.0.0.1:8765"),
        ("::1", 8765, b"[::1]:8765"),
        ("::1", 80, b"[::1]"),
        ("b\xfccher.example", 80, b"xn--bcher-kva.example"),
    ],
)
async def test_host_header(dial: Dial, host: str, port: int, value: bytes) -> None:
    """IPv6 stands in brackets, IDNA is ASCII, the scheme's default port is left out."""
    async with trio.open_nursery() as nursery, trio.open_nursery() as own:
        nursery.start_soon(partial(trio_ws.connect_websocket, own, host, port, "/", use_ssl=False))
        request = await (await dial.peer()).accept()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert header(request, b"host") == [value]
    assert dial.addresses == [(host, port)]


@pytest.mark.checklist("CH02")
@pytest.mark.parametrize(
    ("url", "line", "host", "address"),
    [
        ("ws://server.example", b"GET / ", b"server.example", ("server.example", 80)),
        ("WS://server.example:81?a=b", b"GET /?a=b ", b"server.example:81", ("server.example", 81)),
        ("ws://[::1]:81/a?b=c?d", b"GET /a?b=c?d ", b"[::1]:81", ("::1", 81)),
        ("ws://[::1]:81/\xfc%20", b"GET /%C3%BC%20 ", b"[::1]:81", ("::1", 81)),
    ],
)
async def test_url_on_the_wire(
    dial: Dial, url: str, line: bytes, host: bytes, address: tuple[str, int]
) -> None:
    """The URL says where to connect, and what to ask for; brackets are for the Host header only."""

    class URL:
        def __str__(self) -> str:
            return url

    async with trio.open_nursery() as nursery, trio.open_nursery() as own:
        nursery.start_soon(trio_ws.connect_websocket_url, own, URL())
        request = await (await dial.peer()).accept()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert request.startswith(line + b"HTTP/1.1\r\n")
    assert header(request, b"host") == [host]
    assert dial.addresses == [address]


@pytest.mark.checklist("CH03", "CH04")
async def test_each_attempt_has_a_key_of_its_own(dial: Dial) -> None:
    """Keys differ, and the version is there once."""
    keys = set()
    for _ in range(20):
        async with trio.open_nursery() as nursery, trio.open_nursery() as own:
            nursery.start_soon(trio_ws.connect_websocket_url, own, "ws://server.example/")
            request = await (await dial.peer()).accept()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert header(request, b"sec-websocket-version") == [b"13"]
        keys.update(header(request, b"sec-websocket-key"))
    assert len(keys) == 20


async def test_a_manager_can_be_entered_once(dial: Dial) -> None:
    """A second time would use the same key: it is a RuntimeError, and connects nowhere."""
    manager = trio_ws.open_websocket_url("ws://server.example/")

    async def server() -> None:
        peer = await dial.peer()
        await peer.accept()
        assert await peer.receive_frame() == (CLOSE, b"\x03\xe8")
        await peer.send(frame(CLOSE, b"\x03\xe8", mask=False))
        await peer.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        async with manager:
            pass
        with pytest.raises(RuntimeError, match="once"):
            await manager.__aenter__()
    assert len(dial.addresses) == 1


async def test_the_port_of_a_wrapped_stream_is_part_of_the_host(torn: bool) -> None:
    """`wrap_client_stream` takes ``host[:port]``; iterables of options are used up only once."""
    stream, peer = pair(torn=torn)
    headers: list[tuple[bytes | str, bytes | str]] = [("X", "1"), (b"Y", b"2")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                trio_ws.wrap_client_stream,
                nursery,
                stream,
                "server.example:8765",
                "path",
                subprotocols=(name for name in ("a", "b")),
                extra_headers=iter(headers),
            )
        )
        request = await peer.accept(b"Sec-WebSocket-Protocol: b")
        assert request.startswith(b"GET /path HTTP/1.1\r\n")
        assert header(request, b"host") == [b"server.example:8765"]
        assert header(request, b"sec-websocket-protocol") == [b"a, b"]
        assert (header(request, b"x"), header(request, b"y")) == ([b"1"], [b"2"])
        await peer.send(frame(CLOSE, b"", mask=False))
        assert await peer.receive_frame() == (CLOSE, b"")
        await peer.aclose()


class Sized(TornStream):
    """A stream with a length, of what it has read ahead, say, and so a truth value."""

    def __len__(self) -> int:
        """Return that there is nothing."""
        return 0


async def test_a_stream_that_is_false() -> None:
    """A wrapped stream is used whatever its truth value is."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(trio_ws.wrap_client_stream, nursery, Sized(ours), "server.example", "/")
        )
        assert (await Peer(theirs).accept()).startswith(b"GET / ")
        nursery.cancel_scope.cancel()


# --- Answers


@pytest.mark.checklist("CH06")
@pytest.mark.parametrize("status", [200, 204, 301, 302, 401, 403, 404, 426, 500, 503])
async def test_another_status_is_a_rejection(torn: bool, status: int) -> None:
    """`ConnectionRejected` has the status, the headers and the body."""
    body = b"" if status == 204 else b"hello"
    head = b"HTTP/1.1 %d Some Words\r\nX-Name: value\r\n" % status
    length = b"" if status == 204 else b"Content-Length: 5\r\n"
    error = await refusal(answering(head + length + b"\r\n" + body), torn=torn)
    assert isinstance(error, trio_ws.ConnectionRejected)
    assert (error.status_code, error.body) == (status, body)
    assert error.headers is not None
    assert error.headers[0] == (b"x-name", b"value")
    assert str(status) in str(error)


@pytest.mark.checklist("CH06", "CH16")
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 100000000\r\n", b""),
        (b"", b""),
        (b"Transfer-Encoding: chunked\r\n", b"3E8\r\n"),
    ],
    ids=["length", "until the end", "chunked"],
)
async def test_the_body_of_a_rejection_is_cut(head: bytes, body: bytes) -> None:
    """A body without end is neither waited for nor kept."""

    async def server(peer: Peer) -> None:
        await peer.receive_head()
        await peer.send(b"HTTP/1.1 404 Not Found\r\n" + head + b"\r\n" + body)
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await peer.send(b"x" * 100)

    limits = trio_ws.Limits(max_rejection_size=300)
    error = await refusal(server, limits=limits)
    assert isinstance(error, trio_ws.ConnectionRejected)
    assert error.status_code == 404
    assert error.body == b"x" * 300


@pytest.mark.checklist("CH06")
async def test_a_rejection_may_end_with_the_connection(torn: bool) -> None:
    """A body that is shorter than announced, because the server hangs up, is kept as it is."""
    data = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nshort"
    error = await refusal(answering(data, hang_up=True), torn=torn)
    assert isinstance(error, trio_ws.ConnectionRejected)
    assert (error.status_code, error.body) == (403, b"short")


INVALID = {
    "no upgrade": changed(b"Upgrade"),
    "other upgrade": changed(b"Upgrade", b"Upgrade: h2c"),
    "no connection": changed(b"Connection"),
    "other connection": changed(b"Connection", b"Connection: close"),
    "no accept": changed(b"Sec-WebSocket-Accept"),
    "wrong accept": changed(
        b"Sec-WebSocket-Accept", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    ),
    "two accepts": changed(b"X", b"Sec-WebSocket-Accept: ACCEPT"),
    "extension": changed(b"X", b"Sec-WebSocket-Extensions: permessage-deflate"),
    "bad extension": changed(b"X", b'Sec-WebSocket-Extensions: a; b="'),
    "subprotocol not offered": changed(b"X", b"Sec-WebSocket-Protocol: c"),
    "two subprotocols": changed(b"X", b"Sec-WebSocket-Protocol: a", b"Sec-WebSocket-Protocol: a"),
    "garbage": b"\x16\x03\x01 what is this?\r\n\r\n",
    "http 1.0": changed(b"X").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "frames before the answer": frame(TEXT, b"hello", mask=False) + changed(b"X"),
}


@pytest.mark.checklist("CH07", "CH08", "CH09", "CH10", "CH17")
@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
async def test_an_invalid_answer_is_a_handshake_error(torn: bool, data: bytes) -> None:
    """It comes at once, with the cause, and the connection is closed without another byte."""
    closed = trio.Event()

    async def server(peer: Peer) -> None:
        await answering(data)(peer)
        assert await peer.receive_all() == b""
        closed.set()

    error = await refusal(server, torn=torn, subprotocols=["a", "b"])
    assert type(error) is trio_ws.HandshakeError
    assert error.__cause__ is not None
    assert str(error.__cause__) in str(error)


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize(
    "piece",
    [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"X: y\r\n", b"x"],
    ids=["informational", "headers", "line"],
)
async def test_an_endless_answer_is_a_handshake_error(piece: bytes) -> None:
    """The head of an answer has its limits."""

    async def server(peer: Peer) -> None:
        await peer.receive_head()
        await peer.send(b"HTTP/1.1 101 Switching\r\n" if piece[:4] != b"HTTP" else b"")
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await peer.send(piece * 10)

    error = await refusal(server)
    assert type(error) is trio_ws.HandshakeError


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 101 Swi"], ids=["nothing", "half a head"])
async def test_a_server_that_hangs_up_is_a_handshake_error(torn: bool, sent: bytes) -> None:
    """A hung-up connection is reported at once."""
    error = await refusal(answering(sent, hang_up=True), torn=torn)
    assert type(error) is trio_ws.HandshakeError
    assert "hung up" in str(error)
    assert error.__cause__ is not None


@pytest.mark.checklist("CH17")
async def test_frames_behind_the_answer_are_received(torn: bool) -> None:
    """Frames in the same segment as the 101 are not lost."""

    async def server(peer: Peer) -> None:
        request = await peer.receive_head()
        await peer.send(switching(request) + frame(TEXT, b"early", mask=False))

    stream, peer = pair(torn=torn)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server, peer)
        connection = await trio_ws.wrap_client_stream(nursery, stream, "server.example", "/")
        assert await connection.receive() == "early"
        nursery.cancel_scope.cancel()


async def test_informational_responses_are_skipped(torn: bool) -> None:
    """A 100 or 103 before the 101 means nothing."""
    data = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + changed(b"X")
    connection = await shake(answering(data), torn=torn)
    assert connection.subprotocol is None
    assert [name for name, _ in connection.handshake_headers] == [
        b"upgrade",
        b"connection",
        b"sec-websocket-accept",
    ]
