"""The command line: what to run, and where the results go."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from . import growth
from .conditions import conditions, load_average
from .contenders import CONTENDERS, NAMES, OURS, Contender
from .links import raise_file_limit
from .measure import Plan, measure_row
from .page import publish
from .plots import draw
from .processes import LOAD_CORE
from .report import report
from .results import Results
from .rows import ROW_NAMES, ROWS

STARTED: Final = time.monotonic()


def names(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """A type for argparse: names with commas between them."""

    def parse(value: str) -> list[str]:
        chosen = value.split(",")
        unknown = set(chosen) - set(allowed)
        if unknown:
            raise argparse.ArgumentTypeError(
                f"no such name: {', '.join(sorted(unknown))}; there are {', '.join(allowed)}"
            )
        return chosen

    return parse


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure trio_ws beside its peers: CPU time per message, and more.",
    )
    parser.add_argument(
        "mode",
        nargs="?",
        choices=("full", "quick", "growth", "page"),
        default="full",
        help="full: all rows and the growth; quick: all rows in two minutes; growth: only that; "
        "page: nothing, tables and plots are made anew from the output's results.json",
    )
    parser.add_argument("--only", type=names(NAMES), help=f"contenders: {', '.join(NAMES)}")
    parser.add_argument("--rows", type=names(ROW_NAMES), help=f"rows: {', '.join(ROW_NAMES)}")
    parser.add_argument("--rounds", type=int, help="rounds of each row")
    parser.add_argument("--seconds", type=float, help="seconds of a round that count")
    parser.add_argument("--warmup", type=float, help="seconds before them")
    parser.add_argument("--output", type=Path, help="directory for results.json, tables and plots")
    options = parser.parse_args(arguments)
    if options.mode == "page" and options.output is None:
        parser.error("page needs --output")
    return options


def chosen(options: argparse.Namespace, results: Results) -> list[Contender]:
    """The contenders that take part; who cannot is noted."""
    contenders = []
    for contender in CONTENDERS:
        if options.only is None or contender.name in options.only:
            missing = contender.missing()
            if missing:
                results.left_out[contender.name] = f"{', '.join(missing)} is not installed"
            else:
                contenders.append(contender)
    return contenders


def say(text: str) -> None:
    """Tell how far it is, and after how many seconds."""
    print(f"{time.monotonic() - STARTED:5.0f}  {text}", file=sys.stderr, flush=True)


def measure(options: argparse.Namespace, results: Results, plan: Plan, files: int) -> None:
    """Measure what the command line asks for."""
    contenders = chosen(options, results)
    quick = options.mode == "quick"
    rows = [each for each in ROWS if options.rows is None or each.name in options.rows]
    for row in rows if options.mode != "growth" else ():
        say(row.title)
        # Memory is the same each time.
        plan_of_row = replace(plan, rounds=1) if quick and row.kind == "idle" else plan
        taking = [each for each in contenders if row.takes(each)]
        outcome = measure_row(row, taking, plan_of_row)
        results.rows[row.name] = outcome.measures
        if outcome.failed:
            results.failed[row.name] = outcome.failed
    if options.mode == "growth" or (options.mode == "full" and options.rows is None):
        names = options.only or growth.NAMES
        growing = [each for each in contenders if each.name in names]
        growth.measure_growth(results, growing, plan, files, say)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, print the tables."""
    options = parse(arguments)
    if options.mode == "page":
        results = Results.load(options.output / "results.json")
        publish(results, options.output, draw(results, options.output))
        return 0
    quick = options.mode == "quick"
    rounds = options.rounds or (3 if quick else 5)
    seconds = options.seconds or (0.15 if quick else 1.0)
    warmup = options.warmup or (0.05 if quick else 0.3)
    files = raise_file_limit()
    os.sched_setaffinity(0, LOAD_CORE)
    results = Results(conditions(rounds, seconds, warmup))
    with tempfile.TemporaryDirectory() as directory:
        plan = Plan(rounds, seconds, warmup, make_certificate(Path(directory)))
        measure(options, results, plan, files)
    results.conditions["load average after"] = load_average()
    print(report(results))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        publish(results, options.output, draw(results, options.output))
    return 1 if any(name in OURS for failed in results.failed.values() for name in failed) else 0


def make_certificate(directory: Path) -> Path:
    """Make a key and a certificate for this run; return their file."""
    import trustme

    path = directory / "server.pem"
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return path
