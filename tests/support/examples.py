"""How many examples the property tests try: few in the suite, more where time was given for it."""

from __future__ import annotations

import os
from collections.abc import Iterable

_FACTOR = int(os.environ.get("TRIO_WS_EXAMPLES", "1"))


def examples(few: int) -> int:
    """So many examples, times the environment's TRIO_WS_EXAMPLES."""
    return few * _FACTOR


def first_or_all(names: Iterable[str], few: int) -> list[str]:
    """The first of these, or all where time was given for more examples."""
    return list(names)[: few if _FACTOR == 1 else None]
