"""Exchanges with other libraries: what `websockets` and `wsproto` have said to our ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

from tests.support.foreign import WebsocketsEnd, WsprotoEnd
from tests.torn import engine
from tests.torn.conversation import Conversation, record
from tests.torn.engine import Engine, Setup, Step

_LETTERS = "the quick brown fox jumps over the lazy dog "
_MIXED = "a\u00e9\u20ac\U0001f600"

# `us` and `them`; "fragments" is what they can do, and we cannot.
EXCHANGES: dict[str, list[tuple[Any, ...]]] = {
    "messages": [
        ("them", "text", "hello"),
        ("us", "text", "hello back"),
        ("them", "binary", bytes(range(200))),
        ("us", "binary", b""),
        ("them", "text", ""),
        ("them", "close", 1000, "bye"),
    ],
    "fragments": [
        ("them", "fragments", "text", [b"one ", b"", _MIXED.encode(), b""]),
        ("them", "fragments", "binary", [b"", b"", bytes(130), b"end"]),
        ("us", "text", "thanks"),
        ("us", "close", 1000, "bye"),
    ],
    "pings": [
        ("them", "ping", b""),
        ("us", "ping", b"are you there"),
        ("them", "pong", b"unasked"),
        ("them", "ping", b"p" * 125),
        ("us", "close", 4000),
    ],
    "compressible": [
        ("them", "text", _LETTERS * 3),
        ("us", "text", _LETTERS * 3),
        ("them", "text", _LETTERS * 3),
        ("them", "fragments", "binary", [_LETTERS.encode(), b"", _LETTERS.encode() * 2]),
        ("them", "ping", b"between"),
        ("them", "text", _MIXED * 20),
        ("them", "close", 1001),
    ],
    "empty-close": [("us", "text", "one"), ("them", "close", None)],
    "our-empty-close": [("them", "text", "one"), ("us", "close", None)],
    "close-without-a-word": [("us", "close", 1000, "at once")],
}


def conversations() -> Iterator[Conversation]:
    """Each exchange with each library, in both roles, with compression and without."""
    chat = ("chat",)
    # Their random numbers and the time of the day.
    patches = {"secrets.token_bytes": engine.repeatable, "email.utils.formatdate": _date}
    for name, value in patches.items():
        mock.patch(name, value).start()
    try:
        for library, end in (("websockets", WebsocketsEnd), ("wsproto", WsprotoEnd)):
            for role, other in (("client", "server"), ("server", "client")):
                for deflate in (False, True):
                    setup = Setup(
                        role, opening=True, subprotocols=chat, deflate={} if deflate else None
                    )
                    for name, exchange in EXCHANGES.items():
                        them = end(other, opening=True, deflate=deflate, subprotocols=chat)
                        kind = "deflate-" if deflate else ""
                        steps = _play(Engine(setup), them, exchange)
                        yield record(f"{library}/{kind}{name}-{role}", setup, steps)
    finally:
        mock.patch.stopall()


def _date(**_: object) -> str:
    return "Thu, 01 Jan 1970 00:00:00 GMT"


def _play(us: Engine, them: Any, exchange: list[tuple[Any, ...]]) -> list[Step]:
    steps: list[Step] = []
    _carry(us, them, steps)
    for who, *action in exchange:
        if who == "us":
            us.do(*action)
            steps.append(action)
        elif action[0] == "fragments":
            them.fragments(*action[1:])
        else:
            them.do(*action)
        _carry(us, them, steps)
    return steps


def _carry(us: Engine, them: Any, steps: list[Step]) -> None:
    while True:
        ours, theirs = us.flush(), them.flush()
        if not ours and not theirs:
            return
        if ours:
            them.feed(ours)
        if theirs:
            us.feed(theirs)
            steps.append(["in", theirs])
