"""Clients: deadlines, network errors and cancellation in each phase of an attempt to connect."""

import itertools
import math
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    Dial,
    Peer,
    WholeStream,
    cancelled_after,
    echo,
    nothing_left,
    pair,
)
from tests.support.tls import client_context, server_context, tls_peer


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> Dial:
    """TCP in memory."""
    dial = Dial()
    dial.install(monkeypatch)
    return dial


async def silent(peer: Peer) -> None:
    """A server that reads and says nothing."""
    await peer.receive_all()


async def dribbling(peer: Peer) -> None:
    """A server that sends one byte a second of an answer without end."""
    await peer.receive_head()
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(b"x")
            await trio.sleep(1)


async def half_tls(peer: Peer) -> None:
    """A server that begins a TLS handshake and never ends it."""
    await peer.receive_exactly(5)
    await peer.send(b"\x16\x03\x03\x01\x00")
    await peer.receive_all()


async def silent_behind_tls(peer: Peer) -> None:
    """A server that says nothing after its TLS handshake."""
    await tls_peer(peer.stream, server_context("server.example")).receive_all()


PHASES: dict[str, tuple[Callable[[Peer], Awaitable[None]], str]] = {
    "http": (silent, "ws"),
    "http, slow": (dribbling, "ws"),
    "tls": (silent, "wss"),
    "tls, half": (half_tls, "wss"),
    "http behind tls": (silent_behind_tls, "wss"),
}


@pytest.mark.checklist("CH16", "CH18")
@pytest.mark.parametrize(("server", "scheme"), PHASES.values(), ids=PHASES)
async def test_the_deadline_covers_each_phase(
    dial: Dial,
    autojump_clock: trio.testing.MockClock,
    server: Callable[[Peer], Awaitable[None]],
    scheme: str,
) -> None:
    """`ConnectionTimeout` comes after `connect_timeout` seconds, and the connection is closed."""
    async with trio.open_nursery() as nursery:
        closed = trio.Event()

        async def serve() -> None:
            await server(await dial.peer())
            closed.set()

        nursery.start_soon(serve)
        opening = trio_ws.open_websocket_url(
            f"{scheme}://server.example/",
            client_context() if scheme == "wss" else None,
            connect_timeout=7,
        )
        began = trio.current_time()
        with pytest.raises(trio_ws.ConnectionTimeout, match="7 s"):
            await opening.__aenter__()
        assert trio.current_time() - began == 7
        await closed.wait()


@pytest.mark.checklist("CH06", "CH18")
async def test_the_deadline_ends_a_rejection(
    dial: Dial, autojump_clock: trio.testing.MockClock
) -> None:
    """Who was rejected hears of that also if the body does not end in time."""

    async def serve() -> None:
        peer = await dial.peer()
        await peer.receive_head()
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\nshort")
        assert await peer.receive_all() == b""

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        began = trio.current_time()
        with pytest.raises(trio_ws.ConnectionRejected) as caught:
            await trio_ws.connect_websocket_url(nursery, "ws://server.example/", connect_timeout=7)
        assert trio.current_time() - began == 7
    assert (caught.value.status_code, caught.value.body) == (401, b"short")


@pytest.mark.checklist("CH18")
@pytest.mark.parametrize("timeout", [0, 7, 60], ids=str)
async def test_the_deadline_covers_tcp(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, timeout: float
) -> None:
    """So does DNS, and so does `connect_websocket`, whose nursery is left as it was."""

    async def never(host: str, port: int) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        with pytest.raises(trio_ws.ConnectionTimeout):
            await trio_ws.connect_websocket_url(
                nursery, "ws://server.example/", connect_timeout=timeout
            )
        assert not nursery.child_tasks
    assert trio.current_time() - began == timeout


async def test_no_deadline(dial: Dial, autojump_clock: trio.testing.MockClock) -> None:
    """`math.inf` disables the deadline."""

    async def serve() -> None:
        peer = await dial.peer()
        await trio.sleep(80_000)
        await peer.accept()
        await peer.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        connection = await trio_ws.connect_websocket(
            nursery, "server.example", 80, "/", use_ssl=False, connect_timeout=math.inf
        )
        await connection.aclose()


async def test_an_outer_deadline_is_no_connection_timeout(
    dial: Dial, autojump_clock: trio.testing.MockClock
) -> None:
    """The caller's own `move_on_after` is a cancellation."""
    with trio.move_on_after(5) as scope:
        async with trio_ws.open_websocket_url("ws://server.example/"):
            raise AssertionError
    assert scope.cancelled_caught
    assert await (await dial.peer()).receive_all()  # the request; then the end


NETWORK_ERRORS = [
    ConnectionRefusedError(111, "Connection refused"),
    socket.gaierror(-2, "Name or service not known"),
    OSError("all attempts to connect failed"),
]


@pytest.mark.parametrize("cause", NETWORK_ERRORS, ids=lambda error: type(error).__name__)
async def test_a_network_error_is_a_handshake_error(
    monkeypatch: pytest.MonkeyPatch, cause: OSError
) -> None:
    """Its cause is the `OSError`, and its text says what failed."""

    async def fail(host: str, port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        raise cause

    monkeypatch.setattr(trio, "open_tcp_stream", fail)
    async with trio.open_nursery() as nursery:
        for attempt in (
            trio_ws.open_websocket_url("ws://server.example/").__aenter__,
            partial(trio_ws.connect_websocket_url, nursery, "ws://server.example/"),
        ):
            with pytest.raises(trio_ws.HandshakeError, match="connecting failed") as caught:
                await attempt()
            assert type(caught.value) is trio_ws.HandshakeError
            assert caught.value.__cause__ is cause
            assert str(cause) in str(caught.value)


REFUSED = ConnectionRefusedError(111, "Connection refused")
UNREACHABLE = OSError(101, "Network is unreachable")


@pytest.mark.parametrize(
    "attempts", [REFUSED, ExceptionGroup("", [REFUSED, UNREACHABLE])], ids=["one", "two"]
)
async def test_why_each_address_has_failed(
    monkeypatch: pytest.MonkeyPatch, attempts: Exception
) -> None:
    """Of a name Trio tries all addresses; the text has the kernel's word on each."""

    async def fail(host: str, port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        raise OSError(f"all attempts to connect to {host}:{port} failed") from attempts

    monkeypatch.setattr(trio, "open_tcp_stream", fail)
    with pytest.raises(trio_ws.HandshakeError) as caught:
        await trio_ws.open_websocket_url("ws://server.example/").__aenter__()
    for error in getattr(attempts, "exceptions", [attempts]):
        assert str(error) in str(caught.value)
    assert "server.example:80" in str(caught.value)


async def test_what_has_failed_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the address was added to the kernel's words."""

    class Refusing:
        async def connect(self, address: object) -> None:
            await trio.lowlevel.checkpoint()
            raise REFUSED

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_: None

    monkeypatch.setattr(trio.socket, "socket", lambda *_: Refusing())
    with pytest.raises(trio_ws.HandshakeError) as caught:
        await trio_ws.open_websocket_url("ws://127.0.0.1:81/").__aenter__()
    assert str(caught.value).count("Connection refused") == 1
    assert "127.0.0.1" in str(caught.value)


async def test_a_port_that_nobody_listens_on() -> None:
    """The kernel's refusal reaches the caller as the cause."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{sock.getsockname()[1]}/"
        async with nothing_left():
            with pytest.raises(trio_ws.HandshakeError) as caught:
                async with trio_ws.open_websocket_url(url):
                    raise AssertionError
    assert isinstance(caught.value.__cause__, OSError)


@asynccontextmanager
async def resetting(answer: bytes) -> AsyncIterator[str]:
    """The URL of a server that resets its one connection once the answer has been read."""
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen()

    async def serve() -> None:
        sock, _ = await listener.accept()
        await sock.recv(100_000)
        await sock.send(answer)
        await trio.testing.wait_all_tasks_blocked()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        sock.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    listener.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Sw"], ids=["at once", "within the head"])
async def test_a_reset_is_a_handshake_error(answer: bytes) -> None:
    """A server that resets the connection; over real sockets, for the kernel's own errors."""
    async with nothing_left(), resetting(answer) as url, trio.open_nursery() as nursery:
        with pytest.raises(trio_ws.HandshakeError, match="handshake failed") as caught:
            await trio_ws.connect_websocket_url(nursery, url)
    assert isinstance(caught.value.__cause__, OSError | EOFError)


@pytest.mark.checklist("CH06")
async def test_a_reset_ends_a_rejection() -> None:
    """Who was rejected hears of that also if the body is cut by a reset."""
    answer = b"HTTP/1.1 401 Unauthorized\r\nX: y\r\nContent-Length: 10\r\n\r\nshort"
    async with nothing_left(), resetting(answer) as url, trio.open_nursery() as nursery:
        with pytest.raises(trio_ws.ConnectionRejected) as caught:
            await trio_ws.connect_websocket_url(nursery, url)
    error = caught.value
    assert (error.status_code, error.body) == (401, b"short")
    assert error.headers == ((b"x", b"y"), (b"content-length", b"10"))


class BrokenStream(WholeStream):
    """A stream on which nothing works."""

    def __init__(self, error: Exception) -> None:
        stream, self.peer = pair()
        super().__init__(stream)
        self._error = error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise self._error


@pytest.mark.parametrize(
    "error",
    [trio.BrokenResourceError("broken"), trio.ClosedResourceError("closed"), OSError("os")],
    ids=lambda error: type(error).__name__,
)
async def test_a_broken_stream_is_a_handshake_error(error: Exception) -> None:
    """What the stream raises is the cause, and the stream is closed."""
    stream = BrokenStream(error)
    async with trio.open_nursery() as nursery:
        with pytest.raises(trio_ws.HandshakeError) as caught:
            await trio_ws.wrap_client_stream(nursery, stream, "server.example", "/")
    assert caught.value.__cause__ is error
    assert stream.closed


@pytest.mark.parametrize("way", ["wrap", "connect"])
async def test_a_closed_nursery(dial: Dial, way: str) -> None:
    """A nursery that takes no more tasks is a RuntimeError; the connection is closed."""
    async with trio.open_nursery() as closed:
        pass
    stream, peer = pair()

    async def serve(peer: Peer | None) -> None:
        peer = peer or await dial.peer()
        await peer.accept()
        assert await peer.receive_all() == b""

    async with trio.open_nursery() as nursery:
        if way == "wrap":
            nursery.start_soon(serve, peer)
            with pytest.raises(RuntimeError):
                await trio_ws.wrap_client_stream(closed, stream, "server.example", "/")
        else:
            nursery.start_soon(serve, None)
            with pytest.raises(RuntimeError):
                await trio_ws.connect_websocket_url(closed, "ws://server.example/")


# --- Cancellation


@pytest.mark.checklist("CH18", "CA04")
@pytest.mark.parametrize("phase", ["connecting", "open", "leaving"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_cancelling_a_client_anywhere_leaves_nothing(tls: bool, phase: str) -> None:
    """At each step of connecting, talking and leaving: no descriptor and no task is left.

    How many steps a phase takes depends on how the kernel hands out what the peer sends.
    """
    serve = partial(
        trio_ws.serve_websocket, echo, "127.0.0.1", 0, server_context("127.0.0.1") if tls else None
    )
    use_ssl: bool | ssl.SSLContext = client_context() if tls else False
    seen: set[str] = set()
    reached = ""

    def in_phase() -> bool:
        return reached == phase

    for step in itertools.count(1):
        async with nothing_left(), trio.open_nursery() as nursery:
            server: trio_ws.WebSocketServer = await nursery.start(serve)
            reached = "connecting"
            with cancelled_after(step, in_phase) as scope:
                async with trio_ws.open_websocket(
                    "127.0.0.1", server.port, "/", use_ssl=use_ssl
                ) as connection:
                    reached = "open"
                    await connection.send("hello")
                    assert await connection.receive() == "hello"
                    reached = "leaving"
                reached = "done"
            await server.aclose()
        seen.add(reached)
        if not scope.cancel_called:
            break
    assert seen >= {phase, "done"}


@pytest.mark.checklist("CH18", "CA04")
async def test_cancelling_connect_websocket_anywhere_leaves_nothing() -> None:
    """The caller's nursery holds no task of a connection that did not come about."""
    serve = partial(trio_ws.serve_websocket, echo, "127.0.0.1", 0, None)
    for step in itertools.count(1):
        async with nothing_left(), trio.open_nursery() as nursery:
            server: trio_ws.WebSocketServer = await nursery.start(serve)
            async with trio.open_nursery() as own:
                connection = None
                with cancelled_after(step) as scope:
                    connection = await trio_ws.connect_websocket(
                        own, "127.0.0.1", server.port, "/", use_ssl=False
                    )
                assert (connection is None) == (not own.child_tasks)
                if connection is not None:
                    await connection.aclose()
            await server.aclose()
        if not scope.cancel_called:
            break
    assert connection is not None
