"""What a test needs beyond ``pip install .[test]``.

``require`` skips a test whose peer is not installed, so that the README's test command passes on
any machine. With the environment variable ``TRIO_WS_REQUIRE=all`` (set by .ci/run and by the nox
sessions that install the peers) the same test fails, so that nothing is skipped unnoticed.
"""

import importlib
import os
import shutil
from types import ModuleType

import pytest


def everything_is_required() -> bool:
    """Whether a missing peer is a failure instead of a skip."""
    return os.environ.get("TRIO_WS_REQUIRE") == "all"


def require(condition: object, reason: str) -> None:
    """Go on if ``condition`` is true; otherwise skip, or fail where everything is required.

    Args:
        condition: what must hold, for example the result of ``shutil.which``.
        reason: what is missing and how to get it.
    """
    if condition:
        return
    if everything_is_required():
        pytest.fail(f"required: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def require_module(name: str) -> ModuleType:
    """Import and return the module ``name``, or skip or fail as :func:`require` does."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        require(False, f"the Python package {name} is missing ({error})")
        raise


def require_program(*names: str) -> str:
    """Return the path of the first program of ``names`` on PATH, or skip or fail."""
    found = next(filter(None, map(shutil.which, names)), None)
    require(found, f"no program {' or '.join(names)} on PATH")
    assert found is not None
    return found
