"""Every check of the project, each in an environment of its own: ``nox -s NAME``."""

import os
import shutil
import tarfile
import tempfile
import zipfile
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
# pytest imports the package that lies beside the tests, so sessions that run them install with -e,
# which builds the extension there. The session build is the one that tests what a user installs.

# One wheel for each Python from 3.11; pyproject.toml says why that is not said there.
ONE_WHEEL = "--config-setting=--build-option=--py-limited-api=cp311"
EXTENSION = "trio_ws/_protocol/_speedups"


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(PROJECT, name)


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests that need no foreign peer."""
    session.install("-e", ".[test]")
    session.run("pytest", *CORE_TESTS, *session.posargs, env=REQUIRE_ALL)


@nox.session(python="3.11")
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions of trio and h11, and without the extension in C."""
    lowest = [name.replace(">=", "==") for name in PROJECT["project"]["dependencies"]]
    session.install("-e", ".[test]", *lowest)
    env = {**REQUIRE_ALL, "TRIO_WS_NO_EXTENSION": "1"}
    session.run("pytest", *CORE_TESTS, *session.posargs, env=env)


@nox.session(python="3.13")
def build(session: nox.Session) -> None:
    """Build an sdist and, from it, a wheel in dist/; run the tests on the wheel alone."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", ONE_WHEEL)
    (sdist,) = Path("dist").absolute().glob("*.tar.gz")
    (wheel,) = Path("dist").absolute().glob("*-cp311-abi3-*.whl")
    check_contents(session, wheel)
    with tempfile.TemporaryDirectory() as empty, tarfile.open(sdist) as archive:
        archive.extractall(empty, filter="data")
        (unpacked,) = Path(empty).iterdir()
        for package in unpacked.glob("trio_ws*"):  # and what setuptools knows of it
            shutil.rmtree(package)
        with session.chdir(unpacked):
            session.install(f"{wheel}[test]")
            installed = "import trio_ws; assert 'site-packages' in trio_ws.__file__"
            session.run("python", "-c", installed)
            session.run("pytest", *CORE_TESTS, *session.posargs, env=REQUIRE_ALL)
            # Whoever has no compiler gets the rest all the same.
            session.install("--force-reinstall", "--no-deps", str(sdist), env={"CC": "false"})
            masking = "from trio_ws._protocol._mask import MASKS_IN_C"
            session.run("python", "-c", f"{masking}; assert not MASKS_IN_C")


def check_contents(session: nox.Session, wheel: Path) -> None:
    """Fail unless a wheel has the package, types and extension included, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    missing = {"trio_ws/py.typed", f"{EXTENSION}.abi3.so", f"{EXTENSION}.pyi"} - names
    foreign = {name for name in names if not name.startswith(("trio_ws/", "trio_ws-"))}
    sources = {name for name in names if name.endswith(".c")}
    if missing or foreign or sources:
        session.error(f"{wheel.name}: missing {missing}, not of the package {foreign | sources}")


@nox.session(python=MAIN_PYTHON)
def coverage(session: nox.Session) -> None:
    """Run the tests under coverage: each branch of the package must be taken.

    What takes no branch that the other tests do not take is left out.
    """
    session.install("-e", ".[test]", *group("coverage"))
    session.run("coverage", "erase")
    layers = ("cancellation", "hostile", "mutation", "simulation", "soak")
    left_out = (*(f"test_{layer}.py" for layer in layers), "fuzz", "torn")
    ignored = [f"--ignore=tests/{name}" for name in left_out]
    pytest = ("pytest", *CORE_TESTS, *ignored, *session.posargs)
    session.run("coverage", "run", "-m", *pytest, env=REQUIRE_ALL)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=MAIN_PYTHON)
def interop(session: nox.Session) -> None:
    """Talk to other implementations: browsers, nginx, HAProxy, Node and other Python packages."""
    session.install("-e", ".[test]", *group("interop"))
    with session.chdir(NODE_PEERS):
        session.run("npm", "ci", "--no-audit", "--no-fund", external=True)
    session.run("pytest", "-m", "interop", *session.posargs, env=REQUIRE_ALL)


@nox.session(python=MAIN_PYTHON)
def autobahn(session: nox.Session) -> None:
    """Run the Autobahn TestSuite in both roles; ``-- --quick`` leaves out its longest cases."""
    session.install("-e", ".")
    # 77: there is no Python 2.7 for the suite; that is a failure where everything is required.
    required = REQUIRE_ALL if os.environ.get("CI") else {}
    command = ("python", "-m", "tests.autobahn", *session.posargs)
    session.run(*command, env=required, success_codes=[0, 77])


@nox.session(python=MAIN_PYTHON)
def torture(session: nox.Session) -> None:
    """Cancel and break each call at every point there is, which takes hours; see tests/harness.

    ``-- --shard 1/5`` takes a fifth of the points, ``-- --seconds 600`` as many as that allows.
    """
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.harness", "--every", *session.posargs)


@nox.session(python=MAIN_PYTHON)
def properties(session: nox.Session) -> None:
    """Torn input, the core beside other libraries', and stateful property tests, all at length.

    ``-- 100`` tries five times as many examples as usual.
    """
    session.install("-e", ".[test]", *group("interop"))
    factor = int(session.posargs[0]) if session.posargs else 20
    for layer, number in ("torn", 10 * factor), ("differential", 1000 * factor):
        session.run("python", "-m", f"tests.{layer}", "--random", str(number))
        session.run("python", "-m", f"tests.{layer}", "--sabotage")
    stateful = ("tests/protocol/test_stateful.py", "tests/test_stateful_pair.py")
    session.run("pytest", *stateful, env={**REQUIRE_ALL, "TRIO_WS_EXAMPLES": str(factor)})


@nox.session(python=MAIN_PYTHON)
def bench(session: nox.Session) -> None:
    """Measure trio_ws beside its peers, for the documentation; ``-- quick`` takes two minutes."""
    session.install("-e", ".", *group("bench"))
    for peer in group("bench-peers"):
        # One that cannot be installed is left out, and the table says so.
        session.install(peer, success_codes=[0, 1])
    session.run("python", "-m", "benchmarks", *(session.posargs or ("--output", "docs/benchmarks")))


@nox.session(python=MAIN_PYTHON)
def soak(session: nox.Session) -> None:
    """Run the long soak, for the documentation: six minutes, idle; ``-- --seed 2`` a short one.

    ``-- --sabotage all`` shows that each bug that is put in on purpose is found.
    """
    session.install("-e", ".", *group("bench"))
    arguments = session.posargs or ("--long", "--output", "docs/soak")
    session.run("python", "-m", "tests.soak", *arguments)


@nox.session(python=MAIN_PYTHON)
def fuzz(session: nox.Session) -> None:
    """Fuzz each parser, and a connection, for a minute; ``-- all --seconds 600 --keep`` longer.

    Then see that processor time grows as the input does, and that bugs put in are found. Linux.
    """
    session.install("-e", ".[test]", *group("fuzz"))
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ("all", "--seconds", "60")))
    session.run("python", "-m", "tests.fuzz.complexity")
    session.run("python", "-m", "tests.fuzz", "--sabotage", "--seconds", "30")


@nox.session(python=MAIN_PYTHON)
def mutate(session: nox.Session) -> None:
    """Put each of 3000 small bugs into the core: the tests must notice; ``-- _url`` in one module.

    ``-- --show _url.check_port.3`` shows one of them, and what the tests say.
    """
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.mutation", *session.posargs)


@nox.session(python=MAIN_PYTHON)
def hostile(session: nox.Session) -> None:
    """Attack a real server and a real client 20 times, in random order; then without defences.

    ``-- "server/two Hosts"`` does one attack again, ``-- --sabotage`` takes away each defence.
    """
    session.install("-e", ".[test]")
    command = ("python", "-m", "tests.hostile")
    if session.posargs:
        session.run(*command, *session.posargs)
        return
    session.run(*command, "--repeat", "20", "--shuffle", "1")
    session.run(*command, "--sabotage")


@nox.session(python=MAIN_PYTHON)
def simulate(session: nox.Session) -> None:
    """Run a million simulated worlds, which takes many hours; ``-- --seeds 20000`` fewer.

    ``-- --seed 17 --trace`` shows what happens in one, ``-- --sabotage`` that bugs are found.
    """
    session.install("-e", ".[test]")
    arguments = session.posargs or ("--seeds", "1000000", "--processes", "2")
    session.run("python", "-m", "tests.simulation", *arguments)


@nox.session(python=MAIN_PYTHON)
def typing(session: nox.Session) -> None:
    """Check the types: mypy for three platforms, pyright on what a user sees."""
    # A plain install, because pyright does not follow the import hooks of editable ones.
    session.install(".[test]", *group("typing"))
    for platform in PLATFORMS:
        session.run("mypy", "--platform", platform, "--cache-dir", f".mypy_cache/{platform}")
    linux = ("--platform", "linux", "--cache-dir", ".mypy_cache/linux")
    session.run("mypy", *linux, "benchmarks", "tests/test_benchmarks.py")
    # By their names, for what is excluded is not found in a folder.
    soak = sorted(str(path) for path in Path("tests/soak").glob("*.py"))
    session.run("mypy", *linux, *soak, "tests/test_soak.py")
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
