"""What a run must not show, and the figures that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .plan import Record

# What a run may add whatever it does: how the allocator gets along varies.
SLACK: Final = 2**20
# While connections come and go, and none stays, all that a connection had is free again. So what
# grows here is lost: for each cycle of the second half, and in all, blocks of Python's small
# objects, bytes of malloc, bytes of RAM.
ALONE: Final = {"blocks": (0.02, 100), "allocated": (4, 128 * 1024), "resident": (10, SLACK)}
# Beside connections that stay, memory in use is judged when all rest. RAM is more than that by what
# the allocators cannot use again yet, which grows, more and more slowly: this share may be added.
FRAGMENTS: Final = 0.05
UNITS: Final = {"blocks": "blocks", "allocated": "bytes of malloc", "resident": "bytes of RSS"}
# Between two rests, beside what the bad connections are doing: objects or blocks, and bytes of
# containers or of malloc, for each message or cycle.
OBJECTS: Final = 0.02
CONTAINER_BYTES: Final = 1
CONTAINER_SLACK: Final = 32 * 1024  # a large list grows in steps
BAD_OBJECTS: Final = 400
BAD_BLOCKS: Final = 800
BAD_BYTES: Final = 4 * 1024
BAD_BUFFERS: Final = 32 * 1024
# Objects of one type that may be there in the end and were not before.
NEW_OBJECTS: Final = 20
# Small blocks of memory in the end.
NEW_BLOCKS: Final = 2000
# Bytes of malloc in the end, for each connection that stayed: sets of tasks stay as large as ever.
LEFT_BYTES: Final = 1024
TOLD: Final = 8  # lines for each process


@dataclass(frozen=True)
class Slope:
    """How something grew over the second half.

    Args:
        growth: for each cycle or message, by linear regression.
        bound: the most that is allowed.
        count: cycles or messages.
    """

    growth: float
    bound: float
    count: int


def slope(
    points: Sequence[dict[str, Any]], work: str, what: str, most: float, slack: float
) -> Slope:
    """How `what` grew with `work`; `most` of it for each is allowed, and `slack` in all."""
    count = points[-1][work] - points[0][work] if points else 0
    growth = regression([(float(each[work]), float(each[what])) for each in points])
    return Slope(growth, most + slack / max(count, 1), count)


def regression(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line with the least squares; 0 for points without any extent."""
    if not points:
        return 0.0
    middle = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    across = sum((x - middle[0]) ** 2 for x, _ in points)
    along = sum((x - middle[0]) * (y - middle[1]) for x, y in points)
    return along / across if across else 0.0


def slopes(record: Record) -> dict[str, Slope]:
    """What the server's memory grew by, for each cycle when alone and for each message beside."""
    half = record.alone[len(record.alone) // 2 :]
    result = {
        f"{UNITS[what]} per cycle": slope(half, "handlers", what, *bounds)
        for what, bounds in ALONE.items()
    }
    name = f"{UNITS['resident']} per message"
    slack = SLACK + FRAGMENTS * record.steady[0]["resident"] if record.steady else SLACK
    result[name] = slope(record.steady, "messages", "resident", 0, slack)
    return result


def violations(record: Record) -> list[str]:
    """What was wrong; nothing if all was well."""
    return [
        *record.failures,
        *_messages(record),
        *_memory(record),
        *_rests(record),
        *(line for name in record.baseline for line in _left(record, name)[:TOLD]),
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
    for name, each in slopes(record).items():
        if each.growth > each.bound:
            yield (
                f"the server grows by {each.growth:.3g} {name}, {each.count} times;"
                f" allowed are {each.bound:.3g}"
            )


def _rests(record: Record) -> Iterator[str]:
    """Compare two rests: the same connections, many messages and cycles later."""
    if len(record.rests) < 2:
        return
    first, last = record.rests[(len(record.rests) - 1) // 2], record.rests[-1]
    work = sum(last[name] - first[name] for name in ("handlers", "messages"))
    limits = {
        "object_count": OBJECTS * work + BAD_OBJECTS * record.plan.bad,
        "blocks": OBJECTS * work + BAD_BLOCKS * record.plan.bad,
        "allocated": SLACK + CONTAINER_BYTES * work + BAD_BUFFERS * record.plan.bad,
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
    if after["blocks"] > before["blocks"] + NEW_BLOCKS:
        lines.append(f"the {name} has {after['blocks'] - before['blocks']} more blocks in the end")
    grown = after["allocated"] - before["allocated"]
    if grown > SLACK + LEFT_BYTES * record.plan.connections:
        lines.append(f"the {name} has {grown} more bytes of malloc in the end")
    return lines


def more(before: dict[str, int], after: dict[str, int], least: int = 0) -> list[str]:
    """What there is more of than before, most first, by more than `least`."""
    grown = {kind: count - before.get(kind, 0) for kind, count in after.items()}
    kinds = sorted(grown, key=lambda kind: -grown[kind])
    return [f"{grown[kind]} more {kind}" for kind in kinds if grown[kind] > least]


def mib(count: int) -> float:
    """Bytes in MiB, as they are told."""
    return round(count / 2**20, 1)


def summary(record: Record) -> dict[str, Any]:
    """The figures of a run, as they are printed and published."""
    plan = record.plan
    peak = max((each["resident"] for each in record.samples), default=0)
    before, after = record.baseline.get("server", {}), record.after.get("server", {})
    result: dict[str, Any] = {
        "connections": f"{plan.connections - plan.bad} honest, {plan.bad} misbehaving at a time",
        "open at the same time, at most": max((each["open"] for each in record.samples), default=0),
        "cycles": f"{record.total('cycles')}, half of them when no connection stays",
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
        result["blocks of memory, before and after"] = (before["blocks"], after["blocks"])
        sizes = (before["allocated"], after["allocated"])
        result["bytes of malloc, before and after (MiB)"] = tuple(mib(x) for x in sizes)
        figures = (before["resident"], peak, after["resident"])
        result["RSS before, at most, after (MiB)"] = tuple(mib(x) for x in figures)
    if before and record.rests:
        grown = record.rests[-1]["resident"] - before["resident"]
        result["RSS at rest per connection (KiB)"] = round(grown / 1024 / plan.connections, 1)
    for name, each in slopes(record).items():
        result[name] = f"{each.growth:.3f} (bound {each.bound:.3f}; {each.count} times)"
    return result
