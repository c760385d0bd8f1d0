"""What time does to a connection: pings in flight, keepalive, messages that never end.

No waiting is done here: the writer asks for the deadlines, and what is due when one has come.
"""

from __future__ import annotations

import math
import os
from typing import Final

import trio

from ._protocol._machine import Protocol

# Seconds to wait for the peer's end of TCP once the closing handshake is done, or failed: long
# enough for a Close frame to arrive before a reset, too short to hold anybody up.
LINGER: Final = 1.0
# Pings in flight above which those that nobody waits for are dropped, the oldest first.
_MOST_IN_FLIGHT: Final = 64


class Ping:
    """A ping that was not answered yet."""

    __slots__ = ("answered", "done", "forgotten", "sent_at")

    def __init__(self) -> None:
        self.sent_at: float | None = None  # None until it is queued
        self.answered = False
        self.forgotten = False  # nobody waits for it
        self.done = trio.Event()


class Pings:
    """The pings of one connection, in the order in which they were sent.

    Args:
        interval: seconds between keepalive pings, or None.
        timeout: seconds after a keepalive ping within which anything must arrive, or None.

    Any byte from the peer is life, and time in which this side reads nothing because its own queue
    is full does not count (invariant 8).
    """

    __slots__ = (
        "_beat", "_heard_at", "_in_flight", "_interval", "_paused", "_pinged_at", "_timeout",
        "keepalive", "latency",
    )  # fmt: skip

    def __init__(self, interval: float | None, timeout: float | None) -> None:
        self._interval = math.inf if interval is None else interval
        self._timeout = math.inf if timeout is None else timeout
        # Often enough for a peer with the same settings, whatever the network adds to it.
        self._beat = min(self._interval, self._timeout) / 2 if interval is not None else math.inf
        self._in_flight: dict[bytes, Ping] = {}
        self.keepalive: bytes | None = None  # the payload of the keepalive ping in flight
        self._pinged_at = self._heard_at = trio.current_time()
        self._paused = False
        self.latency: float | None = None

    def heard(self) -> None:
        """Bytes have arrived."""
        self._heard_at = trio.current_time()

    def pause(self, *, paused: bool) -> None:
        """Nothing is read from now on, for this side's own reasons; or it is again."""
        self._paused = paused
        self.heard()

    def start(self, payload: bytes) -> Ping:
        """Enter a ping that a task will wait for.

        Raises:
            ValueError: one with this payload is in flight.
        """
        known = self._in_flight.get(payload)
        if known is not None and not known.forgotten:
            raise ValueError(f"payload: a ping with {payload!r} is in flight already")
        ping = self._in_flight[payload] = Ping()
        return ping

    def sent(self, payload: bytes) -> None:
        """A ping was queued; from now on it can be answered."""
        ping = self._in_flight.pop(payload)
        ping.sent_at = trio.current_time()
        self._in_flight[payload] = ping  # now the newest: keepalive may have overtaken it

    def forget(self, payload: bytes, ping: Ping) -> None:
        """Nobody waits for this ping any more; one with the same payload may have followed it.

        While an older one is waited for it is kept: a peer may answer the newest only (RFC 6455
        section 5.5.3), and so this one's pong is the older one's as well.
        """
        in_flight = self._in_flight
        if in_flight.get(payload) is not ping:
            return
        if ping.sent_at is None:
            del in_flight[payload]
            return
        ping.forgotten = True
        while in_flight and in_flight[first := next(iter(in_flight))].forgotten:
            del in_flight[first]
        if payload in in_flight and len(in_flight) > _MOST_IN_FLIGHT:
            del in_flight[next(key for key, ping in in_flight.items() if ping.forgotten)]

    def pong(self, payload: bytes) -> None:
        """A pong answers its ping and those before it (RFC 6455 section 5.5.3)."""
        answered = self._in_flight.get(payload)
        if answered is None or answered.sent_at is None:
            return  # unsolicited, or forged
        self.heard()
        self.latency = self._heard_at - answered.sent_at
        for older, ping in list(self._in_flight.items()):  # pragma: no branch - it is among them
            if ping.sent_at is None:
                continue
            del self._in_flight[older]
            if older == self.keepalive:
                self.keepalive = None
            ping.answered = True
            ping.done.set()
            if ping is answered:
                break

    def end(self) -> None:
        """No pong will come any more: wake whoever waits for one."""
        for ping in self._in_flight.values():
            ping.done.set()
        self._in_flight.clear()

    def deadline(self, *, writing: bool) -> float:
        """When `due` is to be called; while a write is stalled, when the peer counts as dead."""
        if self._paused:
            return math.inf if writing else self._pinged_at + self._beat
        if self.keepalive is not None:
            return max(self._pinged_at, self._heard_at) + self._timeout
        if writing:  # the ping that is due cannot go out, but its time runs
            return max(self._pinged_at + self._interval, self._heard_at) + self._timeout
        # Halfway it is looked whether reading has been paused; so a pause, of which a busy
        # connection has many, need not wake the writer.
        beat_at = self._pinged_at + self._beat
        return beat_at if beat_at > trio.current_time() else self._pinged_at + self._interval

    def silence(self, seconds: float) -> float:
        """When the peer will have been silent for so long."""
        return math.inf if self._paused else self._heard_at + seconds

    @property
    def overdue(self) -> bool:
        """Whether the peer has been silent for too long."""
        return self.deadline(writing=True) <= trio.current_time()

    def due(self) -> bytes | None:
        """The payload of a keepalive ping that is to be sent now, or None.

        It is random, so that a peer cannot answer what it has not received.
        """
        if self._paused or self.keepalive is not None:
            return None
        now = trio.current_time()
        if self._pinged_at + self._interval > now:
            return None
        payload = os.urandom(8)
        ping = self._in_flight[payload] = Ping()
        ping.sent_at = self._pinged_at = now
        self.keepalive = payload
        return payload

    def beat_due(self) -> bool:
        """Whether to give a sign of life now, because nothing is read and so no ping answered.

        A peer whose keepalive counts any byte does not take a slow application for a dead one.
        """
        if not self._paused:
            return False
        now = trio.current_time()
        if self._pinged_at + self._beat > now:
            return False
        self._pinged_at = now
        return True


class MessageTimer:
    """How long the message that is arriving may still take (``Limits.message_timeout``)."""

    __slots__ = ("_count", "_timeout", "deadline")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._count = -1
        self.deadline = math.inf

    def update(self, *, receiving: bool, count: int) -> None:
        """Take note whether a message is arriving now, the one after `count` whole ones."""
        if not receiving:
            self._count = -1
            self.deadline = math.inf
        elif count != self._count:
            self._count = count
            self.deadline = trio.current_time() + self._timeout


# For all connections without a timeout: a timer that is off has no state.
NO_TIMER: Final = MessageTimer(math.inf)


class Watch:
    """Until when the writer may wait.

    Args:
        protocol: of the connection.
        pings: of the connection.
        timer: of the message that arrives.
        write_timeout: seconds after which a write without progress is stalled.
    """

    __slots__ = ("_pings", "_protocol", "_timer", "_write_timeout", "leave_by", "write_by")

    def __init__(
        self, protocol: Protocol, pings: Pings, timer: MessageTimer, write_timeout: float
    ) -> None:
        self._protocol = protocol
        self._pings = pings
        self._timer = timer
        self._write_timeout = write_timeout
        self.write_by = math.inf  # when the write that is under way counts as stalled
        self.leave_by = math.inf  # when the transport is closed, whatever is left to say

    def leave_within(self, seconds: float) -> None:
        """Bound what is left of the connection."""
        self.leave_by = min(self.leave_by, trio.current_time() + seconds)

    def begin_write(self) -> None:
        """A write begins, or has made progress."""
        self.write_by = trio.current_time() + self._write_timeout

    def deadline(self, *, writing: bool, broken: bool) -> float:
        """When the wait that begins now must end.

        A write is cut by nothing but the end of the connection; a ping that is due, or a message
        that takes too long, waits until it is over. A `broken` connection can only be read, and
        that as long as there is something.
        """
        deadline = self.leave_by
        if writing:
            deadline = min(deadline, self.write_by)
        if broken:
            deadline = min(deadline, self._pings.silence(LINGER))
        elif self._protocol.is_open:
            deadline = min(deadline, self._pings.deadline(writing=writing))
            if not writing:
                deadline = min(deadline, self._timer.deadline)
        return deadline

    @property
    def left(self) -> bool:
        """Whether it is time to leave."""
        return self.leave_by <= trio.current_time()

    @property
    def stalled(self) -> bool:
        """Whether the write that was under way has stalled."""
        return self.write_by <= trio.current_time()

    @property
    def silent(self) -> bool:
        """Whether a broken connection has nothing more to read."""
        return self._pings.silence(LINGER) <= trio.current_time()

    @property
    def message_late(self) -> bool:
        """Whether the message that arrives has taken too long."""
        return self._timer.deadline <= trio.current_time()
