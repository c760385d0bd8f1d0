"""Run points again, or look at more of them than the tests do.

::

    python -m tests.harness send_large-mem-client/1/scope:3      one point
    python -m tests.harness receive-tls-server/2/send-stall:17   another: a fault
    python -m tests.harness --every                              every point of every case
    python -m tests.harness --every --seeds 3 send_ -tls-        of what is named so, three seeds
    python -m tests.harness --every --shard 1/4                  a quarter of the points of each
    python -m tests.harness --every --seconds 600                as many as that takes, at random
    python -m tests.harness --every --count                      how many there are
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable, Iterator

from .catalogue import CASES, find
from .runner import cheap_garbage, run_all, run_once
from .scenario import Case
from .tally import Tally, replay


def main(arguments: list[str]) -> int:
    """Run what the command line says; 1 if there are violations."""
    options = _parse(arguments)
    points = [what for what in options.what if "/" in what]
    if points:
        return max(map(_run_point, points))
    total, started = Tally(), time.monotonic()
    cpu = time.process_time()
    try:
        with cheap_garbage():
            for case, seed in _units(options):
                if options.seconds and time.monotonic() - started > options.seconds:
                    break
                run = not options.count
                tally = run_all(case, seed, every=options.every, shard=options.shard, run=run)
                total.add(tally)
                _print(map(replay, tally.violations))
    except KeyboardInterrupt:
        _print(["interrupted"])
    _print(total.report())
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    each = cpu / max(1, total.points) * 1000
    done = f"{total.cases} runs of {len(CASES)} cases, {total.missed} points missed"
    _print([f"{done}, {seconds:.0f} s, {cpu:.0f} s of CPU, {each:.1f} ms a point"])
    return bool(total.violations)


def _run_point(point: str) -> int:
    """Print what comes of a point; 1 if it is a violation, or the point did not come."""
    world = run_once(*find(point))
    missed = world.injection is not None and world.injector.fired_at is None
    lines = [*world.violations, *([f"{point}: the point did not come"] if missed else [])]
    _print(lines or [f"{point}: no violation"])
    return bool(lines)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    for what in options.what:
        name, is_point, _ = what.partition("/")
        if not (name in CASES if is_point else any(name in case for case in CASES)):
            parser.error(f"there is no case {name}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.harness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", help="points, or parts of the names of cases")
    parser.add_argument("--every", action="store_true", help="each point, not some of them")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--shard", type=_shard, default=(0, 1), help="a part of the points: 1/4")
    parser.add_argument("--count", action="store_true", help="count the points, run none")
    parser.add_argument("--seconds", type=float, help="begin no case after so long")
    return parser


def _shard(text: str) -> tuple[int, int]:
    number, _, parts = text.partition("/")
    if not 0 < int(number) <= int(parts):
        raise argparse.ArgumentTypeError(f"{text} is not one of 1/N to N/N")
    return int(number) - 1, int(parts)


def _units(options: argparse.Namespace) -> Iterator[tuple[Case, int]]:
    """Each case with each seed; in an order of its own if not all may come."""
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    cases = [
        case
        for name, case in CASES.items()
        if not options.what or any(part in name for part in options.what)
    ]
    units = [(case, seed) for seed in seeds for case in cases]
    if options.seconds:
        random.Random(options.first_seed).shuffle(units)
    return iter(units)


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
