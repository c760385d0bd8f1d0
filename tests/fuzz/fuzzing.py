"""Runs atheris on one target, in a process of its own, and reads what it reports."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import corpus
from .registry import Target

_ROOT: Final = Path(__file__).parents[2]
_GRACE: Final = 120  # seconds after its time in which a worker must have ended


@dataclass(frozen=True)
class Result:
    """What came of fuzzing a target.

    Args:
        target: its name.
        executions: inputs that were run.
        seconds: how long.
        cpu: seconds of the processor, which other targets at the same time add to.
        coverage: edges of the package that were reached.
        features: edges with how often, and comparisons.
        inputs: how many are in the corpus now.
        failed: a property did not hold, or the worker broke.
        findings: the inputs that show it.
        log: what the worker wrote.
    """

    target: str
    executions: int
    seconds: float
    cpu: float
    coverage: int
    features: int
    inputs: int
    failed: bool
    findings: list[Path]
    log: str

    def line(self) -> str:
        """A summary."""
        return (
            f"{self.target:11} {'FAILED' if self.failed else 'ok':6} {self.executions:9} executions"
            f" {self.executions / max(self.cpu, 1):6.0f} per CPU s {self.coverage:5} edges"
            f" {self.features:6} features {self.inputs:5} inputs"
            f" {self.seconds:5.0f} s {self.cpu:5.0f} CPU s"
        )


def fuzz(
    target: Target, seconds: int, work: Path, environment: Mapping[str, str] | None = None
) -> Result:
    """Fuzz a target, from a copy of its corpus in the directory `work`."""
    inputs, findings = work / "corpus", work / "findings"
    inputs.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for data in corpus.load(target):
        (inputs / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    words = work / "words.txt"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    command = [
        *(sys.executable, "-m", "tests.fuzz.worker", target.name),
        *(f"-max_total_time={seconds}", f"-max_len={target.max_size}", f"-dict={words}"),
        *(f"-artifact_prefix={findings}{os.sep}", "-timeout=30", "-rss_limit_mb=1024"),
        *("-print_final_stats=1", "-use_value_profile=1", "-len_control=20", str(inputs)),
    ]
    started, before = time.monotonic(), os.times()
    code, log = _call(command, {**os.environ, **(environment or {})}, seconds + _GRACE)
    return Result(
        target=target.name,
        executions=_last(r"stat::number_of_executed_units: +(\d+)|^#(\d+)\t", log),
        seconds=time.monotonic() - started,
        cpu=_children(os.times()) - _children(before),
        coverage=_last(r" cov: (\d+)", log),
        features=_last(r" ft: (\d+)", log),
        inputs=sum(1 for _ in inputs.iterdir()),
        failed=code != 0,
        findings=sorted(findings.iterdir()),
        log=log,
    )


def _call(command: list[str], environment: dict[str, str], seconds: int) -> tuple[int, str]:
    """The exit code of a worker, which is -1 if it hangs, and what it wrote."""
    try:
        worker = subprocess.run(
            command,
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return -1, (error.stdout or b"").decode(errors="replace") + "\nthe worker hangs\n"
    return worker.returncode, worker.stdout.decode(errors="replace")


def _children(times: os.times_result) -> float:
    return times.children_user + times.children_system


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _last(pattern: str, log: str) -> int:
    numbers = re.findall(pattern, log, re.MULTILINE)
    last = numbers[-1] if numbers else "0"
    return int(last if isinstance(last, str) else next(filter(None, last)))
