"""An echo of WebSocket frames for the client rows: cheap, and the same for all clients.

It answers any upgrade and unmasks whole small frames; it checks nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
import select
import socket
from typing import Final

from benchmarks.frames import CLOSE, frame, xor

from .common import HOST, announce, parse_options

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEY: Final = re.compile(rb"^Sec-WebSocket-Key: *(\S+)", re.IGNORECASE | re.MULTILINE)


def answer_upgrade(head: bytes) -> bytes:
    """The answer to a client's upgrade request."""
    found = KEY.search(head)
    if found is None:
        raise ValueError(f"no upgrade: {head!r}")
    accept = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
    )


def answer_frames(buffer: bytearray) -> tuple[bytes, bool]:
    """Take whole frames off `buffer`, in place; return the echo, and whether one was a Close."""
    replies, position, closing = [], 0, False
    while len(buffer) - position >= 6:
        size, head = buffer[position + 1] & 0x7F, 2
        if size == 126:
            size, head = int.from_bytes(buffer[position + 2 : position + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[position + 2 : position + 10], "big"), 10
        start = position + head + 4
        if len(buffer) < start + size:
            break
        first = buffer[position]
        payload = xor(bytes(buffer[start : start + size]), bytes(buffer[start - 4 : start]))
        replies.append(frame(first, payload, masked=False))
        closing = closing or first & 0x0F == CLOSE
        position = start + size
    del buffer[:position]
    return b"".join(replies), closing


class Peer:
    """One client."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._upgraded = False
        self._buffer = bytearray()

    def serve(self) -> bool:
        """Answer what has come; return whether the connection is still of use."""
        try:
            data = self.sock.recv(256 * 1024)
            if not data:
                return False
            self._buffer += data
            if not self._upgraded:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return True
                self.sock.sendall(answer_upgrade(bytes(self._buffer[: end + 4])))
                del self._buffer[: end + 4]
                self._upgraded = True
            reply, closing = answer_frames(self._buffer)
            if reply:
                self.sock.sendall(reply)
        except ConnectionError:
            return False
        return not closing


def main() -> None:
    """Serve until the process is killed."""
    parse_options()
    poll = select.epoll()
    peers: dict[int, Peer] = {}
    with socket.create_server((HOST, 0), backlog=128) as listener:
        poll.register(listener, select.EPOLLIN)
        announce(listener.getsockname()[1])
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    sock, _ = listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    peers[sock.fileno()] = Peer(sock)
                    poll.register(sock, select.EPOLLIN)
                elif not peers[fd].serve():
                    poll.unregister(fd)
                    peers.pop(fd).sock.close()


if __name__ == "__main__":
    main()
