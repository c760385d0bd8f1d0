"""The programs of examples/, which the documentation shows, do what it says."""

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

import trio_ws
from examples import (
    authentication,
    both_sides,
    browser,
    cancellation,
    chat,
    compression,
    graceful_restart,
    hello_client,
    messages,
    migrating,
    mock_clock,
    private_ca,
    shout_server,
)

Handler = Callable[[trio_ws.WebSocketRequest], Awaitable[None]]
ROOT = Path(__file__).parents[1]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Run a server around the block, which gets the server's URL."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve_websocket, handler, "127.0.0.1", 0, None)
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        yield f"ws://127.0.0.1:{server.port}/"
        nursery.cancel_scope.cancel()


def test_each_example_is_documented_and_tested() -> None:
    """No example is left out of the documentation, and each python block of it is an example."""
    pages = {page: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.rst")}
    text = "".join(pages.values())
    for example in (ROOT / "examples").glob("*.py"):
        assert f"../examples/{example.name}" in text
        assert example.stem in globals()
    assert "code-block:: python" not in text
    assert ">>> " not in text


async def test_hello(capsys: pytest.CaptureFixture[str]) -> None:
    """The first client and the first server talk to each other."""
    async with serving(shout_server.shout) as url:
        await hello_client.main(url)
    assert capsys.readouterr().out == "HELLO\n"


async def test_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    """Server and client in one program end by themselves."""
    await both_sides.main()
    assert capsys.readouterr().out == "HELLO\n"


async def test_compression(capsys: pytest.CaptureFixture[str]) -> None:
    """A long text takes few bytes, and a single message can be left as it is."""
    await compression.main()
    first, second = capsys.readouterr().out.splitlines()
    characters, received = (int(word) for word in first.split() if word.isdigit())
    assert characters == 10_005 and received < 200
    assert second == "A SECRET"


async def test_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """Text and binary arrive as such, and iteration ends when the peer closes."""

    async def twice(request: trio_ws.WebSocketRequest) -> None:
        async with await request.accept() as websocket:
            for _ in range(2):
                await websocket.send(await websocket.receive())

    async with serving(twice) as url:
        await messages.main(url)
    first, second, closed = capsys.readouterr().out.splitlines()
    assert (first, second) == ("'text'", "b'binary'")
    assert closed.startswith("closed: CloseReason(code=1000")


async def test_cancellation(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A question that nobody answers in time does not spoil the next one."""

    async def slow(request: trio_ws.WebSocketRequest) -> None:
        async with await request.accept() as websocket:
            async for message in websocket:
                if message == "quick!":
                    await websocket.send("done")
                else:
                    mock_clock.jump(1)

    async with serving(slow) as url:
        await cancellation.main(url)
    assert capsys.readouterr().out == "None\ndone\n"


@pytest.mark.parametrize(
    ("password", "output"),
    [("secret", "welcome\n"), ("guess", "401 b'who are you?'\n")],
    ids=["right", "wrong"],
)
async def test_authentication(
    password: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who knows the password is let in, who does not gets 401."""
    async with serving(authentication.guarded) as url:
        await authentication.main(url, "alice", password)
    assert capsys.readouterr().out == output


async def test_chat() -> None:
    """All hear what one says, and one who leaves is forgotten."""
    room = chat.Room()
    async with serving(room.handle) as url:
        open_one: Callable[[], AbstractAsyncContextManager[trio_ws.WebSocketConnection]]
        open_one = partial(trio_ws.open_websocket_url, url)
        async with open_one() as alice:
            await alice.send("first")
            assert await alice.receive() == "first"
            async with open_one() as bob:
                await bob.send("hi")
                assert [await bob.receive(), await alice.receive()] == ["hi", "hi"]
            await alice.send("bye")
            assert await alice.receive() == "bye"


async def test_chat_lets_go_of_the_slow() -> None:
    """A client whose queue is full is closed with 1008; the room goes on."""
    room = chat.Room(backlog=1)
    async with serving(room.handle) as url, trio_ws.open_websocket_url(url) as websocket:
        await websocket.send("first")
        assert await websocket.receive() == "first"
        for _ in range(3):  # one may be on its way, one waits, one is too much
            room.say("too fast")
        heard = []
        with pytest.raises(trio_ws.ConnectionClosed) as caught:
            while True:
                heard.append(await websocket.receive())
        assert set(heard) == {"too fast"}
        assert caught.value.reason == trio_ws.CloseReason(1008, "too slow")


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [("/", 200, browser.PAGE), ("/health", 200, b"fine\n"), ("/other", 404, b"")],
    ids=["page", "health", "other"],
)
async def test_browser(path: str, status: int, body: bytes) -> None:
    """The page and the WebSocket are on the same port."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(browser.main, 0)
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            response = b"".join([chunk async for chunk in stream])
        await hello_client.main(f"ws://127.0.0.1:{server.port}/")
        nursery.cancel_scope.cancel()
    head, _, rest = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert rest == body


@pytest.mark.skipif(sys.platform == "win32", reason="sends itself a POSIX signal")
async def test_graceful_restart() -> None:
    """SIGTERM ends the server; its clients see 1012."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(graceful_restart.main, 0)
        url = f"ws://127.0.0.1:{server.port}/"
        async with trio_ws.open_websocket_url(url) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "HELLO"
            signal.raise_signal(signal.SIGTERM)
            await websocket.wait_closed()
            assert websocket.closed == trio_ws.CloseReason(1012, "restarting")


test_remind = mock_clock.test_remind


async def test_private_ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both sides show a certificate of the same authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("chat.example", "client.example"):
        certificate = authority.issue_cert(name)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / name))
    server, client, ca = (
        str(tmp_path / name) for name in ("chat.example", "client.example", "ca.pem")
    )
    await private_ca.main(
        private_ca.server_context(server, server, ca), private_ca.client_context(client, client, ca)
    )
    assert capsys.readouterr().out == "HELLO\n"


async def test_migrating(capsys: pytest.CaptureFixture[str]) -> None:
    """A program for trio-websocket works with another import."""
    async with serving(shout_server.shout) as url:
        await migrating.main(url)
    assert capsys.readouterr().out == "HELLO\n1000\n"
