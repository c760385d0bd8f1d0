"""What trio_ws promises: each row's figure, as a multiple of another's, is at most so much."""

from __future__ import annotations

from typing import Final, NamedTuple

from .contenders import TRIO_PEERS, ZLIB


class Target(NamedTuple):
    """One promise.

    Args:
        row: the row's name.
        against: the names of those it is measured against; the best of them counts.
        bound: the most that trio_ws's figure may be, as a multiple of theirs.
    """

    row: str
    against: tuple[str, ...]
    bound: float


BARE: Final = ("bare",)
WEBSOCKETS: Final = ("websockets-uvloop",)
AIOHTTP: Final = ("aiohttp-uvloop",)
PICOWS: Final = ("picows-uvloop",)

TARGETS: Final = (
    Target("pingpong1", BARE, 1.2),
    Target("pingpong1", TRIO_PEERS, 0.5),
    Target("pingpong100", BARE, 1.0),
    Target("pingpong100", TRIO_PEERS, 0.33),
    Target("pingpong100", WEBSOCKETS, 1.0),
    Target("inflight", TRIO_PEERS, 0.06),
    Target("inflight", PICOWS, 1.0),
    Target("64k", BARE, 1.5),
    Target("64k", TRIO_PEERS, 0.45),
    Target("64k", AIOHTTP, 1.0),
    Target("1m", BARE, 1.8),
    Target("1m", TRIO_PEERS, 0.45),
    Target("1m", PICOWS, 1.0),
    Target("handshake", BARE, 1.9),
    Target("handshake", TRIO_PEERS, 0.4),
    Target("handshake", AIOHTTP, 1.0),
    Target("idle", BARE, 2.2),
    Target("idle", TRIO_PEERS, 0.6),
    Target("idle", AIOHTTP, 1.0),
    Target("tls-pingpong", BARE, 1.4),
    Target("tls-pingpong", TRIO_PEERS, 0.5),
    Target("tls-pingpong", WEBSOCKETS, 1.3),
    Target("tls-64k", BARE, 1.2),
    Target("tls-64k", TRIO_PEERS, 0.9),
    Target("tls-64k", WEBSOCKETS, 1.4),
    Target("tls-inflight", TRIO_PEERS, 0.08),
    Target("tls-inflight", WEBSOCKETS, 0.3),
    Target("client-echo", TRIO_PEERS, 0.45),
    Target("client-connect", TRIO_PEERS, 0.45),
    Target("deflate", (ZLIB,), 1.2),
)
