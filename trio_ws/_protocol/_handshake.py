"""The opening handshake over HTTP/1.1 (RFC 6455 section 4): what the other modules use of it."""

from ._handshake_client import ClientHandshake, Response
from ._handshake_server import BadRequest, Request, ServerHandshake, Upgrade, upgrade_required
from ._head import HandshakeFailure, HeadLimits
from ._url import Target, parse_url

__all__ = [
    "BadRequest",
    "ClientHandshake",
    "HandshakeFailure",
    "HeadLimits",
    "Request",
    "Response",
    "ServerHandshake",
    "Target",
    "Upgrade",
    "parse_url",
    "upgrade_required",
]
