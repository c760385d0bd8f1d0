"""Protocol: one end of an open WebSocket connection, without any I/O.

Bytes of the peer go in through `Protocol.receive_data`, events come out of `Protocol.next_event`: a
whole message is its own event, a `str` or `bytes`; everything else is a small tuple. What is to be
sent is appended to `Protocol.output` by the synchronous ``send_*`` methods, and by the replies that
RFC 6455 asks for, so the order of calls is the order on the wire (invariant 1). Whoever takes bytes
from `output` reports them with `Protocol.sent`.

A peer that breaks the protocol raises nothing here: the right Close frame is queued and a `Failure`
is the last event, after the messages before it (invariant 5). The life of the connection is
derived from `close_sent`, `close_received`, `failure` and `eof`; nothing else is kept that could
disagree with them (invariant 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ._deflate import Deflate, Volume
from ._frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    CloseCode,
    FrameReader,
    Part,
    Violation,
    decode_close,
    encode_close,
    encode_frame,
    encode_parts,
)
from ._messages import Assembler
from ._output import Output

# Bytes of a payload above which it is not copied only to stand beside its header.
_LARGE: Final = 16 * 1024


class Ping(NamedTuple):
    """The peer pinged; the pong is in the output already (RFC 6455 section 5.5.2)."""

    payload: bytes


class Pong(NamedTuple):
    """A pong arrived, asked for or not (RFC 6455 section 5.5.3)."""

    payload: bytes


class Close(NamedTuple):
    """A Close frame (RFC 6455 section 5.5.1); an empty one has code 1005."""

    code: int
    reason: str


class Failure(NamedTuple):
    """The connection was failed (RFC 6455 section 7.1.7) with this code, for this reason."""

    code: int
    reason: str


Event = str | bytes | Ping | Pong | Close | Failure


class Protocol:
    """One end of an open connection.

    Args:
        client: this end is the client: it masks what it sends and takes unmasked frames.
        max_message_size: bytes that a received message may have.
        max_empty_fragments: empty fragments in a row that a received message may have.
        send_buffer_size: bytes in the output above which pongs wait, the newest only.
        deflate: permessage-deflate, if it was negotiated.
    """

    __slots__ = (
        "_assembler", "_deflate", "_frames", "_late_pong", "_violation", "client",
        "close_received", "close_sent", "counts", "eof", "failure", "output", "send_buffer_size",
    )  # fmt: skip

    def __init__(
        self,
        *,
        client: bool,
        max_message_size: int,
        max_empty_fragments: int = 1024,
        send_buffer_size: int = 64 * 1024,
        deflate: Deflate | None = None,
    ) -> None:
        self.client = client
        self.output = Output()
        self.close_sent: Close | None = None
        self.close_received: Close | None = None
        self.failure: Failure | None = None
        self.eof = False
        self.counts = Counts()
        self.send_buffer_size = send_buffer_size
        self._late_pong: bytes | None = None
        self._deflate = deflate
        self._violation: Violation | None = None  # seen, and held back
        self._frames = FrameReader(
            masked=not client, budget=max_message_size, rsv1=deflate is not None
        )
        self._assembler = Assembler(
            max_message_size, max_empty_fragments, deflate.inflater if deflate else None
        )

    # State

    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent."""
        return self.close_sent is None and not self.eof

    @property
    def closed(self) -> Close | None:
        """How the connection closed, or is closing (RFC 6455 sections 7.1.5 and 7.1.6)."""
        if self.failure is not None:
            return Close(*self.failure)
        if self.close_received is not None:
            return self.close_received
        if self.eof:
            return Close(CloseCode.ABNORMAL_CLOSURE, "")
        return self.close_sent

    @property
    def handshake_done(self) -> bool:
        """Whether nothing that the peer may still send matters."""
        return self.close_received is not None or self.failure is not None

    @property
    def has_room(self) -> bool:
        """Whether the output is at or below its mark."""
        return self.output.size <= self.send_buffer_size

    @property
    def receiving(self) -> bool:
        """Whether a message has begun to arrive and is not whole yet."""
        return self._violation is None and (
            self._assembler.message is not None or self._frames.in_frame
        )

    @property
    def message_size(self) -> int:
        """Bytes of the message that `next_event` returned last."""
        return self._assembler.size

    # Out

    def send_message(self, message: bytes, text: bool, compress: bool | None = None) -> None:
        """Queue a message in one frame; a text is passed as its UTF-8.

        `compress` is whether to compress it, if that was negotiated; None leaves it to its size.
        """
        rsv1 = False
        if self._deflate is not None and self.compresses(message, compress):
            message = self._deflate.compressor.compress(message)
            rsv1 = True
        self._append(TEXT if text else BINARY, message, rsv1=rsv1)

    def compresses(self, message: bytes, compress: bool | None) -> bool:
        """Whether a message is sent compressed."""
        if self._deflate is None:
            return False
        return len(message) >= self._deflate.threshold if compress is None else compress

    @property
    def volumes(self) -> tuple[Volume, Volume]:
        """The compressed messages that were sent, and those that were received."""
        if self._deflate is None:
            return Volume(), Volume()
        return self._deflate.compressor.volume, self._deflate.inflater.volume

    def send_in_steps(self, message: bytes, *, text: bool) -> Iterator[None]:
        """Compress a large message in steps, and queue it with the last; to stop is to do nothing.

        Between the steps no other message may be queued; the caller sees whether `is_open` lasts.
        """
        assert self._deflate is not None
        for payload in self._deflate.compressor.steps(message):
            if payload is None:
                yield
            else:
                self._append(TEXT if text else BINARY, payload, rsv1=True)

    def send_ping(self, payload: bytes) -> None:
        """Queue a ping of at most 125 bytes."""
        self._append(PING, payload)

    def send_pong(self, payload: bytes) -> None:
        """Queue a pong of at most 125 bytes."""
        self._append(PONG, payload)

    def send_close(self, code: int | None, reason: str | None = None) -> None:
        """Queue a Close frame, the last frame of this end; later calls do nothing.

        Raises:
            ValueError: a code that may not be sent, or a reason of over 123 bytes.
        """
        payload = encode_close(code, reason)
        if self.is_open:
            self._append(CLOSE, payload)
            self._late_pong = None  # nothing follows a Close frame
            self.close_sent = Close(
                CloseCode.NO_STATUS_RCVD if code is None else code, reason or ""
            )

    def fail(self, code: int, reason: str) -> Failure:
        """Fail the connection (RFC 6455 section 7.1.7): say why, and look at nothing more.

        Once the peer has closed, or the connection was failed before, that is how it ended.
        """
        failure = Failure(code, reason)
        if not self.handshake_done:
            self.send_close(code, reason)
            self.failure = failure
            self._violation = None
            self._assembler.drop()
            self._frames.clear()
        return failure

    def sent(self, size: int) -> None:
        """Say that the first `size` bytes of `output` are on their way."""
        self.output.advance(size)
        self.counts.bytes_sent += size
        if self._late_pong is not None and self.has_room:
            payload, self._late_pong = self._late_pong, None
            self._append(PONG, payload)

    def _append(self, opcode: int, payload: bytes, *, rsv1: bool = False) -> None:
        assert self.close_sent is None  # RFC 6455 section 5.5.1: nothing follows a Close frame
        if opcode < CLOSE:
            self.counts.messages_sent += 1
        if len(payload) < _LARGE:
            self.output.append(encode_frame(opcode, payload, masked=self.client, rsv1=rsv1))
        else:
            head, payload = encode_parts(opcode, payload, masked=self.client, rsv1=rsv1)
            self.output.append(head)
            self.output.append(payload)

    # In

    def receive_data(self, data: bytes) -> None:
        """Take over bytes from the peer; `next_event` tells what they mean."""
        self.counts.bytes_received += len(data)
        if self.close_received is None and self.failure is None:
            self._frames.feed(data)

    def receive_eof(self) -> None:
        """Take note that the peer sends nothing more. What was fed before stays readable."""
        self.eof = True

    @property
    def busy(self) -> bool:
        """Whether much was inflated and more is to do: let others have their turn, then go on."""
        return self._assembler.resting

    @property
    def holding(self) -> bool:
        """Whether `next_event` holds a violation back."""
        return self._violation is not None

    def drained(self) -> bool:
        """Whether nothing is left to do with the bytes that were fed."""
        # As a property, like some others that are asked for each message, it would cost twice that.
        if self._frames.buffer or self._violation is not None:
            return False
        return self._deflate is None or not self._assembler.pending

    def next_messages(
        self, into: list[tuple[str | bytes, int]], max_messages: int, max_size: int
    ) -> int:
        """Append messages to `into`, each with its size in bytes, as long as nothing else is next.

        A faster `next_event` for what is common, bounded in messages and in bytes. Returns the
        bytes of the messages.
        """
        assembler = self._assembler
        assembler.resting = False
        if self._violation is not None or assembler.message is not None or assembler.discarding:
            return 0
        before = len(into)
        taken = self._frames.take_messages(into, max_messages, max_size)
        if self._deflate is not None and len(into) == before:
            taken = self._take_compressed(into, max_messages, max_size)
        self.counts.messages_received += len(into) - before
        return taken

    def _take_compressed(
        self, into: list[tuple[str | bytes, int]], max_messages: int, max_size: int
    ) -> int:
        assembler, frames = self._assembler, self._frames
        taken = 0
        try:
            while max_messages > 0 and taken < max_size and not assembler.tired:
                frame = frames.take_compressed()
                if frame is None:
                    break
                payload, text = frame
                message = assembler.add_compressed(payload, text=text)
                if message is None:
                    break
                into.append((message, assembler.size))
                max_messages -= 1
                taken += assembler.size
        except Violation as violation:
            self._violation = violation
        return taken

    def next_event(self, *, hold: bool = False) -> Event | None:
        """The next event, or None when it takes more bytes or, if `busy`, time; never raises.

        With `hold` a violation is kept back (see `holding`), until a call without: messages that
        came before it may still be answered then, which they cannot be after a Close frame.
        """
        self._assembler.resting = False
        if self.handshake_done:
            return None
        if self._violation is None:
            try:
                return self._next_event()
            except Violation as violation:
                self._violation = violation
        if hold:
            return None
        return self.fail(self._violation.code, self._violation.reason)

    def _next_event(self) -> Event | None:
        assembler, frames = self._assembler, self._frames
        while not assembler.tired:
            if assembler.pending:
                message = assembler.inflate()
            elif (part := frames.next_part()) is None:
                return None
            elif part.opcode & 0x8:
                return self._control(part)
            else:
                message = assembler.add(part)
                if part.last:
                    frames.continuing = not part.fin
            frames.budget = assembler.budget
            if message is not None:
                self.counts.messages_received += 1
                return message
        assembler.rest()
        return None

    def discard(self) -> None:
        """The application wants no more messages: only look for the peer's Close frame."""
        self._assembler.discard()

    def _control(self, part: Part) -> Event:
        payload = part.payload
        if part.opcode == PING:
            self._reply_pong(payload)
            return Ping(payload)
        if part.opcode == PONG:
            return Pong(payload)
        self.close_received = Close(*decode_close(payload))
        self._frames.clear()
        self._assembler.drop()
        code, _ = self.close_received
        self.send_close(None if code == CloseCode.NO_STATUS_RCVD else code)
        return self.close_received

    def _reply_pong(self, payload: bytes) -> None:
        # Invariant 3: a peer that pings and does not read must not make us keep its pings. Section
        # 5.5.3 allows to answer only the newest.
        if not self.is_open:
            return
        if self.has_room:
            self._append(PONG, payload)
        else:
            self._late_pong = payload


class Counts:
    """Bytes and messages both ways since the opening handshake."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent")

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0
        self.messages_received = 0
        self.messages_sent = 0
