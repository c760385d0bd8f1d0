"""Command line; see the package."""

from __future__ import annotations

import argparse
import sys
import time

from tests.differential import sabotage
from tests.differential.compare import LIBRARIES, Tally, compare, play
from tests.differential.sequences import at_random, systematic
from tests.differential.table import TABLE


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 1 if there are violations."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential")
    parser.add_argument("--random", type=int, default=1000, help="how many random sequences")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    parser.add_argument("--only", help="a random sequence's seed, or the name of a systematic one")
    parser.add_argument("--sabotage", action="store_true", help="break the library on purpose")
    options = parser.parse_args(arguments)
    if options.sabotage:
        return sabotage.main()
    tally, started = Tally(), time.monotonic()
    if options.only is not None:
        return _only(options.only, tally)
    for sequence in systematic():
        compare(sequence, tally)
    never = [row.name for row in TABLE if row.name not in tally.explained]
    tally.violations += [f"this row of the table never happens: {name}" for name in never]
    for seed in range(options.seed, options.seed + options.random):
        compare(at_random(seed), tally)
    sys.stdout.writelines(f"{line}\n" for line in tally.violations)
    for row in TABLE:
        sys.stdout.write(f"{tally.explained.get(row.name, 0):7} {row.name}\n")
    sys.stdout.write(
        f"{tally.sequences} sequences, {tally.comparisons} comparisons, {len(TABLE)} kinds of "
        f"disagreement, {len(tally.violations)} violations, {time.monotonic() - started:.0f} s\n"
    )
    return bool(tally.violations)


def _only(name: str, tally: Tally) -> int:
    chosen = [at_random(int(name))] if name.isdecimal() else []
    chosen += [sequence for sequence in systematic() if sequence.name == name]
    for sequence in chosen:
        sys.stdout.write(f"{sequence}\n")
        for library in ("", *LIBRARIES):
            outcome = play(library, sequence, [sequence.data])
            sys.stdout.write(f"{library or 'trio_ws'}: {outcome.events} {outcome.answers}\n")
        compare(sequence, tally)
    sys.stdout.writelines(f"{line}\n" for line in tally.violations)
    return bool(tally.violations) or not chosen


if __name__ == "__main__":
    sys.exit(main())
