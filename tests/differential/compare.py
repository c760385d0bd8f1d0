"""Feeds a sequence to an end of each library, and compares what they make of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, NamedTuple

from tests.differential.frames import Sequence
from tests.differential.table import ANY, TABLE, Row
from tests.protocol import wire
from tests.support.foreign import ForeignEnd, WebsocketsEnd, WsprotoEnd
from tests.torn.engine import Engine, Setup

LIBRARIES = ("wsproto", "websockets")
_AGREED = (15, True, 15, True)
_KINDS = {1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


class Outcome(NamedTuple):
    """What an end makes of a sequence: events, and the frames that it sends."""

    events: list[list[Any]]
    answers: list[list[Any]]


class Disagreement(NamedTuple):
    """The first thing that two ends do not agree on."""

    library: str
    sequence: Sequence
    ours: str
    theirs: str


@dataclass
class Tally:
    """What was compared so far."""

    sequences: int = 0
    comparisons: int = 0
    explained: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def pieces(sequence: Sequence) -> Iterator[list[bytes]]:
    """The bytes of a sequence whole, one by one, and in random pieces."""
    data = sequence.data
    yield [data]
    if len(data) < 500:
        yield [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(sequence.name)
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(3))
    yield [data[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True) if data[a:b]]


def _foreign(library: str, sequence: Sequence) -> ForeignEnd:
    agreed = _AGREED if sequence.deflate else None
    if library == "wsproto":
        return WsprotoEnd(sequence.role, agreed=agreed)
    return WebsocketsEnd(sequence.role, agreed=agreed, max_size=sequence.max_size or 2**20)


def play(library: str, sequence: Sequence, data: list[bytes]) -> Outcome:
    """What an end makes of the pieces of a sequence; an empty library is ours."""
    end: Any
    if library:
        end = _foreign(library, sequence)
    else:
        limits = {"max_message_size": sequence.max_size} if sequence.max_size else {}
        agreement = _AGREED if sequence.deflate else None
        end = Engine(Setup(sequence.role, agreement=agreement, limits=limits))
    sent = b""
    if sequence.closing:
        end.do("close", 1000, "")
        sent += end.flush()
    for piece in data:
        end.feed(piece)
        sent += end.flush()
    # The words of a failure are everybody's own.
    events = [event[:2] if event[0] == "failure" else event for event in end.events]
    answers = [_answer(frame, events) for frame in wire.parse(sent)]
    return Outcome(events, answers)


def _answer(frame: wire.Frame, events: list[list[Any]]) -> list[Any]:
    kind, payload = _KINDS[frame.opcode], frame.payload
    if kind != "close":
        return [kind, payload]
    failed = bool(events) and events[-1][0] == "failure"
    code = int.from_bytes(payload[:2], "big") if payload else 1005
    return [kind, code, b"" if failed else payload[2:]]


def difference(ours: Outcome, theirs: Outcome) -> tuple[str, str] | None:
    """The first difference, ours and theirs: of the events, or else of the answers."""
    for what, one, other in zip(("", "answer: "), ours, theirs, strict=True):
        for number in range(max(len(one), len(other))):
            mine = one[number] if number < len(one) else ["nothing"]
            foreign = other[number] if number < len(other) else ["nothing"]
            if mine != foreign:
                return f"{what}{_brief(mine, foreign)}", f"{what}{_brief(foreign, mine)}"
    return None


def _brief(event: list[Any], other: list[Any]) -> str:
    """Its kind and its code, or that only the reason of the Close is another."""
    if event[0] == "close" and event[:2] == other[:2]:
        return "other reason"
    return f"{event[0]} {event[1]}" if event[0] in ("close", "failure") else str(event[0])


def compare(sequence: Sequence, tally: Tally, libraries: tuple[str, ...] = LIBRARIES) -> None:
    """Compare the outcomes of a sequence, in each of its pieces, and note what is not explained."""
    tally.sequences += 1
    whole: Outcome | None = None
    for data in pieces(sequence):
        ours = play("", sequence, data)
        whole = whole or ours
        if ours != whole:
            tally.violations.append(f"{sequence.name}: torn, ours is {ours} instead of {whole}")
        for library in libraries:
            if library == "wsproto" and sequence.max_size:
                continue  # it has no limit
            tally.comparisons += 1
            found = difference(ours, play(library, sequence, data))
            if found is not None:
                _explain(Disagreement(library, sequence, *found), tally)


def _explain(found: Disagreement, tally: Tally) -> None:
    row = next((row for row in TABLE if _fits(row, found)), None)
    if row is not None:
        tally.explained[row.name] = tally.explained.get(row.name, 0) + 1
        return
    sequence = found.sequence
    tally.violations.append(
        f"{sequence.name} ({sequence.role}): trio_ws: {found.ours}, {found.library}: "
        f"{found.theirs}, which the table does not explain; {sorted(sequence.facts())}"
    )


def _fits(row: Row, found: Disagreement) -> bool:
    return (
        found.library in row.libraries
        and any(fnmatch(found.ours, pattern) for pattern in row.ours)
        and any(fnmatch(found.theirs, pattern) for pattern in row.theirs)
        and (row.facts == ANY or not found.sequence.facts().isdisjoint(row.facts))
    )
