"""What a run of the harness has found, and the lines about it at the end of a test run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pytest

LEAST_POINTS: Final = 5000
LEAST_DEFLATED: Final = 3000
INVARIANTS: Final = (*(f"I{number}" for number in range(1, 11)), "goodbye")


def invariant(violation: str) -> str:
    """Which invariant a line of `Tally.violations` is about."""
    return violation.split()[1].rstrip(":")


@dataclass
class Tally:
    """Points at which something was cancelled, and what came of it.

    Args:
        points: cancellations.
        deflated: those of them with compression.
        inflated: messages that the parser of the wire has inflated there.
        missed: runs that ended before their point came.
        violations: each with the point, as ``python -m tests.harness`` takes it.
        cases: runs of a scenario on one transport, one end, with one seed.
        all_cases: how many there are.
    """

    points: int = 0
    deflated: int = 0
    inflated: int = 0
    missed: int = 0
    violations: list[str] = field(default_factory=list)
    cases: int = 0
    all_cases: int = 0

    @property
    def too_few(self) -> bool:
        """Whether all cases have run, and at too few points."""
        few = self.points < LEAST_POINTS or self.deflated < LEAST_DEFLATED
        return self.cases >= self.all_cases and few

    def add(self, other: Tally) -> None:
        """Add the tally of a case."""
        self.points += other.points
        self.deflated += other.deflated
        self.inflated += other.inflated
        self.missed += other.missed
        self.violations += other.violations
        self.cases += 1

    def report(self) -> list[str]:
        """Lines for people: points, and violations of each invariant."""
        counts = Counter(invariant(line) for line in self.violations)
        points = f"{self.points} injection points, {self.deflated} of them with compression"
        each = ", ".join(f"{name} {counts[name]}" for name in INVARIANTS)
        return [
            f"{points}: {self.inflated} messages inflated",
            f"{len(self.violations)} violations: {each}",
        ]


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
            f"too few: {LEAST_POINTS} are promised, {LEAST_DEFLATED} with compression", red=True
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session in which all cases have run, at too few points."""
    if TOTAL.cases and TOTAL.too_few:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
