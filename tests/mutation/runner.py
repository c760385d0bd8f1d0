"""Runs the tests that cover a mutant, in a process of its own, until one of them fails.

Two ways. A change inside of a function is made in a process where the tests are collected already:
the function gets other code, and only the tests run that reach the changed lines, the fast ones
first. Any other change is made in a copy of the package, before pytest starts, and all tests of the
module run; so is a change that no test reaches after the import.

Tests that take long are left out, and after some time no further tests are run: a mutant that only
those would notice counts as one that survived.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from .mutants import FOLDER, PACKAGE, Mutant, path_of
from .processes import forked, limit_seconds
from .suite import (
    OPTIONS,
    QUIET,
    SLOW,
    TIMED_OUT,
    Killer,
    Loop,
    Measured,
    Outcome,
    measure_file,
    test_files,
)

# Their tests use the module in other processes, too, which import the changed copy.
_IN_PROCESSES: Final = frozenset({"_mask"})
# CPU seconds that a test may take: some, and some times what it takes without a mutant.
_LEAST_SECONDS: Final = 1.0
_FACTOR: Final = 3.0
# CPU seconds for all tests of a mutant.
_ALL_SECONDS: Final = 120.0


@dataclass
class Run:
    """Tries mutants.

    Args:
        jobs: processes at a time.
        deadline: of time.monotonic(), after which no further mutant is tried.
        without: tests whose id contains one of these are left out.
        say: is told about each outcome.
        patience: CPU seconds after which no further test is run for a mutant, where tests are
            chosen for it.
    """

    jobs: int
    deadline: float
    without: set[str]
    say: Callable[[Outcome], None]
    patience: float = math.inf

    def __post_init__(self) -> None:
        self._left_out = set(self.without)

    def outcomes(self, mutants: Sequence[Mutant]) -> Iterator[Outcome]:
        """What becomes of each, as far as there is time."""
        ((_, done),) = forked([(partial(self._patched, mutants), None)], jobs=1)
        if done is None:
            raise SystemExit("the tests fail without any mutant")
        outcomes, left_out = done
        self._left_out |= left_out
        yield from outcomes
        tried = {outcome.mutant for outcome in outcomes}
        later = [mutant for mutant in mutants if mutant not in tried]
        with tempfile.TemporaryDirectory() as folder:
            yield from self._imported(later, Path(folder))

    def _in_time(self, mutants: Iterable[Mutant]) -> Iterator[Mutant]:
        for mutant in mutants:
            if time.monotonic() >= self.deadline:
                return
            yield mutant

    # A module that is imported with the change

    def _imported(self, mutants: Sequence[Mutant], folder: Path) -> Iterator[Outcome]:
        tried = list[Mutant]()

        def noted() -> Iterator[tuple[Callable[[], tuple[str | None]], float]]:
            for mutant in self._in_time(mutants):
                tried.append(mutant)
                yield partial(run_imported, mutant, folder, self._left_out), _ALL_SECONDS

        for index, result in forked(noted(), self.jobs):
            outcome = Outcome(tried[index], TIMED_OUT if result is None else result[0])
            self.say(outcome)
            yield outcome

    # A function that gets other code

    def _patched(self, mutants: Sequence[Mutant]) -> tuple[list[Outcome], set[str]]:
        """Collect the tests, and try the mutants where pytest would run the tests.

        Returns the outcomes of those that can be tried so, and the slow tests.
        """
        loop = Loop(partial(self._try_all, mutants), self._left_out)
        files = dict.fromkeys(file for each in mutants for file in test_files(each.module))
        pytest.main([*OPTIONS, *QUIET, *files], plugins=[loop])
        assert loop.outcomes is not None, "the tests cannot be collected"
        return loop.outcomes, loop.slow

    def _try_all(self, mutants: Sequence[Mutant], loop: Loop) -> list[Outcome]:
        measured = dict(self._measure(loop))
        loop.slow = {name for name, each in measured.items() if each.seconds > SLOW}
        for name in loop.slow:
            del measured[name]
        kills = Counter[str]()
        chosen: dict[str, list[pytest.Item]] = {}
        for each in {mutant.module for mutant in mutants}:
            files = set(test_files(each))
            chosen[each] = [item for item in loop.items if item.nodeid in measured]
            chosen[each] = [item for item in chosen[each] if str(item.path) in files]
        tried = list[Mutant]()

        def calls() -> Iterator[tuple[Callable[[], tuple[str | None]], float]]:
            for mutant in self._in_time(each for each in mutants if each.patchable):
                items = _reaching(mutant, chosen[mutant.module], measured, kills)
                if not items:
                    continue
                tried.append(mutant)
                tests = [(item, measured[item.nodeid].seconds) for item in items]
                yield partial(_run_patched, mutant, tests, loop, self.patience), _ALL_SECONDS

        outcomes = []
        for index, result in forked(calls(), self.jobs):
            outcome = Outcome(tried[index], TIMED_OUT if result is None else result[0])
            if outcome.killer is None and outcome.mutant.module in _IN_PROCESSES:
                continue
            self.say(outcome)
            kills[outcome.killer or ""] += 1
            outcomes.append(outcome)
        return outcomes

    def _measure(self, loop: Loop) -> Iterator[tuple[str, Measured]]:
        """Run every test once, as it is, and see how long it takes and what it reaches."""
        calls = [(partial(measure_file, file, loop), None) for file in loop.files()]
        for _, result in forked(calls, self.jobs):
            if result is None:
                raise SystemExit("the tests fail without any mutant")
            yield from result.items()


def _reaching(
    mutant: Mutant,
    items: Iterable[pytest.Item],
    measured: dict[str, Measured],
    kills: Counter[str],
) -> list[pytest.Item]:
    """The tests that reach the statement that a mutant changes.

    First those that are fast and have killed many others.
    """
    first, last = mutant.lines
    lines = set(range(first, last + 1))
    file = str(path_of(mutant.module))
    reaching = [item for item in items if lines & measured[item.nodeid].lines.get(file, set())]

    def cost(item: pytest.Item) -> float:
        return measured[item.nodeid].seconds / (1 + kills[item.nodeid])

    return sorted(reaching, key=cost)


def _run_patched(
    mutant: Mutant, tests: list[tuple[pytest.Item, float]], loop: Loop, patience: float
) -> tuple[str | None]:
    function = _function(mutant)
    code = compile(mutant.source(), str(path_of(mutant.module)), "exec", dont_inherit=True)
    function.__code__ = next(each for each in _codes(code) if each.co_qualname == mutant.scope)
    for item, seconds in tests:
        if time.process_time() > patience:
            break
        limit_seconds(_LEAST_SECONDS + _FACTOR * seconds)
        if loop.fails(item):
            return (item.nodeid,)
    return (None,)


def _function(mutant: Mutant) -> types.FunctionType:
    found: Any = sys.modules[f"{PACKAGE}.{mutant.module}"]
    for name in mutant.scope.split("."):
        found = vars(found)[name]
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    assert isinstance(found, types.FunctionType)
    return found


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _copy_package(mutant: Mutant, folder: Path) -> None:
    """Make a package of links, but for the module that is changed; processes import it as well."""
    inner = folder / FOLDER.relative_to(FOLDER.parents[1])
    inner.mkdir(parents=True)
    for source, target in ((FOLDER.parent, inner.parent), (FOLDER, inner)):
        for path in source.iterdir():
            if not (target / path.name).exists():
                (target / path.name).symlink_to(path)
    changed = inner / path_of(mutant.module).name
    changed.unlink()
    changed.write_text(mutant.source())


def _import_package(folder: Path) -> None:
    # Compiled modules are found by the links, and are the real ones.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTHONSAFEPATH"] = "1"  # or ``python -c`` would find the package that lies here
    sys.path.insert(0, str(folder))
    importlib.import_module(PACKAGE)


def run_imported(
    mutant: Mutant, folder: Path, left_out: set[str], options: Sequence[str] = QUIET
) -> tuple[str | None]:
    """Run the tests of a mutant's module on it; the first test that failed, if any.

    The package goes to a new folder in `folder`.
    """
    own = folder / str(os.getpid())
    _copy_package(mutant, own)
    try:
        _import_package(own)
    except Exception:
        return ("(import)",)
    plugin = Killer(left_out)
    status = pytest.main([*OPTIONS, *options, *test_files(mutant.module)], plugins=[plugin])
    return (None if status == pytest.ExitCode.OK else plugin.killer or "(import)",)
