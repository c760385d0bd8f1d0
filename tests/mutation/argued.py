"""The mutants that no test can, or need, notice: ``argued.toml`` says of each why."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .mutants import Mutant

LIST: Final = Path(__file__).with_name("argued.toml")


def reasons() -> dict[str, dict[str, str]]:
    """For each module, its argued mutants' keys and the reason for each."""
    return {name: dict(table) for name, table in tomllib.loads(LIST.read_text()).items()}


def is_argued(mutant: Mutant) -> bool:
    """Whether the list has a reason for this mutant."""
    return bool(reasons().get(mutant.module, {}).get(mutant.key))


def stale(modules: Iterable[str], mutants: Iterable[Mutant]) -> list[str]:
    """Lines of the list, of these modules, that are about no mutant any more."""
    known = {(mutant.module, mutant.key) for mutant in mutants}
    listed = reasons()
    return [
        f"{module}: {key}"
        for module in modules
        for key in listed.get(module, {})
        if (module, key) not in known
    ]
