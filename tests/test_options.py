"""Options: defaults, what is allowed, and how a wrong value is named."""

import inspect
import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import MemoryListener, echo, pair
from trio_ws._options import ClientSettings, OriginSettings, Settings
from trio_ws._server import ServerSettings

DEFAULT_LIMITS = {
    "max_line_size": 8 * 1024,
    "max_header_count": 100,
    "max_header_size": 32 * 1024,
    "max_rejection_size": 64 * 1024,
    "max_empty_fragments": 1024,
    "message_queue_bytes": None,
    "send_buffer_size": 64 * 1024,
    "write_timeout": 30,
    "message_timeout": math.inf,
}
DEFAULTS = {
    "message_queue_size": 16,
    "max_message_size": 2**20,
    "receive_buffer_size": None,
    "connect_timeout": 60,
    "disconnect_timeout": 60,
    "ping_interval": 20,
    "ping_timeout": 20,
    "limits": trio_ws.Limits(),
}


def test_the_default_limits() -> None:
    """They are the documented ones."""
    limits = trio_ws.Limits()
    found = {item.name: getattr(limits, item.name) for item in fields(limits)}
    assert found == DEFAULT_LIMITS


@pytest.mark.parametrize("settings", [Settings, ClientSettings, ServerSettings])
def test_the_defaults(settings: type[Settings]) -> None:
    """They are the same for both roles."""
    assert {name: getattr(settings(), name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (trio_ws.ConnectionOptions, Settings),
        (trio_ws.ClientOptions, ClientSettings),
        (trio_ws.OriginOptions, OriginSettings),
        (trio_ws.ServerOptions, ServerSettings),
    ],
)
def test_each_keyword_is_an_option(options: Any, settings: type[Settings]) -> None:
    """What a type checker allows is what is taken, and each has a line of documentation."""
    keywords = set(options.__annotations__)
    names = {item.name for item in fields(settings)}
    if options is trio_ws.OriginOptions:
        assert keywords <= names
    else:
        assert keywords == names
    own = "".join(inspect.getdoc(base) or "" for base in (options, *documented(options)))
    assert all(f"{keyword}:" in own for keyword in keywords)


def documented(options: Any) -> list[Any]:
    """The dictionaries of options that this one extends."""
    bases = (trio_ws.CommonOptions, trio_ws.ConnectionOptions, trio_ws.OriginOptions)
    return [base for base in bases if set(base.__annotations__) <= set(options.__annotations__)]


def test_limits_do_not_change() -> None:
    """A `Limits` is a value: it can be compared, hashed, and not changed."""
    limits = trio_ws.Limits(write_timeout=1)
    assert limits == trio_ws.Limits(write_timeout=1)
    assert hash(limits) == hash(trio_ws.Limits(write_timeout=1))
    with pytest.raises(FrozenInstanceError):
        limits.write_timeout = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        trio_ws.Limits(8192)  # type: ignore[call-arg]


INTEGERS = (
    "max_line_size",
    "max_header_count",
    "max_header_size",
    "max_rejection_size",
    "max_empty_fragments",
    "message_queue_bytes",
    "send_buffer_size",
)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (1.5, TypeError),
        (math.inf, TypeError),
        ("1", TypeError),
        (True, TypeError),
    ],
)
def test_a_limit_that_counts(name: str, value: Any, error: type[Exception]) -> None:
    """It is an integer that is not negative."""
    with pytest.raises(error, match=name):
        trio_ws.Limits(**{name: value})


@pytest.mark.parametrize("name", ["write_timeout", "message_timeout"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (math.nan, ValueError), (None, TypeError), ("1", TypeError)],
)
def test_a_limit_of_time(name: str, value: Any, error: type[Exception]) -> None:
    """It is a number that is not negative."""
    with pytest.raises(error, match=name):
        trio_ws.Limits(**{name: value})
    infinite: dict[str, Any] = {name: math.inf}
    assert getattr(trio_ws.Limits(**infinite), name) == math.inf


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"message_queue_size": -1}, ValueError),
        ({"message_queue_size": None}, TypeError),
        ({"max_message_size": -1}, ValueError),
        ({"max_message_size": math.inf}, TypeError),
        ({"max_message_size": None}, TypeError),
        ({"receive_buffer_size": 0}, ValueError),
        ({"receive_buffer_size": 1.5}, TypeError),
        ({"connect_timeout": None}, TypeError),
        ({"connect_timeout": math.nan}, ValueError),
        ({"disconnect_timeout": -1}, ValueError),
        ({"disconnect_timeout": "60"}, TypeError),
        ({"ping_interval": 0}, ValueError),
        ({"ping_interval": -1}, ValueError),
        ({"ping_timeout": -1}, ValueError),
        ({"ping_timeout": "20"}, TypeError),
        ({"limits": {}}, TypeError),
        ({"limits": None}, TypeError),
        ({"origins": "https://a.example"}, TypeError),
        ({"origins": ["a.example"]}, ValueError),
        ({"origins": [None]}, TypeError),
        ({"origins": ["*"]}, ValueError),
        ({"max_connections": 0}, ValueError),
        ({"max_connections": -1}, ValueError),
        ({"max_connections": 1.5}, TypeError),
        ({"http_handler": 5}, TypeError),
        ({"handler_error": "log"}, TypeError),
        ({"no_such_option": 5}, TypeError),
    ],
    ids=str,
)
async def test_a_wrong_option_of_a_server(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], error: type[Exception]
) -> None:
    """It is an error that names it, before there is a listener."""

    async def never(*args: object, **keywords: object) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr(trio, "open_tcp_listeners", never)
    (name,) = options
    with pytest.raises(error, match=name.removesuffix("s")):
        trio_ws.WebSocketServer(echo, [MemoryListener()], **options)
    with pytest.raises(error, match=name.removesuffix("s")):
        await trio_ws.serve_websocket(echo, "127.0.0.1", 0, None, **options)


@pytest.mark.parametrize("handler", [None, "echo", 5], ids=repr)
async def test_a_handler_must_be_callable(handler: Any) -> None:
    """Anything else is a TypeError before there is a listener."""
    with pytest.raises(TypeError, match="handler"):
        trio_ws.WebSocketServer(handler, [MemoryListener()])
    with pytest.raises(TypeError, match="handler"):
        await trio_ws.serve_websocket(handler, "127.0.0.1", 0, None)


@pytest.mark.parametrize(
    "options",
    [
        {"message_queue_size": math.inf},
        {"message_queue_size": 0},
        {"max_message_size": 0},
        {"connect_timeout": math.inf, "disconnect_timeout": math.inf},
        {"ping_interval": None, "ping_timeout": None},
        {"ping_interval": math.inf, "ping_timeout": 0.5},
        {"receive_buffer_size": 1},
    ],
    ids=str,
)
def test_what_is_allowed(options: dict[str, Any]) -> None:
    """`math.inf` where time and messages are counted, None where something can be off."""
    trio_ws.open_websocket_url("ws://server.example/", **options)
    trio_ws.WebSocketServer(echo, [MemoryListener()], **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 2 * 2**20),
        ({"max_message_size": 0}, 256 * 1024),
        ({"max_message_size": 2**24}, 2**25),
        ({"limits": trio_ws.Limits(message_queue_bytes=5)}, 5),
        ({"limits": trio_ws.Limits(message_queue_bytes=0)}, 0),
    ],
    ids=str,
)
def test_the_bytes_of_the_queue(options: dict[str, Any], expected: int) -> None:
    """They follow `max_message_size`, unless they are given."""
    assert Settings(**options).message_queue_bytes == expected


def test_the_limits_of_a_head() -> None:
    """They reach the parsers under the same names."""
    head = trio_ws.Limits(max_line_size=1, max_header_count=2, max_header_size=3)._head
    assert (head.max_line_size, head.max_header_count, head.max_header_size) == (1, 2, 3)


async def test_the_limits_of_a_head_are_kept(autojump_clock: trio.testing.MockClock) -> None:
    """By the parser of a server, say."""
    stream, peer = pair()
    await peer.send(b"GET /" + b"x" * 30)
    async with trio.open_nursery() as nursery:
        await peer.send(b"x")
        limits = trio_ws.Limits(max_line_size=20)
        with pytest.raises(trio_ws.HandshakeError, match="over 20 bytes"):
            await trio_ws.wrap_server_stream(nursery, stream, limits=limits)
