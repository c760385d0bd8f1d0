"""Run the Autobahn TestSuite against trio_ws: ``python -m tests.autobahn [--role ...] [--quick]``.

Each case's outcome is compared with ``expected.json``; exit status 1 tells of a deviation, 77 that
there is no Python 2.7 to run the suite with. The HTML reports stay in the folder ``--reports``.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import trio

from . import environment
from .peers import AGENT

ROOT = Path(__file__).parents[2]
EXPECTED = Path(__file__).with_name("expected.json")
ROLES = ("server", "client")
# Of 9 (large messages) `--quick` takes none; of the sizes and fragmentations that each group of 12
# and 13 (a thousand compressed messages) goes through: 64 bytes, 8 KiB, and 8 KiB in 32 fragments.
QUICK_SIZES = ("2", "6", "11")
SKIPPED = 77

Outcomes = dict[str, tuple[str, str]]  # behavior and behaviorClose of each case


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - a program of its own


class Run:
    """The suite against one role.

    Args:
        python: the Python of the suite's environment.
        role: what trio_ws is.
        reports: the folder with a folder for each role's reports.
        cases: the cases to run.
    """

    def __init__(self, python: Path, role: str, reports: Path, cases: Iterable[str]) -> None:
        self.role = role
        self.reports = reports / role
        self._python = python
        self._spec: dict[str, Any] = {
            "outdir": str(self.reports),
            "cases": list(cases),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }

    async def run(self) -> None:
        """Run the cases; the outcomes are then in `outcomes`."""
        self.reports.mkdir(parents=True, exist_ok=True)
        for old in self.reports.glob("*.*"):
            old.unlink()
        begin = trio.current_time()
        await (self._as_server() if self.role == "server" else self._as_client())
        say(f"{self.role}: {trio.current_time() - begin:.0f} s, report in {self.reports}")

    def outcomes(self) -> Outcomes:
        """The outcome of each case that was run."""
        index = json.loads((self.reports / "index.json").read_text(encoding="utf-8"))
        return {
            case: (result["behavior"], result["behaviorClose"])
            for case, result in index[AGENT].items()
        }

    async def _as_server(self) -> None:
        command = [sys.executable, "-m", "tests.autobahn.peers", "server"]
        async with trio.open_nursery() as nursery:
            server: trio.Process = await nursery.start(
                partial(trio.run_process, command, stdout=subprocess.PIPE, cwd=ROOT)
            )
            assert server.stdout is not None
            port = int(await server.stdout.receive_some())
            server_spec = {"agent": AGENT, "url": f"ws://127.0.0.1:{port}"}
            await self._suite("fuzzingclient", servers=[server_spec])
            nursery.cancel_scope.cancel()

    async def _as_client(self) -> None:
        url = f"ws://127.0.0.1:{_free_port()}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(self._suite, "fuzzingserver", url=url))
            await _wait_for_server(url)
            await trio.run_process(
                [sys.executable, "-m", "tests.autobahn.peers", "client", url], cwd=ROOT
            )
            nursery.cancel_scope.cancel()

    async def _suite(self, mode: str, **spec: Any) -> None:
        path = self.reports / "spec.json"
        path.write_text(json.dumps(self._spec | spec), encoding="utf-8")
        options: list[str | Path] = ["-m", mode, "-s", path, "-u", "0"]  # no web page
        with (self.reports / "log.txt").open("wb") as log:
            await trio.run_process(
                [self._python, "-m", "autobahntestsuite.wstest", *options],
                stdout=log,
                stderr=log,
                cwd=self.reports,
            )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def _wait_for_server(url: str) -> None:
    """Wait until something listens there."""
    port = int(url.rpartition(":")[2])
    with trio.fail_after(60):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.1)
            else:
                await stream.aclose()
                return


def deviations(outcomes: Outcomes, expected: Outcomes) -> list[str]:
    """What is not as expected, in words."""
    return [
        f"{case}: {'/'.join(outcomes.get(case, ('missing',)))}, not {'/'.join(outcome)}"
        for case, outcome in expected.items()
        if outcomes.get(case) != outcome
    ]


def chosen(patterns: Sequence[str], *, quick: bool) -> Outcomes:
    """The cases to run, and what to expect of them."""
    table: dict[str, list[str]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return {
        case: (behavior, close)
        for case, (behavior, close) in table.items()
        if any(fnmatchcase(case, pattern) for pattern in patterns)
        and not (quick and _is_slow(case))
    }


def _is_slow(case: str) -> bool:
    group, _, rest = case.partition(".")
    if group in {"12", "13"}:
        return rest.rpartition(".")[2] not in QUICK_SIZES
    return group == "9"


def summary(role: str, outcomes: Outcomes) -> str:
    """How many cases had which outcome."""

    def count(values: list[str]) -> str:
        return ", ".join(f"{number} {value}" for value, number in Counter(values).most_common())

    behavior = count([first for first, _ in outcomes.values()])
    close = count([second for _, second in outcomes.values()])
    return f"{role}: {len(outcomes)} cases: {behavior}; closing: {close}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=__doc__)
    parser.add_argument("--role", choices=ROLES, help="what trio_ws is; both by default")
    parser.add_argument("--cases", nargs="+", default=["*"], help="such as 1.* or 6.4.2")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    default = ROOT / ".nox" / "autobahn-suite"
    parser.add_argument("--environment", type=Path, default=default, help="of the suite itself")
    parser.add_argument("--reports", type=Path, default=ROOT / "autobahn-reports")
    return parser.parse_args()


async def _run_all(runs: Sequence[Run]) -> None:
    async with trio.open_nursery() as nursery:
        for run in runs:
            nursery.start_soon(run.run)


def main() -> int:
    """Run, compare, print."""
    arguments = _arguments()
    expected = chosen(arguments.cases, quick=arguments.quick)
    if not expected:
        say("no such case")
        return 2
    try:
        python = environment.make(arguments.environment.resolve())
    except environment.MissingError as exc:
        say(f"{'failed' if os.environ.get('TRIO_WS_REQUIRE') == 'all' else 'skipped'}: {exc}")
        return 1 if os.environ.get("TRIO_WS_REQUIRE") == "all" else SKIPPED
    reports = arguments.reports.resolve()
    roles = [arguments.role] if arguments.role else ROLES
    runs = [Run(python, role, reports, expected) for role in roles]
    trio.run(_run_all, runs)
    failed = False
    for run in runs:
        say(summary(run.role, run.outcomes()))
        for line in deviations(run.outcomes(), expected):
            failed = True
            say(f"  {line}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
