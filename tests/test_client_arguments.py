"""Clients: arguments that are refused before any I/O."""

import math
import ssl
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    Dial,
    pair,
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


# --- Arguments

BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"subprotocols": "chat"}, TypeError, "subprotocols"),
    ({"subprotocols": ["a b"]}, ValueError, "subprotocol"),
    ({"subprotocols": ["a", "a"]}, ValueError, "subprotocol"),
    ({"subprotocols": [1]}, TypeError, "subprotocols"),
    ({"extra_headers": [("Host", "x")]}, ValueError, "extra_headers"),
    ({"extra_headers": [("Sec-WebSocket-Key", "x")]}, ValueError, "extra_headers"),
    ({"extra_headers": [("X", "a\r\nY: b")]}, ValueError, "extra_headers"),
    ({"extra_headers": ["X"]}, TypeError, "extra_headers"),
    ({"message_queue_size": -1}, ValueError, "message_queue_size"),
    ({"message_queue_size": "1"}, TypeError, "message_queue_size"),
    ({"max_message_size": 1.5}, TypeError, "max_message_size"),
    ({"connect_timeout": -1}, ValueError, "connect_timeout"),
    ({"connect_timeout": math.nan}, ValueError, "connect_timeout"),
    ({"disconnect_timeout": None}, TypeError, "disconnect_timeout"),
    ({"ping_interval": 0}, ValueError, "ping_interval"),
    ({"receive_buffer_size": 0}, ValueError, "receive_buffer_size"),
    ({"limits": 5}, TypeError, "limits"),
    ({"timeout": 5}, TypeError, "timeout"),
]
OPTION_IDS = [f"{next(iter(options.items()))}" for options, _, _ in BAD_OPTIONS]


@pytest.mark.checklist("CH05", "CH20")
@pytest.mark.parametrize(("options", "error", "match"), BAD_OPTIONS, ids=OPTION_IDS)
async def test_a_bad_option_is_an_error_before_any_io(
    dial: Dial, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    """Every way to connect refuses it, and the message names it."""
    stream, peer = pair()
    async with trio.open_nursery() as nursery:
        for opening in (
            partial(trio_ws.open_websocket, "host", 1, "/", use_ssl=False, **options),
            partial(trio_ws.open_websocket_url, "ws://host/", **options),
        ):
            with pytest.raises(error, match=match):
                opening()
        for connecting in (
            partial(trio_ws.connect_websocket, nursery, "host", 1, "/", use_ssl=False, **options),
            partial(trio_ws.connect_websocket_url, nursery, "ws://host/", **options),
            partial(trio_ws.wrap_client_stream, nursery, stream, "host", "/", **options),
        ):
            with pytest.raises(error, match=match):
                await connecting()
    assert dial.addresses == []
    await peer.send(b"x")  # the stream was left alone
    assert await stream.receive_some() == b"x"


@pytest.mark.parametrize("use_ssl", [None, 0, 1, "yes", b""], ids=repr)
def test_use_ssl_must_be_bool_or_context(use_ssl: object) -> None:
    """Anything else is a TypeError that says so, at once."""
    with pytest.raises(TypeError, match=r"use_ssl must be bool or ssl\.SSLContext"):
        trio_ws.open_websocket("host", 1, "/", use_ssl=use_ssl)  # type: ignore[arg-type]


@pytest.mark.checklist("CH01")
@pytest.mark.parametrize(
    ("host", "port", "resource", "error", "match"),
    [
        ("", 80, "/", ValueError, "host"),
        ("a b", 80, "/", ValueError, "host"),
        ("a\r\nb", 80, "/", ValueError, "host"),
        ("host/path", 80, "/", ValueError, "host"),
        (b"host", 80, "/", TypeError, "host"),
        (None, 80, "/", TypeError, "host"),
        ("host:80", 80, "/", ValueError, "host"),
        ("[::1]", 80, "/", ValueError, "host"),
        ("host", 0, "/", ValueError, "port"),
        ("host", 65536, "/", ValueError, "port"),
        ("host", -1, "/", ValueError, "port"),
        ("host", "80", "/", TypeError, "port"),
        ("host", 80.0, "/", TypeError, "port"),
        ("host", True, "/", TypeError, "port"),
        ("host", None, "/", TypeError, "port"),
        ("host", 80, "/a b", ValueError, "resource"),
        ("host", 80, "/a\r\nX: y", ValueError, "resource"),
        ("host", 80, "/#top", ValueError, "fragment"),
        ("host", 80, b"/", TypeError, "resource"),
        ("host", 80, None, TypeError, "resource"),
    ],
)
def test_a_bad_address_is_an_error_at_the_call(
    host: str, port: int, resource: str, error: type[Exception], match: str
) -> None:
    """A host, port or resource that cannot be sent is named."""
    with pytest.raises(error, match=match):
        trio_ws.open_websocket(host, port, resource, use_ssl=False)


@pytest.mark.checklist("CH01")
@pytest.mark.parametrize(
    "url",
    [
        "http://host/",
        "host/",
        "",
        "ws:",
        "ws:///path",
        "ws://host/#top",
        "ws://user:secret@host/",
        "ws://host:0/",
        "ws://host:65536/",
        "ws://host:x/",
        "ws://ho st/",
        "ws://host/a b",
        "ws://host/\r\nX: y",
        None,
        42,
    ],
    ids=repr,
)
async def test_a_bad_url_is_a_value_error(url: object) -> None:
    """`open_websocket_url` raises when called, `connect_websocket_url` when awaited; no secrets."""
    with pytest.raises(ValueError) as caught:
        trio_ws.open_websocket_url(url)
    assert "secret" not in str(caught.value)
    async with trio.open_nursery() as nursery:
        coroutine = trio_ws.connect_websocket_url(nursery, url)
        with pytest.raises(ValueError):
            await coroutine


def test_a_context_with_a_plain_url_is_a_value_error() -> None:
    """An ssl_context says TLS, ws: says none."""
    with pytest.raises(ValueError, match="ssl_context"):
        trio_ws.open_websocket_url("ws://host/", ssl.create_default_context())


@pytest.mark.parametrize("context", ["yes", 1], ids=repr)
def test_a_context_that_is_none_is_a_type_error(context: ssl.SSLContext) -> None:
    """Only an `ssl.SSLContext` is one."""
    with pytest.raises(TypeError, match="ssl_context must be SSLContext"):
        trio_ws.open_websocket_url("wss://host/", context)
