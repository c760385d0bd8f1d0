"""Fuzz, replay, or show that bugs are found.

::

    python -m tests.fuzz all --seconds 60           each target for a minute (atheris is needed)
    python -m tests.fuzz frames url --seconds 600 --keep
    python -m tests.fuzz frames --replay FILE       one input again; FILE may be b64:BYTES
    python -m tests.fuzz --sabotage                 the library broken on purpose, in many ways
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import corpus, sabotage
from .fuzzing import Result, fuzz
from .registry import TARGETS, Target


def main() -> int:
    """Do what the command line says; 1 if a property did not hold."""
    options = _parser().parse_args()
    if options.sabotage:
        return sabotage.run_all(options.seconds)
    names = list(TARGETS) if options.targets in ([], ["all"]) else options.targets
    unknown = sorted(set(names) - set(TARGETS))
    if unknown:
        _say(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
        return 2
    targets = [TARGETS[name] for name in names]
    if options.replay is not None:
        return _replay(targets, options.replay)
    if importlib.util.find_spec("atheris") is None:
        _say("atheris is missing: pip install atheris (Linux, Python 3.11 to 3.14)")
        return 1
    work = Path(options.work or tempfile.mkdtemp(prefix="trio_ws-fuzz-"))
    with ThreadPoolExecutor(options.workers) as pool:
        results = list(pool.map(lambda target: _fuzz(target, options.seconds, work), targets))
    for target in targets if options.keep else []:
        found = [path.read_bytes() for path in (work / target.name / "corpus").iterdir()]
        corpus.save(target, corpus.extended(target, sorted(found)))
    failed = [result.target for result in results if result.failed]
    executions = sum(result.executions for result in results)
    seconds = sum(result.seconds for result in results)
    _say(
        f"{len(results)} targets, {executions} executions, {seconds:.0f} s, {len(failed)} failed"
        f"{''.join(f' {name}' for name in failed)}; new inputs: {work}"
    )
    return bool(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("targets", nargs="*", help=f"all, or some of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--workers", type=int, default=1, help="targets at a time")
    parser.add_argument("--work", help="directory for corpora and findings; a new one if not given")
    parser.add_argument("--keep", action="store_true", help="keep inputs that reach new places")
    parser.add_argument("--replay", metavar="FILE", help="run one input, of one target")
    parser.add_argument("--sabotage", action="store_true", help="find bugs put in on purpose")
    return parser


def _fuzz(target: Target, seconds: int, work: Path) -> Result:
    result = fuzz(target, seconds, work / target.name)
    _say(result.line())
    if result.failed:
        _say(result.log[-4000:])
        for finding in result.findings:
            _say(f"replay: python -m tests.fuzz {target.name} --replay {finding}")
            text = base64.b64encode(finding.read_bytes()).decode()
            _say(f"    or: python -m tests.fuzz {target.name} --replay b64:{text}")
    return result


def _replay(targets: list[Target], source: str) -> int:
    if source.startswith("b64:"):
        data = base64.b64decode(source.removeprefix("b64:"))
    else:
        data = Path(source).read_bytes()
    for target in targets:
        with sabotage.broken_by_environment():
            try:
                target.run(data)
            except BaseException:
                traceback.print_exc()
                _say(f"{target.name}: broken by {data!r}")
                return 1
        _say(f"{target.name}: holds for {len(data)} bytes")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
