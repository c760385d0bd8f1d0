"""What a run of the harness has found, and the lines about it at the end of a test run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pytest

from .faults import is_fault
from .scenario import Case
from .world import World

LEAST_POINTS: Final = 20_000
LEAST_FAULTS: Final = 8000
LEAST_DEFLATED: Final = 3000
INVARIANTS: Final = (*(f"I{number}" for number in range(1, 11)), "goodbye")


def invariant(violation: str) -> str:
    """Which invariant a line of `Tally.violations` is about."""
    return violation.split()[1].rstrip(":")


def replay(violation: str) -> str:
    """The command that shows a violation again; what it was is a comment for the shell."""
    return "python -m tests.harness {}  # {}".format(*violation.split("  ", 1))


@dataclass
class Tally:
    """Points at which something was cancelled, and what came of it.

    Args:
        points: cancellations and faults.
        faults: those of them that are faults.
        deflated: those of them with compression.
        inflated: messages that the parser of the wire has inflated there.
        missed: runs that ended before their point came.
        violations: each with the point, as ``python -m tests.harness`` takes it.
        cases: runs of a scenario on one transport, one end, with one seed.
        all_cases: how many there are.
    """

    points: int = 0
    faults: int = 0
    deflated: int = 0
    inflated: int = 0
    missed: int = 0
    violations: list[str] = field(default_factory=list)
    cases: int = 0
    all_cases: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    by_link: Counter[str] = field(default_factory=Counter)

    def count(self, case: Case, world: World) -> None:
        """Add a run."""
        self.violations += _lines(case, world)
        if world.injection is None:
            return
        if world.injector.fired_at is None:
            self.missed += 1
            return
        self.points += 1
        self.faults += is_fault(world.injection.kind)
        self.deflated += world.deflate is not None
        self.inflated += world.inflated
        self.by_kind[world.injection.kind] += 1
        self.by_link[f"{case.transport} {case.compression}"] += 1

    def blame(self, case: Case, world: World) -> None:
        """Add the complaints (I10) of a run that was counted before."""
        self.violations += [line for line in _lines(case, world) if invariant(line) == "I10"]

    @property
    def too_few(self) -> bool:
        """Whether all cases have run, and at too few points."""
        enough = self.points >= LEAST_POINTS and self.faults >= LEAST_FAULTS
        return self.cases >= self.all_cases and not (enough and self.deflated >= LEAST_DEFLATED)

    def add(self, other: Tally) -> None:
        """Add the tally of a case."""
        self.points += other.points
        self.faults += other.faults
        self.by_kind += other.by_kind
        self.by_link += other.by_link
        self.deflated += other.deflated
        self.inflated += other.inflated
        self.missed += other.missed
        self.violations += other.violations
        self.cases += other.cases

    def report(self) -> list[str]:
        """Lines for people: points, and violations of each invariant."""
        counts = Counter(invariant(line) for line in self.violations)
        what = f"{self.faults} of them faults, {self.deflated} with compression"
        points = f"{self.points} injection points, {what}"
        each = ", ".join(f"{name} {counts[name]}" for name in INVARIANTS)
        return [
            f"{points}: {self.inflated} messages inflated",
            ", ".join(f"{kind} {count}" for kind, count in self.by_kind.items()),
            ", ".join(f"{link} {count}" for link, count in self.by_link.items()),
            f"{len(self.violations)} violations: {each}",
        ]


def _lines(case: Case, world: World) -> list[str]:
    injection = world.injection
    where = f"{case}/{world.seed}"
    if injection is not None:
        where += f"/{injection.kind}:{injection.step}"
    return [f"{where}  {what}" for what in world.violations]


TOTAL = Tally()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the totals of this session, if the harness has run."""
    if not TOTAL.cases:
        return
    terminalreporter.write_sep("-", "cancellation harness")
    terminalreporter.write_line(f"{TOTAL.cases} of {TOTAL.all_cases} cases")
    for line in TOTAL.report():
        terminalreporter.write_line(line)
    if TOTAL.too_few:
        terminalreporter.write_line(
            f"too few: {LEAST_POINTS} are promised, {LEAST_FAULTS} of them faults, "
            f"{LEAST_DEFLATED} with compression",
            red=True,
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session in which all cases have run, at too few points."""
    if TOTAL.cases and TOTAL.too_few:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
