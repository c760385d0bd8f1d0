"""Mutation testing: ``python -m tests.mutation [MODULE ...] [--seconds N] [--jobs 2]``.

Makes every small bug of ``operators.py`` in the sans-I/O floor, one at a time, and runs the tests
of its module. Exit status 1 tells of a mutant that survived and is not in ``argued.toml``, of a
line there that is about no mutant, or of a share of killed ones below 95 %. For Linux.

The tools that there are were tried first. mutmut 3 changes only the bodies of functions, and much
of this floor is in regular expressions, tables and defaults; cosmic-ray starts Python and pytest
once for each mutant, which takes ten times as long. Neither leaves out one condition of several,
and neither has a list of argued mutants.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .argued import is_argued, stale
from .mutants import Mutant, modules, mutants_of
from .runner import Run, run_imported
from .suite import TIMED_OUT, Outcome, prepare

LEAST_KILLED: Final = 95.0  # percent
COLUMNS: Final = ("mutants", "killed", "timed out", "argued", "survivors", "not tried")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - a program of its own


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    which = "such as _url, or _url.check_port; default: all"
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=which)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this time")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--patience", type=float, default=10, help="CPU seconds for one mutant")
    parser.add_argument("--sample", type=int, metavar="N", help="try only N mutants of each module")
    parser.add_argument(
        "--without",
        metavar="TEXT",
        action="append",
        default=[],
        help="leave out tests whose id contains TEXT",
    )
    parser.add_argument("--show", metavar="NAME", help="show one mutant, such as _url.check_port.3")
    parser.add_argument("--verbose", action="store_true", help="say which test killed each mutant")
    return parser.parse_args(args)


def show(name: str, without: set[str]) -> int:
    """Show a mutant, and run the tests on it with all their output; 0 if they fail."""
    module = name.partition(".")[0]
    mutant = next((each for each in mutants_of(module) if each.name == name), None)
    if mutant is None:
        raise SystemExit(f"there is no mutant {name}")
    say(f"{mutant.diff()}\n\n{mutant.key}\n")
    with tempfile.TemporaryDirectory() as folder:
        (killer,) = run_imported(mutant, Path(folder), without, ("-q", "--tb=short"))
    say(f"survived{', argued' if is_argued(mutant) else ''}" if killer is None else f"by {killer}")
    return killer is None


def chosen(names: Sequence[str], sample: int | None) -> list[Mutant]:
    """The mutants to try, shuffled, so that a run that is stopped has tried some of everything."""
    order = random.Random(0)
    mutants = []
    for name in names:
        module = name.partition(".")[0]
        found = [each for each in mutants_of(module) if f"{each.name}.".startswith(f"{name}.")]
        order.shuffle(found)
        mutants += found[:sample]
    order.shuffle(mutants)
    return mutants


def summary(names: Sequence[str], mutants: Sequence[Mutant], outcomes: Sequence[Outcome]) -> float:
    """Print a table with a row for each module; the percentage of killed mutants."""
    table = {name.partition(".")[0]: Counter[str]() for name in names}
    for mutant in mutants:
        table[mutant.module].update(("mutants", "not tried"))
    for outcome in outcomes:
        row = table[outcome.mutant.module]
        row["not tried"] -= 1
        row[_column(outcome)] += 1
    table["all"] = sum(table.values(), Counter())
    say(f"{'':20}" + "".join(f"{column:>11}" for column in COLUMNS) + f"{'percent':>10}")
    percent = 0.0
    for name, row in table.items():
        tried = row["mutants"] - row["not tried"]
        percent = 100 * (row["killed"] + row["timed out"]) / max(1, tried)
        say(f"{name:20}" + "".join(f"{row[column]:11}" for column in COLUMNS) + f"{percent:10.1f}")
    return percent


def _column(outcome: Outcome) -> str:
    if outcome.killer is None:
        return "argued" if is_argued(outcome.mutant) else "survivors"
    return "timed out" if outcome.killer == TIMED_OUT else "killed"


def judge(names: Sequence[str], mutants: Sequence[Mutant], outcomes: Sequence[Outcome]) -> int:
    """Print what became of them; the exit status."""
    survivors = [each.mutant for each in outcomes if _column(each) == "survivors"]
    for mutant in sorted(survivors, key=lambda each: (each.module, each.span)):
        say(f"survived: {mutant.module}: {mutant.key}")
        say(f"          python -m tests.mutation --show {mutant.name}")
    for outcome in outcomes:
        if outcome.killer is not None and is_argued(outcome.mutant):
            mutant = outcome.mutant
            say(f"argued, but killed by {outcome.killer}: {mutant.module}: {mutant.key}")
    whole = [name for name in names if "." not in name]
    lost = stale(whole, [mutant for name in whole for mutant in mutants_of(name)])
    for line in lost:
        say(f"argued, but no mutant: {line}")
    percent = summary(names, mutants, outcomes)
    too_few = whole == list(names) and percent < LEAST_KILLED
    return int(bool(survivors or lost) or too_few)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = parse(args)
    prepare()
    without = set(options.without)
    if options.show:
        return show(options.show, without)
    names = options.modules or modules()
    mutants = chosen(names, options.sample)
    begin = time.monotonic()
    verbose = options.verbose

    def told(outcome: Outcome) -> None:
        if verbose:
            say(f"{outcome.mutant.name}: {outcome.killer or 'survived'}: {outcome.mutant.key}")

    run = Run(options.jobs, begin + options.seconds, without, told, options.patience)
    outcomes = list(run.outcomes(mutants))
    status = judge(names, mutants, outcomes)
    say(f"{len(outcomes)} mutants in {time.monotonic() - begin:.0f} s: {'no' if status else 'ok'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
