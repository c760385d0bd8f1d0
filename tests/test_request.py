"""Requests: what a handler learns, accept, reject, and `wrap_server_stream`."""

import base64
import itertools
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    CLOSE,
    NORMAL,
    TEXT,
    Dial,
    Peer,
    WholeStream,
    cancelled_after,
    frame,
    header,
    nothing_left,
    pair,
    serving,
    status,
    upgrade,
)


@pytest.fixture(params=["whole", "torn"])
def torn(request: pytest.FixtureRequest) -> bool:
    """Whether the library receives one byte at a time."""
    return bool(request.param == "torn")


async def wrapped(
    nursery: trio.Nursery, *lines: bytes, torn: bool = False, **options: Any
) -> tuple[trio_ws.WebSocketRequest, Peer]:
    """A request, and the client that sent it."""
    stream, peer = pair(torn=torn)
    await peer.send(upgrade(*lines, path=b"/path?query"))
    return await trio_ws.wrap_server_stream(nursery, stream, **options), peer


async def test_what_a_request_knows(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, torn: bool
) -> None:
    """Headers with lower-case names, the target with its query, both ends."""
    request, peer = await wrapped(nursery, b"X-Name: Value", b"x-name: again", torn=torn)
    assert request.path == "/path?query"
    assert (b"host", b"server.example") in request.headers
    assert [value for name, value in request.headers if name == b"x-name"] == [b"Value", b"again"]
    assert request.proposed_subprotocols == ()
    assert isinstance(request.local, str)
    assert isinstance(request.remote, str)
    assert not request._has_ended()
    await request.reject(404)
    assert status(await peer.receive_head()) == 404


async def test_accepting(nursery: trio.Nursery, torn: bool) -> None:
    """The 101 has the subprotocol and the headers; the connection works."""
    request, peer = await wrapped(nursery, b"Sec-WebSocket-Protocol: a, b", torn=torn)
    connection = await request.accept(
        subprotocol="b", extra_headers=[("X-One", "1"), (b"Set-Cookie", b"a=b")]
    )
    head = await peer.receive_head()
    assert status(head) == 101
    assert header(head, b"sec-websocket-protocol") == [b"b"]
    assert header(head, b"x-one") == [b"1"]
    assert header(head, b"set-cookie") == [b"a=b"]
    assert (connection.subprotocol, connection.path) == ("b", "/path?query")
    assert connection.is_server
    await connection.send("hello")
    assert await peer.receive_frame() == (TEXT, b"hello")
    await peer.send(frame(CLOSE, NORMAL, mask=True))
    await connection.wait_closed()
    assert request._has_ended()


@pytest.mark.checklist("SH13", "SH28")
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"subprotocol": "c"}, ValueError),
        ({"subprotocol": "A"}, ValueError),
        ({"subprotocol": ""}, ValueError),
        ({"subprotocol": 5}, TypeError),
        ({"extra_headers": 0}, TypeError),
        ({"extra_headers": [("X", "a\r\nSet-Cookie: b")]}, ValueError),
        ({"extra_headers": [("X", "a\0")]}, ValueError),
        ({"extra_headers": [("X\n", "a")]}, ValueError),
        ({"extra_headers": [("Sec-WebSocket-Accept", "a")]}, ValueError),
        ({"extra_headers": [("upgrade", "h2c")]}, ValueError),
        ({"extra_headers": [("Content-Length", "5")]}, ValueError),
        ({"extra_headers": [("X", 5)]}, TypeError),
        ({"extra_headers": ["X: a"]}, TypeError),
    ],
)
async def test_a_wrong_argument_of_accept(
    nursery: trio.Nursery, options: dict[str, Any], error: type[Exception]
) -> None:
    """It is an error before any byte is sent, and the request still waits for its answer."""
    request, peer = await wrapped(nursery, b"Sec-WebSocket-Protocol: a, b")
    (name,) = options
    with pytest.raises(error, match=name):
        await request.accept(**options)
    await request.accept(subprotocol="a")
    assert header(await peer.receive_head(), b"sec-websocket-protocol") == [b"a"]
    nursery.cancel_scope.cancel()


@pytest.mark.checklist("SH28")
@pytest.mark.parametrize(
    ("status_code", "options"),
    [
        (101, {}),
        (100, {}),
        (600, {}),
        (-1, {}),
        (204, {"body": b"body"}),
        (304, {"body": b"body"}),
        (404, {"extra_headers": [("X", "a\r\nY: b")]}),
        (404, {"extra_headers": [("Transfer-Encoding", "chunked")]}),
        (404, {"extra_headers": [("Connection", "keep-alive")]}),
        (404, {"extra_headers": [("Content-Length", "5")], "body": b"four"}),
    ],
)
async def test_a_wrong_argument_of_reject(
    nursery: trio.Nursery, status_code: int, options: dict[str, Any]
) -> None:
    """So it is here."""
    request, peer = await wrapped(nursery)
    with pytest.raises(ValueError):
        await request.reject(status_code, **options)
    await peer.aclose()
    await request.reject(418)


@pytest.mark.parametrize(
    ("name", "value"),
    [("body", "text"), ("body", ""), ("body", 5), ("extra_headers", 0), ("status_code", "404")],
)
async def test_a_wrong_type_in_reject(nursery: trio.Nursery, name: str, value: object) -> None:
    """It is a TypeError that names the argument, and nothing was sent."""
    request, peer = await wrapped(nursery)
    arguments: dict[str, Any] = {"status_code": 404, name: value}
    with pytest.raises(TypeError, match=f"^{name} must be "):
        await request.reject(**arguments)
    await peer.aclose()
    await request.reject(418)


@pytest.mark.parametrize(
    ("status_code", "body"),
    [(200, b"x" * 100_000), (204, None), (301, b""), (404, b"not found"), (503, None), (599, b"x")],
)
async def test_rejecting(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    torn: bool,
    status_code: int,
    body: bytes | None,
) -> None:
    """The answer has the status, the headers, the body and its length; then the stream ends."""
    request, peer = await wrapped(nursery, torn=torn)
    await request.reject(status_code, extra_headers=[("X-Name", "value")], body=body)
    head = await peer.receive_head()
    assert status(head) == status_code
    assert header(head, b"x-name") == [b"value"]
    assert header(head, b"connection") == [b"close"]
    length = [] if status_code == 204 else [b"%d" % len(body or b"")]
    assert header(head, b"content-length") == length
    assert await peer.receive_all() == (body or b"")


@pytest.mark.parametrize("first", ["accept", "reject"])
@pytest.mark.parametrize("second", ["accept", "reject"])
async def test_a_second_answer(nursery: trio.Nursery, first: str, second: str) -> None:
    """It is a RuntimeError, and sends nothing."""
    request, peer = await wrapped(nursery)

    async def answer(way: str) -> None:
        if way == "accept":
            await request.accept()
        else:
            await request.reject(404)

    nursery.start_soon(answer, first)
    head = await peer.receive_head()
    assert status(head) == (101 if first == "accept" else 404)
    with pytest.raises(RuntimeError, match="already"):
        await answer(second)
    nursery.cancel_scope.cancel()


@pytest.mark.checklist("CA04")
async def test_cancelling_accept_anywhere() -> None:
    """Nothing was sent, and the request still waits for its answer; or it was accepted."""
    for step in itertools.count(1):
        async with nothing_left(), trio.open_nursery() as nursery:
            stream, peer = pair()
            await peer.send(upgrade())
            request = await trio_ws.wrap_server_stream(nursery, stream)
            connection = None
            with cancelled_after(step) as scope:
                connection = await request.accept()
            if scope.cancelled_caught:
                connection = await request.accept()
            assert connection is not None
            assert status(await peer.receive_head()) == 101
            nursery.cancel_scope.cancel()
        if not scope.cancel_called:
            break


@pytest.mark.checklist("CA04")
async def test_accept_in_a_cancelled_scope(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """It is a cancellation point, and sends nothing then."""
    request, peer = await wrapped(nursery)
    with trio.CancelScope() as scope:
        scope.cancel()
        await request.accept()
    assert scope.cancelled_caught
    await request.reject(403)
    assert status(await peer.receive_head()) == 403


@pytest.mark.checklist("CA04", "SH27")
async def test_cancelling_reject_anywhere() -> None:
    """The stream is closed, whatever was sent."""
    for step in itertools.count(1):
        async with nothing_left(), trio.open_nursery() as nursery:
            stream, peer = pair()
            await peer.send(upgrade())
            request = await trio_ws.wrap_server_stream(nursery, WholeStream(stream))
            with cancelled_after(step) as scope:
                await request.reject(403, body=b"no")
            await peer.receive_all()
            with pytest.raises(trio.BrokenResourceError):
                await peer.send(b"x")
        if not scope.cancel_called:
            break


async def test_a_closed_nursery_sends_no_101() -> None:
    """A nursery that takes no more tasks is a RuntimeError, and the stream is closed."""
    async with trio.open_nursery() as nursery:
        request, peer = await wrapped(nursery)
    with pytest.raises(RuntimeError):
        await request.accept()
    assert await peer.receive_all() == b""


# --- Credentials


@pytest.mark.checklist("SH29")
@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (b"Basic " + base64.b64encode(b"alice:secret"), True),
        (b"basic " + base64.b64encode(b"alice:secret"), True),
        (b"Basic " + base64.b64encode(b"alice:secre"), False),
        (b"Basic " + base64.b64encode(b"alice:secret\xfc"), False),
        (b"Basic \xfc\xff", False),
        (b"Basic ====", False),
        (b"Basic", False),
        (b"Bearer x", False),
        (b"Basic " + b"x" * 8000, False),
        (None, False),
    ],
)
async def test_basic_authentication(
    autojump_clock: trio.testing.MockClock, torn: bool, value: bytes | None, allowed: bool
) -> None:
    """A handler answers 401 with a challenge to whatever is not the right header."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        if trio_ws.check_basic_auth(request.headers, "alice", "secret"):
            await request.accept()
        else:
            challenge = [("WWW-Authenticate", 'Basic realm="x"')]
            await request.reject(401, extra_headers=challenge)

    async with serving(handler, torn=torn) as served:
        peer = served.connect()
        head = await peer.open(*([] if value is None else [b"Authorization: " + value]))
        assert status(head) == (101 if allowed else 401)
        assert header(head, b"www-authenticate") == ([] if allowed else [b'Basic realm="x"'])


async def test_a_rejection_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends of the library agree on what a rejection is."""
    dial = Dial()
    monkeypatch.setattr(trio, "open_tcp_stream", dial)

    async def serve() -> None:
        peer = await dial.peer()
        async with trio.open_nursery() as nursery:
            request = await trio_ws.wrap_server_stream(nursery, peer.stream)
            await request.reject(403, extra_headers=[("X", "y")], body=b"no")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(trio_ws.ConnectionRejected) as caught:
            await trio_ws.open_websocket_url("ws://server.example/").__aenter__()
    assert (caught.value.status_code, caught.value.body) == (403, b"no")
    assert (b"x", b"y") in (caught.value.headers or ())
