"""What a connection tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ._protocol._headers import Extension


class Opening(NamedTuple):
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
        uncompressed_bytes_sent: bytes of the messages that were sent compressed, as ``send`` got
            them (a text's UTF-8). Messages that were sent as they are count in neither figure.
        compressed_bytes_sent: what they were compressed to, without the headers of their frames.
        uncompressed_bytes_received: bytes of the compressed messages that were received whole, as
            ``receive`` gives them.
        compressed_bytes_received: what they had come as, without the headers of their frames.
    """

    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int
    messages_queued: int
    bytes_queued: int
    bytes_buffered: int
    latency: float | None
    uncompressed_bytes_sent: int = 0
    compressed_bytes_sent: int = 0
    uncompressed_bytes_received: int = 0
    compressed_bytes_received: int = 0

    @property
    def compression_ratio_sent(self) -> float | None:
        """How many times fewer bytes compression made of the messages it was used for.

        4.0 is a quarter. None before the first compressed message, so always without compression.
        """
        return _ratio(self.uncompressed_bytes_sent, self.compressed_bytes_sent)

    @property
    def compression_ratio_received(self) -> float | None:
        """The same of the peer's messages."""
        return _ratio(self.uncompressed_bytes_received, self.compressed_bytes_received)


def _ratio(uncompressed: int, compressed: int) -> float | None:
    return uncompressed / compressed if compressed else None
