"""WebSocket for Trio: clients and servers whose connections live in nurseries."""

from ._client import (
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    wrap_client_stream,
)
from ._connection import WebSocketConnection
from ._endpoint import Endpoint
from ._errors import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
)
from ._facts import ConnectionStatistics
from ._options import ClientOptions, CommonOptions, ConnectionOptions, Limits, OriginOptions
from ._protocol._deflate import PerMessageDeflate
from ._protocol._negotiation import AnyOrigin, any_origin, check_basic_auth
from ._request import HTTPRequest, HTTPResponse, WebSocketRequest, wrap_server_stream
from ._server import ServerOptions, WebSocketServer, serve_websocket
from ._unix import open_unix_listener
from ._version import __version__

__all__ = [
    "AnyOrigin",
    "ClientOptions",
    "CloseReason",
    "CommonOptions",
    "ConnectionClosed",
    "ConnectionOptions",
    "ConnectionRejected",
    "ConnectionStatistics",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HTTPRequest",
    "HTTPResponse",
    "HandshakeError",
    "Limits",
    "OriginOptions",
    "PerMessageDeflate",
    "ServerOptions",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
    "__version__",
    "any_origin",
    "check_basic_auth",
    "connect_websocket",
    "connect_websocket_url",
    "open_unix_listener",
    "open_websocket",
    "open_websocket_url",
    "serve_websocket",
    "wrap_client_stream",
    "wrap_server_stream",
]
