"""The load: one thread, epoll, messages encoded beforehand, replies counted by their bytes.

``python -m benchmarks.load --port PORT --pid PID --conns 100 --size 64`` loads a server by hand.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import ssl
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final

from .frames import Traffic, deflate_traffic, echo_traffic, fragmented_traffic, split_frames
from .links import TIMEOUT, Address, close_links, open_links
from .processes import settle

READ: Final = 256 * 1024
# However slow a server is, a measure has this many messages...
ENOUGH: Final = 40
# ...and this many of each connection, because many are answered at once...
TURNS: Final = 10
# ...unless that would take longer than this many seconds.
PATIENCE: Final = 3


@dataclass(frozen=True)
class Measure:
    """What one round of one server gave.

    Args:
        messages: how many were echoed.
        seconds: how long that took.
        cpu: microseconds of the server's CPU time per message.
        rate: messages per second.
        p50: microseconds from the write of a message to its whole reply, median.
        p99: the same, exceeded by one in a hundred.
        busy: the share of the time for which the server's core was busy with it.
    """

    messages: int
    seconds: float
    cpu: float
    rate: float
    p50: float
    p99: float
    busy: float


class Link:
    """One connection with its share of the traffic."""

    __slots__ = ("_blob", "_ends", "_last", "_next", "_owed", "_start", "got", "sent", "sock")

    def __init__(self, sock: socket.socket, traffic: Traffic) -> None:
        self.sock = sock
        self._blob = memoryview(traffic.blob)
        self._ends = traffic.ends
        self._last = len(traffic.ends) - 1
        self._next = 0  # the message that is owed next
        self._start = 0  # the byte of the blob that is written next
        self._owed = 0  # bytes to write
        self.got = bytearray() if traffic.reply is None else 0
        self.sent: deque[tuple[int, int]] = deque()  # when messages were written, and how many

    def push(self, count: int, now: int) -> bool:
        """Write `count` more messages; return whether all went out."""
        self.sent.append((now, count))
        ends, last, start = self._ends, self._last, self._next
        end = start + count
        if end >= last:
            end -= last
            self._owed += ends[last]
        self._owed += ends[end] - ends[start]
        self._next = end
        return self.flush()

    def flush(self) -> bool:
        """Write what is owed; return whether all of it went out."""
        while self._owed:
            try:
                size = self.sock.send(self._blob[self._start : self._start + self._owed])
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
            self._owed -= size
            self._start += size
            if self._start >= self._ends[-1]:
                self._start -= self._ends[-1]
        return True

    def took(self, count: int, now: int, samples: list[tuple[int, int]] | None) -> None:
        """Take note that the oldest `count` messages were answered."""
        sent = self.sent
        while count:
            when, number = sent[0]
            answered = min(count, number)
            if samples is not None:
                samples.append((now - when, answered))
            if answered == number:
                sent.popleft()
            else:
                sent[0] = (when, number - answered)
            count -= answered


class Load:
    """Connections to one server, all of them under way.

    Args:
        address: where the server is.
        pid: its process.
        traffic: what each connection sends.
        conns: how many connections.
        window: messages in flight on each.
    """

    def __init__(
        self, address: Address, pid: int, traffic: Traffic, conns: int, window: int
    ) -> None:
        self._address = address
        self._pid = pid
        self._traffic = traffic
        self._window = window
        self._buffer = memoryview(bytearray(READ))
        self._poll = select.epoll()
        self._links: dict[int, Link] = {}
        self._running = False
        self._samples: list[tuple[int, int]] | None = None
        for sock in open_links(address, conns):
            sock.setblocking(False)
            self._links[sock.fileno()] = Link(sock, traffic)
            self._poll.register(sock, select.EPOLLIN)
        try:
            for link in self._links.values():
                self._try(link)
        except BaseException:
            self.close()
            raise

    def _try(self, link: Link) -> None:
        """Check that the first echo is what it should be; where it is compressed, nothing is."""
        reply, got = self._traffic.reply, bytearray()
        if reply is None:
            return
        link.push(1, 0)
        while len(got) < len(reply):
            # A large message is echoed while it is still being sent.
            done = link.flush()
            wanted = select.POLLIN if done else select.POLLIN | select.POLLOUT
            waiting = select.poll()
            waiting.register(link.sock, wanted)
            if not waiting.poll(TIMEOUT * 1000):
                raise TimeoutError("no echo")
            while True:
                size = self._read(link.sock)
                got += self._buffer[:size]
                if not self._is_more(size):
                    break
        if got != reply:
            raise ConnectionError(f"not the echo: {bytes(got[:20])!r}..., {len(got)} bytes")
        link.took(1, 0, None)

    def run(self, warmup: float, seconds: float) -> Measure:
        """Load the server for `warmup` + `seconds` seconds, the latter of which are measured."""
        gc.collect()
        gc.disable()
        try:
            self._burst(warmup, len(self._links))
            samples: list[tuple[int, int]] = []
            self._samples = samples
            # From rest to rest: all that was measured was sent and answered in between.
            cpu, start = settle(self._pid), time.perf_counter_ns()
            messages = self._burst(seconds, max(ENOUGH, TURNS * len(self._links)))
            taken = time.perf_counter_ns() - start
            cpu = settle(self._pid) - cpu
            self._samples = None
        finally:
            gc.enable()
        return measure_of(messages, taken, cpu, samples)

    def close(self) -> None:
        """Close the connections."""
        self._poll.close()
        close_links(self._address, [link.sock for link in self._links.values()])

    def _burst(self, seconds: float, least: int) -> int:
        """Keep the traffic up for some time; return how many messages were sent and answered."""
        start = time.perf_counter_ns()
        end, latest = start + int(seconds * 1e9), start + int(max(seconds, PATIENCE) * 1e9)
        self._running = True
        for link in self._links.values():
            self._push(link, self._window, start)
        count = 0
        while (now := time.perf_counter_ns()) < end or (count < least and now < latest):
            count += self._turn()
        self._running = False
        while any(link.sent for link in self._links.values()):
            count += self._turn()
        return count

    def _turn(self) -> int:
        """Wait until something can be done, do it; return how many messages were answered."""
        count = 0
        ready = self._poll.poll(TIMEOUT)
        if not ready:
            raise TimeoutError("the server has not answered for a minute")
        for fd, events in ready:
            link = self._links[fd]
            if events & select.EPOLLOUT and link.flush():
                self._poll.modify(fd, select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                answered = self._pull(link)
                if answered:
                    now = time.perf_counter_ns()
                    link.took(answered, now, self._samples)
                    count += answered
                    if self._running:
                        self._push(link, answered, now)
        return count

    def _push(self, link: Link, count: int, now: int) -> None:
        if not link.push(count, now):
            self._poll.modify(link.sock, select.EPOLLIN | select.EPOLLOUT)

    def _pull(self, link: Link) -> int:
        """Read what has come; return how many replies are complete by it."""
        count = 0
        while True:
            size = self._read(link.sock)
            count += self._replies(link, size)
            if not self._is_more(size):
                return count

    def _is_more(self, size: int) -> bool:
        """Whether to read again, after `size` bytes: what TLS has deciphered wakes no epoll."""
        return self._address.tls and size == READ

    def _replies(self, link: Link, size: int) -> int:
        """How many replies are complete by `size` bytes more."""
        if isinstance(link.got, bytearray):
            link.got += self._buffer[:size]
            return split_frames(link.got)
        assert self._traffic.reply is not None
        count, link.got = divmod(link.got + size, len(self._traffic.reply))
        return count

    def _read(self, sock: socket.socket) -> int:
        """Read into the buffer; TLS gives a record at a time, and there may be several."""
        size = 0
        try:
            while True:
                got = sock.recv_into(self._buffer[size:])
                if not got:
                    raise ConnectionError("the server hung up")
                size += got
                if not self._address.tls or size == READ:
                    return size
        except (BlockingIOError, ssl.SSLWantReadError):
            return size


def measure_of(messages: int, taken: int, cpu: int, samples: list[tuple[int, int]]) -> Measure:
    """The measure of so many messages, in so many nanoseconds, of CPU time and in all."""
    samples.sort()
    return Measure(
        messages=messages,
        seconds=taken / 1e9,
        cpu=cpu / 1000 / messages,
        rate=messages / (taken / 1e9),
        p50=quantile(samples, 0.5),
        p99=quantile(samples, 0.99),
        busy=cpu / taken,
    )


def quantile(samples: list[tuple[int, int]], share: float) -> float:
    """The latency in microseconds that `share` of the messages keep; `samples` are sorted."""
    rest = share * sum(number for _, number in samples)
    for latency, number in samples:
        rest -= number
        if rest <= 0:
            return latency / 1000
    return 0.0


def main() -> None:
    """Load one server by hand."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the server's process")
    parser.add_argument("--conns", type=int, default=1)
    parser.add_argument("--size", type=int, default=64, help="bytes of a message")
    parser.add_argument("--window", type=int, default=1, help="messages in flight per connection")
    parser.add_argument("--fragments", type=int, default=1, help="frames of a message")
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--raw", action="store_true", help="an echo of bytes, no WebSocket")
    parser.add_argument("--text", action="store_true", help="text messages")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--deflate", action="store_true", help="permessage-deflate")
    options = parser.parse_args()
    if options.deflate:
        traffic = deflate_traffic(options.size, max(64, options.window))
    elif options.fragments > 1:
        traffic = fragmented_traffic(options.size, options.fragments, options.window)
    else:
        traffic = echo_traffic(options.size, options.window, raw=options.raw, text=options.text)
    address = Address(options.port, options.raw, options.tls, options.deflate)
    load = Load(address, options.pid, traffic, options.conns, options.window)
    json.dump(asdict(load.run(options.warmup, options.seconds)), sys.stdout)
    load.close()


if __name__ == "__main__":
    main()
