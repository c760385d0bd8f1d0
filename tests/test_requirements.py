"""A missing peer is a skip on a user's machine and a failure where everything is required."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import require, require_module, require_program

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "missing",
    [
        lambda: require(False, "a reason"),
        lambda: require_module("no_such_module"),
        lambda: require_program("no-such-program"),
    ],
    ids=["condition", "module", "program"],
)
@pytest.mark.parametrize(
    ("value", "outcome"),
    [("all", pytest.fail.Exception), ("", pytest.skip.Exception)],
    ids=["required", "optional"],
)
def test_missing(
    missing: object,
    value: str,
    outcome: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is missing skips, or fails with TRIO_WS_REQUIRE=all."""
    monkeypatch.setenv("TRIO_WS_REQUIRE", value)
    assert callable(missing)
    with pytest.raises(outcome, match=r"a reason|no_such_module|no-such-program"):
        missing()


def test_present() -> None:
    """What is there is returned."""
    require("anything", "not needed")
    assert require_module("sys") is sys
    assert Path(require_program("no-such-program", Path(sys.executable).name)).exists()


SKIPS = {
    "test_inside.py": "import pytest\n\ndef test_it() -> None:\n    pytest.skip('lazy')\n",
    "test_marked.py": "import pytest\n\n@pytest.mark.skip\ndef test_it() -> None: ...\n",
    "test_module.py": "import pytest\n\npytest.importorskip('no_such_module')\n",
}


@pytest.mark.parametrize(
    ("value", "counts"),
    [("all", "1 failed, 2 errors in"), ("", "3 skipped in")],
    ids=["required", "optional"],
)
def test_no_skip_goes_unnoticed(value: str, counts: str, tmp_path: Path) -> None:
    """A skip by other means fails as well where everything is required."""
    for name, text in SKIPS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    plugins = ["-p", "tests.conftest", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "--continue-on-collection-errors", tmp_path],
        cwd=ROOT,
        env={**os.environ, "TRIO_WS_REQUIRE": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert counts in result.stdout
