"""One end of a connection: calls the library, and has the model and the trace know of it."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

import trio_ws
from trio_ws import ConnectionClosed, WebSocketConnection

from .model import Flow
from .plan import SessionPlan

if TYPE_CHECKING:
    from collections.abc import Generator

    from .world import World

_T = TypeVar("_T")

# Virtual seconds that a call may need beyond its timeouts: lingering, and two last writes.
SLACK = 2.2


class AppError(Exception):
    """What the applications of a world raise."""


class End:
    """One end of a session's connection.

    Args:
        world: where it lives.
        plan: of the session.
        role: "client" or "server".
        out: what it sends.
        into: what it receives.
    """

    def __init__(self, world: World, plan: SessionPlan, role: str, out: Flow, into: Flow) -> None:
        self.world = world
        self.plan = plan
        self.role = role
        self.name = f"{plan.name}:{role}"
        self.out = out
        self.into = into
        self.rng = random.Random(f"{world.plan.seed}/{self.name}/app")
        self.conn: WebSocketConnection | None = None
        self.leaving = False  # this end closes, has closed, or is cancelled
        self.left_open = False  # it was open then, so what has come since may be dropped
        self.forced = False  # without waiting, so that what it has sent may be lost, too
        self.codes = {1000, 1001, 1006, 1008, 1009, 1011}  # that it may say, or see, by itself
        self.busy = 0  # messages that were received, and that the application still works on
        self.ends: list[ConnectionClosed] = []  # what its calls were told
        self.drained: ConnectionClosed | None = None  # the end that `receive` told of

    @property
    def connection(self) -> WebSocketConnection:
        """The connection, which there must be."""
        assert self.conn is not None
        return self.conn

    @property
    def shut_down(self) -> bool:
        """Whether the server may have been shut down meanwhile."""
        return self.role == "server" and bool(self.world.disturbances)

    def leave(self, *, forced: bool = False) -> None:
        """This end is about to close; `forced` is without waiting."""
        self.leaving = True
        self.left_open |= self.conn is None or self.conn.closed is None
        self.forced |= forced

    def opened(self, conn: WebSocketConnection) -> None:
        """There is a connection."""
        self.conn = conn
        self.note("opened", (conn.subprotocol, conn.extensions))

    def note(self, what: str, detail: object = None) -> None:
        """Write down what this end does."""
        self.world.trace.add(self.name, what, detail)

    def violate(self, kind: str, what: str) -> None:
        """Write down a violation."""
        self.world.violate(kind, f"{self.name}: {what}")

    @contextmanager
    def cancelled(self, deadlines: tuple[float, ...]) -> Generator[trio.CancelScope, None, None]:
        """A scope that is cancelled after one of so many seconds, or when bytes move."""
        started = trio.current_time()
        link = self.world.sessions[self.plan.name].link
        scope = trio.CancelScope(deadline=started + self.rng.choice(deadlines))
        if link is not None and self.rng.random() < 0.5:
            link.targets[scope] = None
        try:
            with scope:
                yield scope
        finally:
            if link is not None:
                link.targets.pop(scope, None)
        if scope.cancelled_caught:
            self.world.check_time(
                "what was cancelled", self.name, started, scope.deadline - started
            )

    # Calls

    @contextmanager
    def _judged(self, what: str) -> Generator[None, None, None]:
        """Around a call: it may raise `ConnectionClosed`, or `Cancelled` if it is cancelled."""
        try:
            yield
        except trio.Cancelled:
            if trio.current_effective_deadline() != -math.inf:
                self.violate("leaked", f"{what} raised Cancelled in a scope that is not cancelled")
            self.note(what, "cancelled")
            raise
        except ConnectionClosed as exc:
            self.note(what, f"{exc!r}")
            self._told(what, exc)
            raise
        except (trio.WouldBlock, StopAsyncIteration):
            raise
        except Exception as exc:
            self.violate("undocumented", f"{what} raised {exc!r} from {exc.__cause__!r}")
            raise

    def _told(self, what: str, exc: ConnectionClosed) -> None:
        self.ends.append(exc)
        # A connection that takes nothing more may still be read to its end.
        half = isinstance(exc, trio.BrokenResourceError) and not what.startswith("receive")
        if self.connection.closed is None and not half:
            self.violate("state", f"{what} raised {exc!r} on an open connection")
        if exc.reason is None:
            self.violate("state", f"{what} raised {exc!r} without a reason")
        ending = self.leaving or self.shut_down or (self.role == "server" and self.world.ending)
        if isinstance(exc, trio.ClosedResourceError) and not ending:
            self.violate("state", f"{what} raised {exc!r}, and nobody here has closed")

    async def send(self, size: int) -> None:
        """Send the next message of about `size` bytes."""
        told = self.drained
        compress = self.rng.choice((None, None, True, False))
        sent = self.out.begin(size, self.rng)
        self.note("send", sent.key)
        with self._judged("send"):
            try:
                await self.connection.send(sent.value, compress=compress)
            except trio.Cancelled:
                self.out.cancelled(sent)
                raise
            except BaseException:
                sent.state = "failed"
                raise
        if told is not None:
            self.violate("after-close", f"{sent.key} was sent after {told!r}")
        sent.state = "confirmed"
        self.note("sent", sent.key)
        self._look()

    async def receive(self, task: str = "r", *, iterate: bool = False) -> str | bytes:
        """Receive, in the task of this name; as `async for` does with `iterate`."""
        conn = self.connection
        with self._judged("receive"):
            try:
                message = await (conn.__anext__() if iterate else conn.receive())
            except ConnectionClosed as exc:
                self.drained = self.drained or exc
                raise
        return self.arrived(message, task)

    def receive_nowait(self) -> str | bytes:
        """Receive without waiting."""
        with self._judged("receive_nowait"):
            try:
                message = self.connection.receive_nowait()
            except ConnectionClosed as exc:
                self.drained = self.drained or exc
                raise
        return self.arrived(message, "r")

    def arrived(self, message: str | bytes, task: str) -> str | bytes:
        """The library has given a message to a task."""
        sent = self.into.note(message, task)
        self.note("receive", sent and sent.key)
        if self.drained is not None:
            self.violate("after-close", f"a message after {self.drained!r}")
        self._look()
        self.world.wake()
        return message

    async def call(self, what: str, call: Callable[..., Awaitable[_T]], *args: object) -> _T:
        """Any other call of the connection."""
        with self._judged(what):
            return await call(*args)

    async def close(self, code: int, reason: str | None = None) -> None:
        """Close this end."""
        self.leave()
        self.codes.add(code)
        self.note("aclose", code)
        started = trio.current_time()
        await self.call("aclose", self.connection.aclose, code, reason)
        self.world.check_time("aclose", self.name, started)
        if self.connection.closed is None:
            self.violate("state", "aclose has returned, and the connection is open")

    def _look(self) -> None:
        """What `statistics` says must be possible."""
        stats = self.connection.statistics()
        options = self.world.options(self)
        sent = len(self.out.sent)
        if stats.bytes_buffered < 0:
            self.violate("statistics", f"bytes_buffered is {stats.bytes_buffered}")
        if stats.messages_sent > sent or stats.messages_received > len(self.into.sent):
            self.violate("statistics", f"more messages than there are: {stats}")
        if stats.messages_queued > options["message_queue_size"]:
            self.violate("statistics", f"the queue holds too much: {stats}")
        room = options["limits"].send_buffer_size
        # In a small window what cannot be compressed grows by an eighth (zlib's deflateBound).
        if stats.bytes_buffered > room + self.out.largest * 9 // 8 + 1000:
            self.violate("statistics", f"the buffer holds too much: {stats}")


async def check_ended(end: End) -> None:
    """After the end each call has to say so, at once."""
    for what, call in (("receive", end.connection.receive), ("ping", end.connection.ping)):
        try:
            with trio.move_on_after(1) as scope:
                await call()
        except ConnectionClosed:
            continue
        except Exception as exc:
            end.violate("undocumented", f"{what} raised {exc!r}")
            continue
        end.violate("after-close", f"{what} {'waits' if scope.cancelled_caught else 'works'}")
    try:
        await end.connection.send("late")
    except trio_ws.ConnectionClosed:
        pass
    else:
        end.violate("after-close", "send works")
