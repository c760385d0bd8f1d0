"""Compression as a dimension of the cases: what the ends want of it, and what must come of that."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

NAME = "permessage-deflate"
FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
BITS = ("server_max_window_bits", "client_max_window_bits")


@dataclass(frozen=True)
class Deflate:
    """What an end wants of permessage-deflate, by the names of RFC 7692 section 7.1."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None  # None: the library's own choice
    client_max_window_bits: int | None = None

    def wishes(self) -> dict[str, int | bool]:
        """The parameters that differ from the library's own choice."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}


class Setup(NamedTuple):
    """What trio_ws and the peer are told to do; None is not to compress."""

    ours: Deflate | None
    theirs: Deflate | None


_SERVER_FRESH = Deflate(server_no_context_takeover=True)
_CLIENT_FRESH = Deflate(client_no_context_takeover=True)
_NINE = Deflate(server_max_window_bits=9, client_max_window_bits=9)
_FIFTEEN = Deflate(server_max_window_bits=15, client_max_window_bits=15)

SETUPS: dict[str, Setup] = {
    "": Setup(None, Deflate()),
    "deflate": Setup(Deflate(), Deflate()),
    "refused": Setup(Deflate(), None),
    "our-server-fresh": Setup(_SERVER_FRESH, Deflate()),
    "our-client-fresh": Setup(_CLIENT_FRESH, Deflate()),
    "their-server-fresh": Setup(Deflate(), _SERVER_FRESH),
    "their-client-fresh": Setup(Deflate(), _CLIENT_FRESH),
    "our-window-9": Setup(_NINE, Deflate()),
    "their-window-9": Setup(Deflate(), _NINE),
    "window-15": Setup(_FIFTEEN, _FIFTEEN),
}

# What each peer agrees on with trio_ws in that role: the windows of server and client, with "*" if
# they are empty when a message begins (no context takeover). "off": no compression; "-": the peer
# cannot be told to do its part. Some windows are what the answer says, and not what the sender
# uses: a server of trio_ws keeps to its 12 bits even if the offer leaves it no way to say so.
#                       deflate refused |---------- fresh ------------| |--window-9---| window-15
#                                       our-server      their-server    our-    their-
#                                               our-client      their-client
_NEGOTIATED = """
client websockets       12/12   off     12*/12  12/12*  12*/12  12/12*  9/9     9/9     15/15
client websockets-trio  12/12   off     12*/12  12/12*  12*/12  12/12*  9/9     9/9     15/15
client aiohttp          12/15   off     12*/15  12/15   -       -       9/15    -       15/15
client ws               12/12   off     12*/12  12/12*  12*/12  12/12*  9/9     9/9     15/15
server websockets       15/12   off     15*/12  15/12*  15*/12  15/12*  15/9    9/9     15/15
server websockets-trio  15/12   off     15*/12  15/12*  15*/12  15/12*  15/9    9/9     15/15
server aiohttp          15/12   off     15*/12  15/12*  -       -       15/9    9/12    15/15
server ws               15/12   off     15*/12  15/12*  15*/12  15/12*  15/9    9/9     15/15
server chromium         15/12   -       15*/12  15/12*  -       -       15/9    -       15/15
server firefox          15/15   -       15*/15  15/15*  -       -       15/15   -       15/15
both   trio_ws          12/12   -       -       -       -       -       -       -       -
"""

# The parameters that an endpoint can tell, if not all: `extensions` of ws and of Firefox is a name,
# and aiohttp tells the size of its own window.
TELLS: dict[tuple[str, str], tuple[str, ...]] = {
    ("firefox", "client"): (),
    ("ws", "client"): (),
    ("ws", "server"): (),
    ("aiohttp", "client"): (BITS[1],),
    ("aiohttp", "server"): (BITS[0],),
}

Parameters = dict[str, int | bool]


def parse(extensions: str) -> Parameters | None:
    """What a Sec-WebSocket-Extensions of an answer means; None if it is empty."""
    if not extensions:
        return None
    name, *parameters = (part.strip() for part in extensions.split(";"))
    assert name == NAME, extensions
    parsed: Parameters = dict.fromkeys(FLAGS, False) | dict.fromkeys(BITS, 15)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        assert name in parsed, extensions
        parsed[name] = int(value) if value else True
    return parsed


def show(agreed: Parameters | None) -> str:
    """As a cell of `_NEGOTIATED`."""
    if agreed is None:
        return "off"
    stars = ["*" if agreed[flag] else "" for flag in FLAGS]
    return f"{agreed[BITS[0]]}{stars[0]}/{agreed[BITS[1]]}{stars[1]}"


def _read_table() -> dict[tuple[str, str, str], Parameters | None]:
    """The agreements by role, peer and setup."""
    setups = [setup for setup in SETUPS if setup]
    table: dict[tuple[str, str, str], Parameters | None] = {}
    for line in _NEGOTIATED.strip().split("\n"):
        role, peer, *cells = line.split()
        table[role, peer, ""] = None
        for setup, cell in zip(setups, cells, strict=True):
            if cell != "-":
                table[role, peer, setup] = None if cell == "off" else _read_cell(cell)
    return table


def _read_cell(cell: str) -> Parameters:
    windows = cell.split("/")
    flags = dict(zip(FLAGS, (window.endswith("*") for window in windows), strict=True))
    return flags | dict(zip(BITS, (int(window.rstrip("*")) for window in windows), strict=True))


_AGREED = _read_table()


def _key(client: str, server: str, setup: str) -> tuple[str, str, str]:
    if client == server == "trio_ws":
        return "both", "trio_ws", setup
    return ("client", server, setup) if client == "trio_ws" else ("server", client, setup)


def possible(client: str, server: str, setup: str) -> bool:
    """Whether both ends can be told to do their part of the setup."""
    return _key(client, server, setup) in _AGREED


def agreed(client: str, server: str, setup: str) -> Parameters | None:
    """What the two must agree on; None is no compression."""
    return _AGREED[_key(client, server, setup)]


def told(endpoint: str, role: str, parameters: Parameters | None) -> Parameters | None:
    """The part of an agreement that an endpoint can tell."""
    if parameters is None:
        return None
    return {name: parameters[name] for name in TELLS.get((endpoint, role), parameters)}


def shrinks(data: str, client: str, server: str, setup: str, *, sender: str) -> bool:
    """Whether messages of this kind take less than half of their bytes on the wire.

    Args:
        data: "dense" in itself; "near" or "far": each repeats the one before, which is noise, and
            fits into the smallest window or only into one of 15 bits; "never": not compressed.
        client: the endpoint that is the client.
        server: the endpoint that is the server.
        setup: a name of `SETUPS`.
        sender: the role of the sender, "client" or "server".
    """
    agreement = agreed(client, server, setup)
    if agreement is None or data == "never":
        return False
    if data == "dense":
        return True
    flag, bits = f"{sender}_no_context_takeover", f"{sender}_max_window_bits"
    fresh, window = agreement[flag], agreement[bits]
    wish = SETUPS[setup].ours
    if wish is not None and (client if sender == "client" else server) == "trio_ws":
        # It also does what it wanted and could not tell; its windows have 12 bits by default.
        fresh = fresh or getattr(wish, flag)
        window = min(window, getattr(wish, bits) or 12)
    return not fresh and (data == "near" or window == 15)
