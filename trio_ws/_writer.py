"""The writer: the task that sends what is in the output, keeps the time, and decides on the end."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from ._errors import DisconnectionTimeout
from ._options import Settings
from ._protocol._frames import CloseCode
from ._protocol._machine import Protocol
from ._timing import LINGER, MessageTimer, Pings, Watch
from ._transport import StreamTransport
from ._turns import Turns


class Writer:
    """Sends the output of a protocol over a transport, until the connection ends.

    Args:
        transport: where to.
        protocol: whose output.
        pings: the connection's pings.
        timer: the time that the arriving message has.
        settings: the options of the connection.
        on_end: called whenever waiting for the peer may have become pointless.
    """

    def __init__(
        self,
        transport: StreamTransport,
        protocol: Protocol,
        pings: Pings,
        timer: MessageTimer,
        settings: Settings,
        on_end: Callable[[], None],
    ) -> None:
        self.cause: Exception | None = None  # why the connection was lost
        self.hurried = False  # the connection's tasks, or a close, were cancelled
        self.turns = Turns(protocol)
        self._transport = transport
        self._protocol = protocol
        self._pings = pings
        self._watch = Watch(protocol, pings, timer, settings.limits.write_timeout)
        self._settings = settings
        self._on_end = on_end
        self._parked = trio.lowlevel.ParkingLot()
        self._look_at = math.inf  # when the task, parked, looks by itself
        self._scope: trio.CancelScope | None = None  # around the write that is under way

    # Sending

    def flush(self) -> None:
        """Send what can be sent without waiting, and leave the rest to the task."""
        output = self._protocol.output
        if output.size and self._scope is None:
            try:
                sent = self._transport.send_nowait(output.peek(self._transport.write_size))
            except OSError as exc:
                self._break(exc)
            else:
                self._sent(sent)
        if output.size:
            self.wake()

    def wake(self) -> None:
        """Let the task look again at what there is to do."""
        self._parked.unpark_all()

    def heard(self) -> None:
        """Bytes have arrived: they count as life, during a stalled write as well."""
        self._pings.heard()
        self._move_deadline()

    def pause(self, *, paused: bool) -> None:
        """Reading has stopped because the inbox is full, or goes on."""
        self._pings.pause(paused=paused)
        self._move_deadline()
        self.look_sooner()

    def look_sooner(self) -> None:
        """A deadline may have come nearer: the task must not stay parked until the old one."""
        if self._scope is None and self._deadline(writing=False) < self._look_at:
            self.wake()

    def _sent(self, size: int) -> None:
        self._protocol.sent(size)
        self.turns.admit()

    # Ending

    def closing(self) -> None:
        """A Close frame was sent or received, or the connection was failed: no more turns."""
        self._leave_within(self._settings.disconnect_timeout)
        self._end()

    def goodbye(self, code: int = CloseCode.GOING_AWAY) -> None:
        """Say Close if that takes no waiting, and end (invariant 10)."""
        self._protocol.send_close(code)
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
        self._on_end()
        self.wake()

    def _leave_within(self, seconds: float) -> None:
        self._watch.leave_within(seconds)
        self._move_deadline()

    # The task

    async def run(self) -> None:
        """Serve until the connection has ended; never raises."""
        output = self._protocol.output
        while True:
            await self._linger()
            if self._finished():
                return
            self._ping()
            if output.size and self._overdue:
                await self._let_reader_look()
                if not (output.size and self._overdue):
                    continue
            writing = bool(output.size)
            if writing:
                self._watch.begin_write()
            self._look_at = self._deadline(writing=writing)
            with trio.CancelScope(deadline=self._look_at, shield=True) as scope:
                if writing:
                    await self._write(scope)
                else:
                    await self._parked.park()
            if scope.cancelled_caught:
                await self._on_deadline(writing=writing)

    def _finished(self) -> bool:
        protocol = self._protocol
        if self._watch.left:
            if not (protocol.handshake_done or protocol.eof or self.hurried):
                timeout = self._settings.disconnect_timeout
                self.lose(DisconnectionTimeout(f"no Close frame from the peer within {timeout} s"))
            return True
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
        self._scope = scope
        try:
            sent = await self._transport.send(
                self._protocol.output.peek(self._transport.write_size)
            )
        except Exception as exc:  # noqa: BLE001 - a stream may raise anything
            self._break(exc)
        else:
            if self._protocol.output.size:  # else it was cleared meanwhile
                self._sent(sent)
        finally:
            self._scope = None

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
        return self._protocol.is_open and self.cause is None

    @property
    def _overdue(self) -> bool:
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
