"""Run worlds by their seeds.

::

    python -m tests.simulation --seeds 2000                   what CI runs
    python -m tests.simulation --seeds 1000000 --processes 2  the long form
    python -m tests.simulation --seed 17 --trace              one world, and what happens in it
    python -m tests.simulation --seed 17 --drop c1 c2.0.f1    without some of it
    python -m tests.simulation --sabotage                     the library broken on purpose
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from . import sabotage
from .batch import Summary, run_batch
from .making import make_plan
from .run import run
from .shrink import kinds, minimal, shrink

# Failing seeds that are made small; the rest is only named.
_SHRUNK = 3
_SHOWN = 5
COMMAND = "python -m tests.simulation"


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Do what the command line says; 1 if there are violations."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="begin no new worlds after so many")
    parser.add_argument("--seed", type=int, help="one world")
    parser.add_argument("--drop", nargs="*", default=[], help="what of it to leave out")
    parser.add_argument("--trace", action="store_true", help="print what happens in it")
    parser.add_argument("--digest", action="store_true", help="print the hash of its trace")
    parser.add_argument(
        "--sabotage", nargs="?", const="", help="break the library, all ways or one"
    )
    options = parser.parse_args()
    # Handlers that do not answer, which the server warns of, are part of the worlds.
    logging.getLogger("trio_ws.server").addHandler(logging.NullHandler())
    if options.seed is not None:
        with sabotage.broken(options.sabotage):
            return run_one(options)
    if options.sabotage is not None:
        return sabotage.run_all(say, options.sabotage, options.seeds)
    if options.seeds is None and options.seconds is None:
        options.seeds = 2000
    return run_many(options)


def run_one(options: argparse.Namespace) -> int:
    """One world."""
    outcome = run(make_plan(options.seed).without(options.drop))
    if options.trace:
        for line in outcome.trace.lines():
            say(line)
    if options.digest:
        say(outcome.trace.digest())
    for violation in outcome.violations:
        say(violation)
    say(f"{outcome.connections} connections, {outcome.messages} messages received")
    return bool(outcome.violations)


def tell_how_to_replay(seed: int, violations: list[str], *, small: bool) -> None:
    """One command for a failing seed; `small` leaves out what the failure does not need."""
    command = f"{COMMAND} --seed {seed} --trace"
    if small:
        plan = make_plan(seed)
        dropped = shrink(plan, kinds(violations))
        if dropped:
            command += " --drop " + " ".join(minimal(plan.names(), dropped))
        violations = run(plan.without(dropped)).violations
    for violation in violations[:_SHOWN]:
        say(f"{seed}  {violation}")
    say(f"    {command}")


def run_many(options: argparse.Namespace) -> int:
    """Many worlds."""
    started = reported = time.monotonic()
    named: set[int] = set()

    def report(summary: Summary) -> None:
        nonlocal reported
        for seed in sorted(summary.failures.keys() - named):
            named.add(seed)
            say(f"{seed}  {summary.failures[seed][0]}")
        if time.monotonic() > reported + 60:
            reported = time.monotonic()
            say(f"... {summary}")

    total = run_batch(
        options.first_seed,
        options.seeds,
        processes=options.processes,
        seconds=options.seconds,
        report=report,
    )
    for number, (seed, violations) in enumerate(sorted(total.failures.items())):
        tell_how_to_replay(seed, violations, small=number < _SHRUNK)
    say(f"{total}; {time.monotonic() - started:.0f} s")
    return bool(total.failures)


if __name__ == "__main__":
    sys.exit(main())
