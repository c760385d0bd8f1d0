"""Command line; see the package."""

from __future__ import annotations

import argparse
import sys
import time

from tests.torn import recorder, sabotage
from tests.torn.conversation import Conversation, load_all
from tests.torn.engine import same_randomness
from tests.torn.replay import Tally, Tear, check, check_all


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 1 if there are violations."""
    parser = argparse.ArgumentParser(prog="python -m tests.torn")
    parser.add_argument("what", nargs="*", help="conversations, or parts of their names")
    parser.add_argument("--random", type=int, default=20, help="how many random tears of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="as the tests do")
    parser.add_argument("--cuts", help="replay one tear: where, with commas")
    parser.add_argument("--whole", action="store_true", help="replay one conversation, not torn")
    parser.add_argument("--batched", action="store_true")
    parser.add_argument("--drain-step", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="write the recordings anew")
    parser.add_argument("--sabotage", action="store_true", help="break the library on purpose")
    options = parser.parse_args(arguments)
    if options.record:
        sys.stdout.write(f"{recorder.write()} conversations recorded\n")
        return 0
    if options.sabotage:
        return sabotage.main()
    everything = load_all()
    chosen = [everything[name] for name in options.what if name in everything] or [
        item
        for name, item in everything.items()
        if not options.what or any(part in name for part in options.what)
    ]
    if options.cuts or options.whole:
        cuts = tuple(int(cut) for cut in (options.cuts or "").split(",") if cut)
        return _replay(chosen, Tear(cuts, options.batched, options.drain_step))
    return _run(chosen, options)


def _replay(chosen: list[Conversation], tear: Tear) -> int:
    with same_randomness():
        faults = [f"{item.name}: {fault}\n" for item in chosen if (fault := check(item, tear))]
    sys.stdout.writelines(faults or ["equal\n"])
    return bool(faults)


def _run(chosen: list[Conversation], options: argparse.Namespace) -> int:
    tally, started = Tally(), time.monotonic()
    with same_randomness():
        for conversation in chosen:
            check_all(
                conversation,
                tally,
                number=options.random,
                seed=options.seed,
                every=not options.short,
            )
    sys.stdout.writelines(f"{line}\n" for line in tally.violations)
    sys.stdout.write(
        f"{tally.conversations} conversations, {tally.replays} replays, "
        f"{len(tally.violations)} violations, {time.monotonic() - started:.0f} s\n"
    )
    return bool(tally.violations) or not chosen


if __name__ == "__main__":
    sys.exit(main())
