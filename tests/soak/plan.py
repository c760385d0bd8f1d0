"""How much a run does, and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

SPARE: Final = 1000  # files that the server has open beside the connections that stay
CLIENTS: Final = 2


@dataclass(frozen=True)
class Plan:
    """How much a run does.

    Args:
        connections: that stay for the whole run, those that misbehave included.
        cycles: connections that come and go: half of them when there are no others, half of them
            beside those that stay.
        turns: on each connection, each of one to five messages and their answers.
        rounds: into how many parts the work on the connections that stay falls; between them
            everybody rests.
        patience: seconds that the server waits for a peer.
        period: seconds between two samples.
        seconds: the run takes at least so long, with further rounds.
        seed: of all that is random.
        sabotage: the bug to put in.
    """

    connections: int
    cycles: int
    turns: int
    rounds: int
    patience: float
    period: float
    seconds: float = 0
    seed: int = 1
    sabotage: str | None = None

    @property
    def bad(self) -> int:
        """How many connections misbehave at a time: one in a hundred."""
        return max(CLIENTS, self.connections // 100)


LONG: Final = Plan(10_000, 100_000, turns=20, rounds=10, patience=60, period=1)
SHORT: Final = Plan(300, 2_000, turns=40, rounds=4, patience=8, period=0.2)


@dataclass
class Record:
    """What a run has seen.

    Args:
        plan: what it was to do.
        samples: figures of the server, with ``time`` in seconds and the ``phase``.
        baseline: the census of each process before, by its name.
        alone: the census of the server after each part of the cycles without connections that
            stay, with ``handlers`` and ``messages``.
        rests: the same after each round of the connections that stay.
        after: the census of each process when all connections had gone.
        reports: of the client processes.
        seconds: the duration.
        cpu: seconds of CPU time, all processes.
        failures: what kept the run from its end.
    """

    plan: Plan
    samples: list[dict[str, Any]] = field(default_factory=list)
    baseline: dict[str, dict[str, Any]] = field(default_factory=dict)
    alone: list[dict[str, Any]] = field(default_factory=list)
    rests: list[dict[str, Any]] = field(default_factory=list)
    after: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0
    cpu: float = 0
    failures: list[str] = field(default_factory=list)

    @property
    def phases(self) -> dict[str, float]:
        """When each phase began."""
        begins: dict[str, float] = {}
        for sample in self.samples:
            begins.setdefault(sample["phase"], sample["time"])
        return begins

    @property
    def steady(self) -> list[dict[str, Any]]:
        """The samples of the second half of the rounds: all connections are there."""
        rounds = [each for each in self.samples if each["phase"] == "rounds"]
        return rounds[len(rounds) // 2 :]

    @property
    def living(self) -> int:
        """The honest connections of the clients, when they last reported."""
        return sum(int(report["living"]) for report in self.reports)

    def total(self, name: str) -> int:
        """A count, over all client processes."""
        return sum(report["counts"].get(name, 0) for report in self.reports)

    def named(self, start: str) -> str:
        """The counts whose names begin so, with the rest of their names."""
        names = sorted({each for report in self.reports for each in report["counts"]})
        found = [name for name in names if name.startswith(start)]
        return ", ".join(f"{name.removeprefix(start)} {self.total(name)}" for name in found)
