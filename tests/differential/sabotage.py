"""The core broken on purpose: beside the others, each bug shows."""

from __future__ import annotations

import codecs
import sys
from typing import Any, Final, NamedTuple

from tests.differential.compare import Tally, compare
from tests.differential.frames import Sequence
from tests.differential.sequences import systematic
from tests.support.breaking import Break, around, instead


class Sabotage(NamedTuple):
    """A bug.

    Args:
        name: what is wrong.
        patch: breaks the library meanwhile.
        where: systematic sequences with this in their name find it.
    """

    name: str
    patch: Break
    where: str


def _nothing(_true: Any, *_args: Any) -> None:
    """Check nothing."""


def _any_code(_true: Any, code: int) -> bool:
    return 1000 <= code <= 4999


def _code_only(true: Any, payload: bytes) -> Any:
    return true(payload[:2])


def _one_byte(true: Any, payload: bytes) -> Any:
    return true(payload if len(payload) != 1 else b"")


def _any_length(true: Any, data: bytes, width: int) -> int:
    try:
        size: int = true(data, width)
    except Exception:
        size = int.from_bytes(data, "big") << 8 * (width - len(data))
    return size


def _pong_of_all(true: Any, self: Any, payload: bytes) -> None:
    true(self, payload[:-1])


def _normal_reply(true: Any, self: Any, code: int | None, reason: str | None = None) -> None:
    true(self, code if self.close_received is None else 1000, reason)


def _no_reply(true: Any, self: Any, code: int | None, reason: str | None = None) -> None:
    if self.close_received is None:
        true(self, code, reason)


def _unlimited(true: Any, self: Any, *args: Any) -> Any:
    self.budget = 2**63
    return true(self, *args)


def _fresh_window(true: Any, self: Any) -> None:
    true(self)
    self._context = None


SABOTAGES: Final = [
    Sabotage(
        "the first byte is not checked",
        around("_protocol._frames:FrameReader._check_first", _nothing),
        "first byte",
    ),
    Sabotage(
        "masking and length of control frames are not checked",
        around("_protocol._frames:FrameReader._check_second", _nothing),
        "wrong masking",
    ),
    Sabotage(
        "every close code is taken",
        around("_protocol._frames:is_sendable", _any_code),
        "close 1005",
    ),
    Sabotage(
        "the reason of a Close is not looked at",
        around("_protocol._machine:decode_close", _code_only),
        "close",
    ),
    Sabotage(
        "a Close of one byte is an empty one",
        around("_protocol._machine:decode_close", _one_byte),
        "close of 1 byte",
    ),
    Sabotage(
        "a length of 64 bits may be over 63",
        around("_protocol._frames:_least_size", _any_length),
        "length 9",
    ),
    Sabotage(
        "UTF-8 is judged when a message is whole",
        instead("_protocol._messages:_utf8_decoder", codecs.getincrementaldecoder("latin-1")),
        "begun",
    ),
    Sabotage(
        "a pong lacks a byte",
        around("_protocol._machine:Protocol._reply_pong", _pong_of_all),
        "ping",
    ),
    Sabotage(
        "each Close is answered with 1000",
        around("_protocol._machine:Protocol.send_close", _normal_reply),
        "close 4000",
    ),
    Sabotage(
        "a Close is not answered",
        around("_protocol._machine:Protocol.send_close", _no_reply),
        "close 1000",
    ),
    Sabotage(
        "a message has no limit",
        around("_protocol._frames:FrameReader._read_header", _unlimited),
        "limit",
    ),
    Sabotage(
        "the window is lost after each message",
        around("_protocol._deflate:Inflater.finish", _fresh_window),
        "deflate: compressed",
    ),
]


def found(sabotage: Sabotage, sequences: list[Sequence]) -> list[str]:
    """The violations that comparing reports."""
    tally = Tally()
    with sabotage.patch():
        for sequence in sequences:
            if sabotage.where in sequence.name:
                compare(sequence, tally)
            if tally.violations:
                break
    return tally.violations


def main() -> int:
    """Print what finds each bug; 1 if one goes unnoticed."""
    sequences = systematic()
    unnoticed = 0
    for sabotage in SABOTAGES:
        violations = found(sabotage, sequences)
        unnoticed += not violations
        sys.stdout.write(
            f"{sabotage.name}\n  {violations[0][:150] if violations else 'UNNOTICED'}\n"
        )
    sys.stdout.write(f"{len(SABOTAGES)} bugs, {unnoticed} unnoticed\n")
    return bool(unnoticed)
