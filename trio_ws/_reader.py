"""The reader: the task that waits for the peer's bytes, and what makes messages of them."""

from __future__ import annotations

from typing import Final

import trio

from ._inbox import Inbox
from ._protocol._machine import Close, Failure, Pong, Protocol
from ._timing import NO_TIMER, MessageTimer, Pings
from ._transport import StreamTransport
from ._turns import Sleeper
from ._writer import Writer

# Seconds that a violation is held back while the messages before it are being answered.
_PATIENCE: Final = 1.0
_NO_CLOSE: Final = "the peer ended the connection without a Close frame"


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

    __slots__ = (
        "_done", "_ending", "_inbox", "_parked", "_pings", "_protocol", "_stopping", "_timer",
        "_transport", "_writer", "stopped",
    )  # fmt: skip

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
        self._parked = Sleeper()  # the task, while the inbox is full, or there is no more to read
        # The task does not parse (the inbox is full, or it has ended): ``receive`` has to `refill`.
        self.stopped = False
        self._stopping = False  # `stop` was called: the task is to end
        self._done = False  # it has ended
        self._ending: Sleeper | None = None  # whoever waits for the end of the task

    def pump(self, *, hold: bool = True) -> bool:
        """Turn buffered bytes into messages until the inbox is full; reply to what asks for it.

        The reader calls it for each chunk, and ``receive`` when it has made room. With `hold` a
        violation waits until the messages before it are answered. Returns whether there is nothing
        to do now but to wait for more bytes.
        """
        protocol, inbox = self._protocol, self._inbox
        unsent = protocol.output.size
        exhausted = False
        while inbox.fill(protocol):
            if protocol.drained():
                exhausted = True
                break
            event = protocol.next_event(hold=hold and not inbox.answered)
            if event is None:
                exhausted = not (protocol.holding or protocol.busy)
                break
            if isinstance(event, (str, bytes)):
                inbox.put(event, protocol.message_size)
            elif isinstance(event, Pong):
                self._pings.pong(event.payload)
                self._writer.look_sooner()  # the next ping may be due before this one's timeout
            elif isinstance(event, (Close, Failure)):
                self._writer.closing()
                break
        if self._timer is not NO_TIMER:
            self._timer.update(
                receiving=protocol.receiving and not inbox.full,
                count=protocol.counts.messages_received,
            )
            self._writer.look_sooner()
        if protocol.output.size != unsent:
            self._writer.flush()
        return exhausted

    def refill(self) -> None:
        """Go on where the full inbox has stopped the parser, and then the task, if it has.

        If the connection was lost meanwhile, the parser still has messages from before.
        """
        self.pump()
        while self._protocol.eof and self._protocol.busy and not self._inbox.full:
            self.pump()
        if not self._inbox.full:
            self._parked.wake()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Serve until the peer sends nothing more, or `stop`; never raises.

        Cancellation from outside is not re-raised: this task has nothing more to do, and a
        `trio.Cancelled` out of it could only mask an exception of the nursery's owner.
        """
        transport = self._transport
        try:
            with transport.reading():
                try:
                    exhausted = self.pump()  # frames may have come with the opening handshake
                    transport.check_open()
                    while not self._stopping:
                        if not exhausted:
                            await self._settle()
                            if self._read_enough:
                                break
                            transport.check_open()
                        await transport.wait_readable()
                        data = transport.receive_nowait()
                        if data is None:
                            continue
                        if not data:
                            self._lost(EOFError(_NO_CLOSE))
                            break
                        self._protocol.receive_data(data)
                        del data  # else an idle connection would keep its last chunk alive
                        exhausted = self.pump()
                        # Last, since a pong that was among them moves the deadline, too.
                        self._writer.heard()
                except Exception as exc:  # noqa: BLE001 - a stream may raise anything
                    self._lost(exc)
                # What is left to send may take a while; a cancellation cuts that short.
                while not (self._stopping or self._writer.finished):
                    await self._parked.sleep()
        except (trio.Cancelled, BaseExceptionGroup):  # a group: out of a nursery in the stream
            self._inbox.close()
            self._protocol.discard()
            self._writer.goodbye()
        self._end()

    def _end(self) -> None:
        self.stopped = self._done = True
        if self._ending is not None:
            self._ending.wake()

    @property
    def _read_enough(self) -> bool:
        """Whether the task need not wait for bytes any more."""
        return self._stopping or (self._protocol.handshake_done and self._writer.finished)

    async def stop(self) -> None:
        """End the task, and wait until it has ended."""
        if not self._done:
            self._stopping = True
            self._transport.stop_reading()
            self._parked.wake()
            self._inbox.wake_reader()
            self._ending = Sleeper()
            with trio.CancelScope(shield=True):
                await self._ending.sleep()

    async def _settle(self) -> None:
        """Wait until the parser has done what it can with the bytes that it has."""
        protocol, inbox = self._protocol, self._inbox
        exhausted = False
        # After the closing handshake bytes are read to no purpose but to reach the end.
        while not (exhausted or protocol.handshake_done):
            hold = True
            if inbox.full:
                self._writer.pause(paused=True)
                self.stopped = True
                await self._parked.sleep()
                self.stopped = False
                self._writer.pause(paused=False)
            elif protocol.holding:
                hold = False
                with trio.move_on_after(_PATIENCE):
                    await inbox.wait_answered()
            else:  # much was inflated: it is the others' turn
                await trio.lowlevel.checkpoint()
            if self._stopping:
                break
            exhausted = self.pump(hold=hold)

    def _lost(self, cause: Exception) -> None:
        """Nothing more can be read: a loss, unless nothing that could still come matters."""
        if self._stopping:
            return
        if self._protocol.handshake_done:  # so nothing is lost
            self._protocol.receive_eof()
            self._writer.wake()
        else:
            self._writer.lose(cause)
