"""What goes wrong, as exceptions that also are Trio's."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from ._protocol._frames import CloseCode


@dataclass(frozen=True)
class CloseReason:
    """Why a connection closed (RFC 6455 sections 7.1.5 and 7.1.6).

    Args:
        code: the close code; 1005 if the Close frame had none, 1006 if there was no Close frame.
        reason: the text beside it, or None.
    """

    code: int
    reason: str | None = None

    @property
    def name(self) -> str:
        """The name of the code, or of the range that it lies in (RFC 6455 section 7.4.2)."""
        try:
            return CloseCode(self.code).name
        except ValueError:
            pass
        for first, last, name in _CODE_RANGES:
            if first <= self.code <= last:
                return name
        return "INVALID_CODE"


_CODE_RANGES = (
    (1000, 2999, "RFC_RESERVED"),
    (3000, 3999, "IANA_RESERVED"),
    (4000, 4999, "PRIVATE_RESERVED"),
)


class HandshakeError(Exception):
    """The opening handshake did not lead to a connection; the message and ``__cause__`` say why."""


class ConnectionTimeout(HandshakeError):
    """The opening handshake took longer than ``connect_timeout``."""


class DisconnectionTimeout(HandshakeError):
    """The closing handshake took longer than ``disconnect_timeout``; the connection is closed."""


class ConnectionRejected(HandshakeError):
    """The server answered with a status other than 101 (RFC 6455 section 4.1).

    Args:
        status_code: the HTTP status.
        headers: the response's headers, names in lower case.
        body: the response's body, cut at ``Limits.max_rejection_size`` bytes.
    """

    status_code: int = 0
    headers: tuple[tuple[bytes, bytes], ...] | None = None
    body: bytes | None = None

    def __init__(
        self,
        status_code: int,
        headers: tuple[tuple[bytes, bytes], ...] | None,
        body: bytes | None,
    ) -> None:
        super().__init__(status_code, headers, body)
        self.status_code = status_code
        self.headers = headers
        self.body = body

    def __str__(self) -> str:
        return f"the server answered {self.status_code} instead of 101"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(status_code={self.status_code})"


class ConnectionClosed(Exception):
    """The connection is closed, or closing, so nothing can be sent or received.

    It is never raised as such, always as a class that is one of Trio's exceptions too:
    `trio.ClosedResourceError` if this side closed it, `trio.EndOfChannel` (out of a send:
    `trio.BrokenResourceError`) if the peer did, `trio.BrokenResourceError` if it was lost, when
    ``__cause__`` says why, or failed because the peer broke the protocol, as `reason` says.

    Args:
        reason: how it closed.
    """

    reason: CloseReason | None = None

    def __init__(self, reason: CloseReason | None) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        if self.reason is None:
            return "the connection is closed"
        text = f": {self.reason.reason!r}" if self.reason.reason else ""
        return f"the connection is closed: {self.reason.code} {self.reason.name}{text}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason!r})"


class ClosedHere(ConnectionClosed, trio.ClosedResourceError):
    """This side closed the connection."""


class ClosedByPeer(ConnectionClosed, trio.EndOfChannel):
    """The peer closed the connection, and all that it sent before was received."""


class ClosedByPeerOnSend(ConnectionClosed, trio.BrokenResourceError):
    """The peer closed the connection: it takes no more messages."""


class ConnectionLost(ConnectionClosed, trio.BrokenResourceError):
    """The connection broke off without a Close frame, or was failed for a violation."""
