"""Wrong arguments are refused by name, before anything is sent or listened on."""

import ipaddress
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.connections import connect
from trio_ws._arguments import check_type


@pytest.mark.parametrize(
    ("value", "kinds", "fits"),
    [
        (1, [int], True),
        (True, [int], False),
        (True, [bool], True),
        (None, [int], False),
        (None, [int, None], True),
        ("1", [int, None], False),
        ("1", [int, str], True),
    ],
    ids=repr,
)
def test_check_type(value: object, kinds: list[type | None], fits: bool) -> None:
    """A bool is no int, and None is allowed only where it is listed."""
    if fits:
        check_type("x", value, *kinds)
    else:
        with pytest.raises(TypeError, match=r"^x must be "):
            check_type("x", value, *kinds)


async def handler(request: trio_ws.WebSocketRequest) -> None:
    """Never called."""


def listening(**options: Any) -> Callable[[trio.Nursery], Awaitable[Any]]:
    """A call of serve_websocket with one wrong argument."""
    arguments: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "ssl_context": None}
    return lambda _: trio_ws.serve_websocket(handler, **(arguments | options))


def connecting(url: str = "ws://h", **options: Any) -> Callable[[trio.Nursery], Awaitable[Any]]:
    """A call of connect_websocket_url with one wrong option."""
    return lambda nursery: trio_ws.connect_websocket_url(nursery, url, **options)


def wrapping(**options: Any) -> Callable[[trio.Nursery], Awaitable[Any]]:
    """A call of wrap_client_stream with one wrong option."""
    return lambda nursery: trio_ws.wrap_client_stream(nursery, one_end(), "h", "/", **options)


def listening_at(path: Any = "no/such/folder", **options: Any) -> Callable[..., Awaitable[Any]]:
    """A call of open_unix_listener with one wrong argument."""
    return lambda _: trio_ws.open_unix_listener(path, **options)


def one_end() -> trio.abc.Stream:
    """A stream that nobody reads."""
    return trio.testing.memory_stream_pair()[0]


CALLS: list[tuple[str, type[Exception], Callable[[trio.Nursery], Awaitable[Any]]]] = [
    ("host", TypeError, listening(host=5)),
    ("port", TypeError, listening(port="80")),
    ("port", TypeError, listening(port=True)),
    ("port", ValueError, listening(port=65536)),
    ("port", ValueError, listening(port=-1)),
    ("ssl_context", TypeError, listening(ssl_context=True)),
    ("handler_nursery", TypeError, listening(handler_nursery=5)),
    ("require_origin", TypeError, listening(require_origin="x")),
    ("origins", TypeError, listening(origins=5)),
    ("message_queue_size", TypeError, listening(message_queue_size=1.5)),
    ("message_queue_size", TypeError, connecting(message_queue_size=16.0)),
    ("message_queue_size", ValueError, connecting(message_queue_size=-math.inf)),
    ("subprotocols", TypeError, connecting(subprotocols=5)),
    ("extra_headers", TypeError, connecting(extra_headers=5)),
    ("extra_headers", TypeError, wrapping(extra_headers=0)),
    ("unix_socket", TypeError, connecting(unix_socket=5)),
    ("unix_socket", ValueError, wrapping(unix_socket="socket")),
    ("server_hostname", TypeError, connecting("wss://h", server_hostname=5)),
    ("server_hostname", ValueError, connecting(server_hostname="name")),
    ("server_hostname", ValueError, connecting(server_hostname="name", unix_socket="socket")),
    ("server_hostname", ValueError, wrapping(server_hostname="name")),
    ("path", TypeError, listening_at(5)),
    ("mode", TypeError, listening_at(mode="600")),
    ("backlog", TypeError, listening_at(backlog=1.5)),
    ("backlog", TypeError, listening_at(backlog=True)),
    ("backlog", ValueError, listening_at(backlog=-5)),
    ("nursery", TypeError, lambda _: trio_ws.connect_websocket_url(5, "ws://h")),  # type: ignore[arg-type]
    ("nursery", TypeError, lambda _: trio_ws.connect_websocket(5, "h", 1, "/", use_ssl=False)),  # type: ignore[arg-type]
    ("nursery", TypeError, lambda _: trio_ws.wrap_client_stream(5, one_end(), "h", "/")),  # type: ignore[arg-type]
    ("nursery", TypeError, lambda _: trio_ws.wrap_server_stream(5, one_end())),  # type: ignore[arg-type]
    ("stream", TypeError, lambda nursery: trio_ws.wrap_client_stream(nursery, 5, "h", "/")),  # type: ignore[arg-type]
    ("stream", TypeError, lambda nursery: trio_ws.wrap_server_stream(nursery, 5)),  # type: ignore[arg-type]
    ("ssl_context", TypeError, lambda n: trio_ws.connect_websocket_url(n, "wss://h", 5)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("name", "kind", "call"), CALLS, ids=[f"{number}-{row[0]}" for number, row in enumerate(CALLS)]
)
async def test_a_wrong_argument_is_named(
    nursery: trio.Nursery,
    name: str,
    kind: type[Exception],
    call: Callable[[trio.Nursery], Awaitable[Any]],
) -> None:
    """The error says which argument is wrong."""
    with pytest.raises(kind, match=f"^{name}"):
        await call(nursery)


@pytest.mark.parametrize(
    ("listeners", "error"),
    [([5], TypeError), (5, TypeError), (iter(()), ValueError)],
    ids=["no", "not iterable", "none"],
)
def test_listeners(listeners: Any, error: type[Exception]) -> None:
    """What is no listener is refused, and so is an iterable without any."""
    with pytest.raises(error, match="listeners"):
        trio_ws.WebSocketServer(handler, listeners)


@pytest.mark.parametrize(
    ("code", "reason", "name"),
    [("x", None, "code"), (1000, b"x", "reason")],
    ids=["code", "reason"],
)
async def test_a_shutdown_with_a_wrong_reason(code: Any, reason: Any, name: str) -> None:
    """A close code is an int, its reason a str."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        server = trio_ws.WebSocketServer(handler, [listener])
        with pytest.raises(TypeError, match=f"^{name}"):
            await server.aclose(code, reason)


@pytest.mark.parametrize("compress", ["no", 0, 1], ids=repr)
@pytest.mark.parametrize("message", ["text", 5], ids=repr)
async def test_whether_to_compress_is_a_bool(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    message: Any,
    compress: Any,
) -> None:
    """Anything else but None is refused, with compression or without, and nothing is sent."""
    connection, _ = await connect(nursery)
    with pytest.raises(TypeError, match=r"^compress must be bool"):
        await connection.send(message, compress=compress)
    assert connection.statistics().messages_sent == 0


@pytest.mark.parametrize(
    ("name", "value"), [("headers", 5), ("headers", None), ("body", "text"), ("body", None)]
)
def test_a_response_of_wrong_types(name: str, value: Any) -> None:
    """What is wrong with a handler's response is named."""
    with pytest.raises(TypeError, match=f"^{name} must be "):
        trio_ws.HTTPResponse(200, **{name: value})._encode("GET")


@pytest.mark.parametrize("status", [200.5, "404", True, None], ids=repr)
def test_a_status_is_an_int(status: Any) -> None:
    """Nothing else gets onto the wire as a status."""
    with pytest.raises(TypeError, match=r"^status_code"):
        trio_ws.HTTPResponse(status)._encode("GET")


def test_an_endpoint_made_of_text() -> None:
    """An Endpoint takes its address as text, too."""
    endpoint = trio_ws.Endpoint("::1", 443, True)  # type: ignore[arg-type]
    assert endpoint.address == ipaddress.ip_address("::1")
    assert endpoint.url == "wss://[::1]"
