"""The library's private names that the harness uses, all of them, to break it on purpose.

Whoever renames one of them changes it here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

import trio_ws
from trio_ws import _transport, _unix, _writer
from trio_ws._protocol import _deflate, _frames
from trio_ws._transport import SocketTransport, SocketUnderTLS, StreamTransport, TLSTransport
from trio_ws._turns import Turns
from trio_ws._writer import Writer

Connection: Final[Any] = trio_ws.WebSocketConnection
Compressor: Final[Any] = _deflate.Compressor
# The module of the task that writes, in which `trio` can be replaced.
WRITER_MODULE: Final[Any] = _writer

# Methods, as (class, name).
SAY_GOODBYE: Final = (Writer, "goodbye")
LEAVE: Final = (Connection, "_leave")
SEND_IN_STEPS: Final = (Connection, "_send_in_steps")
COMPRESS_IN_STEPS: Final = (Compressor, "steps")
KEEP_THE_TURN: Final = (Turns, "reserve")
TRANSPORT_SEND: Final = (StreamTransport, "send")
TRANSPORT_RECEIVE: Final = (StreamTransport, "_receive")
TRANSPORT_ACLOSE: Final = (StreamTransport, "aclose")
SOCKET_ACLOSE: Final = (SocketTransport, "aclose")
TLS_SEND: Final = (TLSTransport, "send")
UNDER_TLS_SEND: Final = (SocketUnderTLS, "send_all")
UNDER_TLS_FLUSH: Final = (SocketUnderTLS, "flush")
UNDER_TLS_ACLOSE: Final = (SocketUnderTLS, "aclose")
ACCEPT_FROM: Final = (trio_ws.WebSocketServer, "_accept_from")
# Functions, as (module, name).
REMOVE_STALE: Final = (_unix, "_remove_stale")
DRAIN: Final = (_transport, "_drain")


def has_ended(conn: Any) -> trio.Event:
    """What a connection sets when its transport is closed."""
    event: trio.Event = conn._closed
    return event


def give_up(conn: Any) -> None:
    """Have a connection end without waiting for the peer."""
    conn._writer.hurry()


def hurry(writer: Any, _code: int = 1001) -> None:
    """End without a word."""
    writer.hurry()


async def leave_without_a_word(conn: Any, exc: BaseException | None, _code: int = 1001) -> None:
    """End a connection because of an error or a cancellation, and tell nobody."""
    conn._writer.hurry()
    await trio.lowlevel.cancel_shielded_checkpoint()


def check_sendable(conn: Any) -> None:
    """Raise if nothing can be sent any more."""
    if conn._has_ended():
        raise conn._error(sending=True)


def lost(conn: Any) -> Exception:
    """The error of a send on a connection that is lost."""
    error: Exception = conn._error(sending=True)
    return error


def has_broken(conn: Any) -> bool:
    """Whether the stream below a connection has failed."""
    return conn._writer.cause is not None


def stream(conn: Any) -> trio.abc.Stream:
    """Below the connection."""
    below: trio.abc.Stream = conn._transport.stream
    return below


def below_tls(transport: Any) -> Any:
    """What the library has put between a socket and TLS."""
    return transport.stream.transport_stream


def piece_size(transport: Any) -> int:
    """The bytes that TLS has encrypted last."""
    size: int = transport._size
    return size


def keeps_rest(below: Any) -> bool:
    """Whether what the socket does not take now may be kept."""
    return bool(below.keeps)


def take_kept(below: Any) -> bytes:
    """What the socket has not taken, which is kept no longer."""
    kept, below.unsent = bytes(below.unsent), memoryview(b"")
    return kept


def keep_more(below: Any, data: bytes) -> None:
    """Keep `data` as well, behind what is kept."""
    below.unsent = memoryview(bytes(below.unsent) + data)


def frame(value: str | bytes, *, masked: bool) -> bytes:
    """A message as one frame."""
    opcode, payload = (1, value.encode()) if isinstance(value, str) else (2, value)
    return _frames.encode_frame(opcode, payload, masked=masked)


def compresses(conn: Any, message: bytes, compress: bool | None) -> bool:
    """Whether a message would be compressed."""
    return bool(conn._protocol.compresses(message, compress))


def compress(conn: Any, message: bytes) -> bytes:
    """Compress a message now; the compressor advances."""
    return bytes(compressor(conn).compress(message))


def compressor(conn: Any) -> Any:
    """What compresses messages, one after the other."""
    return conn._protocol._deflate.compressor


def inflater(conn: Any) -> Any:
    """What inflates messages, one after the other."""
    return conn._protocol._deflate.inflater


def forget_window(context: Any) -> None:
    """Have a compressor or inflater begin anew."""
    context._context = None


def keep_window(context: Any) -> None:
    """Have a compressor refer to earlier messages, whatever was agreed on."""
    context._takeover = True


def drop_pending(context: Any) -> None:
    """Have an inflater forget what it still has to do."""
    if context.pending:
        context.feed(b"", last=True)


def append_compressed(conn: Any, payload: bytes, *, text: bool) -> None:
    """Queue a message that was compressed before."""
    conn._protocol._append(1 if text else 2, payload, rsv1=True)


async def hand_over(conn: Any, queue: Callable[[], None]) -> None:
    """Wait for room, then queue and send."""
    await conn._hand_over(queue)


def flush(conn: Any) -> None:
    """Send what is queued."""
    conn._writer.flush()


async def serve_from(server: Any, listener: trio.abc.Listener[Any], handlers: trio.Nursery) -> None:
    """Accept clients and start their tasks, until cancelled."""
    while True:
        handlers.start_soon(server._serve, await listener.accept())


async def shut_down(server: Any, code: int, *, accepting: bool = False) -> None:
    """What a graceful shutdown does while nothing cuts it short."""
    if not accepting:
        server._accepting.cancel()
    for session in server._sessions.copy():
        session.shut_down(code, None)
    await server._all_ended()
