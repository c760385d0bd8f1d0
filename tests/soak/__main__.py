"""The soak: ``python -m tests.soak``; exit status 1 if anything was violated.

Without options it is the short form; ``--long`` is the long one, which the other options change.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import trio

import trio_ws

from . import judge
from .control import raise_limit
from .plan import LONG, SHORT, SPARE, Plan, Record
from .publish import publish
from .run import Run
from .sabotage import BUGS

CHANGEABLE = ("connections", "cycles", "turns", "rounds", "patience", "period", "seconds", "seed")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - a program of its own


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.add_argument("--long", action="store_true", help="10,000 connections, 100,000 cycles")
    for name in CHANGEABLE:
        kind = float if name in {"patience", "period", "seconds"} else int
        parser.add_argument(f"--{name}", type=kind, help=f"short form: {getattr(SHORT, name)}")
    parser.add_argument("--output", type=Path, help="a folder for a table and a plot")
    parser.add_argument("--sabotage", choices=[*BUGS, "all"], help="put a bug in, which is found")
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> tuple[Plan, str | None]:
    """What to do, and why it is less than what was asked for."""
    given = {name: getattr(options, name) for name in CHANGEABLE}
    plan = replace(
        LONG if options.long else SHORT,
        **{name: value for name, value in given.items() if value is not None},
    )
    most = raise_limit() - SPARE
    if plan.connections <= most:
        return plan, None
    why = f"RLIMIT_NOFILE allows {most + SPARE} files, so it is {most} connections"
    return replace(plan, connections=most), f"{why} instead of {plan.connections}"


def conditions(plan: Plan, less: str | None) -> dict[str, str]:
    """What somebody needs to know who reads the figures."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    result = {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": f"trio_ws {trio_ws.__version__}, trio {version('trio')}",
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}; "
        f"load average before {os.getloadavg()[0]:.1f}, nice {os.nice(0)}; {files} open files",
        "processes": "one server and two clients, over 127.0.0.1 to 127.0.0.8",
        "plan": f"{plan.connections} connections, {plan.cycles} cycles, {plan.turns} turns, "
        f"{plan.rounds} rounds, patience {plan.patience:.0f} s, seed {plan.seed}",
    }
    return {**result, "less than asked for": less} if less else result


def again(plan: Plan) -> str:
    """The command that does the same again."""
    values = [f"--{name}={getattr(plan, name)}" for name in CHANGEABLE]
    return shlex.join(["python", "-m", "tests.soak", *values])


def tell(record: Record, wrong: Sequence[str]) -> None:
    """Print the figures, and what was violated."""
    for name, value in judge.summary(record).items():
        say(f"{name}: {value}")
    say(f"{record.seconds:.0f} s, {record.cpu:.0f} s of CPU, {len(wrong)} violations")
    for line in wrong:
        say(f"VIOLATED: {line}")
    if wrong:
        say(f"seed {record.plan.seed}; again: {again(record.plan)}")


def find_bugs(plan: Plan, names: Sequence[str]) -> int:
    """Put bugs in, one after the other; 1 if one is not found."""
    missed = []
    for name in names:
        record = trio.run(Run(replace(plan, sabotage=name), lambda text: None).run)
        wrong = judge.violations(record)
        say(
            f"{'found' if wrong else 'MISSED'}: {name}, {len(wrong)} violations, "
            f"{record.seconds:.0f} s, {record.cpu:.0f} s of CPU"
        )
        for line in wrong[:3]:
            say(f"    {line[:200]}")
        if not wrong:
            missed.append(name)
    say(f"{len(names) - len(missed)} of {len(names)} bugs found")
    return int(bool(missed))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    options = parse(arguments)
    plan, less = plan_of(options)
    known = conditions(plan, less)
    for name, value in known.items():
        say(f"{name}: {value}")
    if options.sabotage:
        return find_bugs(plan, list(BUGS) if options.sabotage == "all" else [options.sabotage])
    record = trio.run(Run(plan, say).run)
    wrong = judge.violations(record)
    tell(record, wrong)
    if options.output:
        publish(record, known, wrong, options.output)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
