"""Every check of the project, each in an environment of its own: ``nox -s NAME``."""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["tests", "typing", "typing_compat", "lint", "docs", "coverage"]

PROJECT = nox.project.load_toml("pyproject.toml")
MAIN_PYTHON = "3.12"
PLATFORMS = ("linux", "win32", "darwin")
NODE_PEERS = Path("tests/interop/node")
# The peers of the session interop are not installed elsewhere; everything else must run.
CORE_TESTS = ("-m", "not interop", "--ignore=tests/interop")
REQUIRE_ALL = {"TRIO_WS_REQUIRE": "all"}


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(PROJECT, name)


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests that need no foreign peer."""
    session.install(".[test]")
    session.run("pytest", *CORE_TESTS, *session.posargs, env=REQUIRE_ALL)


@nox.session(python="3.11")
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions of trio and h11 that pyproject.toml allows."""
    lowest = [name.replace(">=", "==") for name in PROJECT["project"]["dependencies"]]
    session.install(".[test]", *lowest)
    session.run("pytest", *CORE_TESTS, *session.posargs, env=REQUIRE_ALL)


@nox.session(python=MAIN_PYTHON)
def coverage(session: nox.Session) -> None:
    """Run the tests under coverage: each branch of the package must be taken.

    The cancellation harness is left out: it takes no branch that the other tests do not take.
    """
    session.install("-e", ".[test]", *group("coverage"))
    session.run("coverage", "erase")
    pytest = ("pytest", *CORE_TESTS, "--ignore=tests/test_cancellation.py", *session.posargs)
    session.run("coverage", "run", "-m", *pytest, env=REQUIRE_ALL)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=MAIN_PYTHON)
def interop(session: nox.Session) -> None:
    """Talk to other implementations: browsers, nginx, HAProxy, Node and other Python packages."""
    session.install(".[test]", *group("interop"))
    with session.chdir(NODE_PEERS):
        session.run("npm", "ci", "--no-audit", "--no-fund", external=True)
    session.run("pytest", "-m", "interop", *session.posargs, env=REQUIRE_ALL)


@nox.session(python=MAIN_PYTHON)
def autobahn(session: nox.Session) -> None:
    """Run the Autobahn TestSuite in both roles; ``-- --quick`` leaves out its longest cases."""
    session.install(".")
    # 77: there is no Python 2.7 for the suite; that is a failure where everything is required.
    required = REQUIRE_ALL if os.environ.get("CI") else {}
    command = ("python", "-m", "tests.autobahn", *session.posargs)
    session.run(*command, env=required, success_codes=[0, 77])


@nox.session(python=MAIN_PYTHON)
def typing(session: nox.Session) -> None:
    """Check the types: mypy for three platforms, pyright on what a user sees."""
    # A plain install, because pyright does not follow the import hooks of editable ones.
    session.install(".[test]", *group("typing"))
    for platform in PLATFORMS:
        session.run("mypy", "--platform", platform, "--cache-dir", f".mypy_cache/{platform}")
    session.run("pyright", "--version", silent=True)  # a first call may download it
    session.run("pyright")
    # From elsewhere, so that the installed package is verified, with its py.typed.
    with session.chdir(session.create_tmp()):
        session.run("pyright", "--verifytypes", "trio_ws", "--ignoreexternal")


@nox.session(python=MAIN_PYTHON)
def typing_compat(session: nox.Session) -> None:
    """Check a program typed with trio-typing, whose stubs replace trio's own types.

    Both with and without its mypy plugin; on its own because it would change every other check.
    """
    session.install(".", *group("typing-compat"))
    with session.chdir("tests/typing_compat"):
        for config in ("plain.ini", "plugin.ini"):
            session.run("mypy", "--config-file", config, "program.py")


@nox.session(python=MAIN_PYTHON)
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python=MAIN_PYTHON)
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning or a dangling reference is an error."""
    session.install(".", *group("docs"))
    session.run("sphinx-build", "-n", "-W", "-E", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=MAIN_PYTHON)
def changelog(session: nox.Session) -> None:
    """Show the next release's changelog as its fragments would make it."""
    session.install(*group("changelog"))
    session.run("towncrier", "build", "--draft", "--version", os.environ.get("VERSION", "next"))
