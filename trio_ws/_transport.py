"""How bytes reach the kernel.

`StreamTransport` takes any `trio.abc.Stream`. `SocketTransport` is the fast path for plain TCP and
unix sockets where the platform has POSIX reads and writes: it waits through Trio, then reads and
writes the descriptor itself, which spares a trip through the scheduler each time, and can write
without waiting. `TLSTransport` puts such a socket under Trio's `SSLStream`. Nothing above knows
which one it has. At the end, what needs no transport: to connect a socket, and to close a stream so
that its last bytes arrive.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final

import trio

from ._protocol._output import Output

# Bytes of one read. More lose to the processor's cache, fewer cost system calls.
_READ_SIZE: Final = 64 * 1024
_LARGE_READ_SIZE: Final = 128 * 1024
# Bytes of one write to a stream: a TLS record. Progress is seen between writes, so a peer that
# takes a record within the write timeout is alive.
_STREAM_WRITE_SIZE: Final = 16 * 1024
# The same where progress is seen within a write: two for 64 KiB and a header. OpenSSL holds on to a
# buffer of that size for as long as the connection lives.
_TLS_WRITE_SIZE: Final = 33 * 1024
# Chunks of one write to a socket, which has a limit (of 1024 on Linux).
_VECTOR: Final = 64
# Reads that empty a socket before it is closed by force: a close with unread data makes the kernel
# send a reset, which may overtake our Close frame.
_DRAIN_READS: Final = 16

_NO_SCOPE: Final = nullcontext()


class StreamTransport:
    """Bytes over any stream; a send is all or nothing, and nothing is sent without waiting."""

    __slots__ = ("_arrived", "_large_read", "_next_read", "_reading", "read_size", "stream")

    # Seconds for a Close frame once the connection's tasks are cancelled (invariant 10).
    grace: float = 0.5

    def __init__(self, stream: trio.abc.Stream, read_size: int | None) -> None:
        self.stream = stream
        self.read_size = read_size or _READ_SIZE
        self._next_read = self.read_size
        self._large_read = read_size or _LARGE_READ_SIZE
        self._reading: trio.CancelScope | None = None
        self._arrived: bytes | None = None

    def send_nowait(self, output: Output) -> int:
        """Send what can be sent without waiting; return the number of bytes."""
        return 0

    async def send(self, output: Output) -> int:
        """Wait until bytes can be sent, send some; return how many are done with, which may be 0.

        Each return is a sign that the peer takes what it gets.
        """
        data = output.peek(_STREAM_WRITE_SIZE)
        await self.stream.send_all(data)
        return len(data)

    def check_open(self) -> None:
        """See that nobody else has closed the stream, where waiting for it would not tell.

        Raises:
            trio.ClosedResourceError: somebody has.
        """

    def reading(self) -> AbstractContextManager[object]:
        """Around all calls of `wait_readable`, so that `stop_reading` can end one."""
        return self._scope

    def stop_reading(self) -> None:
        """End a `wait_readable`: it raises, or leaves the block of `reading`."""
        self._scope.cancel()

    @property
    def _scope(self) -> trio.CancelScope:
        if self._reading is None:
            self._reading = trio.CancelScope()
        return self._reading

    def wait_readable(self) -> Awaitable[None]:
        """Wait for bytes, or the end, which `receive_nowait` then has."""
        return self._receive()

    async def _receive(self) -> None:
        self._arrived = bytes(await self.stream.receive_some(self.read_size))

    def receive_nowait(self) -> bytes | None:
        """The bytes that have come; b"" is the end, and None means to wait again."""
        data, self._arrived = self._arrived, None
        return data

    async def send_eof(self) -> None:
        """Say that nothing more is sent, where the stream can."""
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            with suppress(Exception):  # a peer that has gone needs no word
                await self.stream.send_eof()

    async def aclose(self, *, force: bool) -> None:
        """Close the stream, whoever is cancelled; by force means without a word to the peer."""
        deadline = trio.current_time() + (0 if force else self.grace)
        with suppress(Exception), trio.CancelScope(deadline=deadline, shield=True):
            await self.stream.aclose()


class SocketTransport(StreamTransport):
    """Bytes over a plain socket."""

    __slots__ = ()

    grace: float = 0

    stream: trio.SocketStream

    def send_nowait(self, output: Output) -> int:
        if sys.platform == "win32":  # there it is not used; the type checker wants to hear it
            return 0
        chunks = output.vector(_VECTOR)
        try:
            if len(chunks) == 1:
                return os.write(self.stream.socket.fileno(), chunks[0])
            # None is left where a goodbye has sent all while the writer waited.
            return os.writev(self.stream.socket.fileno(), chunks) if chunks else 0
        except BlockingIOError:
            return 0

    async def send(self, output: Output) -> int:
        self.check_open()
        await trio.lowlevel.wait_writable(self.stream.socket)
        return self.send_nowait(output)

    def check_open(self) -> None:
        _check_open(self.stream.socket)

    def reading(self) -> AbstractContextManager[object]:
        return _NO_SCOPE  # a scope for each connection is half a kilobyte

    def stop_reading(self) -> None:
        self._close()  # a task that waits for a socket hears of that

    def wait_readable(self) -> Awaitable[None]:
        return trio.lowlevel.wait_readable(self.stream.socket)  # noqa: ASYNC105 - no frame of ours

    def receive_nowait(self) -> bytes | None:
        try:
            data = os.read(self.stream.socket.fileno(), self._next_read)
        except BlockingIOError:  # a spurious wake-up, which epoll may give
            return None
        # More than this read took is likely to be there: the next may be larger.
        full = len(data) == self._next_read
        self._next_read = self._large_read if full else self.read_size
        return data

    async def aclose(self, *, force: bool) -> None:
        self._close()

    def _close(self) -> None:
        # All that the stream's own method does, but for a checkpoint, which would cost as much as
        # all of it where it is cancelled.
        _drain(self.stream.socket, self.read_size)
        with suppress(OSError):  # it may be somebody else who has closed it
            self.stream.socket.close()


class TLSTransport(StreamTransport):
    """Bytes over an `SSLStream`, on a socket that spares it trips as well."""

    __slots__ = ("_size", "_socket")

    stream: trio.SSLStream[SocketUnderTLS]

    def __init__(
        self, stream: trio.SSLStream[SocketUnderTLS], inner: SocketUnderTLS, read_size: int | None
    ) -> None:
        super().__init__(stream, read_size)
        self._socket = inner
        self._size = 0  # of what was encrypted, and has not left altogether

    async def send(self, output: Output) -> int:
        inner = self._socket
        if inner.unsent:
            inner.check_open()
            await trio.lowlevel.wait_writable(inner.socket)
            inner.flush()
        else:
            if not inner.shaken:  # what is sent there has to leave before an answer can come
                await self.stream.do_handshake()
                inner.shaken = True
            data = output.peek(_TLS_WRITE_SIZE)
            self._size = len(data)
            inner.keeps = True
            try:
                await self.stream.send_all(data)
            finally:
                inner.keeps = False
        return 0 if inner.unsent else self._size


class SocketUnderTLS(trio.abc.Stream):
    """What an `SSLStream` gets instead of its `SocketStream`: the same, without detours.

    A write that waits, or fails, in the middle leaves an `SSLStream` good for nothing, reading
    included. So what the socket does not take of a message is kept here, and is for the transport
    to `flush`.
    """

    def __init__(self, inner: trio.SocketStream) -> None:
        self.socket = inner.socket
        self.shaken = False  # hands, as far as is known here
        self.keeps = False
        self.unsent = memoryview(b"")
        self._inner = inner

    def flush(self) -> None:
        """Write of what is kept as much as the socket takes.

        Raises:
            OSError: nothing can be written any more.
        """
        with suppress(BlockingIOError):
            self.unsent = self.unsent[os.write(self.socket.fileno(), self.unsent) :]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, or keep some."""
        if self.unsent:  # whoever flushes it takes this along
            self.unsent = memoryview(bytes(self.unsent) + data)
        elif self.keeps:
            try:
                sent = os.write(self.socket.fileno(), data)
            except OSError:  # which `flush` will meet again
                sent = 0
            if sent < len(data):
                self.unsent = memoryview(data)[sent:]
        else:
            await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes something."""
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; b"" is the end."""
        while True:
            self.check_open()
            await trio.lowlevel.wait_readable(self.socket)
            try:
                return os.read(self.socket.fileno(), max_bytes or _READ_SIZE)
            except BlockingIOError:  # a spurious wake-up
                continue
            except OSError as exc:
                raise trio.BrokenResourceError(str(exc)) from exc

    def setsockopt(self, *args: Any) -> None:
        """As that of the `SocketStream`."""
        self._inner.setsockopt(*args)

    def getsockopt(self, *args: Any) -> int | bytes:
        """As that of the `SocketStream`."""
        return self._inner.getsockopt(*args)

    async def aclose(self) -> None:
        """Close the socket, once it has been emptied."""
        _drain(self.socket, _READ_SIZE)
        await self._inner.aclose()

    def check_open(self) -> None:
        """See that nobody has closed the socket.

        Raises:
            trio.ClosedResourceError: somebody has.
        """
        _check_open(self.socket)


def _check_open(sock: trio.socket.SocketType) -> None:
    # Whoever waits for a closed one gets a ValueError, and leaves Trio with a descriptor -1 that is
    # waited for.
    if sock.fileno() < 0:
        raise trio.ClosedResourceError


def _drain(sock: trio.socket.SocketType, size: int) -> None:
    """Read what is left of a socket that is about to be closed, `size` bytes at a time."""
    try:
        for _ in range(_DRAIN_READS):
            if not os.read(sock.fileno(), size):
                break
    except OSError:
        pass  # nothing left, or nobody there: either way it can be closed


def transport_over(stream: trio.abc.Stream, read_size: int | None) -> StreamTransport:
    """The fastest transport that `stream` allows."""
    if sys.platform == "win32":
        return StreamTransport(stream, read_size)
    if type(stream) is trio.SocketStream:
        return SocketTransport(stream, read_size)
    if type(stream) is trio.SSLStream:
        inner = stream.transport_stream
        if type(inner) is trio.SocketStream:
            inner = stream.transport_stream = SocketUnderTLS(inner)
        if type(inner) is SocketUnderTLS:
            return TLSTransport(stream, inner, read_size)
    return StreamTransport(stream, read_size)


async def open_tcp(host: str, port: int) -> trio.SocketStream:
    """`trio.open_tcp_stream`; for an address without its race of attempts, which has one runner.

    Raises:
        OSError: nobody is there.
    """
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:  # a name, which may have many addresses
        return await trio.open_tcp_stream(host, port)
    try:
        connecting = trio.socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
        try:
            await connecting.connect((host, port))
        except BaseException:
            connecting.close()
            raise
    except OSError as exc:
        if host in str(exc):
            raise
        raise OSError(exc.errno, f"{host} port {port}: {exc.strerror}") from exc
    return trio.SocketStream(connecting)


async def close_after_reply(stream: trio.abc.Stream) -> None:
    """Close a stream whose last bytes the peer should get, though it may still be sending.

    A close with unread data makes the kernel send a reset, and the peer may lose what was sent
    before; so this side ends first and reads on for a moment (RFC 9112 section 9.6).
    """
    with trio.move_on_after(1):
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
                for _ in range(_DRAIN_READS):
                    if not await stream.receive_some(_READ_SIZE):
                        break
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    await trio.aclose_forcefully(stream)
