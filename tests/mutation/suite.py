"""The tests of a module: which they are, how pytest runs them, and what each of them reaches."""

from __future__ import annotations

import importlib
import sys
import time
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import hypothesis
import pytest

from .mutants import FOLDER, ROOT, Mutant
from .processes import limit_seconds

TESTS: Final = ROOT / "tests" / "protocol"
# tests/protocol/test_NAME*.py are the tests of _NAME.py, and these are more of them.
MORE_TESTS: Final = {
    "_head": ("test_handshake_*.py",),
    "_machine": ("test_compressed_messages.py", "test_frames*.py", "test_messages.py"),
    "_messages": ("test_compressed_messages.py",),
    "_url": ("test_negotiation.py",),
}
OPTIONS: Final = (
    *("-x", "-s", "-p", "no:randomly", "-p", "no:cacheprovider"),
    *("-p", "no:logging", "-p", "no:faulthandler"),
    *("-o", "addopts=--import-mode=importlib"),
    # Hypothesis is imported already, to be told that it shall do the same each time.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
QUIET: Final = ("-p", "no:terminal")
TIMED_OUT: Final = "(time)"
# CPU seconds, while it is traced, that a test may take at the most to be used.
SLOW: Final = 1.0
# Hypothesis's examples for a test.
_EXAMPLES: Final = 25
# CPU seconds that a test may take where it is not known what it takes without a mutant.
_UNKNOWN_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: the test that failed, TIMED_OUT, or None if it survived."""

    mutant: Mutant
    killer: str | None


@dataclass
class Measured:
    """A test without any mutant: its CPU seconds, and the lines of each file that it reaches."""

    seconds: float
    lines: dict[str, set[int]]


class FewExamples(hypothesis.settings):
    """Settings for a test that may ask for fewer examples, but not for more."""

    def __init__(self, *args: Any, max_examples: int = _EXAMPLES, **options: Any) -> None:
        super().__init__(*args, max_examples=min(max_examples, _EXAMPLES), **options)


def test_files(module: str) -> list[str]:
    """The files with the tests of a module."""
    patterns = (f"test{module}.py", f"test{module}_*.py", *MORE_TESTS.get(module, ()))
    return [str(path) for pattern in patterns for path in sorted(TESTS.glob(pattern))]


def prepare() -> None:
    """Import what all tests need, and have Hypothesis do the same each time."""
    for name in ("h11", "trio", "trustme"):
        importlib.import_module(name)
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=_EXAMPLES,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    vars(hypothesis)["settings"] = FewExamples


class Loop:
    """A pytest plugin that calls `body` instead of running the tests, and runs single ones."""

    def __init__(self, body: Callable[[Loop], list[Outcome]], left_out: set[str]) -> None:
        self._body = body
        self._left_out = left_out
        self.items: list[pytest.Item] = []
        self.slow: set[str] = set()
        self.outcomes: list[Outcome] | None = None
        self._failed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Keep the tests that are not left out, and call the body."""
        self.items = _kept(session.items, self._left_out)
        self.outcomes = self._body(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note whether a test failed."""
        self._failed |= report.failed

    def files(self) -> list[str]:
        """The files that the tests are in."""
        return list(dict.fromkeys(str(item.path) for item in self.items))

    def fails(self, item: pytest.Item) -> bool:
        """Run a test; whether it fails."""
        self._failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return self._failed


class Killer:
    """A pytest plugin that remembers the test that failed."""

    def __init__(self, left_out: set[str]) -> None:
        self.killer = ""
        self._left_out = left_out

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that are not left out."""
        items[:] = _kept(items, self._left_out)

    def pytest_runtest_logstart(self) -> None:
        """Give the next test its time."""
        limit_seconds(_UNKNOWN_SECONDS)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which test failed."""
        if report.failed:
            self.killer = report.nodeid


def _kept(items: Iterable[pytest.Item], left_out: set[str]) -> list[pytest.Item]:
    """The tests without those whose id has something of `left_out` in it."""
    return [item for item in items if not any(part in item.nodeid for part in left_out)]


def measure_file(file: str, loop: Loop) -> dict[str, Measured]:
    """Run each test of a file, and see what it reaches, as long as it takes no more than SLOW."""
    results = {}
    for item in loop.items:
        if str(item.path) == file:
            lines: dict[str, set[int]] = {}
            begin = time.process_time()
            sys.settrace(partial(_trace, lines, str(FOLDER), begin + SLOW))
            failed = loop.fails(item)
            sys.settrace(None)
            if failed:
                # A test that weighs memory has weighed that of `lines`, too.
                begin = time.process_time()
                assert not loop.fails(item), f"{item.nodeid} fails without any mutant"
            results[item.nodeid] = Measured(time.process_time() - begin, lines)
    return results


def _trace(
    lines: dict[str, set[int]],
    folder: str,
    until: float,
    frame: types.FrameType,
    event: str,
    arg: object,
) -> Any:
    """A trace function: note the lines of the sans-I/O floor that are reached."""
    name = frame.f_code.co_filename
    if not name.startswith(folder):
        return None
    if time.process_time() > until:
        sys.settrace(None)
        return None
    here = lines.setdefault(name, set())

    def local(frame: types.FrameType, event: str, arg: object) -> Any:
        here.add(frame.f_lineno)
        return local

    return local
