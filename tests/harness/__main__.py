"""Run points again, or look at more of them than the tests do.

::

    python -m tests.harness send_large-mem-client/1/scope:3    one point
    python -m tests.harness --every --seeds 10 send_           each step of what has "send_" in it
    python -m tests.harness takeover fresh                     all cases with compression
"""

from __future__ import annotations

import argparse
import sys
import time

from .catalogue import CASES, find
from .runner import run_all, run_once
from .tally import Tally


def main() -> int:
    """Run what the command line says; 1 if there are violations."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness")
    parser.add_argument("what", nargs="*", help="points, or parts of the names of cases")
    parser.add_argument("--every", action="store_true", help="each step, not some of them")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--first-seed", type=int, default=1)
    options = parser.parse_args()
    points = [what for what in options.what if "/" in what]
    violations: list[str] = []
    for point in points:
        violations += run_once(*find(point)).violations
    names = [what for what in options.what if "/" not in what]
    total, started = Tally(), time.monotonic()
    for case in [] if points else CASES.values():
        if names and not any(name in str(case) for name in names):
            continue
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            tally = run_all(case, seed, every=options.every)
            total.add(tally)
            sys.stdout.writelines(f"{line}\n" for line in tally.violations)
            sys.stdout.flush()
    violations += total.violations
    seconds = time.monotonic() - started
    if points:
        sys.stdout.writelines(f"{line}\n" for line in violations)
    else:
        sys.stdout.writelines(f"{line}\n" for line in total.report())
        sys.stdout.write(f"{total.missed} missed, {total.cases} cases, {seconds:.0f} s\n")
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main())
