"""docs/security.md names tests and attacks: each of them is there, and has not changed its name."""

import ast
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.hostile import ATTACKS

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
# The page writes "server/..." for all of them.
NAMES = sorted(set(re.findall(r"`(test_\w+\.py::\w+|(?:server|client)/[^`.][^`]*)`", PAGE)))
ROWS = PAGE.partition(":widths:")[2].partition("```")[0].split("\n* - ")[2:]


def functions(name: str) -> set[str]:
    """The test functions of the file of this name."""
    (path,) = TESTS.rglob(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_is_there(name: str) -> None:
    """Each test and each attack that the page names exists; a star stands for several attacks."""
    file, separator, function = name.partition("::")
    if separator:
        assert function in functions(file)
    else:
        assert any(fnmatchcase(attack, name) for attack in ATTACKS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("**")[1])
def test_each_threat_has_a_test(row: str) -> None:
    """Each row has four columns, and names a test or an attack in the third."""
    columns = re.split(r"\n  -", row)
    assert len(columns) == 4
    assert re.search(r"`(test_\w+\.py::|(server|client)/)", columns[2])


def test_the_page_can_be_found() -> None:
    """The index of the documentation leads to it."""
    index = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    assert "   security\n" in index
    assert len(ROWS) >= 25
