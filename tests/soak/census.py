"""What a process has: memory, file descriptors, tasks, objects (Linux)."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any, Final

import trio

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# Without sets: Trio's sets of tasks go back and forth between sizes, and do not shrink when idle.
CONTAINERS: Final = frozenset({list, dict, tuple, deque})


def resident() -> int:
    """Bytes of memory that this process has in RAM."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


class MallInfo(ctypes.Structure):
    """What ``mallinfo2`` of the GNU C library tells (mallinfo(3))."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated() -> int:
    """Bytes that ``malloc`` has given and not got back: buffers, and all of zlib and OpenSSL.

    Python's small objects are elsewhere. 0 where the C library cannot tell (GNU, before 2.33).
    """
    library = ctypes.CDLL(None)
    try:
        tell = library.mallinfo2
    except AttributeError:
        return 0
    tell.restype = MallInfo
    info = tell()
    return int(info.uordblks + info.hblkhd)


def descriptors() -> int:
    """How many file descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


def descriptor_kinds() -> dict[str, int]:
    """The open file descriptors by what they are: sockets, pipes, ..."""
    kinds: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the directory that was listed
            continue
        kinds[target.partition(":[")[0]] += 1
    return dict(kinds)


def tasks() -> int:
    """How many tasks live."""
    return trio.lowlevel.current_statistics().tasks_living


def task_names() -> dict[str, int]:
    """The tasks that live, by their names, found from the root task."""
    names: Counter[str] = Counter()
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root else []
    while waiting:
        task = waiting.pop()
        names[task.name] += 1
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return dict(names)


def objects() -> tuple[dict[str, int], int]:
    """The objects that the garbage collector knows by their types, and the containers' bytes."""
    kinds: Counter[type] = Counter()
    size = 0
    for each in gc.get_objects():
        kind = type(each)
        kinds[kind] += 1
        if kind in CONTAINERS:
            size += sys.getsizeof(each)
    names: Counter[str] = Counter()
    for kind, count in kinds.items():
        names[f"{kind.__module__}.{kind.__qualname__}"] += count
    return dict(names), size


async def census() -> dict[str, Any]:
    """All of it, after what can still be done or freed."""
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    gc.collect()
    kinds, size = objects()
    return {
        "resident": resident(),
        "descriptors": descriptors(),
        "descriptor_kinds": descriptor_kinds(),
        "tasks": tasks(),
        "task_names": task_names(),
        "blocks": sys.getallocatedblocks(),  # whatever they hold: bytes and numbers as well
        "allocated": allocated(),
        "objects": kinds,
        "object_count": sum(kinds.values()),
        "container_bytes": size,
    }
