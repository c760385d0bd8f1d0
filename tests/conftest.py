"""Hooks of the whole test suite: skips that must not happen, and the ids of the checklist."""

import signal
from collections.abc import Generator
from typing import TypeVar

import pytest

from tests.checklist import ROWS
from tests.harness.tally import pytest_sessionfinish, pytest_terminal_summary  # noqa: F401
from tests.support.requirements import everything_is_required

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it runs in the background ignore Ctrl-C, which some tests are about.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def _fail_if_skipped(report: _Report) -> _Report:
    """Turn a skip into a failure where TRIO_WS_REQUIRE=all; an expected failure is no skip."""
    if report.skipped and not hasattr(report, "wasxfail") and everything_is_required():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped although TRIO_WS_REQUIRE=all: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Apply TRIO_WS_REQUIRE to the report of a test."""
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Apply TRIO_WS_REQUIRE to the report of a module that skips itself."""
    return _fail_if_skipped((yield))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a checklist id that the table does not have."""
    for item in items:
        for marker in item.iter_markers("checklist"):
            unknown = [row for row in marker.args if row not in ROWS]
            if unknown or not marker.args:
                raise pytest.UsageError(f"{item.nodeid}: unknown checklist rows {unknown}")
