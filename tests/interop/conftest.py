"""Peers for the tests, and tables of the results at the end of the run.

What has to be installed: the Python packages websockets and aiohttp; Node.js, and `npm ci` in
tests/interop/node; from Debian chromium, firefox-esr, nginx and haproxy. What is missing is
skipped, unless TRIO_WS_REQUIRE=all. Everything runs on the loopback interface.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.interop.cases import GROUPS
from tests.interop.compression import SETUPS, show
from tests.interop.peering import Negotiated, Peering, Trial

_KEY = "interop"
_NEGOTIATED = pytest.StashKey[Negotiated]()
_COLUMNS = (*GROUPS, "origin", "total")


@pytest.fixture(scope="session")
def peering(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peering]:
    """All running peers."""
    with Peering(tmp_path_factory.mktemp("interop")) as peering:
        request.config.stash[_NEGOTIATED] = peering.negotiated
        yield peering


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note on each test in which row and column it counts."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            trial = item.callspec.params.get("trial")
            if isinstance(trial, Trial):
                item.user_properties.append((_KEY, [*trial.row, trial.case.group]))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print passed/played per peer, role, scheme, compression and kind of case; what was agreed."""
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
    lines: list[tuple[str, ...]] = []
    for row, counts in sorted(played.items()):
        cells = [f"{passed[row][c]}/{counts[c]}" if counts[c] else "-" for c in _COLUMNS]
        lines.append((*row, *cells))
    titles = ("peer", "trio_ws is", "scheme", "deflate", *_COLUMNS)
    _write_table(terminalreporter, "interop: passed/played", titles, lines)
    _write_negotiated(terminalreporter, config.stash.get(_NEGOTIATED, {}))


def _write_negotiated(reporter: pytest.TerminalReporter, negotiated: Negotiated) -> None:
    lines: list[tuple[str, ...]] = []
    for path, role in sorted({(path, role) for path, role, _ in negotiated}):
        cells = [
            " or ".join(map(show, negotiated.get((path, role, setup), []))) or "-"
            for setup in SETUPS
        ]
        lines.append((path, role, *cells))
    titles = ("peer", "trio_ws is", *(setup or "not wanted" for setup in SETUPS))
    title = "interop: windows of server/client in bits, * without context takeover"
    _write_table(reporter, title, titles, lines)


def _write_table(
    reporter: pytest.TerminalReporter,
    title: str,
    titles: tuple[str, ...],
    lines: list[tuple[str, ...]],
) -> None:
    if not lines:
        return
    reporter.section(title)
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    for line in (titles, *lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        reporter.write_line("  ".join(cells).rstrip())
