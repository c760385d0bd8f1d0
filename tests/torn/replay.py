"""Replays conversations with their input torn, and compares what comes of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.torn.conversation import Conversation, summary
from tests.torn.engine import Engine, Event, restart

# Of a longer input only its first and last bytes are cut one by one, unless all is wanted.
_EDGE = 150


class Tear(NamedTuple):
    """How the input of a conversation is torn.

    Args:
        cuts: where, as numbers of bytes since its beginning.
        batched: messages are taken in batches where the core can do that.
        drain_step: which size of the pieces that the output is taken in.
    """

    cuts: tuple[int, ...] = ()
    batched: bool = False
    drain_step: int = 0

    def command(self, name: str) -> str:
        """The command that replays it."""
        cuts = f" --cuts {','.join(map(str, self.cuts))}" if self.cuts else " --whole"
        batched = " --batched" if self.batched else ""
        return f"python -m tests.torn {name}{cuts}{batched} --drain-step {self.drain_step}"


class Outcome(NamedTuple):
    """What came of a replay."""

    events: list[Event]
    out: bytes
    state: dict[str, Any]


@dataclass
class Tally:
    """Replays and violations so far."""

    conversations: int = 0
    replays: int = 0
    violations: list[str] = field(default_factory=list)


def replay(conversation: Conversation, tear: Tear) -> tuple[Outcome, Engine]:
    """Play a conversation with its input torn."""
    restart()
    engine = Engine(conversation.setup, batched=tear.batched, drain_step=tear.drain_step)
    out = bytearray(engine.flush())
    cuts = [*reversed(tear.cuts)]
    pos = 0
    for what, *arguments in conversation.steps:
        if what == "in":
            data = arguments[0]
            begin, pos = pos, pos + len(data)
            last = begin
            while cuts and cuts[-1] < pos:
                cut = cuts.pop()
                if cut > last:
                    engine.feed(data[last - begin : cut - begin])
                    last = cut
            engine.feed(data[last - begin :])
        else:
            engine.do(what, *arguments)
        out += engine.flush()
    return Outcome(engine.events, bytes(out), engine.state()), engine


def tears(
    conversation: Conversation, *, number: int, seed: int, every: bool = True
) -> Iterator[Tear]:
    """Ways to tear a conversation: whole, in bytes, in two at each boundary, at random.

    Args:
        conversation: which.
        number: how many at random.
        seed: of the random numbers.
        every: each boundary, both with messages in batches and one by one; else the boundaries of a
            long input's middle are left out, and each boundary gets one of the two.
    """
    size = conversation.size
    cuts = [*range(1, size)]
    if not every and size > 2 * _EDGE:
        cuts = [*cuts[:_EDGE], *cuts[-_EDGE:]]
    for batched in (False, True):
        yield Tear((), batched)
        yield Tear(tuple(cuts), batched)
    for cut in cuts:
        yield Tear((cut,), cut % 2 == 0)
        if every:
            yield Tear((cut,), cut % 2 == 1)
    dice = random.Random(f"{conversation.name} {seed}")
    for _ in range(number if size > 1 else 0):
        count = dice.randint(1, min(size - 1, dice.choice([4, 20, 200])))
        at = tuple(sorted(dice.sample(range(1, size), count)))
        yield Tear(at, dice.random() < 0.5, dice.randrange(4))


def differences(wanted: Outcome, found: Outcome) -> str:
    """What is not the same, in words; empty if all is."""
    different = []
    for number, (one, other) in enumerate(zip(wanted.events, found.events, strict=False)):
        if one != other:
            different.append(f"event {number} is {other!r:.80} instead of {one!r:.80}")
            break
    else:
        if len(wanted.events) != len(found.events):
            different.append(f"{len(found.events)} events instead of {len(wanted.events)}")
    if wanted.out != found.out:
        pairs = zip(wanted.out, found.out, strict=False)
        short = min(len(wanted.out), len(found.out))
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), short)
        different.append(f"what is sent differs at byte {at}")
    for key in wanted.state.keys() | found.state.keys():
        before, after = wanted.state.get(key), found.state.get(key)
        if before != after:
            different.append(f"{key} is {after} instead of {before}")
    return ", ".join(different)


def check(conversation: Conversation, tear: Tear) -> str:
    """Replay a conversation torn; what differs from the whole one, or from what was recorded."""
    whole, engine = replay(conversation, Tear())
    recorded = summary(whole.events, whole.out, engine)
    for key, value in conversation.expected.items():
        if recorded[key] != value:
            return f"{key} are {recorded[key]}, and were recorded as {value}"
    return differences(whole, replay(conversation, tear)[0])


def check_all(conversation: Conversation, tally: Tally, **how: Any) -> None:
    """Tear a conversation in all the ways of `tears`; a violation is noted, and ends it."""
    tally.conversations += 1
    whole, _ = replay(conversation, Tear())
    tally.replays += 1
    fault = check(conversation, Tear())
    tear = Tear()
    if not fault:
        for tear in tears(conversation, **how):
            tally.replays += 1
            try:
                found, _ = replay(conversation, tear)
            except Exception as error:
                fault = f"{error!r}"
            else:
                fault = "" if found == whole else differences(whole, found)
            if fault:
                break
    if fault:
        tally.violations.append(
            f"{conversation.name}: {fault}\n  {tear.command(conversation.name)}"
        )
