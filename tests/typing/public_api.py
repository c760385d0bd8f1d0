"""What a type checker makes of the public API: checked by mypy and pyright, never run."""

import math
import ssl
from functools import partial
from typing import assert_type

import trio

import trio_ws


async def clients(nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
    """Each way to connect gives a connection."""
    async with trio_ws.open_websocket("localhost", 80, "/", use_ssl=False) as one:
        assert_type(one, trio_ws.WebSocketConnection)
    context = ssl.create_default_context()
    async with trio_ws.open_websocket_url(
        "wss://localhost/",
        context,
        subprotocols=["chat"],
        extra_headers=[(b"name", b"value"), ("name", "value")],
        message_queue_size=math.inf,
        max_message_size=2**16,
        connect_timeout=math.inf,
        disconnect_timeout=1,
        ping_interval=None,
        limits=trio_ws.Limits(write_timeout=10),
    ) as two:
        assert_type(two, trio_ws.WebSocketConnection)
    three = await trio_ws.connect_websocket(nursery, "localhost", 80, "/", use_ssl=context)
    assert_type(three, trio_ws.WebSocketConnection)
    four = await trio_ws.connect_websocket_url(nursery, "ws://localhost/", unix_socket="/socket")
    assert_type(four, trio_ws.WebSocketConnection)
    five = await trio_ws.wrap_client_stream(nursery, stream, "localhost", "/")
    assert_type(five, trio_ws.WebSocketConnection)


async def connection(websocket: trio_ws.WebSocketConnection) -> None:
    """A connection is a channel of str and bytes."""
    channel: trio.abc.Channel[str | bytes] = websocket
    await channel.send("text")
    assert_type(await websocket.receive(), str | bytes)
    assert_type(websocket.receive_nowait(), str | bytes)
    assert_type(await websocket.get_message(), str | bytes)
    assert_type(await websocket.receive_text(), str)
    assert_type(await websocket.receive_bytes(), bytes)
    async for message in websocket:
        assert_type(message, str | bytes)
    await websocket.send_message(b"bytes")
    await websocket.ping()
    await websocket.ping(b"payload")
    await websocket.pong(b"payload")
    assert_type(websocket.closed, trio_ws.CloseReason | None)
    assert_type(websocket.latency, float | None)
    assert_type(websocket.statistics(), trio_ws.ConnectionStatistics)
    assert_type(websocket.subprotocol, str | None)
    assert_type(websocket.handshake_headers, tuple[tuple[bytes, bytes], ...])
    assert_type(websocket.local, trio_ws.Endpoint | str)
    await websocket.wait_closed()
    await websocket.aclose(1000, "reason")


async def handler(request: trio_ws.WebSocketRequest) -> None:
    """A request has all that is needed to decide about it."""
    assert_type(request.headers, list[tuple[bytes, bytes]])
    assert_type(request.path, str)
    assert_type(request.proposed_subprotocols, tuple[str, ...])
    if not trio_ws.check_basic_auth(request.headers, "name", "password"):
        return await request.reject(401, extra_headers=[("name", "value")], body=b"no")
    accepted = await request.accept(subprotocol="chat", extra_headers=[(b"name", b"value")])
    assert_type(accepted, trio_ws.WebSocketConnection)
    return None


async def answer(request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
    """An ordinary HTTP request gets an ordinary response."""
    return trio_ws.HTTPResponse(200, [(b"name", b"value")], request.path.encode())


def report(request: trio_ws.WebSocketRequest | trio_ws.HTTPRequest, error: Exception) -> None:
    """What becomes of a handler's error is the user's choice."""


async def servers(nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
    """Each way to serve."""
    serve = partial(
        trio_ws.serve_websocket,
        handler,
        None,
        0,
        None,
        handler_nursery=nursery,
        origins=["https://example.org"],
        http_handler=answer,
        handler_error=report,
        max_connections=100,
    )
    server: trio_ws.WebSocketServer = await nursery.start(serve)
    assert_type(server.port, int)
    listener = await trio_ws.open_unix_listener("/socket")
    other = trio_ws.WebSocketServer(handler, [listener], origins=trio_ws.any_origin)
    await nursery.start(other.run)
    await other.aclose(1012, "restarting")
    request = await trio_ws.wrap_server_stream(nursery, stream)
    assert_type(request, trio_ws.WebSocketRequest)


def errors(error: trio_ws.ConnectionClosed, rejected: trio_ws.ConnectionRejected) -> None:
    """The exceptions carry what they know."""
    assert_type(error.reason, trio_ws.CloseReason | None)
    if error.reason is not None:
        assert_type(error.reason.code, int)
        assert_type(error.reason.name, str)
        assert_type(error.reason.reason, str | None)
    assert_type(rejected.status_code, int)
    assert_type(rejected.headers, tuple[tuple[bytes, bytes], ...] | None)
    assert_type(rejected.body, bytes | None)
