"""The checklist: its table is sound and each row that applies has a test."""

import subprocess
import sys
from pathlib import Path

from tests.checklist import APPLICABLE, LATER, ROWS

ROOT = Path(__file__).parents[1]


def test_the_table_is_complete() -> None:
    """The table has 136 rows, and only rows of the table wait for a feature."""
    assert len(ROWS) == 136
    assert set(LATER) <= set(ROWS)
    assert len(APPLICABLE) == 132


def test_each_row_that_applies_has_a_test() -> None:
    """Each row without a feature to wait for is carried by at least one collected test."""
    command = [sys.executable, "-m", "tests.checklist", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
