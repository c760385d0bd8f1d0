"""One run: the processes, what they are told, what they say."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
import trustme

from .control import Worker, start
from .plan import CLIENTS, Plan, Record

ADDRESSES: Final = 8  # of loopback, so that ports are not used up by connections that have ended
WARM: Final = 0.02  # a share of the cycles, before the baseline
PARTS: Final = 10  # of the cycles beside which there are no connections that stay
LIMIT: Final = 4 * 3600  # seconds after which a run is given up


class Run:
    """One run.

    Args:
        plan: what is done.
        say: is told how far it is.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.record = Record(plan)
        self._say = say
        self._start = time.monotonic()
        self._phase = ""
        self._idle = 0  # tasks of the server without any connection
        self._told: set[str] = set()  # violations
        self._in_vain = False  # waited for the end of all connections
        self._server: Worker
        self._clients: list[Worker] = []

    async def run(self) -> Record:
        """Do all of it; what goes wrong is in the record."""
        cpu = cpu_seconds()
        with trio.move_on_after(LIMIT) as scope:
            try:
                async with self._processes(), trio.open_nursery() as nursery:
                    nursery.start_soon(self._sample)
                    await self._all()
                    nursery.cancel_scope.cancel()
            except* RuntimeError as group:
                self.record.failures += leaves(group)
        if scope.cancelled_caught:
            self.record.failures.append(f"it did not end within {LIMIT} s")
        self.record.seconds = self._now
        self.record.cpu = cpu_seconds() - cpu
        return self.record

    @property
    def _now(self) -> float:
        return time.monotonic() - self._start

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._say(f"{self._now:7.1f} s  {phase}")

    @asynccontextmanager
    async def _processes(self) -> AsyncIterator[None]:
        """Start the processes, and stop them in the end."""
        common = {"seed": self.plan.seed, "patience": self.plan.patience}
        workers = []
        with tempfile.TemporaryDirectory() as directory:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(f"{directory}/authority.pem")
            certificate = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
            certificate.write_to_path(f"{directory}/server.pem")
            try:
                own = {"sabotage": self.plan.sabotage, "addresses": ADDRESSES}
                certificate_path = str(Path(directory) / "server.pem")
                self._server = await start(
                    "server", {**common, **own, "certificate": certificate_path}
                )
                workers.append(self._server)
                theirs = {
                    "sabotage": None,
                    "addresses": await self._server.ask("where"),
                    "authority": str(Path(directory) / "authority.pem"),
                }
                for number in range(CLIENTS):
                    client = await start("client", {**common, **theirs, "client": number})
                    workers.append(client)
                    self._clients.append(client)
                yield
            finally:
                for worker in workers:
                    await worker.stop()

    async def _sample(self) -> None:
        while True:
            sample = await self._server.ask("sample")
            self.record.samples.append({"time": self._now, "phase": self._phase, **sample})
            await trio.sleep(self.plan.period)

    async def _tell(self, command: str, **arguments: int) -> None:
        """Have all clients do their share of something."""
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(self._clients):
                share = {
                    name: value if name == "turns" else part(value, number)
                    for name, value in arguments.items()
                }
                nursery.start_soon(partial(client.ask, command, **share))

    async def _all(self) -> None:
        plan, record = self.plan, self.record
        self._enter("warm-up")
        self._idle = (await self._server.ask("sample"))["tasks"]
        await self._warm_up()
        record.baseline = await self._census()
        self._enter("cycles alone")
        for _ in range(PARTS):
            await self._tell("round", turns=0, cycles=-(-plan.cycles // 2 // PARTS))
            await self._all_gone()
            record.alone.append(await self._rest(len(record.alone) + 1))
        self._enter("opening")
        await self._tell("open", good=plan.connections - plan.bad, bad=plan.bad)
        self._enter("rounds")
        begin = self._now
        while len(record.rests) < plan.rounds or self._now - begin < plan.seconds:
            await self._round()
        self._enter("leaving")
        await self._tell("leave")
        await self._all_gone()
        self._enter("left")
        record.after = await self._census()
        record.reports = [await client.ask("report") for client in self._clients]
        if not await self._server.ask("shut_down"):
            record.failures.append("the server did not shut down")
        record.samples.append(
            {"time": self._now, "phase": "end", **await self._server.ask("sample")}
        )

    async def _warm_up(self) -> None:
        """Do all once that will be done, so that what is cached or imported is there."""
        plan = self.plan
        cycles = max(int(plan.cycles * WARM), 100 * CLIENTS)
        await self._tell("open", good=max(plan.connections // 10, 10 * CLIENTS), bad=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell, "attack_once")
            await self._tell("round", turns=2, cycles=cycles)
        await self._tell("leave")
        await self._all_gone()

    async def _round(self) -> None:
        """One part of the work, then a rest."""
        plan, record = self.plan, self.record
        turns, cycles = max(plan.turns // plan.rounds, 1), -(-plan.cycles // 2 // plan.rounds)
        await self._tell("round", turns=turns, cycles=cycles)
        record.rests.append(await self._rest(len(record.rests) + 1))

    async def _rest(self, number: int) -> dict[str, Any]:
        """The server's figures while nobody works."""
        record = self.record
        counts = await self._server.ask("sample")
        rest = await self._server.ask("census")
        record.reports = [await client.ask("report") for client in self._clients]
        kept = ("handlers", "messages")
        self._say(
            f"{self._now:7.1f} s  rest {number}: {counts['handlers']} handlers,"
            f" {counts['messages']} messages, {rest['resident'] / 2**20:.1f} MiB,"
            f" {rest['tasks']} tasks, {rest['object_count']} objects, {rest['blocks']} blocks,"
            f" {rest['allocated'] / 2**20:.2f} MiB of malloc,"
            f" {rest['container_bytes'] / 2**20:.2f} MiB of containers;"
            f" {record.living} connections live, {record.total('violations')} violations"
        )
        new = {line for each in record.reports for line in each["violations"]} - self._told
        self._told |= new
        for line in sorted(new):
            self._say(f"           {line}")
        return {"time": self._now, **rest, **{name: counts[name] for name in kept}}

    async def _all_gone(self) -> None:
        """Wait until the server has seen the end of all connections, but not for ever."""
        latest = self._now + 4 * self.plan.patience
        while (await self._server.ask("sample"))["tasks"] > self._idle:
            self._in_vain = self._in_vain or self._now > latest
            if self._in_vain:
                return
            await trio.sleep(self.plan.period)  # what another process does sets no event here

    async def _census(self) -> dict[str, dict[str, Any]]:
        result = {"server": await self._server.ask("census")}
        for number, client in enumerate(self._clients):
            result[f"client {number + 1}"] = await client.ask("census")
        return result


def leaves(exc: BaseException) -> list[str]:
    """The exceptions within groups, as text."""
    if isinstance(exc, BaseExceptionGroup):
        return [text for inner in exc.exceptions for text in leaves(inner)]
    return [str(exc)]


def part(total: int, number: int) -> int:
    """The share of the client with this number."""
    return total // CLIENTS + (number < total % CLIENTS)


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started and that have ended."""
    uses = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)
