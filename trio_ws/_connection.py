"""WebSocketConnection: a channel of messages over a transport.

The life of a connection. The opening handshake is over before there is one. Then two tasks serve
it, in a nursery that somebody else owns:

The *reader* (`_reader`) waits for bytes, gives them to the `Protocol`, and moves the messages that
come out to the inbox, where ``receive`` takes them. When the inbox is full it stops, and
``receive`` itself goes on parsing what is left, so messages of one batch cost no task switch.
Replies (pong, Close) go into the protocol's output; the reader never waits for them to leave
(invariant 3).

A ``send`` writes to the socket itself, in its own task, if nothing waits to be sent before it; but
while more messages of a batch wait to be received, the answers to it are joined, and leave in one
write. The *writer* (`_writer`) sends what is left of that, and all of it over a stream that cannot
write without waiting.
It also keeps the time: each of its waits ends at the next deadline (keepalive, a stalled write, the
closing handshake), so there is no task for each of them. It is shielded from cancellation, for a
cancelled write would tear a frame; in exchange each of its waits is bounded once the end has begun.

The end comes in one way only: somebody sets the time by which the writer must leave, the writer
leaves its loop when all is said or when that time has come, stops the reader, closes the transport
and sets `_closed`. Local close, the peer's Close, a violation, a lost transport, a timeout and
cancellation differ only in what they say to the peer and in how much time they give. A cancelled
nursery is seen by the reader, which says goodbye (1001) and gives no time at all, or half a second
if the transport cannot send without waiting (invariant 10).

Neither task raises or runs the user's code: why the connection ended is kept, and whoever calls
next, or waits, gets it (invariant 7).
"""

from __future__ import annotations

import math
import os
import types
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVarTuple

import trio

from ._arguments import check_close, check_type
from ._endpoint import Endpoint, stream_endpoint
from ._errors import (
    ClosedByPeer,
    ClosedByPeerOnSend,
    ClosedHere,
    CloseReason,
    ConnectionClosed,
    ConnectionLost,
    DisconnectionTimeout,
)
from ._facts import ConnectionStatistics, Opening
from ._inbox import Inbox
from ._options import Settings
from ._protocol._deflate import Deflate
from ._protocol._frames import MAX_CONTROL_PAYLOAD, CloseCode
from ._protocol._headers import Extension
from ._protocol._machine import Protocol
from ._reader import Reader
from ._timing import NO_TIMER, MessageTimer, Pings
from ._transport import transport_over
from ._turns import BATCH, Latch
from ._writer import Writer

_Ts = TypeVarTuple("_Ts")

# Bytes of a message above which it is compressed in steps.
_LARGE: Final = 128 * 1024
# The names of the tasks. Given, they need not be made for each.
_READER: Final = "trio_ws.WebSocketConnection._run_reader"
_WRITER: Final = "trio_ws.WebSocketConnection._run_writer"


class WebSocketConnection(trio.abc.Channel[str | bytes]):
    """A WebSocket connection: a `trio.abc.Channel` of `str` (text) and `bytes` (binary) messages.

    There is no public constructor: `open_websocket_url`, `WebSocketRequest.accept` and their
    relatives return one. Any number of tasks may send and receive at the same time.

    Cancelling any method is safe: `send` has then sent nothing, `receive` has lost nothing, and the
    connection goes on.
    """

    # With a dict for what users add, which takes nothing as long as they do not.
    __slots__ = (
        "__dict__", "__weakref__", "_closed", "_failed", "_inbox", "_opening", "_pings",
        "_protocol", "_reader", "_receives", "_sends", "_transport", "_writer",
    )  # fmt: skip

    def __init__(
        self,
        stream: trio.abc.Stream,
        opening: Opening,
        settings: Settings,
        *,
        client: bool,
        first_out: bytes = b"",
        first_in: bytes = b"",
        deflate: Deflate | None = None,
    ) -> None:
        self._opening = opening
        self._transport = transport_over(stream, settings.receive_buffer_size)
        self._protocol = _new_protocol(settings, client=client, deflate=deflate)
        self._inbox = Inbox(settings.message_queue_size, settings.message_queue_bytes)
        self._pings = Pings(settings.ping_interval, settings.ping_timeout)
        timeout = settings.limits.message_timeout
        timer = MessageTimer(timeout) if timeout < math.inf else NO_TIMER
        self._writer = Writer(
            self._transport, self._protocol, self._pings, timer, settings, self._inbox
        )
        self._reader = Reader(
            self._transport,
            self._protocol,
            self._inbox,
            self._pings,
            timer,
            self._writer,
        )
        self._closed = Latch()
        self._failed = False  # an error left a server's block while it was open
        self._sends = self._receives = BATCH
        if first_out:
            self._protocol.output.append(first_out)
        if first_in:
            self._protocol.receive_data(first_in)

    def __repr__(self) -> str:
        role = "client" if self.is_client else "server"
        return f"<WebSocketConnection: {role}, {self.path}, {self.closed or 'open'}>"

    def __del__(self) -> None:
        closed = getattr(self, "_closed", None)
        if closed is not None and not closed.is_set():
            warnings.warn(f"unclosed connection {self!r}", ResourceWarning, 2, source=self)

    # What it is

    @property
    def is_client(self) -> bool:
        """Whether this side is the client."""
        return self._protocol.client

    @property
    def is_server(self) -> bool:
        """Whether this side is the server."""
        return not self._protocol.client

    @property
    def local(self) -> Endpoint | str:
        """This side's end of the TCP connection; for other streams a description."""
        return stream_endpoint(self._transport.stream, local=True)

    @property
    def remote(self) -> Endpoint | str:
        """The peer's end of the TCP connection; for other streams a description."""
        return stream_endpoint(self._transport.stream, local=False)

    @property
    def path(self) -> str:
        """The path of the request, with its query."""
        return self._opening.path

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on, or None (RFC 6455 section 1.9)."""
        return self._opening.subprotocol

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The extensions that were agreed on, as (name, parameters) (RFC 6455 section 9)."""
        return self._opening.extensions

    @property
    def handshake_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers that the peer sent in the opening handshake, names in lower case."""
        return self._opening.headers

    @property
    def closed(self) -> CloseReason | None:
        """How the connection was closed, or is being closed; None while it is open.

        And as long as a connection that was lost still has something from the peer to read.
        """
        closed = self._protocol.closed
        return None if closed is None else CloseReason(int(closed.code), closed.reason or None)

    @property
    def latency(self) -> float | None:
        """Seconds between the last answered ping and its pong; None before the first."""
        return self._pings.latency

    def statistics(self) -> ConnectionStatistics:
        """A snapshot of what the connection has done so far."""
        counts = self._protocol.counts
        sent, received = self._protocol.volumes
        return ConnectionStatistics(
            bytes_sent=counts.bytes_sent,
            bytes_received=counts.bytes_received,
            messages_sent=counts.messages_sent,
            messages_received=counts.messages_received,
            messages_queued=self._inbox.count,
            bytes_queued=self._inbox.size,
            bytes_buffered=self._protocol.output.size,
            latency=self.latency,
            uncompressed_bytes_sent=sent.uncompressed,
            compressed_bytes_sent=sent.compressed,
            uncompressed_bytes_received=received.uncompressed,
            compressed_bytes_received=received.compressed,
        )

    # Sending

    @trio.lowlevel.enable_ki_protection
    async def send(self, value: str | bytes, *, compress: bool | None = None) -> None:
        """Send a message (RFC 6455 section 6.1): `str` as text, `bytes` as binary.

        Returns when the connection has taken the whole message over, which it then sends unless it
        is lost. While more than ``Limits.send_buffer_size`` bytes wait to be sent, senders wait,
        first come, first served. If cancelled, no byte of the message is sent.

        A cancellation point on each call; it yields to the scheduler whenever it has to wait, and
        at the latest after 32 calls that did not.

        Args:
            value: the message.
            compress: whether to compress it, if permessage-deflate was negotiated; None leaves it
                to its size.

        Raises:
            ConnectionClosed: the connection is closed or closing, from either side, or lost.
            ValueError: `value` is neither `str` nor `bytes`, or a `str` with a lone surrogate.
            TypeError: `compress` is neither bool nor None.
        """
        if compress is not None:
            check_type("compress", compress, bool)
        text = isinstance(value, str)
        if isinstance(value, str):
            value = value.encode()
        elif not isinstance(value, bytes):
            raise ValueError(f"message must be str or bytes, not {type(value).__name__}")
        protocol = self._protocol
        if len(value) > _LARGE and protocol.compresses(value, compress):
            await self._send_in_steps(value, text=text)
        else:
            await self._hand_over(protocol.send_message, value, text, compress)

    async def _send_in_steps(self, message: bytes, *, text: bool) -> None:
        """Send a large message compressed, and let others run meanwhile.

        It is no less atomic: nothing is queued, and the compressor does not advance, before the
        last step, which is no checkpoint.
        """
        await self._hand_over(self._writer.turns.reserve)
        try:
            for _ in self._protocol.send_in_steps(message, text=text):
                await trio.lowlevel.checkpoint()
                if self._has_ended():
                    raise self._error(sending=True)
        finally:
            self._writer.turns.release()
            self._writer.flush()
        if self._has_ended():
            raise self._error(sending=True)

    async def send_message(self, message: str | bytes) -> None:
        """The same as `send`."""
        await self.send(message)

    async def _hand_over(self, queue: Callable[[*_Ts], None], *args: *_Ts) -> None:
        """Wait for room, have `queue` append to the output, send (invariant 2)."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._has_ended():
            raise self._error(sending=True)
        writer = self._writer
        if writer.turns.taken():
            if not await writer.turns.wait(partial(queue, *args)):
                await trio.lowlevel.checkpoint_if_cancelled()
                raise self._error(sending=True)
            self._sends = self._receives = BATCH
            return
        queue(*args)
        writer.flush(join=self._inbox.count > 0)
        if writer.cause is not None:
            raise self._error(sending=True)
        self._sends -= 1
        if not self._sends:
            self._sends = self._receives = BATCH
            await trio.lowlevel.cancel_shielded_checkpoint()

    # Receiving

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> str | bytes:
        """Receive a message (RFC 6455 section 6.2): `str` if it is text, `bytes` if it is binary.

        If cancelled, no message is lost. Of several tasks each message goes to one.

        A cancellation point on each call; it yields to the scheduler whenever it has to wait, and
        at the latest after 32 calls that did not.

        Raises:
            ConnectionClosed: this side has closed the connection; or the peer has, or it was lost,
                and all messages that came before were received.
        """
        inbox = self._inbox
        if inbox.count:
            self._receives -= 1
            if self._receives:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._sends = self._receives = BATCH
                await trio.lowlevel.checkpoint()
        while not inbox.count:
            if self._unreceivable():
                await trio.lowlevel.checkpoint_if_cancelled()
                self._reader.refill()  # what came before the end may not be parsed yet
                if inbox.count:
                    break
                raise self._error(sending=False)
            if self._protocol.output.size:
                self._writer.flush()
            self._sends = self._receives = BATCH
            await inbox.wait()
            if not inbox.count:  # woken because none will come, or outrun by another task
                await trio.lowlevel.checkpoint_if_cancelled()
        return self._take()

    async def get_message(self) -> str | bytes:
        """The same as `receive`."""
        return await self.receive()

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> str | bytes:
        """Receive a message that has arrived already.

        Raises:
            trio.WouldBlock: there is none.
            ConnectionClosed: as `receive`.
        """
        if not self._inbox.count:
            if not self._unreceivable():
                raise trio.WouldBlock
            self._reader.refill()
            if not self._inbox.count:
                raise self._error(sending=False)
        return self._take()

    async def receive_text(self) -> str:
        """Receive a text message; a binary one closes the connection with 1003.

        Raises:
            ConnectionClosed: as `receive`, and when the message is binary.
        """
        message = await self.receive()
        if isinstance(message, str):
            return message
        raise self._refuse("expected a text message")

    async def receive_bytes(self) -> bytes:
        """Receive a binary message; a text one closes the connection with 1003.

        Raises:
            ConnectionClosed: as `receive`, and when the message is text.
        """
        message = await self.receive()
        if isinstance(message, bytes):
            return message
        raise self._refuse("expected a binary message")

    async def __anext__(self) -> str | bytes:
        """Receive a message; the end of the iteration is the peer's Close."""
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def _take(self) -> str | bytes:
        inbox = self._inbox
        message = inbox.take()
        if self._reader.stopped and inbox.low:
            self._reader.refill()
        return message

    def _unreceivable(self) -> bool:
        """Whether nothing arrives any more but what is there already, or nobody wants that."""
        protocol = self._protocol
        return (
            protocol.close_received is not None
            or protocol.failure is not None
            or protocol.eof
            or self._inbox.closed
        )

    def _refuse(self, reason: str) -> ConnectionClosed:
        code = CloseCode.UNSUPPORTED_DATA
        if self._protocol.is_open:
            self._protocol.fail(code, reason)
            self._writer.closing()
            self._writer.flush()
        error = ConnectionLost(CloseReason(int(code), reason))
        error.__cause__ = self._writer.cause
        return error

    # Pings

    @trio.lowlevel.enable_ki_protection
    async def ping(self, payload: bytes | None = None) -> None:
        """Send a ping and wait for its pong (RFC 6455 section 5.5.2); see `latency`.

        A pong also answers the pings before it. If cancelled, the ping is forgotten.

        Args:
            payload: up to 125 bytes; None is 8 random ones.

        Raises:
            ConnectionClosed: the connection is closed, or ended before the pong came.
            ValueError: `payload` is too long, or that of another ping in flight.
            TypeError: `payload` is not `bytes`.
        """
        payload = os.urandom(8) if payload is None else _control_payload(payload)
        ping = self._pings.start(payload)
        try:
            await self._hand_over(self._queue_ping, payload)
            await ping.done.wait()
        finally:
            self._pings.forget(payload, ping)
        if not ping.answered:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise self._error(sending=False)

    def _queue_ping(self, payload: bytes) -> None:
        self._protocol.send_ping(payload)
        self._pings.sent(payload)

    @trio.lowlevel.enable_ki_protection
    async def pong(self, payload: bytes | None = None) -> None:
        """Send an unsolicited pong (RFC 6455 section 5.5.3); pings are answered by themselves.

        Args:
            payload: up to 125 bytes; None is none.

        Raises:
            ConnectionClosed: the connection is closed.
            ValueError: `payload` is too long.
            TypeError: `payload` is not `bytes`.
        """
        payload = _control_payload(payload)
        await self._hand_over(self._protocol.send_pong, payload)
        await trio.lowlevel.cancel_shielded_checkpoint()

    # Closing

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection: send a Close frame, wait for the peer's (RFC 6455 section 7).

        Messages that were not received yet are dropped. Returns when the transport is closed, at
        the latest after ``disconnect_timeout`` seconds; cancelled, it closes by force at once.
        Closing a closed connection does nothing.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            reason: up to 123 bytes of UTF-8.

        Raises:
            ValueError: `code` may not be sent, or `reason` is too long.
            TypeError: `code` is not an `int`, or `reason` not a `str`.
        """
        self._begin_close(code, reason)
        try:
            await self._closed.wait()
        except BaseException:
            self._writer.hurry()
            with trio.CancelScope(shield=True):
                await self._closed.wait()
            raise

    def _begin_close(self, code: int, reason: str | None = None) -> None:
        """Do what `aclose` does, without waiting."""
        check_close(code, reason)
        self._protocol.send_close(code, reason)
        self._inbox.close()
        if self._protocol.handshake_done:  # whoever saw the end has begun to close
            self._reader.refill()
            return
        self._protocol.discard()
        self._writer.closing()
        self._reader.refill()
        self._writer.flush()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, for whatever cause, and its transport is closed."""
        await self._closed.wait()

    async def __aenter__(self) -> WebSocketConnection:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Close with 1000, or because of an exception, which then comes out as it is.

        With 1011 if it is a server's error; with 1001 if it is a client's, or a cancellation, or
        what ends the program.
        """
        await self._leave(exc)

    async def _leave(self, exc: BaseException | None) -> None:
        """Do what leaving ``async with`` does.

        What ends the program, or a task, does not wait for the peer; what it was about is `exc`, so
        a cancellation that comes on top is left to the caller's next checkpoint.
        """
        if exc is None:
            await self.aclose()
            return
        failed = self.is_server and isinstance(exc, Exception)
        self._failed = failed and not self._has_ended()
        code = CloseCode.INTERNAL_ERROR if failed else CloseCode.GOING_AWAY
        with trio.CancelScope() as scope:
            if not isinstance(exc, Exception):
                scope.cancel()
            with suppress(trio.Cancelled):
                await self.aclose(code)

    # Services

    async def _start(self, nursery: trio.Nursery) -> None:
        """Start the reader and the writer; the first bytes out leave at once where they can.

        Raises:
            RuntimeError: `nursery` is closed; so is the connection then.
        """
        try:
            nursery.start_soon(self._reader.run, name=_READER)
            nursery.start_soon(self._writer.run, self._finish, name=_WRITER)
        except RuntimeError:
            await self._transport.aclose(force=True)
            self._closed.set()
            raise
        self._writer.flush()

    async def _finish(self) -> None:
        """What the writer does last."""
        await self._reader.stop()
        await self._transport.aclose(
            force=self._writer.hurried or not self._protocol.handshake_done
        )
        self._protocol.receive_eof()
        self._protocol.output.clear()
        self._writer.wake_waiters()
        self._closed.set()

    def _has_ended(self) -> bool:
        """Whether nothing can be sent any more."""
        # `Protocol.is_open` and the writer's `_alive`, spelled out: it is asked for each message.
        protocol = self._protocol
        return protocol.close_sent is not None or protocol.eof or self._writer.cause is not None

    @property
    def _close_timed_out(self) -> bool:
        """Whether the peer did not take part in the closing handshake in time."""
        return isinstance(self._writer.cause, DisconnectionTimeout)

    def _error(self, *, sending: bool) -> ConnectionClosed:
        """What to raise now that the connection has ended."""
        kind: type[ConnectionClosed]
        if self._inbox.closed:
            kind = ClosedHere
        elif self._protocol.close_received is None:
            kind = ConnectionLost
        else:
            kind = ClosedByPeerOnSend if sending else ClosedByPeer
        error = kind(self.closed or CloseReason(int(CloseCode.ABNORMAL_CLOSURE)))
        error.__cause__ = self._writer.cause
        return error


def _new_protocol(settings: Settings, *, client: bool, deflate: Deflate | None) -> Protocol:
    return Protocol(
        client=client,
        max_message_size=settings.max_message_size,
        max_empty_fragments=settings.limits.max_empty_fragments,
        send_buffer_size=settings.limits.send_buffer_size,
        deflate=deflate,
    )


def _control_payload(payload: bytes | None) -> bytes:
    if payload is None:
        return b""
    check_type("payload", payload, bytes)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"payload: {len(payload)} bytes do not fit a control frame, 125 do")
    return payload
