"""Servers: listening, origins, deadlines, limits, and peers that must not hurt anybody else."""

import errno
import socket
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    BINARY,
    CLOSE,
    GOING_AWAY,
    NORMAL,
    TEXT,
    MemoryListener,
    Served,
    echo,
    frame,
    header,
    nothing_left,
    pair,
    serving,
    status,
    upgrade,
)
from tests.support.tls import client_context, server_context


@pytest.fixture(params=["whole", "torn"])
def torn(request: pytest.FixtureRequest) -> bool:
    """Whether the library receives one byte at a time."""
    return bool(request.param == "torn")


# --- Listening


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", "localhost"])
async def test_serving_on_a_free_port(host: str | bytes) -> None:
    """`started` delivers the server, whose port can be connected to."""
    async with nothing_left(), trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(
            trio_ws.serve_websocket, echo, host, 0, None
        )
        assert isinstance(server, trio_ws.WebSocketServer)
        for endpoint in server.listeners:
            assert isinstance(endpoint, trio_ws.Endpoint)
            assert not endpoint.is_ssl
            async with trio_ws.open_websocket_url(endpoint.url) as connection:
                await connection.send("hello")
                assert await connection.receive() == "hello"
                assert connection.remote == endpoint
        await server.aclose()


async def test_serving_on_all_addresses() -> None:
    """A host of None listens on all of them."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(
            trio_ws.serve_websocket, echo, None, 0, None
        )
        assert {str(endpoint.address) for endpoint in server.listeners} & {"0.0.0.0", "::"}  # type: ignore[union-attr]
        nursery.cancel_scope.cancel()


async def test_several_listeners_have_no_port() -> None:
    """`port` is for one listener; `listeners` has them all, in order."""
    listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
    server = trio_ws.WebSocketServer(echo, listeners)
    ports = [listener.socket.getsockname()[1] for listener in listeners]
    with pytest.raises(RuntimeError, match="several listeners"):
        _ = server.port
    assert [endpoint.port for endpoint in server.listeners] == ports  # type: ignore[union-attr]
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await server.aclose()
    one = trio_ws.WebSocketServer(echo, listeners[:1])
    assert one.listeners == [repr(listeners[0])]  # it is closed, and that raises nothing
    with pytest.raises(RuntimeError, match="no port"):
        _ = one.port


async def test_any_listener() -> None:
    """A listener that is no socket has a description, no port, and serves."""
    listener = MemoryListener()
    server = trio_ws.WebSocketServer(echo, (listener,))
    assert server.listeners == [repr(listener)]
    with pytest.raises(RuntimeError, match="no port"):
        _ = server.port
    async with trio.open_nursery() as nursery:
        assert await nursery.start(server.run) is server
        await Served(server, listener).check()
        await server.aclose()
    assert listener.closed


def test_no_listeners() -> None:
    """A server without a listener is a ValueError."""
    with pytest.raises(ValueError, match="listeners"):
        trio_ws.WebSocketServer(echo, [])


async def test_an_address_in_use() -> None:
    """What listening raises is raised as it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="in use") as caught:
            await trio_ws.serve_websocket(echo, "127.0.0.1", taken.getsockname()[1], None)
    assert caught.value.errno == errno.EADDRINUSE


async def test_the_handlers_run_in_the_given_nursery() -> None:
    """`handler_nursery` has the connections' tasks; they outlive the server's own task."""
    listener = MemoryListener()
    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as nursery:
            server = trio_ws.WebSocketServer(echo, [listener], handler_nursery=handlers)
            await nursery.start(server.run)
            peer = await Served(server, listener).open()
            assert len(handlers.child_tasks) == 1
            nursery.cancel_scope.cancel()
        assert listener.closed
        await peer.send(frame(TEXT, b"still here", mask=True))
        assert await peer.receive_frame() == (TEXT, b"still here")
        handlers.start_soon(server.aclose)  # knows those connections
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
        await peer.aclose()


@pytest.mark.parametrize("max_connections", [None, 1])
async def test_cancelling_says_goodbye(max_connections: int | None) -> None:
    """The peers of a server that is cancelled see 1001, and it remembers none of them."""
    listener = MemoryListener()
    server = trio_ws.WebSocketServer(echo, [listener], max_connections=max_connections)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        peer = await Served(server, listener).open()
        waiting = listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
    assert await peer.receive_all() == await waiting.receive_all() == b""
    await server.aclose()


# --- Origins and subprotocols

OWN = b"Origin: http://server.example"
OTHER = b"Origin: https://evil.example"
ORIGINS: list[tuple[dict[str, Any], list[bytes], int]] = [
    ({}, [], 101),
    ({}, [OWN], 101),
    ({}, [b"Origin: https://SERVER.example:443"], 101),
    ({}, [b"Origin: http://server.example:81"], 403),
    ({}, [OTHER], 403),
    ({}, [OWN, OWN], 403),
    ({}, [b"Origin: null"], 403),
    ({}, [b"Origin: http://server.example.evil.example"], 403),
    ({"require_origin": True}, [], 403),
    ({"require_origin": True}, [OWN], 101),
    ({"origins": ["https://good.example"]}, [OWN], 403),
    ({"origins": ["https://good.example"]}, [b"Origin: https://good.example"], 101),
    ({"origins": ["https://good.example"]}, [b"Origin: http://good.example"], 403),
    ({"origins": ["https://good.example"]}, [], 101),
    ({"origins": []}, [OWN], 403),
    ({"origins": ["null"]}, [b"Origin: null"], 101),
    ({"origins": trio_ws.any_origin}, [OTHER], 101),
    ({"origins": trio_ws.any_origin, "require_origin": True}, [], 403),
]


@pytest.mark.checklist("SH11", "SH12")
@pytest.mark.parametrize(("options", "lines", "expected"), ORIGINS)
async def test_origins(
    torn: bool, options: dict[str, Any], lines: list[bytes], expected: int
) -> None:
    """A page of another origin gets 403, and the handler does not hear of it."""
    handled = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        handled.append(request)
        await echo(request)

    async with serving(handler, torn=torn, **options) as served:
        peer = served.connect()
        head = await peer.open(*lines)
        assert status(head) == expected
        assert bool(handled) == (expected == 101)
        if expected != 101:
            assert header(head, b"connection") == [b"close"]
            assert b"evil" not in await peer.receive_all()


@pytest.mark.checklist("SH11")
async def test_an_iterable_of_origins_is_read_once() -> None:
    """A generator is as good as a list, for `serve_websocket` as well."""
    origins = (f"https://{name}.example" for name in ("a", "b"))
    headers = [("Origin", "https://b.example")]
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve_websocket, echo, "127.0.0.1", 0, None, origins=origins)
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/"
        async with trio_ws.open_websocket_url(url, extra_headers=headers) as connection:
            assert connection.closed is None
        with pytest.raises(trio_ws.ConnectionRejected):
            await trio_ws.open_websocket_url(url, extra_headers=[("Origin", "x:")]).__aenter__()
        await server.aclose()


@pytest.mark.checklist("SH14")
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"Sec-WebSocket-Protocol: a, b", b"Sec-WebSocket-Protocol: c"], 101),
        ([b"Sec-WebSocket-Protocol: a,,b"], 400),
        ([b"Sec-WebSocket-Protocol: a b"], 400),
        ([b"Sec-WebSocket-Protocol: \xfc"], 400),
        ([b"Sec-WebSocket-Protocol: a", b"Sec-WebSocket-Protocol: a"], 400),
    ],
)
async def test_proposed_subprotocols(torn: bool, lines: list[bytes], expected: int) -> None:
    """They are joined in order; a malformed offer is answered 400."""
    found = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        found.append(request.proposed_subprotocols)
        await request.accept(subprotocol="c")

    async with serving(handler, torn=torn) as served:
        head = await served.connect().open(*lines)
        assert status(head) == expected
        if expected == 101:
            assert header(head, b"sec-websocket-protocol") == [b"c"]
    assert found == ([("a", "b", "c")] if expected == 101 else [])


# --- Deadlines of the request


@pytest.mark.checklist("SH24")
@pytest.mark.parametrize("sends", ["nothing", "one byte per second"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_slow_client_is_closed_at_the_deadline(
    autojump_clock: trio.testing.MockClock, sends: str, tls: bool
) -> None:
    """After `connect_timeout`, TLS included, without an answer."""
    async with serving(echo, connect_timeout=10) as served:
        stream, peer = pair()
        served.listener.deliver(
            trio.SSLStream(stream, server_context("server.example"), server_side=True)
            if tls
            else stream
        )

        async def dribble() -> None:
            data = b"\x16\x03\x01\x02\x00" + bytes(512) if tls else upgrade()
            for byte in data:
                await trio.sleep(1)
                await peer.send(bytes([byte]))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            if sends != "nothing":
                nursery.start_soon(dribble)
            assert await peer.receive_all() == b""
            assert trio.current_time() - began == 10
            nursery.cancel_scope.cancel()
        await served.check()


@pytest.mark.checklist("SH24")
async def test_the_deadline_ends_with_the_request(autojump_clock: trio.testing.MockClock) -> None:
    """A handler may take as long as it likes, before and after it accepts."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await trio.sleep(100)
        connection = await request.accept()
        await trio.sleep(100)
        await connection.send("late")

    async with serving(handler, connect_timeout=10, ping_interval=None) as served:
        peer = await served.open()
        assert (await peer.receive_frame())[1] == b"late"
        await peer.send(frame(CLOSE, NORMAL, mask=True))


# --- What comes behind a request


@pytest.mark.checklist("SH25")
@pytest.mark.parametrize("kind", ["bad", "rejected", "not upgraded", "http"])
async def test_what_follows_a_refused_request_is_not_interpreted(torn: bool, kind: str) -> None:
    """The answer says `Connection: close`, it is the only one, and the connection is closed."""
    handled = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        handled.append(request.path)
        await request.reject(404)

    async def answer(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        handled.append(request.path)
        return trio_ws.HTTPResponse(200, body=b"page")

    first = {
        "bad": upgrade().replace(b"13", b"8"),
        "rejected": upgrade(path=b"/first"),
        "not upgraded": b"GET /first HTTP/1.1\r\nHost: server.example\r\n\r\n",
        "http": b"GET /first HTTP/1.1\r\nHost: server.example\r\n\r\n",
    }[kind]
    http_handler = answer if kind == "http" else None
    async with serving(handler, torn=torn, http_handler=http_handler) as served:
        peer = served.connect()
        await peer.send(first + upgrade(path=b"/second") + frame(TEXT, b"hello", mask=True))
        head = await peer.receive_head()
        assert header(head, b"connection")[-1:] == [b"close"]
        (length,) = header(head, b"content-length")
        assert len(await peer.receive_all()) == int(length)
        assert handled == ([] if kind in ("bad", "not upgraded") else ["/first"])


@pytest.mark.checklist("SH26")
async def test_early_frames_are_delivered(torn: bool) -> None:
    """Frames behind the request are the first messages."""
    async with serving(echo, torn=torn) as served:
        peer = served.connect()
        frames = [frame(TEXT, b"one", mask=True), frame(BINARY, b"two", mask=True)]
        await peer.send(upgrade() + b"".join(frames))
        assert status(await peer.receive_head()) == 101
        assert await peer.receive_frame() == (TEXT, b"one")
        assert await peer.receive_frame() == (BINARY, b"two")


async def test_a_tls_server_serves() -> None:
    """`serve_websocket` with a context speaks TLS."""
    async with nothing_left(), trio.open_nursery() as nursery:
        context = server_context("127.0.0.1")
        serve = partial(trio_ws.serve_websocket, echo, "127.0.0.1", 0, context)
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        url = f"wss://127.0.0.1:{server.port}/"
        async with trio_ws.open_websocket_url(url, client_context()) as connection:
            await connection.send("hello")
            assert await connection.receive() == "hello"
        await server.aclose()
