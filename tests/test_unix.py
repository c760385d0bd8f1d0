"""Unix sockets on both sides."""

import os
import socket
import ssl
import stat
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

import trio_ws
from tests.support.servers import echo, nothing_left
from tests.support.tls import client_context, server_context

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="unix sockets are Trio's on POSIX")


async def talk(path: str | bytes | Path) -> None:
    """Be a client of the echo server at a path."""
    async with trio_ws.open_websocket_url("ws://localhost/x", unix_socket=path) as connection:
        assert connection.path == "/x"
        await connection.send("hello")
        assert await connection.receive() == "hello"
        assert isinstance(connection.local, str)
        assert isinstance(connection.remote, str)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
async def test_both_sides(tmp_path: Path, kind: type[str]) -> None:
    """A path may be str, bytes or a path object; the endpoints are descriptions."""
    path = kind(str(tmp_path / "socket"))
    async with nothing_left(), trio.open_nursery() as nursery:
        listener = await trio_ws.open_unix_listener(path)
        server = trio_ws.WebSocketServer(echo, [listener])
        assert server.listeners == [repr(listener)]
        with pytest.raises(RuntimeError, match="no port"):
            _ = server.port
        await nursery.start(server.run)
        await talk(path)
        connection = await trio_ws.connect_websocket(
            nursery, "localhost", 80, "/", use_ssl=False, unix_socket=path
        )
        await connection.aclose()
        await server.aclose()


async def test_tls_over_a_unix_socket(tmp_path: Path) -> None:
    """The name in the URL is the one that the certificate is verified against."""
    path = tmp_path / "socket"
    context = server_context("server.example")
    async with nothing_left(), trio.open_nursery() as nursery:
        listener = trio.SSLListener(
            await trio_ws.open_unix_listener(path), context, https_compatible=True
        )
        server = trio_ws.WebSocketServer(echo, [listener])
        assert server.listeners == [repr(listener)]
        await nursery.start(server.run)
        opening = partial(trio_ws.open_websocket_url, unix_socket=path)
        async with opening("wss://server.example/", client_context()) as connection:
            await connection.send("hello")
            assert await connection.receive() == "hello"
        with pytest.raises(trio_ws.HandshakeError) as caught:
            await opening("wss://other.example/", client_context()).__aenter__()
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        await server.aclose()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777])
async def test_the_mode(tmp_path: Path, mode: int) -> None:
    """The permissions are those asked for, whatever the umask."""
    path = tmp_path / "socket"
    async with await trio_ws.open_unix_listener(path, mode=mode):
        assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """What an earlier server has left behind is no obstacle."""
    path = tmp_path / "socket"
    for backlog in (None, 1, 10):
        async with await trio_ws.open_unix_listener(path, backlog=backlog):
            assert stat.S_ISSOCK(path.stat().st_mode)
        assert path.exists()


async def test_a_server_that_lives_is_not_replaced(tmp_path: Path) -> None:
    """It goes on, and the second listener is an OSError."""
    path = tmp_path / "socket"
    async with nothing_left(), trio.open_nursery() as nursery:
        server = trio_ws.WebSocketServer(echo, [await trio_ws.open_unix_listener(path)])
        await nursery.start(server.run)
        with pytest.raises(OSError, match="in use"):
            await trio_ws.open_unix_listener(path)
        await talk(path)
        await server.aclose()


@pytest.mark.parametrize("what", ["file", "directory", "dangling link", "link to a file"])
async def test_something_else_is_not_removed(tmp_path: Path, what: str) -> None:
    """A path that is no socket is an OSError, and stays."""
    path = tmp_path / "socket"
    if what == "file":
        path.write_text("precious")
    elif what == "directory":
        path.mkdir()
    else:
        target = tmp_path / "target"
        if what == "link to a file":
            target.write_text("precious")
        path.symlink_to(target)
    async with nothing_left():
        with pytest.raises(OSError):
            await trio_ws.open_unix_listener(path)
    assert path.is_symlink() or path.exists()


async def test_a_missing_directory(tmp_path: Path) -> None:
    """The kernel's error comes out, and no descriptor is left."""
    async with nothing_left():
        with pytest.raises(FileNotFoundError):
            await trio_ws.open_unix_listener(tmp_path / "missing" / "socket")


async def test_a_socket_of_another_kind(tmp_path: Path) -> None:
    """So it does when something else than a stream listens there."""
    path = tmp_path / "socket"
    family: int = getattr(socket, "AF_UNIX")  # noqa: B009 - which Windows has not
    with socket.socket(family, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        async with nothing_left():
            with pytest.raises(OSError):
                await trio_ws.open_unix_listener(path)
        assert path.exists()


async def test_a_wrong_path() -> None:
    """Anything but a path is a TypeError on both sides, at the call."""
    with pytest.raises(TypeError):
        await trio_ws.open_unix_listener(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        trio_ws.open_websocket_url("ws://a/", unix_socket=5)  # type: ignore[arg-type]


async def test_nobody_listens(tmp_path: Path) -> None:
    """A client gets a `HandshakeError` with the cause."""
    async with nothing_left():
        for path in (tmp_path / "missing", tmp_path):
            with pytest.raises(trio_ws.HandshakeError) as caught:
                await trio_ws.open_websocket_url("ws://a/", unix_socket=path).__aenter__()
            assert isinstance(caught.value.__cause__, OSError)


async def test_a_platform_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A RuntimeError says so."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(RuntimeError, match="no unix sockets"):
        await trio_ws.open_unix_listener("socket")


async def test_listening_is_a_checkpoint(tmp_path: Path) -> None:
    """As each async function of the library is."""
    with trio.testing.assert_checkpoints():
        listener = await trio_ws.open_unix_listener(tmp_path / "socket")
    await listener.aclose()
