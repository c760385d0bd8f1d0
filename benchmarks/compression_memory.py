"""``python -m benchmarks.compression_memory``: memory per connection, with compression and without.

Each row has a process of its own, in which both ends of many connections live, over streams in
memory. What a row takes more than the first is what compression costs: zlib's memory is not
Python's, so only the memory of the whole process shows it.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple

import trio
import trio.testing

import trio_ws

from .frames import texts
from .processes import resident_bytes

WARMUP: Final = 20
# More than the largest window, so that all of it is used.
MESSAGE_SIZE: Final = 64 * 1024


class Row(NamedTuple):
    """What is measured: the parameters of both ends, and whether messages go both ways."""

    name: str
    compression: trio_ws.PerMessageDeflate | None
    used: bool


def deflate(bits: int, mem_level: int) -> trio_ws.PerMessageDeflate:
    """Compression with these windows in both directions."""
    return trio_ws.PerMessageDeflate(
        server_max_window_bits=bits, client_max_window_bits=bits, mem_level=mem_level
    )


ALONE: Final = trio_ws.PerMessageDeflate(
    server_no_context_takeover=True, client_no_context_takeover=True
)
ROWS: Final = (
    Row("none", None, used=True),
    Row("agreed on, not used", trio_ws.PerMessageDeflate(), used=False),
    Row("no context takeover", ALONE, used=True),
    Row("9 bits, mem_level 1", deflate(9, 1), used=True),
    Row("12 bits, mem_level 5 (default)", trio_ws.PerMessageDeflate(), used=True),
    Row("15 bits, mem_level 5", deflate(15, 5), used=True),
    Row("15 bits, mem_level 8", deflate(15, 8), used=True),
)


async def open_pair(
    nursery: trio.Nursery, compression: trio_ws.PerMessageDeflate | None
) -> tuple[trio_ws.WebSocketConnection, trio_ws.WebSocketConnection]:
    """Both ends of a connection."""
    ours, theirs = trio.testing.memory_stream_pair()
    accepted = []

    async def accept() -> None:
        request = await trio_ws.wrap_server_stream(nursery, theirs, compression=compression)
        accepted.append(await request.accept())

    async with trio.open_nursery() as opening:
        opening.start_soon(accept)
        client = await trio_ws.wrap_client_stream(
            nursery, ours, "server.example", "/", compression=compression
        )
    return client, accepted[0]


async def open_pairs(nursery: trio.Nursery, row: Row, count: int) -> None:
    """Open connections, and send a message in both directions of each."""
    (message,) = texts(MESSAGE_SIZE, 1)
    for _ in range(count):
        client, server = await open_pair(nursery, row.compression)
        for sender, receiver in ((client, server), (server, client)):
            # A message without compression, for what all rows have in common.
            await sender.send(message, compress=row.used and row.compression is not None)
            await receiver.receive()
    await trio.testing.wait_all_tasks_blocked()
    gc.collect()


async def measure(row: Row, pairs: int) -> float:
    """Bytes that one end of a connection takes."""
    async with trio.open_nursery() as nursery:
        await open_pairs(nursery, row, WARMUP)  # what all connections share, and free memory
        before = resident_bytes(os.getpid())
        await open_pairs(nursery, row, pairs)
        taken = resident_bytes(os.getpid()) - before
        nursery.cancel_scope.cancel()
    return taken / (2 * pairs)


def measure_row(row: Row, pairs: int) -> float:
    """The same, in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(trio.run, measure, row, pairs).result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression_memory")
    parser.add_argument("--connections", type=int, default=1000, help="in each row (1000)")
    count = parser.parse_args(arguments).connections
    print(f"{'kB for each of ' + str(count) + ' connections':32} {'in all':>8} {'more':>8}")
    first = None
    for row in ROWS:
        taken = measure_row(row, count // 2)
        first = taken if first is None else first
        print(f"{row.name:32} {taken / 1000:8.1f} {(taken - first) / 1000:8.1f}", flush=True)


if __name__ == "__main__":
    main()
