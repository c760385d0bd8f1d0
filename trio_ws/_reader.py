"""The reader: the task that waits for the peer's bytes, and what makes messages of them."""

from __future__ import annotations

from typing import Final

import trio

from ._inbox import Inbox
from ._protocol._machine import Close, Failure, Pong, Protocol
from ._timing import MessageTimer, Pings
from ._transport import StreamTransport
from ._writer import Writer

# Seconds that a violation is held back while the messages before it are being answered.
_PATIENCE: Final = 1.0


class Reader:
    """Moves messages from a transport to an inbox, until the connection ends.

    Args:
        transport: where from.
        protocol: parses them.
        inbox: where to.
        pings: the connection's pings.
        timer: the time that the arriving message has.
        writer: sends the replies.
    """

    def __init__(
        self,
        transport: StreamTransport,
        protocol: Protocol,
        inbox: Inbox,
        pings: Pings,
        timer: MessageTimer,
        writer: Writer,
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._inbox = inbox
        self._pings = pings
        self._timer = timer
        self._writer = writer
        self._parked = trio.lowlevel.ParkingLot()
        self.stopped = (
            False  # the inbox is full, or nothing more comes: ``receive`` has to `refill`
        )
        self._scope = trio.CancelScope()
        self._done = trio.Event()

    def pump(self, *, hold: bool = True) -> bool:
        """Turn buffered bytes into messages until the inbox is full; reply to what asks for it.

        The reader calls it for each chunk, and ``receive`` when it has made room. With `hold` a
        violation waits until the messages before it are answered. Returns whether nothing is left
        to do with the bytes that are there.
        """
        protocol, inbox = self._protocol, self._inbox
        drained = False
        unsent = protocol.output.size
        while not inbox.full:
            inbox.fill(protocol)
            drained = protocol.drained
            if drained or inbox.full:
                break
            event = protocol.next_event(hold=hold and not inbox.answered)
            if event is None:
                break
            if isinstance(event, (str, bytes)):
                inbox.put(event, protocol.message_size)
            elif isinstance(event, Pong):
                self._pings.pong(event.payload)
            elif isinstance(event, (Close, Failure)):
                self._writer.closing()
        if self._timer.enabled:
            self._timer.update(
                receiving=protocol.receiving and not inbox.full,
                count=protocol.counts.messages_received,
            )
            self._writer.look_sooner()
        if protocol.output.size != unsent:
            self._writer.flush()
        return drained

    def refill(self) -> None:
        """Go on where the full inbox has stopped the parser, and then the task, if it has.

        If the connection was lost meanwhile, the parser still has messages from before.
        """
        self.pump()
        while self._protocol.eof and self._protocol.busy and not self._inbox.full:
            self.pump()
        if not self._inbox.full:
            self._parked.unpark_all()

    async def run(self) -> None:
        """Serve until the peer sends nothing more, or `stop`; never raises.

        Cancellation from outside is not re-raised: this task has nothing more to do, and a
        `trio.Cancelled` out of it could only mask an exception of the nursery's owner.
        """
        try:
            with self._scope:
                await self._read_to_the_end()
                # What is left to send may take a while; a cancellation cuts that short.
                await trio.sleep_forever()
        except trio.Cancelled:
            self._inbox.close()
            self._protocol.discard()
            self._writer.goodbye()
        self.stopped = True
        self._done.set()

    async def stop(self) -> None:
        """End the task, and wait until it has ended."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._done.wait()

    async def _read_to_the_end(self) -> None:
        try:
            await self._read()
        except Exception as exc:  # noqa: BLE001 - a stream may raise anything
            self._lost(exc)

    async def _read(self) -> None:
        drained = self.pump()  # frames may have come with the opening handshake
        while True:
            if not drained or self._inbox.full:
                await self._settle()
            data = await self._transport.receive()
            if not data:
                self._lost(EOFError("the peer ended the connection without a Close frame"))
                return
            self._protocol.receive_data(data)
            del data  # else an idle connection would keep its last chunk alive
            drained = self.pump()
            self._writer.heard()  # last, since a pong that was among them moves the deadline too

    async def _settle(self) -> None:
        """Wait until the parser has done what it can with the bytes that it has."""
        protocol, inbox = self._protocol, self._inbox
        # After the closing handshake bytes are read to no purpose but to reach the end.
        while not protocol.handshake_done:
            if inbox.full:
                self._writer.pause(paused=True)
                self.stopped = True
                await self._parked.park()
                self.stopped = False
                self._writer.pause(paused=False)
            elif protocol.holding:
                if not inbox.answered:
                    with trio.move_on_after(_PATIENCE):
                        await inbox.wait_answered()
                self.pump(hold=False)
            elif protocol.busy:
                await trio.lowlevel.checkpoint()
                self.pump()
            elif self._pump_again():
                return

    def _pump_again(self) -> bool:
        """Go on, since ``receive`` may have left the parser where it was; whether that was all."""
        self.pump()
        return not (self._inbox.full or self._protocol.holding or self._protocol.busy)

    def _lost(self, cause: Exception) -> None:
        if self._protocol.handshake_done:  # so nothing is lost
            self._protocol.receive_eof()
            self._writer.wake()
        else:
            self._writer.lose(cause)
