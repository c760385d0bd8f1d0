"""Run the attacks; with ``--sabotage``, without the defences against them, one at a time.

::

    python -m tests.hostile                            all, as a table
    python -m tests.hostile "server/two Hosts"         one
    python -m tests.hostile --match Origin             some
    python -m tests.hostile --repeat 20 --shuffle 7    all, 20 times, each time in another order
    python -m tests.hostile --sabotage                 each defence taken away: an attack turns red
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time

from . import ATTACKS, run
from .runner import Result
from .sabotage import SABOTAGES, noticed
from .table import KIB, KNOWN


def main() -> int:
    """Run what the command line says; 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile")
    parser.add_argument("names", nargs="*", help="attacks; none is all of them")
    parser.add_argument("--match", default="", help="only those whose name has this in it")
    parser.add_argument("--repeat", type=int, default=1, help="how many times")
    parser.add_argument("--shuffle", type=int, help="a seed for the order")
    parser.add_argument("--sabotage", action="store_true", help="take the defences away")
    options = parser.parse_args()
    if options.sabotage:
        return sabotage()
    names = [name for name in options.names or ATTACKS if options.match in name]
    unknown = [name for name in names if name not in ATTACKS]
    if unknown or not names:
        parser.error(f"no such attack: {unknown or options.match}")
    order = random.Random(options.shuffle)
    began, spent = time.monotonic(), time.process_time()
    faults = 0
    for _ in range(options.repeat):
        if options.shuffle is not None:
            order.shuffle(names)
        for name in names:
            faults += report(run(ATTACKS[name]))
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{len(names)} attacks, {options.repeat} times: {faults} with faults; "
        f"{seconds:.1f} s, {time.process_time() - spent:.1f} s of the processor\n"
    )
    return bool(faults)


def report(result: Result) -> bool:
    """Print a line of the table, and what is wrong; return whether anything is."""
    name, memory = result.attack.name, result.memory // KIB
    sys.stdout.write(
        f"{name:60} {result.outcome:45} {memory:6} KiB {result.served:4} served"
        f" {result.seconds * 1000:6.0f} ms\n"
    )
    for fault in result.faults:
        sys.stdout.write(f"    {'KNOWN' if name in KNOWN else 'FAULT'}: {fault}\n")
    if result.faults:
        sys.stdout.write(f"    python -m tests.hostile {shlex.quote(name)}\n")
    sys.stdout.flush()
    return bool(result.faults) and name not in KNOWN


def sabotage() -> int:
    """Print what each sabotage leads to; 1 if one goes unnoticed."""
    unnoticed = 0
    for item in SABOTAGES.values():
        faults = noticed(item)
        unnoticed += not faults
        told = f"{item.attack}: {'; '.join(faults)}" if faults else f"UNNOTICED by {item.attack}"
        sys.stdout.write(f"{item.name:45} {told}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(SABOTAGES)} defences taken away, {unnoticed} unnoticed\n")
    return bool(unnoticed)


if __name__ == "__main__":
    sys.exit(main())
