"""The public names and signatures that programs written for trio-websocket use."""

import copy
import inspect
import ipaddress
import math
import pickle
import re
import sys
from pathlib import Path

import pytest
import trio

import trio_ws as trio_websocket
from tests.support.servers import MemoryListener, echo, pair, serving

NAMES = (
    "CloseReason",
    "ConnectionClosed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HandshakeError",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
    "connect_websocket",
    "connect_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "serve_websocket",
    "wrap_client_stream",
    "wrap_server_stream",
    "__version__",
)
POSITIONAL = {
    "open_websocket": "host port resource",
    "open_websocket_url": "url ssl_context",
    "connect_websocket": "nursery host port resource",
    "connect_websocket_url": "nursery url ssl_context",
    "wrap_client_stream": "nursery stream host resource",
    "serve_websocket": "handler host port ssl_context",
    "WebSocketServer": "handler listeners",
    "wrap_server_stream": "nursery stream message_queue_size max_message_size receive_buffer_size",
}
SIZES = "message_queue_size max_message_size receive_buffer_size"
COMMON = f"{SIZES} connect_timeout disconnect_timeout"
KEYWORDS = {
    "ClientOptions": f"subprotocols extra_headers {COMMON}",
    "ServerOptions": f"handler_nursery {COMMON}",
}

# All that users see of the classes; everything else has an underscore.
MEMBERS = {
    "CloseReason": "code name reason",
    "ConnectionClosed": "reason",
    "ConnectionRejected": "body headers status_code",
    "ConnectionStatistics": "bytes_buffered bytes_queued bytes_received bytes_sent"
    " compressed_bytes_received compressed_bytes_sent compression_ratio_received"
    " compression_ratio_sent latency messages_queued messages_received messages_sent"
    " uncompressed_bytes_received uncompressed_bytes_sent",
    "Endpoint": "address is_ssl port url",
    "HTTPRequest": "headers local method path remote",
    "HTTPResponse": "body headers status_code",
    "Limits": "max_empty_fragments max_header_count max_header_size max_line_size"
    " max_rejection_size message_queue_bytes message_timeout send_buffer_size write_timeout",
    "PerMessageDeflate": "client_max_window_bits client_no_context_takeover level mem_level"
    " server_max_window_bits server_no_context_takeover threshold",
    "WebSocketConnection": "aclose closed extensions get_message handshake_headers is_client"
    " is_server latency local path ping pong receive receive_bytes receive_nowait receive_text"
    " remote send send_message statistics subprotocol wait_closed",
    "WebSocketRequest": "accept headers local path proposed_subprotocols reject remote",
    "WebSocketServer": "aclose listeners port run",
}
API = Path(__file__).parents[1] / "docs" / "api.rst"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_trio_websocket_is_there(name: str) -> None:
    """Each public name of trio-websocket is a public name here."""
    assert name in trio_websocket.__all__
    assert hasattr(trio_websocket, name)


def test_all_names_exist() -> None:
    """`__all__` is sorted and names nothing that is missing."""
    assert list(trio_websocket.__all__) == sorted(trio_websocket.__all__)
    assert all(hasattr(trio_websocket, name) for name in trio_websocket.__all__)


def test_all_names_are_documented() -> None:
    """Each public name has its place in the documentation, and no other is there."""
    documented = re.findall(
        r"^\.\. auto\w+:: (\w+)|^\.\. data:: (\w+)", API.read_text(), re.MULTILINE
    )
    names = sorted(first or second for first, second in documented)
    assert names == sorted(set(trio_websocket.__all__) - {"__version__"})


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_members(name: str, members: str) -> None:
    """A class has the documented members, and its internals do not look like them."""
    kind = getattr(trio_websocket, name)
    inherited = dir(Exception) if issubclass(kind, Exception) else []
    found = {*dir(kind), *kind.__dict__.get("__dataclass_fields__", ())} - {*inherited}
    assert sorted(name for name in found if not name.startswith("_")) == members.split()


def test_all_classes_with_members_are_in_the_table() -> None:
    """The other classes are dictionaries of options, exceptions without more, and a sentinel."""
    others = {"AnyOrigin", "ConnectionTimeout", "DisconnectionTimeout", "HandshakeError"}
    classes = {
        name
        for name in trio_websocket.__all__
        if inspect.isclass(getattr(trio_websocket, name)) and not name.endswith("Options")
    }
    assert classes - others == set(MEMBERS)


@pytest.mark.parametrize(("name", "parameters"), POSITIONAL.items(), ids=POSITIONAL)
def test_positional_parameters(name: str, parameters: str) -> None:
    """The positional parameters have the names and the order that programs rely on."""
    signature = inspect.signature(getattr(trio_websocket, name))
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [key for key, value in signature.parameters.items() if value.kind in kinds]
    assert found == parameters.split()


@pytest.mark.parametrize(("name", "options"), KEYWORDS.items(), ids=KEYWORDS)
def test_keyword_options(name: str, options: str) -> None:
    """The keyword options of trio-websocket are options here."""
    assert set(options.split()) <= set(getattr(trio_websocket, name).__annotations__)


def test_defaults() -> None:
    """The positional options of `wrap_server_stream` have the documented defaults."""
    signature = inspect.signature(trio_websocket.wrap_server_stream)
    found = {key: signature.parameters[key].default for key in SIZES.split()}
    assert found == {
        "message_queue_size": 16,
        "max_message_size": 2**20,
        "receive_buffer_size": None,
    }


@pytest.mark.parametrize("name", ["open_websocket", "open_websocket_url"])
def test_an_opener_is_a_plain_function(name: str) -> None:
    """It is called without await, and returns an async context manager."""
    assert not inspect.iscoroutinefunction(getattr(trio_websocket, name))


def test_what_third_parties_sniff() -> None:
    """A request has no `send_message`, a server neither `socket` nor `close`."""
    assert not hasattr(trio_websocket.WebSocketRequest, "send_message")
    server = trio_websocket.WebSocketServer(echo, [MemoryListener()])
    assert not hasattr(server, "socket")
    assert not hasattr(server, "close")


async def test_a_connection_has_the_facts() -> None:
    """The attributes of a connection, on both sides, in a program as trio-websocket knows it."""
    found = []

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        assert request.path == "/path?query"
        assert request.proposed_subprotocols == ("a", "b")
        assert (b"x-name", b"value") in request.headers
        assert isinstance(request.local, str)
        assert isinstance(request.remote, str)
        connection = await request.accept(subprotocol="b", extra_headers=[(b"X-Answer", b"42")])
        found.append(connection)
        while True:
            await connection.send_message(await connection.get_message())

    async with serving(handler, message_queue_size=math.inf) as served, trio.open_nursery() as own:
        client = await trio_websocket.wrap_client_stream(
            own,
            served.listener.connect_stream(),
            "server.example",
            "/path?query",
            subprotocols=["a", "b"],
            extra_headers=[("X-Name", "value")],
            message_queue_size=math.inf,
        )
        await client.send_message("hello")
        assert await client.get_message() == "hello"
        (server,) = found
        assert (client.is_client, client.is_server) == (True, False)
        assert (server.is_client, server.is_server) == (False, True)
        assert client.path == server.path == "/path?query"
        assert client.subprotocol == server.subprotocol == "b"
        assert (b"x-answer", b"42") in client.handshake_headers
        assert client.closed is None
        await client.aclose()
        assert client.closed == trio_websocket.CloseReason(1000, None)


@pytest.mark.parametrize(
    "error",
    [
        trio_websocket.ConnectionClosed(trio_websocket.CloseReason(1001, "bye")),
        trio_websocket.ConnectionRejected(404, ((b"name", b"value"),), b"body"),
        trio_websocket.HandshakeError("text"),
        trio_websocket.ConnectionTimeout("text"),
        trio_websocket.DisconnectionTimeout("text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_can_be_copied(error: Exception) -> None:
    """A copy and a pickle of an exception are equal to it in all they carry."""
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert twin.args == error.args
        assert vars(twin) == vars(error)
        assert (str(twin), repr(twin)) == (str(error), repr(error))


def test_an_exception_can_be_subclassed_carelessly() -> None:
    """A subclass need not call the original's `__init__`, and may set `reason`."""

    class Mine(trio_websocket.ConnectionClosed):
        def __init__(self) -> None:
            pass

    class Other(trio_websocket.ConnectionRejected):
        def __init__(self) -> None:
            pass

    mine = Mine()
    assert mine.reason is None
    assert (repr(mine), str(mine)) == ("Mine(None)", "the connection is closed")
    mine.reason = trio_websocket.CloseReason(4000, "x")
    assert str(mine) == "the connection is closed: 4000 PRIVATE_RESERVED: 'x'"
    assert repr(Other()) == "Other(status_code=0)"


def test_the_exceptions_form_a_tree() -> None:
    """Both timeouts and a rejection are handshake errors; a closed connection is none."""
    for name in ("ConnectionRejected", "ConnectionTimeout", "DisconnectionTimeout"):
        assert issubclass(getattr(trio_websocket, name), trio_websocket.HandshakeError)
    assert not issubclass(trio_websocket.ConnectionClosed, trio_websocket.HandshakeError)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1000, "NORMAL_CLOSURE"),
        (1001, "GOING_AWAY"),
        (1002, "PROTOCOL_ERROR"),
        (1003, "UNSUPPORTED_DATA"),
        (1005, "NO_STATUS_RCVD"),
        (1006, "ABNORMAL_CLOSURE"),
        (1007, "INVALID_FRAME_PAYLOAD_DATA"),
        (1008, "POLICY_VIOLATION"),
        (1009, "MESSAGE_TOO_BIG"),
        (1010, "MANDATORY_EXT"),
        (1011, "INTERNAL_ERROR"),
        (1012, "SERVICE_RESTART"),
        (1013, "TRY_AGAIN_LATER"),
        (1015, "TLS_HANDSHAKE_FAILED"),
        (1016, "RFC_RESERVED"),
        (2999, "RFC_RESERVED"),
        (3000, "IANA_RESERVED"),
        (3999, "IANA_RESERVED"),
        (4000, "PRIVATE_RESERVED"),
        (4999, "PRIVATE_RESERVED"),
        (5000, "INVALID_CODE"),
        (0, "INVALID_CODE"),
    ],
)
def test_close_reason(code: int, name: str) -> None:
    """A close reason knows its code, its name and its text, and can be compared."""
    reason = trio_websocket.CloseReason(code, "text")
    assert (reason.code, reason.name, reason.reason) == (code, name, "text")
    assert reason == trio_websocket.CloseReason(code, "text")
    assert reason != trio_websocket.CloseReason(code, None)


@pytest.mark.parametrize(
    ("address", "port", "is_ssl", "url"),
    [
        ("127.0.0.1", 80, False, "ws://127.0.0.1"),
        ("127.0.0.1", 443, False, "ws://127.0.0.1:443"),
        ("127.0.0.1", 443, True, "wss://127.0.0.1"),
        ("::1", 8765, True, "wss://[::1]:8765"),
    ],
)
def test_endpoint_url(address: str, port: int, is_ssl: bool, url: str) -> None:
    """An endpoint's URL has brackets where needed and no default port."""
    assert trio_websocket.Endpoint(ipaddress.ip_address(address), port, is_ssl).url == url


def test_the_import_name_is_no_secret() -> None:
    """The public classes and functions say that they come from this package."""
    for name in NAMES[:-1]:
        assert getattr(trio_websocket, name).__module__.split(".")[0] == "trio_ws"
    assert sys.modules["trio_ws"] is trio_websocket


async def test_a_failed_wrap_leaves_a_closed_stream() -> None:
    """`wrap_server_stream` and `wrap_client_stream` raise the errors of the handshake."""
    async with trio.open_nursery() as nursery:
        stream, peer = pair()
        await peer.aclose()
        with pytest.raises(trio_websocket.HandshakeError):
            await trio_websocket.wrap_server_stream(nursery, stream, 1, 2**16, None)
        stream, peer = pair()
        await peer.aclose()
        with pytest.raises(trio_websocket.HandshakeError):
            await trio_websocket.wrap_client_stream(nursery, stream, "server.example", "/")
