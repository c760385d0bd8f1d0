"""Connections one after the other: opened, upgraded, and closed by both sides."""

from __future__ import annotations

import select
import socket
import time
from typing import Final

from .frames import CLOSE_FRAME, payload_of
from .links import TIMEOUT, Address
from .load import Measure, measure_of
from .processes import settle

HELLO: Final = payload_of(64)


class Handshakes:
    """Opens and closes connections to one server, `conns` of them at a time.

    Args:
        address: where the server is; a raw one echoes 64 bytes instead of a handshake.
        pid: its process.
        conns: how many are under way at a time.
    """

    def __init__(self, address: Address, pid: int, conns: int) -> None:
        self._address = address
        self._pid = pid
        self._conns = conns
        self._hello = HELLO if address.raw else address.request()
        self._poll = select.epoll()
        self._under_way: dict[int, tuple[socket.socket, bytearray, int]] = {}
        self._samples: list[tuple[int, int]] = []

    def run(self, warmup: float, seconds: float) -> Measure:
        """Go on for `warmup` + `seconds` seconds, the latter of which are measured."""
        self._burst(warmup)
        self._samples = []
        cpu, start = settle(self._pid), time.perf_counter_ns()
        count = self._burst(seconds)
        taken = time.perf_counter_ns() - start
        return measure_of(count, taken, settle(self._pid) - cpu, self._samples)

    def close(self) -> None:
        """Nothing is left open but after an error."""
        self._poll.close()
        for sock, _, _ in self._under_way.values():
            sock.close()

    def _burst(self, seconds: float) -> int:
        """Go on for some time; return how many connections were opened and closed."""
        end = time.perf_counter() + seconds
        for _ in range(self._conns):
            self._open()
        count = 0
        while self._under_way:
            ready = self._poll.poll(TIMEOUT)
            if not ready:
                raise TimeoutError("the server has not answered for a minute")
            for fd, _ in ready:
                if self._turn(fd):
                    count += 1
                    if time.perf_counter() < end:
                        self._open()
        return count

    def _open(self) -> None:
        start = time.perf_counter_ns()
        sock = socket.create_connection(("127.0.0.1", self._address.port), TIMEOUT)
        sock.setblocking(False)
        sock.send(self._hello)
        self._under_way[sock.fileno()] = (sock, bytearray(), start)
        self._poll.register(sock, select.EPOLLIN)

    def _turn(self, fd: int) -> bool:
        """Read what has come on one connection; return whether that was its end."""
        sock, got, start = self._under_way[fd]
        data = sock.recv(65536)
        before = self._answered(got)
        got += data
        if not self._answered(got):
            if data:
                return False
            raise ConnectionError(f"the server hung up after {bytes(got)!r}")
        if not before:
            self._samples.append((time.perf_counter_ns() - start, 1))
            if self._address.raw:
                sock.shutdown(socket.SHUT_WR)
            else:
                sock.send(CLOSE_FRAME)
        if data:
            return False
        self._poll.unregister(fd)
        del self._under_way[fd]
        sock.close()
        return True

    def _answered(self, got: bytearray) -> bool:
        """Whether the opening is over."""
        if self._address.raw:
            return len(got) >= len(HELLO)
        return got.startswith(b"HTTP/1.1 101 ") and b"\r\n\r\n" in got
