"""The core against its model, whatever is done to it, and in whatever order."""

from __future__ import annotations

import codecs
from typing import Any

import pytest
from hypothesis import Phase

from tests.protocol.stateful import run
from tests.support.breaking import Break, around, instead
from tests.support.examples import examples, first_or_all


@pytest.mark.checklist("LM10", "CL10", "CL13", "CT03", "CT04", "CT05", "FR12", "FG03", "U03")
def test_the_core_does_as_its_model() -> None:
    """Events, output, state and limits are the model's, whatever happens and in whatever order."""
    run(examples(100))


# The core broken on purpose


def _keeps_its_pong(true: Any, self: Any, *args: Any) -> None:
    late = self._late_pong
    true(self, *args)
    self._late_pong = late


def _answers_the_oldest(true: Any, self: Any, payload: bytes) -> None:
    if self._late_pong is None:
        true(self, payload)


def _forgets_its_pong(true: Any, self: Any, size: int) -> None:
    self._late_pong = None
    true(self, size)


def _forgets_the_violation(true: Any, self: Any, *, hold: bool = False) -> Any:
    event = true(self, hold=hold)
    if hold:
        self._violation = None
    return event


def _counts_no_batches(true: Any, self: Any, *args: Any) -> Any:
    counted = self.counts.messages_received
    taken = true(self, *args)
    self.counts.messages_received = counted
    return taken


def _unlimited(true: Any, self: Any, *args: Any) -> Any:
    budget, self.budget = self.budget, 2**63
    try:
        return true(self, *args)
    finally:
        self.budget = budget


def _counts_nothing(_true: Any, *_args: Any) -> None:
    """Do not count empty fragments."""


def _sends_twice(true: Any, self: Any, size: int) -> None:
    true(self, size - 1 if 1 < size < self.size else size)


def _no_offset(true: Any, data: Any, key: Any, _offset: int = 0) -> Any:
    return true(data, key)


def _says_normal(true: Any, self: Any, code: int | None, reason: str | None = None) -> None:
    true(self, code if self.close_received is None else 1000, reason)


_MACHINE = "_protocol._machine:Protocol"
_FRAMES = "_protocol._frames"
_MESSAGES = "_protocol._messages"
SABOTAGES: dict[str, Break] = {
    "a pong follows the Close": around(f"{_MACHINE}.send_close", _keeps_its_pong),
    "there is always room": instead(f"{_MACHINE}.has_room", property(lambda _: True)),
    "the end of the stream does not matter": instead(
        f"{_MACHINE}.is_open", property(lambda self: self.close_sent is None)
    ),
    "a byte is sent twice": around("_protocol._output:Output.advance", _sends_twice),
    "each Close is answered with 1000": around(f"{_MACHINE}.send_close", _says_normal),
    # Those take longer to find.
    "batches are not counted": around(f"{_MACHINE}.next_messages", _counts_no_batches),
    "the oldest ping is answered": around(f"{_MACHINE}._reply_pong", _answers_the_oldest),
    "a late pong is forgotten": around(f"{_MACHINE}.sent", _forgets_its_pong),
    "a violation that is held back is forgotten": around(
        f"{_MACHINE}.next_event", _forgets_the_violation
    ),
    "batches have no limit": around(f"{_FRAMES}:FrameReader.take_messages", _unlimited),
    "fragments have no limit together": instead(
        f"{_MESSAGES}:Assembler.budget", property(lambda self: self._max_size)
    ),
    "empty fragments are not counted": around(
        f"{_MESSAGES}:Assembler._count_empty", _counts_nothing
    ),
    "UTF-8 is judged at the end": instead(
        f"{_MESSAGES}:_utf8_decoder", codecs.getincrementaldecoder("latin-1")
    ),
    "a payload in pieces is unmasked from its beginning": around(f"{_FRAMES}:mask", _no_offset),
}


@pytest.mark.parametrize("sabotage", first_or_all(SABOTAGES, 5))
def test_a_bug_is_found(sabotage: str) -> None:
    """Each bug that is put in on purpose is found."""
    with SABOTAGES[sabotage](), pytest.raises((AssertionError, IndexError)):
        run(2000, phases=(Phase.generate,))
