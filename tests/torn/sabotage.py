"""The library broken on purpose: replaying has to find each of these bugs.

They name what is inside the library, and nothing else of this layer but `engine` does.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any, Final, NamedTuple

from tests.support.breaking import Break, around, instead
from tests.torn.conversation import Conversation, load_all
from tests.torn.engine import same_randomness
from tests.torn.replay import Tally, check_all


class Sabotage(NamedTuple):
    """A bug.

    Args:
        name: what is wrong.
        patch: breaks the library meanwhile.
        where: conversations with this in their name find it.
    """

    name: str
    patch: Break
    where: str


def _forget_offset(true: Any, data: Any, key: Any, _offset: int = 0) -> Any:
    return true(data, key)


def _forget_rest(true: Any, self: Any, data: bytes) -> None:
    self._frames.clear()
    true(self, data)


def _twice(true: Any, self: Any, data: bytes) -> None:
    true(self, data)
    if len(data) == 1:
        true(self, data)


def _guess_length(true: Any, data: bytes, width: int) -> int:
    size: int = true(data.ljust(width, b"\0"), width)
    return size


def _reset(name: str, true: Any, self: Any, *args: Any) -> Any:
    """What is counted, or collected, begins anew with each piece."""
    setattr(self, name, type(getattr(self, name))())
    return true(self, *args)


def _tail_each(true: Any, self: Any, data: bytes, *, last: bool) -> None:
    true(self, data, last=True)


def _refuse_lone_cr(true: Any, self: Any, data: bytes) -> Any:
    return true(self, data[:-1] + b"\n" if data.endswith(b"\r") else data)


def _lose_early(true: Any, self: Any, data: bytes) -> Any:
    began = bool(self._data)
    done = true(self, data)
    return (done[0], b"") if done is not None and began else done


def _no_budget(true: Any, self: Any, *args: Any) -> Any:
    budget, self.budget = self.budget, 2**40
    try:
        return true(self, *args)
    finally:
        self.budget = budget


def _send_twice(true: Any, self: Any, size: int) -> None:
    true(self, size - 1 if 1 < size < self.size else size)


def _violation_in_whole_frames(true: Any, self: Any) -> Any:
    """A header is looked at only when six bytes of it are there."""
    return self.buffered >= 6 and true(self)


class _Impatient:
    """Decodes each piece by itself."""

    def decode(self, data: bytes) -> str:
        """As `str`."""
        return data.decode()

    def getstate(self) -> tuple[bytes, int]:
        """Nothing is ever pending."""
        return b"", 0


SABOTAGES: Final = [
    Sabotage(
        "a payload in pieces is unmasked with the key from its beginning",
        around("_protocol._frames:mask", _forget_offset),
        "own/binary",
    ),
    Sabotage(
        "of a frame that came in part nothing is kept",
        around("_protocol._machine:Protocol.receive_data", _forget_rest),
        "own/text",
    ),
    Sabotage(
        "an extended length is judged before it is whole",
        around("_protocol._frames:_least_size", _guess_length),
        "own/lengths",
    ),
    Sabotage(
        "UTF-8 is decoded piece by piece",
        instead("_protocol._messages:_utf8_decoder", _Impatient),
        "utf8/",
    ),
    Sabotage(
        "a piece of one byte is taken twice",
        around("_protocol._machine:Protocol.receive_data", _twice),
        "own/text",
    ),
    Sabotage(
        "the end of a compressed message comes with each piece",
        around("_protocol._deflate:Inflater.feed", _tail_each),
        "deflated/",
    ),
    Sabotage(
        "CR and LF in two pieces are no end of a line",
        around("_protocol._head:HeadReader.receive_data", _refuse_lone_cr),
        "requests/plain",
    ),
    Sabotage(
        "frames behind a head in pieces are lost",
        around("_protocol._head:HeadReader.receive_data", _lose_early),
        "requests/plain",
    ),
    Sabotage(
        "headers are counted anew in each piece",
        around("_protocol._head:HeadReader.receive_data", partial(_reset, "_count")),
        "many-headers",
    ),
    Sabotage(
        "of a rejection's body only the last piece is kept",
        around("_protocol._handshake_client:_Rejection.receive_data", partial(_reset, "_body")),
        "answers/",
    ),
    Sabotage(
        "messages in a batch have no limit",
        around("_protocol._frames:FrameReader.take_messages", _no_budget),
        "frames/too-big",
    ),
    Sabotage(
        "a byte is sent twice when the output is taken in pieces",
        around("_protocol._output:Output.advance", _send_twice),
        "own/pings",
    ),
    Sabotage(
        "a header is judged late",
        around("_protocol._frames:FrameReader._read_header", _violation_in_whole_frames),
        "frames/",
    ),
]


def found(sabotage: Sabotage, conversations: dict[str, Conversation]) -> list[str]:
    """The violations that replaying reports."""
    tally = Tally()
    with same_randomness(), sabotage.patch():
        for name, conversation in conversations.items():
            if sabotage.where in name and conversation.size < 5000:
                check_all(conversation, tally, number=5, seed=1, every=False)
            if tally.violations:
                break
    return tally.violations


def main() -> int:
    """Print what finds each bug; 1 if one goes unnoticed."""
    conversations = load_all()
    unnoticed = 0
    for sabotage in SABOTAGES:
        violations = found(sabotage, conversations)
        unnoticed += not violations
        first = violations[0].partition("\n")[0][:120] if violations else "UNNOTICED"
        sys.stdout.write(f"{sabotage.name}\n  {first}\n")
    sys.stdout.write(f"{len(SABOTAGES)} bugs, {unnoticed} unnoticed\n")
    return bool(unnoticed)
