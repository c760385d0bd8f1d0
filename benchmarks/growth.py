"""How the figures grow: with connections, sizes, fragments, idle connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from .contenders import Contender
from .measure import Plan, measure_row
from .results import Results
from .rows import Row

# Who takes part unless others are asked for.
NAMES: Final = ("trio_ws", "trio_ws-pure", "bare", "websockets-trio")
# A curve shows by its points what a row shows by its rounds.
ROUNDS: Final = 3
# Files that a process has open beside its connections.
SPARE: Final = 100


@dataclass(frozen=True)
class Series:
    """One curve for each contender.

    Args:
        name: as the results have it.
        title: as the plots have it.
        axis: what the values are.
        base: the row that is measured.
        varied: the field of the row that takes the values.
        values: the values.
    """

    name: str
    title: str
    axis: str
    base: Row
    varied: str
    values: tuple[int, ...]

    def row(self, value: int) -> Row:
        """The row for one value."""
        changed: dict[str, Any] = {self.varied: value}
        return replace(self.base, **changed)

    def rows(self) -> list[tuple[int, Row]]:
        """The values, with the row for each."""
        return [(value, self.row(value)) for value in self.values]


SERIES: Final = (
    Series(
        "connections",
        "ping-pong 64 B",
        "connections",
        Row("connections", ""),
        "conns",
        (1, 10, 100, 1000, 5000),
    ),
    Series(
        "size",
        "ping-pong, 1 connection",
        "bytes of a message",
        Row("size", ""),
        "size",
        tuple(2**bits for bits in range(6, 27, 4)),
    ),
    Series(
        "fragments",
        "a message of 1 MiB",
        "fragments",
        Row("fragments", "", size=2**20),
        "fragments",
        (1, 10, 100, 1000, 10_000, 100_000, 1_000_000),
    ),
    Series(
        "idle",
        "memory of an idle connection",
        "connections",
        Row("idle", "", "idle"),
        "conns",
        (100, 500, 1000, 5000),
    ),
)


def takes(series: Series, contender: Contender) -> bool:
    """Whether a contender takes part; an echo of bytes knows no fragments."""
    return series.varied != "fragments" or not contender.raw


def measure_growth(
    results: Results,
    contenders: Sequence[Contender],
    plan: Plan,
    files: int,
    say: Callable[[str], None],
) -> None:
    """Measure all series.

    Args:
        results: takes the rounds, and what went wrong.
        contenders: who takes part.
        plan: how long and how often.
        files: how many files a process may have open.
        say: is told how far it is.
    """
    for series in SERIES:
        curves = results.growth.setdefault(series.name, {})
        failed = results.failed.setdefault(f"growth, {series.name}", {})
        going = [each for each in contenders if takes(series, each)]
        for value, row in series.rows():
            if row.conns + SPARE > files:
                failed[f"{value} connections"] = f"only {files} open files are allowed"
                continue
            say(f"{series.title}: {value} {series.axis}")
            outcome = measure_row(row, going, replace(plan, rounds=min(plan.rounds, ROUNDS)))
            for name, rounds in outcome.measures.items():
                curves.setdefault(name, {})[str(value)] = rounds
            for name, why in outcome.failed.items():
                failed[name] = f"{why} ({value} {series.axis})"
            going = without(going, outcome.failed)
        if not failed:
            del results.failed[f"growth, {series.name}"]


def without(contenders: Iterable[Contender], failed: Iterable[str]) -> list[Contender]:
    """Those that have not failed: what is too much for one is not tried with more."""
    names = set(failed)
    return [contender for contender in contenders if contender.name not in names]
