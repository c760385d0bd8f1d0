"""Connections of the load generator: opened, upgraded and closed, TCP or TLS."""

from __future__ import annotations

import resource
import socket
import ssl
from contextlib import ExitStack, suppress
from typing import Final, NamedTuple

from .frames import CLOSE_FRAME, DEFLATE_OFFER, upgrade_request

# Fewer than any server's backlog.
BATCH: Final = 50
TIMEOUT: Final = 60.0


class Address(NamedTuple):
    """Where a server is, and how to talk to it.

    Args:
        port: the TCP port, on the loopback.
        raw: it echoes bytes and knows no WebSocket.
        tls: it wants TLS.
        deflate: offer permessage-deflate.
    """

    port: int
    raw: bool = False
    tls: bool = False
    deflate: bool = False

    def request(self) -> bytes:
        """The opening handshake's request."""
        return upgrade_request(self.port, DEFLATE_OFFER if self.deflate else b"")


def client_context() -> ssl.SSLContext:
    """A TLS context for a server whose certificate was made a moment ago."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def raise_file_limit() -> int:
    """Allow this process, and those it starts, as many files as it may have; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def connect(address: Address, context: ssl.SSLContext | None) -> socket.socket:
    """Open one TCP or TLS connection; its socket blocks."""
    sock = socket.create_connection(("127.0.0.1", address.port), TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock if context is None else context.wrap_socket(sock)


def read_head(sock: socket.socket, *, deflate: bool) -> None:
    """Read the answer to an upgrade; nothing may follow it, for nothing was sent."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        if not data:
            raise ConnectionError(f"the server hung up after {head!r}")
        head += data
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(f"the server answered {head!r}")
    if deflate != (b"permessage-deflate" in head):
        raise ConnectionError(f"not the compression that was wanted: {head!r}")


def open_links(address: Address, count: int) -> list[socket.socket]:
    """Open `count` connections and upgrade them; their sockets block."""
    context = client_context() if address.tls else None
    with ExitStack() as opened:
        links: list[socket.socket] = []
        while len(links) < count:
            size = min(BATCH, count - len(links))
            batch = [opened.enter_context(connect(address, context)) for _ in range(size)]
            links += batch
            if not address.raw:
                for sock in batch:
                    sock.sendall(address.request())
                for sock in batch:
                    read_head(sock, deflate=address.deflate)
        opened.pop_all()
        return links


def close_links(address: Address, links: list[socket.socket]) -> None:
    """Say goodbye on each, and let the server close it."""
    for sock in links:
        sock.settimeout(TIMEOUT)
        with suppress(OSError):
            if address.raw:
                sock.shutdown(socket.SHUT_WR)
            else:
                sock.sendall(CLOSE_FRAME)
    for sock in links:
        with suppress(OSError):
            while sock.recv(65536):
                pass
        sock.close()
