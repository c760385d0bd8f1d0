"""The rows of the tables: what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .contenders import Contender


@dataclass(frozen=True)
class Row:
    """One kind of work.

    Args:
        name: as the command line has it.
        title: as the tables have it.
        kind: ``echo``, ``handshake``, ``idle``, ``client`` or ``deflate``.
        conns: connections; those open at the same time.
        size: bytes of a message.
        window: messages in flight on each connection.
        fragments: frames of a message.
        tls: over TLS.
        work: what a client does.
    """

    name: str
    title: str
    kind: str = "echo"
    conns: int = 1
    size: int = 64
    window: int = 1
    fragments: int = 1
    tls: bool = False
    work: str = ""

    @property
    def unit(self) -> str:
        """The unit of the figure."""
        return "KiB" if self.kind == "idle" else "µs"

    def takes(self, contender: Contender) -> bool:
        """Whether a contender takes part."""
        if self.kind == "client":
            return contender.client
        if self.kind == "deflate":
            return contender.deflate
        return contender.tls or not self.tls


ROWS: Final = (
    Row("pingpong1", "ping-pong 64 B, 1 connection"),
    Row("pingpong100", "ping-pong 64 B, 100 connections", conns=100),
    Row("inflight", "256 in flight, 64 B", window=256),
    Row("64k", "64 KiB, 4 in flight", size=64 * 1024, window=4),
    Row("1m", "1 MiB, 2 in flight", size=2**20, window=2),
    Row("handshake", "opening and closing handshake", "handshake"),
    Row("idle", "memory of an idle connection", "idle", conns=1000),
    Row("tls-pingpong", "TLS, ping-pong 64 B, 1 connection", tls=True),
    Row("tls-64k", "TLS, 64 KiB, 4 in flight", size=64 * 1024, window=4, tls=True),
    Row("tls-inflight", "TLS, 64 in flight, 64 B", window=64, tls=True),
    Row("client-echo", "client: echo round trip 64 B", "client", work="echo"),
    Row("client-connect", "client: connect and close", "client", work="connect"),
    Row("deflate", "compression, 4 KiB of text, 16 in flight", "deflate", size=4096, window=16),
)
ROW_NAMES: Final = tuple(row.name for row in ROWS)
