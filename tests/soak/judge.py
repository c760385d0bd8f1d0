"""What a run must not show, and the figures that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .plan import Record

# Bytes by which the server may grow for each cycle, and for each message, and bytes that a half of
# a run may add whatever it does: what the allocator is left with varies.
CYCLE_BYTES: Final = 100
MESSAGE_BYTES: Final = 10
SLACK: Final = 2**20
# Between two rests, beside what the bad connections are doing: objects, and bytes of containers,
# for each message or cycle.
OBJECTS: Final = 0.02
CONTAINER_BYTES: Final = 1
CONTAINER_SLACK: Final = 64 * 1024  # a large set or list grows in steps
BAD_OBJECTS: Final = 400
BAD_BYTES: Final = 4 * 1024
# Objects of one type that may be there in the end and were not before.
NEW_OBJECTS: Final = 20
TOLD: Final = 8  # lines for each process


@dataclass(frozen=True)
class Slope:
    """How memory grew over the second half.

    Args:
        bytes: for each cycle or message, by linear regression.
        bound: the most that is allowed.
        count: cycles or messages.
    """

    bytes: float
    bound: float
    count: int


def regression(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line with the least squares; 0 for points without any extent."""
    if not points:
        return 0.0
    middle = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    across = sum((x - middle[0]) ** 2 for x, _ in points)
    along = sum((x - middle[0]) * (y - middle[1]) for x, y in points)
    return along / across if across else 0.0


def slopes(record: Record) -> dict[str, Slope]:
    """Memory for each cycle and for each message; each as if all growth were due to it."""
    result = {}
    for name, allowed in (("handlers", CYCLE_BYTES), ("messages", MESSAGE_BYTES)):
        points = [(float(each[name]), float(each["resident"])) for each in record.steady]
        count = int(points[-1][0] - points[0][0]) if points else 0
        bound = allowed + SLACK / max(count, 1)
        result[name] = Slope(regression(points), bound, count)
    return result


def violations(record: Record) -> list[str]:
    """What was wrong; nothing if all was well."""
    return [
        *record.failures,
        *_messages(record),
        *_memory(record),
        *_rests(record),
        *(line for name in record.baseline for line in _left(record, name)),
    ]


def _messages(record: Record) -> Iterator[str]:
    """What the processes have noticed by themselves: above all messages that are not as due."""
    if record.samples:
        yield from record.samples[-1]["violations"]
    for report in record.reports:
        yield from report["violations"]
        hidden = report["counts"].get("violations", 0) - len(report["violations"])
        if hidden > 0:
            yield f"and {hidden} more"


def _memory(record: Record) -> Iterator[str]:
    for name, slope in slopes(record).items():
        if slope.bytes > slope.bound:
            yield (
                f"the server grows by {slope.bytes:.1f} bytes for each of {slope.count} {name};"
                f" allowed are {slope.bound:.1f}"
            )


def _rests(record: Record) -> Iterator[str]:
    """Compare two rests: the same connections, many messages and cycles later."""
    if len(record.rests) < 2:
        return
    first, last = record.rests[(len(record.rests) - 1) // 2], record.rests[-1]
    work = sum(last[name] - first[name] for name in ("handlers", "messages"))
    limits = {
        "object_count": OBJECTS * work + BAD_OBJECTS * record.plan.bad,
        "container_bytes": CONTAINER_SLACK + CONTAINER_BYTES * work + BAD_BYTES * record.plan.bad,
        "tasks": 3 * record.plan.bad,
        "descriptors": record.plan.bad,
    }
    for name, most in limits.items():
        grown = last[name] - first[name]
        if grown > most:
            growing = more(first["objects"], last["objects"])[:3]
            yield (
                f"the server at rest has {grown} more {name} after {work} messages and handlers,"
                f" allowed are {most:.0f}: {', '.join(growing)}"
            )


def _left(record: Record, name: str) -> list[str]:
    """What a process has in the end that it did not have before."""
    before, after = record.baseline[name], record.after.get(name)
    if after is None:
        return []
    lines = [
        f"the {name} has {after[what]} {what} in the end and had {before[what]}: {', '.join(kinds)}"
        for what, detail in (("tasks", "task_names"), ("descriptors", "descriptor_kinds"))
        if after[what] != before[what]
        for kinds in [more(before[detail], after[detail])]
    ]
    left = more(before["objects"], after["objects"], NEW_OBJECTS)
    lines += [f"the {name} has in the end {each}" for each in left]
    return lines[:TOLD]


def more(before: dict[str, int], after: dict[str, int], least: int = 0) -> list[str]:
    """What there is more of than before, most first, by more than `least`."""
    grown = {kind: count - before.get(kind, 0) for kind, count in after.items()}
    kinds = sorted(grown, key=lambda kind: -grown[kind])
    return [f"{grown[kind]} more {kind}" for kind in kinds if grown[kind] > least]


def summary(record: Record) -> dict[str, Any]:
    """The figures of a run, as they are printed and published."""
    both, plan = slopes(record), record.plan
    peak = max((each["resident"] for each in record.samples), default=0)
    before, after = record.baseline.get("server", {}), record.after.get("server", {})
    result: dict[str, Any] = {
        "connections": f"{plan.connections - plan.bad} honest, {plan.bad} misbehaving at a time",
        "open at the same time, at most": max((each["open"] for each in record.samples), default=0),
        "cycles": record.total("cycles"),
        "cycles by way": record.named("by_"),
        "attacks": record.total("attacks"),
        "attacks by way": record.named("attack "),
        "messages to the server": record.total("sent"),
        "messages from the server": record.total("received"),
    }
    if before and after:
        result["file descriptors, before and after"] = (before["descriptors"], after["descriptors"])
        result["tasks, before and after"] = (before["tasks"], after["tasks"])
        counts = (before["object_count"], after["object_count"])
        result["gc objects, before and after"] = counts
        figures = (before["resident"], peak, after["resident"])
        result["RSS before, at most, after (MiB)"] = tuple(round(x / 2**20, 1) for x in figures)
    if before and record.rests:
        grown = record.rests[-1]["resident"] - before["resident"]
        each = grown / 1024 / plan.connections
        result["RSS at rest per connection (KiB)"] = round(each, 1)
    for name, slope in both.items():
        title = f"RSS per {'cycle' if name == 'handlers' else 'message'} (bytes)"
        result[title] = f"{slope.bytes:.2f} (bound {slope.bound:.1f}, {slope.count} of them)"
    return result
