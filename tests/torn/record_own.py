"""Exchanges between two ends, each recorded as the conversations of both.

An exchange is a list of turns; a turn is what the ends do before their bytes go over to each other.
`c` is the client, `s` is the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.torn.conversation import Conversation, record
from tests.torn.engine import Engine, Setup, Step, restart

Turn = list[tuple[Any, ...]]
_HEAD = "abcdefghijklmnopqrstuvwxyz "
_MIXED = "a\u00e9\u20ac\U0001f600\x00\uffff"  # UTF-8 of one to four bytes, NUL, a noncharacter

EXCHANGES: dict[str, list[Turn]] = {
    "nothing": [],
    "text": [[("c", "text", "hello")], [("s", "text", "hello back")]],
    "empty": [[("c", "text", "")], [("s", "binary", b"")], [("c", "binary", b"")]],
    "binary": [[("s", "binary", bytes(range(256)))], [("c", "binary", bytes(range(255, -1, -1)))]],
    "unicode": [[("c", "text", _MIXED * 3)], [("s", "text", _MIXED * 3)]],
    "lengths": [
        [("c", "binary", bytes([size % 251]) * size), ("s", "binary", bytes([size % 249]) * size)]
        for size in (1, 2, 3, 124, 125, 126, 127, 128)
    ],
    "length-65535": [[("c", "binary", b"x" * 65535)], [("s", "binary", b"y" * 65535)]],
    "length-65536": [[("c", "binary", b"x" * 65536)], [("s", "binary", b"y" * 65536)]],
    "many": [
        [("c", "text", str(n)) for n in range(20)],
        [("s", "binary", b"%d" % n) for n in range(20)],
    ],
    "both-at-once": [[("c", "text", f"c{n}"), ("s", "text", f"s{n}")] for n in range(6)],
    "pings": [[("c", "ping", b"")], [("s", "ping", b"are you there")], [("c", "ping", b"p" * 125)]],
    "pings-at-once": [[("c", "ping", b"%d" % n) for n in range(5)] + [("s", "ping", b"x")]],
    "pongs": [[("c", "pong", b"unasked"), ("s", "pong", b"")]],
    "pings-between": [
        [("c", "text", "a"), ("c", "ping", b"1"), ("c", "text", "b"), ("s", "ping", b"2")]
    ],
    "client-closes": [[("c", "text", "last")], [("c", "close", 1000, "bye")]],
    "server-closes": [[("s", "text", "last")], [("s", "close", 1001, "away")]],
    "close-empty": [[("c", "close", None)], [("s", "eof"), ("c", "eof")]],
    "close-empty-by-server": [[("s", "close", None)], [("c", "eof"), ("s", "eof")]],
    "close-both": [[("c", "close", 1000), ("s", "close", 4000, "mine")]],
    "close-after-ping": [[("c", "ping", b"!"), ("c", "close", 1000), ("s", "text", "crossing")]],
    "data-after-close": [[("s", "close", 1000)], [("c", "text", "too late")]],
    "messages-cross-close": [
        [("c", "text", "crosses"), ("c", "text", "too"), ("s", "close", 1001)]
    ],
    "reason-123": [[("s", "close", 4999, "r" * 123)]],
    "reason-unicode": [[("c", "close", 3000, _MIXED)]],
    "eof-at-once": [[("c", "eof")], [("s", "eof")]],
    "eof-after-messages": [[("s", "text", "one"), ("s", "text", "two")], [("c", "eof")]],
    "discards": [[("s", "discard")], [("c", "text", "unwanted"), ("c", "close", 1000)]],
    "fails": [[("s", "fail", 1011, "out of luck")], [("c", "text", "late")]],
    "refuses-binary": [[("c", "binary", b"no")], [("s", "fail", 1003, "text only")]],
}
for _code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999):
    _side = "c" if _code % 2 else "s"
    EXCHANGES[f"close-{_code}"] = [[("c", "text", "x")], [(_side, "close", _code, "why")]]

_TEXTS = [_HEAD * 3, _HEAD * 3, "short", _HEAD * 8, "", _MIXED * 9]
DEFLATED: list[Turn] = [
    *([("c", "text", text, True), ("s", "text", text, True)] for text in _TEXTS),
    [("c", "ping", b"between")],
    [("s", "binary", b"as it is" * 20, False), ("s", "binary", b"small" * 30, True)],
    [("c", "binary", bytes(range(256)), True)],
    [("c", "close", 1000)],
]
AGREEMENTS: dict[str, dict[str, Any]] = {
    "takeover": {},
    "no-takeover": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "server-forgets": {"server_no_context_takeover": True},
    "client-forgets": {"client_no_context_takeover": True},
    "window-9": {"server_max_window_bits": 9, "client_max_window_bits": 9},
    "window-15": {"server_max_window_bits": 15, "client_max_window_bits": 15},
    "windows-9-and-15": {"server_max_window_bits": 9, "client_max_window_bits": 15},
    "stored": {"level": 0},
}


def play(name: str, client: Setup, server: Setup, turns: list[Turn]) -> Iterator[Conversation]:
    """Let two ends of ours talk; yield what each of them has seen."""
    restart()
    ends = {"c": Engine(client), "s": Engine(server)}
    steps: dict[str, list[Step]] = {"c": [], "s": []}
    _carry(ends, steps)
    for turn in turns:
        for side, *action in turn:
            ends[side].do(*action)
            steps[side].append(list(action))
        _carry(ends, steps)
    yield record(f"own/{name}-client", client, steps["c"])
    yield record(f"own/{name}-server", server, steps["s"])


def _carry(ends: dict[str, Engine], steps: dict[str, list[Step]]) -> None:
    """Take the bytes of each end over to the other, until there are none."""
    waiting = {side: end.flush() for side, end in ends.items()}
    while any(waiting.values()):
        arriving = {"c": waiting["s"], "s": waiting["c"]}
        for side, data in arriving.items():
            if data:
                ends[side].feed(data)
                steps[side].append(["in", data])
        waiting = {side: end.flush() for side, end in ends.items()}


def conversations() -> Iterator[Conversation]:
    """All that our own ends have to say to each other."""
    for name, turns in EXCHANGES.items():
        yield from play(name, Setup("client"), Setup("server"), turns)
    opening = Setup("", opening=True)
    for name in ("nothing", "text", "many", "client-closes", "server-closes", "close-both"):
        client, server = replace(opening, role="client"), replace(opening, role="server")
        yield from play(f"opened-{name}", client, server, EXCHANGES[name])
    offered, spoken = ("chat.v2", "chat.v1"), ("chat.v1", "other")
    for name, server_speaks in (("subprotocol", spoken), ("no-common-subprotocol", ("other",))):
        client = replace(opening, role="client", subprotocols=offered)
        server = replace(opening, role="server", subprotocols=server_speaks)
        yield from play(name, client, server, EXCHANGES["text"])
    for name, wish in AGREEMENTS.items():
        client = replace(opening, role="client", deflate={"threshold": 0, **wish})
        server = replace(opening, role="server", deflate={"threshold": 0, **wish})
        yield from play(f"deflate-{name}", client, server, DEFLATED)
    client = replace(opening, role="client", deflate={})
    yield from play("deflate-refused", client, replace(opening, role="server"), DEFLATED)
    client = Setup("client", limits={"send_buffer_size": 4})
    server = Setup("server", limits={"send_buffer_size": 4})
    yield from play("no-room-for-pongs", client, server, EXCHANGES["pings-at-once"])
