"""Who takes part, and in what."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Contender:
    """A library, or what it is measured against.

    Args:
        name: as the tables and the command line have it.
        module: its module in `servers` and in `clients`.
        packages: what must be installed.
        arguments: the command line of its server and client.
        environment: environment variables of its processes.
        raw: its server echoes bytes and knows no WebSocket.
        tls: its server is measured over TLS, too.
        deflate: its server is measured with compression, too.
        client: there is a client.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    raw: bool = False
    tls: bool = True
    deflate: bool = True
    client: bool = True

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


UVLOOP: Final = ("--uvloop",)
PURE: Final = {"TRIO_WS_NO_EXTENSION": "1"}

CONTENDERS: Final = (
    Contender("trio_ws", "trio_ws", ("trio_ws",)),
    Contender("trio_ws-pure", "trio_ws", ("trio_ws",), environment=PURE),
    Contender("bare", "bare", ("trio",), raw=True, deflate=False, client=False),
    Contender("trio-websocket", "trio_websocket", ("trio_websocket",), deflate=False),
    Contender("websockets-trio", "websockets_trio", ("websockets",)),
    Contender("websockets-asyncio", "websockets_asyncio", ("websockets",)),
    Contender("websockets-uvloop", "websockets_asyncio", ("websockets", "uvloop"), UVLOOP),
    Contender("aiohttp-uvloop", "aiohttp", ("aiohttp", "uvloop"), UVLOOP),
    Contender("picows-uvloop", "picows", ("picows", "uvloop"), UVLOOP, deflate=False),
)
NAMES: Final = tuple(contender.name for contender in CONTENDERS)
OURS: Final = ("trio_ws", "trio_ws-pure")
TRIO_PEERS: Final = ("trio-websocket", "websockets-trio")
# What compression is measured against: no server, only zlib.
ZLIB: Final = "zlib"
