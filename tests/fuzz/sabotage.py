"""The library broken on purpose: each bug has to be found by its target.

::

    python -m tests.fuzz --sabotage --seconds 30

First with what the tests run (the kept inputs, and mutations of them); what they do not find,
atheris has some seconds for.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from . import corpus, mutator
from .defects import DEFECTS, Defect
from .fuzzing import fuzz
from .registry import TARGETS

_VARIABLE: Final = "TRIO_WS_FUZZ_SABOTAGE"
SEED: Final = 1


class Found(NamedTuple):
    """An input that shows a bug, and how many were run until then."""

    data: bytes
    number: int
    error: BaseException


def broken_by_environment() -> AbstractContextManager[object]:
    """The bug that the environment names, for a worker; usually none."""
    name = os.environ.get(_VARIABLE)
    return nullcontext() if name is None else DEFECTS[name].broken()


def inputs(name: str) -> Iterator[bytes]:
    """What the tests run of a target: the kept inputs, then mutations of them."""
    target = TARGETS[name]
    kept = corpus.load(target)
    return chain(kept, mutator.mutations(target, kept, target.mutations, SEED))


def find(defect: Defect) -> Found | None:
    """The first of the tests' inputs that shows a bug."""
    run = TARGETS[defect.target].run
    with defect.broken():
        for number, data in enumerate(inputs(defect.target), 1):
            try:
                run(data)
            except Exception as error:
                return Found(data, number, error)
    return None


def run_all(seconds: int) -> int:
    """Look for each bug; 1 if one is not found."""
    missed = 0
    for defect in DEFECTS.values():
        found = find(defect)
        if found is not None:
            what = str(found.error).splitlines()[:1] or [repr(found.error)]
            outcome = f"input {found.number} of the tests: {what[0][:90]}"
        else:
            outcome = _fuzz(defect, seconds)
            missed += outcome.startswith("MISSED")
        sys.stdout.write(f"{defect.target:11} {defect.name:48} {outcome}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(DEFECTS)} bugs put in, {missed} missed\n")
    return bool(missed)


def _fuzz(defect: Defect, seconds: int) -> str:
    if not seconds:
        return "MISSED by the tests"
    with tempfile.TemporaryDirectory() as work:
        target, environment = TARGETS[defect.target], {_VARIABLE: defect.name}
        result = fuzz(target, seconds, Path(work), environment)
    if not result.findings:
        return f"MISSED in {result.executions} executions"
    return f"atheris, after {result.seconds:.0f} s and {result.executions} executions"
