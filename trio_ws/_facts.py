"""What a connection tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

from ._protocol._headers import Extension


@dataclass(frozen=True)
class Opening:
    """What the opening handshake has settled."""

    path: str
    subprotocol: str | None
    headers: tuple[tuple[bytes, bytes], ...]
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True)
class ConnectionStatistics:
    """A snapshot of what a connection has done, from `WebSocketConnection.statistics`.

    Args:
        bytes_sent: bytes that the kernel or the stream has taken.
        bytes_received: bytes that were read.
        messages_sent: messages that ``send`` has taken over.
        messages_received: whole messages that were parsed.
        messages_queued: messages that wait for ``receive``.
        bytes_queued: their bytes.
        bytes_buffered: bytes that were taken over, and that the kernel has not taken yet.
        latency: seconds between the last answered ping and its pong, or None.
    """

    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int
    messages_queued: int
    bytes_queued: int
    bytes_buffered: int
    latency: float | None
