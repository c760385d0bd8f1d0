"""One target under atheris, in a process of its own: what `python -m tests.fuzz` starts.

::

    python -m tests.fuzz.worker TARGET [options and directories of libFuzzer]
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any


def main() -> None:
    """Fuzz until libFuzzer's options say stop, or a property does not hold."""
    name, *flags = sys.argv[1:]
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["trio_ws"]):
        importlib.import_module("trio_ws")
    from .registry import TARGETS
    from .sabotage import broken_by_environment

    target = TARGETS[name]
    with ExitStack() as stack:
        stack.enter_context(broken_by_environment())
        atheris.Setup([sys.argv[0], *flags], partial(_run, target.run, _prefix(flags)))
        atheris.Fuzz()


def _run(run: Callable[[bytes], None], prefix: str, data: bytes) -> None:
    """Run a target; keep an input for which a property does not hold, whatever happens then."""
    try:
        run(data)
    except BaseException:
        name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        Path(f"{prefix}crash-{name}").write_bytes(data)  # the name that libFuzzer gives it
        raise


def _prefix(flags: list[str]) -> str:
    """Where libFuzzer writes its findings."""
    option = "-artifact_prefix="
    return next((flag.removeprefix(option) for flag in flags if flag.startswith(option)), "")


if __name__ == "__main__":
    main()
