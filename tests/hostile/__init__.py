"""Scripted attacks on a real server and a real client, each with an honest connection beside it."""

from . import (
    answers,
    arguments,
    compression,
    endings,
    floods,
    frames,
    heads,
    origins,
    secured,
    shortage,
)
from .runner import Result, run
from .table import ATTACKS, Attack

__all__ = [
    "ATTACKS",
    "Attack",
    "Result",
    "answers",
    "arguments",
    "compression",
    "endings",
    "floods",
    "frames",
    "heads",
    "origins",
    "run",
    "secured",
    "shortage",
]
