"""The writer: the task that sends what is in the output, keeps the time, and decides on the end."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ._errors import DisconnectionTimeout
from ._inbox import Inbox
from ._options import Settings
from ._protocol._frames import CloseCode
from ._protocol._machine import Protocol
from ._timing import LINGER, MessageTimer, Pings, Watch
from ._transport import StreamTransport
from ._turns import Sleeper, Turns

# Bytes of joined messages that are not kept waiting for more.
_JOINED: Final = 16 * 1024


class Writer:
    """Sends the output of a protocol over a transport, until the connection ends.

    Args:
        transport: where to.
        protocol: whose output.
        pings: the connection's pings.
        timer: the time that the arriving message has.
        settings: the options of the connection.
        inbox: whose receivers are woken when waiting for the peer may have become pointless. (Not
            by calling the connection: a cycle would leave each one to the garbage collector.)
    """

    __slots__ = (
        "_asleep", "_blocked", "_cut", "_inbox", "_look", "_look_at", "_pings", "_protocol",
        "_scope", "_settings", "_transport", "_watch", "cause", "hurried", "turns",
    )  # fmt: skip

    def __init__(
        self,
        transport: StreamTransport,
        protocol: Protocol,
        pings: Pings,
        timer: MessageTimer,
        settings: Settings,
        inbox: Inbox,
    ) -> None:
        self.cause: Exception | None = None  # why the connection was lost
        self.hurried = False  # the connection's tasks, or a close, were cancelled
        self.turns = Turns(protocol)
        self._transport = transport
        self._protocol = protocol
        self._pings = pings
        self._watch = Watch(protocol, pings, timer, settings.limits.write_timeout)
        self._settings = settings
        self._inbox = inbox
        self._asleep = Sleeper()  # the task, while it has nothing to do
        self._look = False  # there is more to do than to send
        self._look_at = math.inf  # when the task, asleep, looks by itself
        self._scope: trio.CancelScope | None = None  # around the write that is under way
        self._blocked = False  # the transport takes nothing now: what there is is for the task
        self._cut = False  # it is, or was, a write that the deadline ends

    # Sending

    def flush(self, *, join: bool = False) -> None:
        """Send what can be sent without waiting, and leave the rest to the task.

        With `join` a little is left to it in any case. So the answers to a batch of messages leave
        in one write: with the last, or when the task runs, whichever comes first.
        """
        output = self._protocol.output
        if not (self._blocked or (join and output.size < _JOINED)):
            if not output.size:
                return
            try:
                sent = self._transport.send_nowait(output)
            except OSError as exc:
                self._break(exc)
                return
            if sent:
                self._sent(sent)
            if not output.size:
                return
            self._blocked = True
        self._asleep.wake()

    def wake(self) -> None:
        """Let the task look again at what there is to do."""
        self._look = True
        self._asleep.wake()

    def heard(self) -> None:
        """Bytes have arrived: they count as life, during a stalled write as well."""
        # Who asks for no sign of life need not read the clock, which costs as much as a frame.
        if self._pings.keepalive is not None or self._scope is not None or self.cause is not None:
            self._pings.heard()
            self._move_deadline()

    def pause(self, *, paused: bool) -> None:
        """Reading has stopped because the inbox is full, or goes on."""
        self._pings.pause(paused=paused)
        self._move_deadline()
        if paused:
            self.look_sooner()

    def look_sooner(self) -> None:
        """A deadline may have come nearer: the task must not stay parked until the old one."""
        if self._scope is None and self._deadline(writing=False) < self._look_at:
            self.wake()

    def _sent(self, size: int) -> None:
        self._protocol.sent(size)
        if self.turns.waiting:
            self.turns.admit()

    # Ending

    def closing(self) -> None:
        """A Close frame was sent or received, or the connection was failed: no more turns."""
        self._leave_within(self._settings.disconnect_timeout)
        self._end()

    def goodbye(self, code: int = CloseCode.GOING_AWAY) -> None:
        """Say Close if that takes no waiting, and end (invariant 10)."""
        self._protocol.send_close(code)
        self._blocked = False  # there may be room again, and no other turn to see it
        self.flush()
        self.hurry()

    def hurry(self) -> None:
        """Leave at once, or as soon as a stream that cannot send without waiting has sent."""
        self.hurried = True
        self._leave_within(self._transport.grace)
        self._end()

    def lose(self, cause: Exception) -> None:
        """The transport is of no more use."""
        self.cause = self.cause or cause
        self._protocol.output.clear()
        self._protocol.receive_eof()
        self._leave_within(0)
        self._end()

    def _break(self, cause: Exception) -> None:
        """Nothing can be sent any more; what the peer has sent before is still to be read."""
        self.cause = self.cause or cause
        self._protocol.output.clear()
        self._pings.heard()  # a moment for the reader, however long the peer was silent
        self._end()

    def _end(self) -> None:
        self.turns.refuse()
        self.wake_waiters()
        self.wake()

    def wake_waiters(self) -> None:
        """Wake whoever waits for the peer: for a message, or for a pong."""
        self._inbox.wake_all()
        self._pings.end()

    def _leave_within(self, seconds: float) -> None:
        self._watch.leave_within(seconds)
        self._move_deadline()

    # The task

    @trio.lowlevel.enable_ki_protection
    async def run(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Serve until the connection has ended, and `finish` it; never raises."""
        output = self._protocol.output
        while True:
            self._look = False
            await self._linger()
            if self._finished():
                break
            self._ping()
            if output.size and self._overdue:
                await self._let_reader_look()
                if not (output.size and self._overdue):
                    continue
            with trio.CancelScope(shield=True) as scope:
                await self._work(scope)
            if scope.cancelled_caught:
                await self._on_deadline(writing=self._cut)
        await finish()

    async def _work(self, scope: trio.CancelScope) -> None:
        """Send what there is, or else sleep; while nothing else is to do, in turns.

        The `scope` lasts for as long as that, and its deadline is that of the wait that begins: a
        scope for each would cost as much as a small message.
        """
        output = self._protocol.output
        fresh = True
        while True:
            writing = bool(output.size)
            if writing:
                self._watch.begin_write()
            deadline = self._deadline(writing=writing)
            # A deadline that came while the task was awake anyway must not cut what begins now.
            if not fresh and (scope.cancel_called or (writing and deadline <= trio.current_time())):
                return
            fresh = False
            scope.deadline = deadline
            self._cut = writing
            if writing:
                await self._write(scope)
            else:
                self._look_at = deadline
                # Until there is more to do than what `flush` can.
                while not (self._look or output.size):
                    await self._asleep.sleep()
                    self.flush()
            if self._look or not self._alive:
                return
            if output.size:  # else the deadline of the sleep sees to it
                self._ping()

    def _finished(self) -> bool:
        """Whether to leave the loop: all is said (`finished`), or the time to leave has come.

        The latter is a loss if the peer, and not a cancellation, has used that time up.
        """
        protocol = self._protocol
        if self._watch.left:
            if not (protocol.handshake_done or protocol.eof or self.hurried):
                timeout = self._settings.disconnect_timeout
                self.lose(DisconnectionTimeout(f"no Close frame from the peer within {timeout} s"))
            return True
        return self.finished

    @property
    def finished(self) -> bool:
        """Whether all is said, and there is nobody to wait for."""
        protocol = self._protocol
        if protocol.output.size:
            return False
        # RFC 6455 section 7.1.1: the server ends TCP first, the client waits for that.
        closed = protocol.close_received is not None and not protocol.client
        return self.hurried or protocol.eof or closed

    async def _linger(self) -> None:
        """All is said: give the peer a moment to take it, and to end TCP."""
        if not self._protocol.handshake_done or self._protocol.output.size:
            return
        self._leave_within(LINGER)
        if self._protocol.failure is not None:
            with trio.CancelScope(deadline=self._watch.leave_by, shield=True):
                await self._transport.send_eof()

    async def _write(self, scope: trio.CancelScope) -> None:
        """Send some of the output within `scope`, whose deadline may move meanwhile."""
        self._scope = scope
        self._blocked = True
        try:
            sent = await self._transport.send(self._protocol.output)
        except Exception as exc:  # noqa: BLE001 - a stream may raise anything
            self._break(exc)
        else:
            if self._protocol.output.size:  # else it was cleared meanwhile
                self._sent(sent)
        finally:
            self._scope = None
            self._blocked = False

    def _deadline(self, *, writing: bool) -> float:
        return self._watch.deadline(writing=writing, broken=self._broken)

    def _move_deadline(self) -> None:
        """A deadline has changed, and a write must not be cut by an old one, and its frame torn.

        A task that is parked need not know of a later one: it looks when the old one has come.
        """
        if self._scope is not None:
            self._scope.deadline = self._deadline(writing=True)

    async def _on_deadline(self, *, writing: bool) -> None:
        """Something is due; if `writing`, a write was cut for it, so a frame may be torn."""
        if self._watch.left:
            return  # as `_finished` will see
        if self._broken and self._watch.silent:
            assert self.cause is not None
            self.lose(self.cause)
        elif writing:
            self.lose(self._stalled() if self._watch.stalled else self._silent())
        elif not self._alive:
            pass  # it was over before the deadline came
        elif self._watch.message_late:
            self._protocol.fail(CloseCode.POLICY_VIOLATION, "message took too long")
            self.closing()
        else:
            await self._keep_alive()

    def _ping(self) -> None:
        """Queue the sign of life that is due, if one is; between the writes of a stream too."""
        if not self._alive:
            return
        payload = self._pings.due()
        if payload is not None:
            self._protocol.send_ping(payload)
        elif self._pings.beat_due():
            self._protocol.send_pong(b"")  # RFC 6455 section 5.5.3: a heartbeat

    @property
    def _broken(self) -> bool:
        """Whether nothing can be sent any more, and the peer's last words are waited for."""
        return self.cause is not None and not self._protocol.eof

    @property
    def _alive(self) -> bool:
        """Whether messages can still be sent: as `Protocol.is_open`, and on this transport, too."""
        return self._protocol.is_open and self.cause is None

    @property
    def _overdue(self) -> bool:
        """Whether keepalive takes the peer for dead."""
        return self._alive and self._pings.overdue

    async def _let_reader_look(self) -> None:
        # If it was our own process that slept, the peer's bytes are waiting.
        for _ in range(2):
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _keep_alive(self) -> None:
        self._ping()
        if self._overdue:
            await self._let_reader_look()
        if self._overdue:
            self.cause = self._silent()
            self._protocol.send_close(CloseCode.INTERNAL_ERROR, "keepalive timeout")
            self.flush()
            self._protocol.receive_eof()
            self.hurry()

    def _stalled(self) -> trio.TooSlowError:
        seconds = self._settings.limits.write_timeout
        return trio.TooSlowError(f"the peer took no data for {seconds} s")

    def _silent(self) -> trio.TooSlowError:
        seconds = self._settings.ping_timeout
        return trio.TooSlowError(f"no sign of life from the peer within {seconds} s of a ping")
