"""Peers for the tests, and a table of the results at the end of the run.

What has to be installed: the Python packages websockets and aiohttp; Node.js, and `npm ci` in
tests/interop/node; from Debian chromium, firefox-esr, nginx and haproxy. What is missing is
skipped, unless TRIO_WS_REQUIRE=all. Everything runs on the loopback interface.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.interop.cases import GROUPS
from tests.interop.peering import Peering, Trial

_KEY = "interop"
_COLUMNS = (*GROUPS, "origin", "total")


@pytest.fixture(scope="session")
def peering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peering]:
    """All running peers."""
    with Peering(tmp_path_factory.mktemp("interop")) as peering:
        yield peering


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note on each test in which row and column it counts."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            trial = item.callspec.params.get("trial")
            if isinstance(trial, Trial):
                item.user_properties.append((_KEY, [*trial.row, trial.case.group]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print passed/played per peer, role, scheme and kind of case."""
    played: dict[tuple[str, ...], Counter[str]] = {}
    passed: dict[tuple[str, ...], Counter[str]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            place = dict(getattr(report, "user_properties", [])).get(_KEY)
            if place is None or (report.when != "call" and report.passed):
                continue
            *row, group = place
            for column in (group, "total"):
                played.setdefault(tuple(row), Counter())[column] += 1
                passed.setdefault(tuple(row), Counter())[column] += outcome == "passed"
    if not played:
        return
    titles = ("peer", "trio_ws is", "scheme", *_COLUMNS)
    lines = [titles]
    for row, counts in sorted(played.items()):
        cells = [f"{passed[row][c]}/{counts[c]}" if counts[c] else "-" for c in _COLUMNS]
        lines.append((*row, *cells))
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
    terminalreporter.section("interop: passed/played")
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        terminalreporter.write_line("  ".join(cells).rstrip())
