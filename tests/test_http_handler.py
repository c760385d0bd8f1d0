"""Ordinary HTTP requests beside WebSocket, on the same port."""

import math
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    Peer,
    WholeStream,
    echo,
    header,
    pair,
    serving,
    status,
    upgrade,
)


@pytest.fixture(params=["whole", "torn"])
def torn(request: pytest.FixtureRequest) -> bool:
    """Whether the library receives one byte at a time."""
    return bool(request.param == "torn")


def plain(line: bytes, *lines: bytes) -> bytes:
    """An ordinary request."""
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: server.example", *lines, b"", b""])


async def fetch(peer: Peer, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer; nothing may follow it."""
    await peer.send(request)
    head = await peer.receive_head()
    return status(head), head, await peer.receive_all()


async def answer(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
    """A small web site."""
    if request.path == "/page?a=b":
        return trio_ws.HTTPResponse(200, [("Content-Type", "text/plain")], b"hello")
    if request.path == "/empty":
        return trio_ws.HTTPResponse(204)
    return trio_ws.HTTPResponse(404)


@pytest.mark.parametrize(
    ("line", "code", "body", "length"),
    [
        (b"GET /page?a=b", 200, b"hello", [b"5"]),
        (b"HEAD /page?a=b", 200, b"", [b"5"]),
        (b"GET /missing", 404, b"", [b"0"]),
        (b"HEAD /missing", 404, b"", [b"0"]),
        (b"GET /empty", 204, b"", []),
        (b"DELETE /page?a=b", 200, b"hello", [b"5"]),
    ],
)
async def test_an_ordinary_request_is_answered(
    autojump_clock: trio.testing.MockClock,
    torn: bool,
    line: bytes,
    code: int,
    body: bytes,
    length: list[bytes],
) -> None:
    """The answer is whole, says that the connection is closed, and a HEAD gets no body."""
    async with serving(echo, torn=torn, http_handler=answer) as served:
        found = await fetch(served.connect(), plain(line))
        assert (found[0], found[2]) == (code, body)
        assert header(found[1], b"connection") == [b"close"]
        assert header(found[1], b"content-length") == length
        await served.open()  # WebSocket beside it


async def test_what_an_ordinary_request_knows(torn: bool) -> None:
    """Method, path, headers, both ends."""
    found: list[trio_ws.HTTPRequest] = []

    async def keep(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        found.append(request)
        return trio_ws.HTTPResponse(200)

    async with serving(echo, torn=torn, http_handler=keep) as served:
        peer = served.connect()
        await peer.send(plain(b"OPTIONS /a?b", b"X-Name: value", b"Upgrade: h2c"))
        await peer.receive_head()
    (request,) = found
    assert (request.method, request.path) == ("OPTIONS", "/a?b")
    assert (b"x-name", b"value") in request.headers
    assert isinstance(request.local, str)
    assert isinstance(request.remote, str)


@pytest.mark.parametrize(
    ("line", "code", "name", "value"),
    [
        (b"GET /", 426, b"upgrade", [b"websocket"]),
        (b"HEAD /", 405, b"allow", [b"GET"]),
        (b"POST /", 405, b"allow", [b"GET"]),
    ],
)
async def test_without_a_handler(
    autojump_clock: trio.testing.MockClock,
    torn: bool,
    line: bytes,
    code: int,
    name: bytes,
    value: list[bytes],
) -> None:
    """An ordinary request learns that there is only WebSocket."""
    async with serving(echo, torn=torn) as served:
        found, head, body = await fetch(served.connect(), plain(line))
        assert (found, header(head, name)) == (code, value)
        assert bool(body) == (not line.startswith(b"HEAD"))


@pytest.mark.parametrize(
    "request_",
    [upgrade().replace(b"Version: 13", b"Version: 8"), plain(b"GET /", b"Content-Length: 5")],
    ids=["bad upgrade", "body"],
)
async def test_a_bad_request_is_not_for_the_handler(
    autojump_clock: trio.testing.MockClock, torn: bool, request_: bytes
) -> None:
    """What asks for a WebSocket, or is malformed, is answered by the server."""
    async with serving(echo, torn=torn, http_handler=answer) as served:
        code, _, _ = await fetch(served.connect(), request_)
        assert code in (413, 426)


class SiteError(Exception):
    """An error of the web site."""


async def raise_it(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
    """Fail."""
    raise SiteError("password")


async def return_none(request: trio_ws.HTTPRequest) -> Any:
    """Forget the answer."""


async def return_text(request: trio_ws.HTTPRequest) -> Any:
    """Answer in another framework's way."""
    return "hello"


async def return_bad_status(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
    """Answer what is no answer."""
    return trio_ws.HTTPResponse(101)


async def return_bad_header(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
    """Answer with something smuggled in."""
    return trio_ws.HTTPResponse(200, [("X", "a\r\nSet-Cookie: b")])


async def return_bad_body(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
    """Answer with text."""
    return trio_ws.HTTPResponse(200, body="text")  # type: ignore[arg-type]


BAD = [
    (raise_it, SiteError),
    (return_none, TypeError),
    (return_text, TypeError),
    (return_bad_status, ValueError),
    (return_bad_header, ValueError),
    (return_bad_body, TypeError),
]


@pytest.mark.checklist("SH27")
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(("handler", "error"), BAD)
async def test_a_handler_that_fails(
    autojump_clock: trio.testing.MockClock,
    torn: bool,
    handler: Any,
    error: type[Exception],
    method: bytes,
) -> None:
    """The client gets 500 without detail, `handler_error` the exception and the request."""
    calls: list[tuple[object, Exception]] = []

    def callback(request: object, exc: Exception) -> None:
        calls.append((request, exc))

    async with serving(echo, torn=torn, http_handler=handler, handler_error=callback) as served:
        code, head, body = await fetch(served.connect(), plain(method + b" /"))
        assert code == 500
        assert b"password" not in head + body
        assert method == b"GET" or body == b""
    ((request, exc),) = calls
    assert isinstance(request, trio_ws.HTTPRequest)
    assert type(exc) is error


@pytest.mark.checklist("SH27")
async def test_an_error_without_a_callback_propagates() -> None:
    """As a WebSocket handler's does."""
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(echo, http_handler=raise_it) as served:
            peer = served.connect()
            await peer.send(plain(b"GET /"))
            assert status(await peer.receive_head()) == 500
            await peer.aclose()
            await trio.sleep_forever()
    assert caught.value.subgroup(SiteError) is not None


@pytest.mark.checklist("SH27")
async def test_a_cancelled_handler(autojump_clock: trio.testing.MockClock) -> None:
    """A handler that the shutdown cancels leaves its client without an answer."""

    async def sleep(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        await trio.sleep_forever()
        raise AssertionError

    async with serving(echo, http_handler=sleep, disconnect_timeout=5) as served:
        peer = served.connect()
        await peer.send(plain(b"GET /"))
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await served.server.aclose()
        assert trio.current_time() - began == 5
        assert await peer.receive_all() == b""


async def test_the_shutdown_lets_a_handler_finish(autojump_clock: trio.testing.MockClock) -> None:
    """Within the deadline an answer still gets out."""

    async def slow(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        await trio.sleep(3)
        return trio_ws.HTTPResponse(200, body=b"done")

    async with serving(echo, http_handler=slow, disconnect_timeout=5) as served:
        peer = served.connect()
        await peer.send(plain(b"GET /"))
        await trio.testing.wait_all_tasks_blocked()
        await served.server.aclose()
        assert status(await peer.receive_head()) == 200
        assert await peer.receive_all() == b"done"


class StuckStream(WholeStream):
    """A stream that takes six seconds for its first write, and gets no further."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self._stuck = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all, once."""
        await trio.sleep(math.inf if self._stuck else 6)
        self._stuck = True
        await super().send_all(data)


class SlowStream(WholeStream):
    """A stream that takes six seconds for each write."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all, slowly."""
        await trio.sleep(6)
        await super().send_all(data)


@pytest.mark.parametrize(
    ("kind", "arrives"), [(SlowStream, True), (StuckStream, False)], ids=["slow", "stuck"]
)
async def test_a_large_answer(
    autojump_clock: trio.testing.MockClock, kind: type[WholeStream], arrives: bool
) -> None:
    """A client that reads slowly gets all of it; one that takes nothing for 30 s does not."""
    body = bytes(range(256)) * 1000

    async def large(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        return trio_ws.HTTPResponse(200, [], body)

    async with serving(echo, http_handler=large) as served:
        stream, peer = pair()
        served.listener.deliver(kind(stream))
        await peer.send(plain(b"GET /"))
        began = trio.current_time()
        answer = await peer.receive_all()
        assert trio.current_time() - began == (6 * 16 if arrives else 6 + 30)
        assert (answer.partition(b"\r\n\r\n")[2] == body) is arrives


@pytest.mark.parametrize("option", ["http_handler", "handler_error"])
def test_a_handler_must_be_callable(option: str) -> None:
    """Anything else is a TypeError that names the option."""
    with pytest.raises(TypeError, match=option):
        trio_ws.WebSocketServer(echo, [None], **{option: "x"})  # type: ignore[list-item, arg-type]


def test_a_callback_for_errors_is_no_coroutine_function() -> None:
    """Nobody would await it, and the error would be lost."""

    class Callback:
        async def __call__(self, request: object, error: Exception) -> None:
            """Never run."""

    callback = Callback()
    for option in (callback, callback.__call__, partial(callback.__call__)):
        with pytest.raises(TypeError, match="handler_error"):
            trio_ws.WebSocketServer(echo, [None], handler_error=option)  # type: ignore[list-item]
