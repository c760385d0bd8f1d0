"""An environment with the Autobahn TestSuite, which is a Python 2 program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENT = "autobahntestsuite==25.10.1"
_VIRTUALENV = "virtualenv<20.22"  # later ones know no Python 2.7


class MissingError(Exception):
    """There is no Python 2.7 to run the suite with."""


def _candidates() -> list[str]:
    named = [os.environ.get("PYTHON27"), shutil.which("python2.7")]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return [name for name in named if name] + [
        str(path) for path in sorted(pyenv.glob("versions/2.7.*/bin/python2.7"))
    ]


def find_python() -> str:
    """The path of a Python 2.7 that works; one of pyenv's shims may not.

    Raises:
        MissingError: there is none.
    """
    for candidate in _candidates():
        done = subprocess.run(
            [candidate, "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout.strip()
    raise MissingError(
        "the Autobahn TestSuite needs Python 2.7, as python2.7 on PATH, in pyenv or as PYTHON27"
    )


def make(where: Path) -> Path:
    """Return the Python of an environment with the suite, made in `where` if there is none.

    Raises:
        MissingError: there is no Python 2.7.
        subprocess.CalledProcessError: it could not be installed.
    """
    python = where / "bin" / "python"
    stamp = where / "ready"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == REQUIREMENT:
        return python
    python27 = find_python()
    shutil.rmtree(where, ignore_errors=True)
    tools = where / "virtualenv"
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    _run([python27, "-m", "pip", "install", "--target", tools, _VIRTUALENV], env)
    _run([python27, "-m", "virtualenv", where], env | {"PYTHONPATH": str(tools)})
    _run([python, "-m", "pip", "install", REQUIREMENT], env)
    stamp.write_text(REQUIREMENT, encoding="utf-8")
    return python


def _run(command: list[str | Path], env: dict[str, str]) -> None:
    """Run a command of pip's kind; what it says matters only if it fails."""
    env = env | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
