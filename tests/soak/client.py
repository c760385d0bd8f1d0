"""A client process of the soak."""

from __future__ import annotations

import itertools
import json
import math
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import trio

import trio_ws

from . import sabotage
from .census import census
from .control import Command, answer_commands, raise_limit
from .cycles import Visit, way_of
from .hostile import ATTACKS, attack
from .messages import SHORT
from .turns import Talk

KEPT = 30  # violations that are told in full
AT_ONCE = 32  # connections that are worked on at the same time, and cycles
WARM_UP = 30  # seconds, unless the server is so impatient that all attacks end in that time
MOST = 90  # seconds that anything may take, on a machine that is busy
CLIENT = 1 << 28

Connected = tuple[Talk, trio_ws.WebSocketConnection]


class Crowd:
    """Connections to the server, good ones and bad ones.

    Args:
        seed: of all that is random.
        client: the number of this process.
        patience: seconds that the server waits for peers.
        addresses: the server's addresses and ports, and whether they are TLS.
        authority: a file with the certificate of the one who signed the server's.
        nursery: where all of it lives.
    """

    def __init__(
        self,
        seed: int,
        client: int,
        patience: float,
        addresses: list[tuple[str, int, bool]],
        authority: str,
        nursery: trio.Nursery,
    ) -> None:
        self._seed = seed
        self._first = client * CLIENT
        self._patience = patience
        self._plain = [(host, port) for host, port, secure in addresses if not secure]
        self._secure = next((host, port) for host, port, secure in addresses if secure)
        self._context = ssl.create_default_context(cafile=authority)
        self._nursery = nursery
        self._bad = trio.CancelScope()
        self._connections: list[Connected] = []
        self._broken: set[Talk] = set()  # what was wrong with them has been told
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    # What the run asks for

    async def open(self, good: int, bad: int) -> None:
        """Open good connections, which stay; let bad ones come again and again."""
        self._bad = trio.CancelScope()
        self._nursery.start_soon(self._misbehave, bad)
        start = self.counts["opened"]
        await self._all(partial(self._open, number) for number in range(start, start + good))

    async def round(self, turns: int, cycles: int) -> None:
        """Work: so many turns on each connection, so many cycles beside them."""
        start = self.counts["cycles"]
        async with trio.open_nursery() as nursery:
            visits = (partial(self._cycle, number) for number in range(start, start + cycles))
            nursery.start_soon(self._all, visits)
            works = (partial(self._turn, each) for _ in range(turns) for each in self._connections)
            nursery.start_soon(self._all, works)
        self._connections = [each for each in self._connections if each[0] not in self._broken]

    async def attack_once(self) -> None:
        """Make each attack once; of the long form those that take long are given up."""
        with trio.move_on_after(WARM_UP if 2 * self._patience > WARM_UP else math.inf):
            async with trio.open_nursery() as nursery:
                for number in range(len(ATTACKS)):
                    nursery.start_soon(self._attack, number)

    async def leave(self) -> None:
        """Close all connections."""
        self._bad.cancel()
        connections, self._connections = self._connections, []
        await self._all(partial(self._leave, each) for each in connections)
        self._broken.clear()

    async def report(self) -> dict[str, Any]:
        """What was done, and what was wrong."""
        return {
            "counts": dict(self.counts),
            "living": len(self._connections),
            "violations": self.violations,
        }

    # How it is done

    async def _all(self, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Do pieces of work, some of them at the same time."""
        left = iter(works)

        async def work() -> None:
            for piece in left:
                await piece()

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(work)

    async def _judged(self, what: str, step: Callable[[], Awaitable[None]]) -> bool:
        """Do something that must succeed, and soon."""
        try:
            with trio.fail_after(max(self._patience * 6, MOST)):
                await step()
        except Exception as exc:
            causes = [f"{cause!r}" for cause in (exc.__cause__, exc.__context__) if cause]
            inner = f": {exc.exceptions!r}" if isinstance(exc, ExceptionGroup) else ""
            self.violate(f"{what}: {exc!r}{inner}, {', '.join(causes[:1]) or 'no cause'}")
            return False
        return True

    def _where(self, number: int) -> tuple[str, int]:
        return self._plain[number % len(self._plain)]

    def _options(self, connection: int) -> trio_ws.ClientOptions:
        """Options, for some with compression; as patient as the server, but no less than usual."""
        options: trio_ws.ClientOptions = {
            "connect_timeout": max(self._patience, 60),
            "ping_interval": max(self._patience, 20),
            "ping_timeout": max(self._patience, 20),
        }
        if connection % 16 == 0:
            options["compression"] = "deflate"
        return options

    async def _open(self, number: int) -> None:
        connection = self._first + number
        self.counts["opened"] += 1
        await self._judged(f"opening {connection:x}", partial(self._connect, connection))

    async def _connect(self, connection: int) -> None:
        host, port = self._where(connection)
        context = None
        if connection % 50 == 1:
            (host, port), context = self._secure, self._context
        url = f"{'wss' if context else 'ws'}://{host}:{port}/talk/{connection:x}"
        options = self._options(connection)
        websocket = await trio_ws.connect_websocket_url(self._nursery, url, context, **options)
        talk = Talk(self._seed, connection, self.counts)
        self._connections.append((talk, websocket))
        await talk.begin(websocket)

    async def _turn(self, connected: Connected) -> None:
        talk, websocket = connected
        what = f"a turn on connection {talk.connection:x}"
        if talk in self._broken or await self._judged(what, partial(talk.turn, websocket)):
            return
        self._broken.add(talk)
        await websocket.aclose()

    async def _leave(self, connected: Connected) -> None:
        talk, websocket = connected

        async def leave() -> None:
            await talk.finish(websocket)
            await websocket.aclose()
            assert websocket.closed
            assert websocket.closed.code == 1000, websocket.closed

        if not await self._judged(f"the end of connection {talk.connection:x}", leave):
            await websocket.aclose()

    async def _cycle(self, number: int) -> None:
        self.counts["cycles"] += 1
        way = way_of(number)
        connection = self._first + SHORT + number
        where = self._where(number)
        secure = (*self._secure, self._context)
        options = self._options(connection)
        visit = Visit(self._seed, connection, where, secure, self.counts, options)
        if await self._judged(f"cycle {number}, {way.__name__}", partial(way, visit)):
            self.counts[way.__name__] += 1

    async def _misbehave(self, slots: int) -> None:
        with self._bad:
            async with trio.open_nursery() as nursery:
                for slot in range(slots):
                    nursery.start_soon(self._attack_for_ever, slot)

    async def _attack_for_ever(self, slot: int) -> None:
        for number in itertools.count(slot, 7):
            await self._attack(number)

    async def _attack(self, number: int) -> None:
        async def once() -> None:
            name = await attack(number, self._where(number), self._seed, self._patience)
            self.counts[f"attack {name}"] += 1
            self.counts["attacks"] += 1

        await self._judged(f"attack {number}", once)

    def violate(self, text: str) -> None:
        """Keep a violation."""
        self.counts["violations"] += 1
        if len(self.violations) < KEPT:
            self.violations.append(text)


async def main(arguments: dict[str, Any]) -> None:
    """Do as told."""
    raise_limit()
    sabotage.apply(arguments.pop("sabotage"))
    async with trio.open_nursery() as nursery:
        crowd = Crowd(**arguments, nursery=nursery)
        commands: dict[str, Command] = {
            "open": crowd.open,
            "round": crowd.round,
            "attack_once": crowd.attack_once,
            "leave": crowd.leave,
            "report": crowd.report,
            "census": census,
        }
        await answer_commands(commands)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
