"""Links in memory: latency, pieces, stalls, resets and half-closes in virtual time.

A link is two pipes. What an end writes goes into a pipe piece by piece, and comes out of it later,
cut anew. Under TLS the first flights of the handshake stay whole, since their lengths are not the
same in each run.
"""

from __future__ import annotations

import math
import random
from collections import deque
from typing import Final

import trio

from .plan import Fault, LinkPlan
from .trace import Trace

_ENDLESS: Final = 1 << 30
# How often a piece is not cut; else a message would take too many.
_UNCUT: Final = 0.4
# Writes of a TLS handshake that travel whole: the client's two, the server's one.
_FLIGHTS: Final = {"client": 2, "server": 1}


class Pipe:
    """One direction of a link.

    Args:
        link: of which it is a half.
        role: who writes.
    """

    def __init__(self, link: Link, role: str) -> None:
        self._link = link
        self._plan = link.plan
        self._role = role
        self._rng = random.Random(f"{link.seed}/{link.name}/{role}")
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._under_way = 0
        self._stalled_until = -math.inf
        self._flights = _FLIGHTS[role] if link.plan.transport == "tls" else 0
        self._total = 0  # bytes written, without the first flights
        self._eof_at = math.inf  # when the reader sees the end
        self.log = bytearray()  # all that was written; under TLS, decrypted, all that was read
        self.eof = False  # nothing more is written
        self.broken = False  # writing makes no sense any more
        self.reset = False  # reading fails
        self._changed = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        """Let both ends look again."""
        self._changed.unpark_all()

    def _size(self) -> int:
        grain = self._plan.grain
        return _ENDLESS if not grain or self._rng.random() < _UNCUT else self._rng.randint(1, grain)

    def note(self, what: str, detail: object = None) -> None:
        """Write down what the pipe does."""
        self._link.trace.add(f"{self._link.name}~{self._role}", what, detail)

    def stall(self, seconds: float) -> None:
        """Deliver nothing for so long."""
        self._stalled_until = max(self._stalled_until, trio.current_time() + seconds)

    def end(self) -> None:
        """The writer has said that this is all."""
        if not self.eof:
            self.eof = True
            self._eof_at = trio.current_time() + self._plan.latency
            self.wake()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Put `data` on its way; cancelled, some of it is.

        Raises:
            trio.BrokenResourceError: nobody will read it.
        """
        view = memoryview(data)
        whole = self._flights > 0
        self._flights -= 1
        while view:
            await self.wait_for_room()
            room = _ENDLESS if whole else min(self._plan.window - self._under_way, self._size())
            piece = bytes(view[:room])
            view = view[len(piece) :]
            self._put(piece, counted=not whole)
            if view:
                await trio.lowlevel.checkpoint()

    def _put(self, piece: bytes, *, counted: bool) -> None:
        arrives = trio.current_time() + self._rng.random() * self._plan.latency
        if self._pieces:
            arrives = max(arrives, self._pieces[-1][0])
        self._pieces.append((arrives, piece))
        self._under_way += len(piece)
        if self._plan.transport == "tls":
            self.note("writes", len(piece) if counted else None)
        else:
            self.log += piece
            self.note("writes", piece)
        if counted:
            self._total += len(piece)
            self._link.written(self._role, self._total)
        self.wake()
        self._link.hit(self._rng)

    async def wait_for_room(self) -> None:
        """Wait until something can be written.

        Raises:
            trio.BrokenResourceError: nothing can any more.
        """
        while not self.broken and not self.eof and self._under_way >= self._plan.window:
            await self._changed.park()
        if self.broken or self.eof:
            raise trio.BrokenResourceError("nobody reads any more")

    async def read(self, max_bytes: int | None) -> bytes:
        """Wait for bytes; b"" is the end.

        Raises:
            trio.BrokenResourceError: the link was reset, or this end was closed.
        """
        while True:
            if self.reset:
                raise trio.BrokenResourceError("reset")
            at = max(self._pieces[0][0] if self._pieces else self._eof_at, self._stalled_until)
            if at <= trio.current_time():
                break
            if at == math.inf:
                await self._changed.park()
                continue
            with trio.move_on_at(at):
                await self._changed.park()
        data = self._take(max_bytes or _ENDLESS) if self._pieces else b""
        self.note("reads" if data else "ends", len(data) if self._total else None)
        return data

    def _take(self, size: int) -> bytes:
        size = min(size, max(1, self._size())) if self._total else size
        taken: list[bytes] = []
        now = trio.current_time()
        while self._pieces and size and self._pieces[0][0] <= now:
            arrives, piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft((arrives, piece[size:]))
                piece = piece[:size]
            size -= len(piece)
            taken.append(piece)
        data = b"".join(taken)
        self._under_way -= len(data)
        self.wake()
        self._link.hit(self._rng)
        return data

    def drop(self) -> None:
        """Lose what is under way."""
        self._pieces.clear()
        self._under_way = 0


class Link:
    """Two pipes, and what befalls them.

    Args:
        name: of the session.
        seed: of the world.
        plan: how it carries bytes.
        faults: what is to befall it.
        trace: what has happened.
        nursery: for what it does by itself.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        plan: LinkPlan,
        faults: tuple[Fault, ...],
        trace: Trace,
        nursery: trio.Nursery,
    ) -> None:
        self.name = name
        self.seed = seed
        self.plan = plan
        self.trace = trace
        self._nursery = nursery
        self.struck = False  # a fault has befallen it
        self.open_ends: list[str] = []
        # Calls to cancel at the very moment at which bytes move.
        self.targets: dict[trio.CancelScope, None] = {}
        self._by_bytes = [fault for fault in faults if fault.at is None]
        self.by_time = [fault for fault in faults if fault.at is not None]
        self.pipes = {role: Pipe(self, role) for role in ("client", "server")}

    def hit(self, rng: random.Random) -> None:
        """Bytes have moved: cancel a target in this turn of the scheduler, or soon after it."""
        if self.targets and rng.random() < 0.3:
            self._nursery.start_soon(self._cancel, rng.choice(list(self.targets)), rng.randrange(4))

    async def _cancel(self, scope: trio.CancelScope, turns: int) -> None:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    def written(self, role: str, total: int) -> None:
        """So many bytes were written by `role`: is a fault due?"""
        for fault in self._by_bytes[:]:
            if fault.direction == role and fault.after <= total:
                self._by_bytes.remove(fault)
                self.strike(fault)

    def strike(self, fault: Fault) -> None:
        """A fault befalls the link."""
        pipe = self.pipes[fault.direction]
        pipe.note("FAULT", f"{fault.name} {fault.kind}")
        self.struck = True
        if fault.kind == "stall":
            pipe.stall(fault.seconds)
        elif fault.kind == "freeze":
            pipe.stall(math.inf)
        elif fault.kind == "reset":
            self.break_off()
        elif fault.kind == "fin":
            pipe.broken = True
            pipe.end()
        for one in self.pipes.values():
            one.wake()

    def break_off(self) -> None:
        """Reset: what is under way is lost, and both ends get errors."""
        for pipe in self.pipes.values():
            pipe.drop()
            pipe.broken = pipe.reset = True
            pipe.wake()

    async def befall(self) -> None:
        """Strike when the time has come for it."""
        started = trio.current_time()
        for fault in sorted(self.by_time, key=lambda fault: fault.at or 0):
            await trio.sleep_until(started + (fault.at or 0))
            self.strike(fault)


class MemoryEnd(trio.abc.HalfCloseableStream):
    """One end of a link."""

    def __init__(self, link: Link, role: str) -> None:
        self.link = link
        self.role = role
        self._out = link.pipes[role]
        self._in = link.pipes["server" if role == "client" else "client"]
        self._closed = False
        self._busy: set[str] = set()
        link.open_ends.append(role)

    def __repr__(self) -> str:
        return f"<{self.link.name} {self.role}>"

    def _enter(self, what: str) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if what in self._busy:
            raise trio.BusyResourceError(f"two tasks {what} at once")
        self._busy.add(what)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write piece by piece; cancelled, some of it is on the wire."""
        self._enter("send")
        try:
            await trio.lowlevel.checkpoint()
            await self._out.write(data)
        except trio.BrokenResourceError:
            if self._closed:
                raise trio.ClosedResourceError from None
            raise
        finally:
            self._busy.discard("send")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await trio.lowlevel.checkpoint()
        await self._out.wait_for_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read a piece."""
        self._enter("receive")
        try:
            await trio.lowlevel.checkpoint()
            data = await self._in.read(max_bytes)
        except trio.BrokenResourceError:
            if self._closed:
                raise trio.ClosedResourceError from None
            raise
        finally:
            self._busy.discard("receive")
        return data

    async def send_eof(self) -> None:
        """End this direction."""
        self._enter("send")
        self._busy.discard("send")
        self._out.end()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close; the peer may still read what is under way."""
        if not self._closed:
            self._closed = True
            self._out.note("closes")
            self._out.end()
            self._in.broken = self._in.reset = True
            self._in.drop()
            self._in.wake()
            self.link.open_ends.remove(self.role)
        await trio.lowlevel.checkpoint()
