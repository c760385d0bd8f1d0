"""Which rows of checklist.toml have a test: ``python -m tests.checklist [--check]``.

Prints each row that applies with the number of its tests. ``--check`` exits with status 1 if a
row has none.
"""

import contextlib
import io
import os
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

ROWS: dict[str, str] = _TABLE["rows"]
"""Each row's id and statement."""

LATER: dict[str, str] = {row: why for why, rows in _TABLE["later"].items() for row in rows}
"""The rows that wait for a feature, and for which one."""

APPLICABLE = frozenset(ROWS) - frozenset(LATER)
"""The rows that a test must cover now."""


class Collector:
    """A pytest plugin that counts the collected tests of each row."""

    def __init__(self) -> None:
        self.tests: Counter[str] = Counter()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count once collection and deselection are over."""
        for item in session.items:
            rows = {row for marker in item.iter_markers("checklist") for row in marker.args}
            self.tests.update(rows)


def collect() -> Counter[str]:
    """Return how many collected tests carry each row's id. Collects the whole suite."""
    os.environ.pop("TRIO_WS_REQUIRE", None)  # collecting needs no peer
    collector = Collector()
    root = Path(__file__).parents[1]
    options = ["--collect-only", "-qq", "--no-header", "--no-summary", "-p", "no:cacheprovider"]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = pytest.main([*options, "--rootdir", str(root), str(root / "tests")], [collector])
    if status != pytest.ExitCode.OK:
        raise SystemExit(f"{output.getvalue()}\nthe tests cannot be collected: {status!r}")
    return collector.tests


def report(tests: Counter[str]) -> str:
    """Return the table of rows and numbers of tests, and the count of covered rows."""
    lines = []
    for row, statement in ROWS.items():
        count = f"later: {LATER[row]}" if row in LATER else str(tests[row] or "NONE")
        lines.append(f"{row}  {count:>19}  {statement}")
    covered = sum(1 for row in APPLICABLE if tests[row])
    lines.append(
        f"{covered} of the {len(APPLICABLE)} rows that apply have a test ({len(ROWS)} rows in all)"
    )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the report; with ``--check`` return 1 if a row that applies has no test."""
    tests = collect()
    print(report(tests))  # noqa: T201
    missing = sorted(row for row in APPLICABLE if not tests[row])
    if missing:
        print("without a test:", *missing)  # noqa: T201
    return int(bool(missing) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
