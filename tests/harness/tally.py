"""What a run of the harness has found, and the lines about it at the end of a test run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pytest

LEAST_POINTS: Final = 5000


@dataclass
class Tally:
    """Points at which something was cancelled, and what came of it.

    Args:
        points: cancellations.
        missed: runs that ended before their point came.
        violations: each with the point, as ``python -m tests.harness`` takes it.
        cases: runs of a scenario on one transport, one end, with one seed.
        all_cases: how many there are.
    """

    points: int = 0
    missed: int = 0
    violations: list[str] = field(default_factory=list)
    cases: int = 0
    all_cases: int = 0

    @property
    def too_few(self) -> bool:
        """Whether all cases have run, and not at as many points as .ci/run promises."""
        return self.cases >= self.all_cases and self.points < LEAST_POINTS

    def add(self, other: Tally) -> None:
        """Add the tally of a case."""
        self.points += other.points
        self.missed += other.missed
        self.violations += other.violations
        self.cases += 1


TOTAL = Tally()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the totals of this session, if the harness has run."""
    if not TOTAL.cases:
        return
    terminalreporter.write_sep("-", "cancellation harness")
    terminalreporter.write_line(
        f"{TOTAL.points} injection points in {TOTAL.cases} of {TOTAL.all_cases} cases,"
        f" {len(TOTAL.violations)} violations"
    )
    if TOTAL.too_few:
        terminalreporter.write_line(f"too few: .ci/run promises {LEAST_POINTS}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session in which all cases have run, at too few points."""
    if TOTAL.cases and TOTAL.too_few:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
