"""Writes the recordings: ``python -m tests.torn --record``."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re

from tests.torn import record_foreign, record_hostile, record_own
from tests.torn.conversation import RECORDINGS, save
from tests.torn.engine import Engine, Setup, restart, same_randomness

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def right_accept() -> str:
    """The Sec-WebSocket-Accept that goes with the key of a client's first request."""
    restart()
    request = Engine(Setup("client", opening=True)).flush()
    key = re.search(rb"Sec-WebSocket-Key: (.*)\r\n", request)
    assert key is not None
    return base64.b64encode(hashlib.sha1(key[1] + _GUID).digest()).decode()


def write() -> int:
    """Write all recordings anew; return how many there are."""
    count = 0
    with same_randomness():
        found = [
            *record_own.conversations(),
            *record_foreign.conversations(),
            *record_hostile.conversations(right_accept()),
        ]
    for old in RECORDINGS.glob("*.json"):
        old.unlink()
    for file, items in itertools.groupby(
        sorted(found, key=lambda item: item.name), key=lambda item: item.name.partition("/")[0]
    ):
        conversations = list(items)
        save(file, conversations)
        count += len(conversations)
    return count
