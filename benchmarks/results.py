"""Results: what was measured, under which conditions; kept as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from .targets import TARGETS, Target

Rounds = list[dict[str, Any]]


@dataclass
class Results:
    """All that a run gave.

    Args:
        conditions: what to know about the machine and the run, in words.
        rows: for each row and each contender its rounds.
        growth: for each series, each contender and each value its rounds.
        failed: for each row and contender what went wrong.
        left_out: for each contender that did not take part why.
    """

    conditions: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, Rounds]] = field(default_factory=dict)
    growth: dict[str, dict[str, dict[str, Rounds]]] = field(default_factory=dict)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write them."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` has written."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


class Verdict(NamedTuple):
    """Whether a target was met.

    Args:
        target: the target.
        against: which of those it is measured against was the best; None if none was measured.
        ratio: the median over the rounds of the ratio of both; None if one was not measured.
    """

    target: Target
    against: str | None
    ratio: float | None

    @property
    def met(self) -> bool | None:
        """Whether the ratio is within the bound; None if there is none."""
        return None if self.ratio is None else self.ratio <= self.target.bound


def figures(rounds: Rounds, key: str = "cpu") -> list[float]:
    """One number of each round."""
    return [each[key] for each in rounds]


def figure(rounds: Rounds, key: str = "cpu") -> float:
    """The median of one number of each round."""
    return median(figures(rounds, key))


def figure_key(row: str) -> str:
    """The name of the number that counts for a row."""
    return "kib" if row == "idle" else "cpu"


def ratio(ours: Rounds, theirs: Rounds, key: str = "cpu") -> float:
    """The median over the rounds of the ratio of two that were measured in turn."""
    pairs = zip(figures(ours, key), figures(theirs, key), strict=False)
    return median(our / their for our, their in pairs)


def judge(target: Target, row: dict[str, Rounds], who: str) -> Verdict:
    """Compare one of our flavours with a target."""
    key = figure_key(target.row)
    peers = [name for name in target.against if row.get(name)]
    if not peers:
        return Verdict(target, None, None)
    best = min(peers, key=lambda name: figure(row[name], key))
    ours = row.get(who)
    return Verdict(target, best, ratio(ours, row[best], key) if ours else None)


def verdicts(results: Results, who: str) -> list[Verdict]:
    """Compare one of our flavours with the targets of all rows that were measured."""
    return [
        judge(target, results.rows[target.row], who)
        for target in TARGETS
        if target.row in results.rows
    ]
