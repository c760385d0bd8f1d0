"""Raw peers on real sockets: they keep no rule, and tell what they were answered."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable
from contextlib import suppress

import trio

from tests.protocol import wire
from tests.support.servers import Peer, status

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, EOFError)

_open: list[Raw] = []


def close_all() -> None:
    """Close all raw peers that were left open; no attack has to clear up behind it."""
    while _open:
        _open.pop().socket.socket.close()


class Raw(Peer):
    """One end of a TCP connection, with TLS or without.

    Args:
        stream: the connection.
        client: it is the client's end, so its frames are masked.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool) -> None:
        super().__init__(stream)
        self.key = wire.KEY if client else None
        _open.append(self)

    @property
    def socket(self) -> trio.SocketStream:
        """The connection below TLS."""
        stream = self.stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        assert isinstance(stream, trio.SocketStream)
        return stream

    @property
    def unread(self) -> bytearray:
        """What was received and not taken yet."""
        return self._buffer

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
        """A frame of this role."""
        return wire.build(opcode, payload, fin=fin, rsv=rsv, mask=self.key)

    async def throw(self, data: bytes | Iterable[bytes]) -> bool:
        """Send as long as the other end takes it; return whether it took all."""
        try:
            for piece in [data] if isinstance(data, bytes) else data:
                await self.send(piece)
        except GONE:
            return False
        return True

    async def half_close(self) -> None:
        """Send no more, and go on receiving; a task that is still sending has to stop."""
        self.socket.socket.shutdown(socket.SHUT_WR)
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the connection off with a reset."""
        self.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.socket.close()

    async def answer(self) -> str:
        """The answer to a request: its status, and whether anything but its body follows."""
        data = await self.receive_all()
        if not data:
            return "cut"
        head, _, body = data.partition(b"\r\n\r\n")
        size = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        exact = [int(line[15:]) for line in size] == [len(body)]
        return f"HTTP {status(head)}" if exact else f"HTTP {status(head)} and {len(body)} bytes"

    async def close_code(self, *, end: bool = False) -> str:
        """Receive frames until the end; the code of the Close frame, or that there was none.

        With `end` TCP is ended after the Close frame, as a server has to (RFC 6455 section 7.1.1).
        """
        try:
            while True:
                opcode, payload = await self.receive_frame()
                if opcode == wire.CLOSE:
                    break
        except GONE:
            return "cut"
        if end:
            with suppress(*GONE):
                await self.half_close()
        rest = await self.receive_all()
        code = str(int.from_bytes(payload[:2], "big")) if payload else "empty"
        return f"Close {code}" + (f" and {len(rest)} bytes" if rest else "")


async def dial(port: int, context: ssl.SSLContext | None = None, *, small: bool = False) -> Raw:
    """Connect to a server.

    Args:
        port: on the loopback.
        context: for TLS.
        small: the kernel is to keep little of what is not read.
    """
    sock = trio.socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", port))
    stream: trio.abc.Stream = trio.SocketStream(sock)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)
    return Raw(stream, client=True)
