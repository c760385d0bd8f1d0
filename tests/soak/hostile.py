"""Peers that misbehave: raw sockets, which the server has to get rid of by itself."""

from __future__ import annotations

import random
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from tests.support.servers import BINARY, CLOSE, CONTINUATION, PING, TEXT, upgrade

from .cycles import reset

DEFLATE: Final = b"Sec-WebSocket-Extensions: permessage-deflate"
PAGE: Final = 64 * 1024
LEAST: Final = 60  # seconds that the server has to end an attack, on a machine that is busy


class Tolerated(Exception):
    """The server did not end a connection with a peer that misbehaves."""


@dataclass(frozen=True)
class Attacker:
    """One raw connection.

    Args:
        stream: its socket.
        chance: what its choices come from.
        patience: the server's.
    """

    stream: trio.SocketStream
    chance: random.Random
    patience: float

    async def open(self, what: str = "sink", *lines: bytes) -> None:
        """Shake hands as one should."""
        path = f"/{what}/0".encode()
        await self.stream.send_all(upgrade(*lines, path=path, host=b"localhost"))
        head = b""
        while b"\r\n\r\n" not in head and len(head) < PAGE:
            data = await self.stream.receive_some(1)
            if not data:
                raise Tolerated(f"no answer but {head!r}")
            head += data

    async def send(self, data: bytes) -> None:
        """Send, if the server still takes it."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def ended(self) -> None:
        """Read until the server has ended the connection."""
        try:
            while await self.stream.receive_some(PAGE):
                pass
        except trio.BrokenResourceError:
            pass


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80, mask: int = 0x80) -> bytes:
    """A client's frame; the key of its mask is zero, so the payload stays as it is.

    Args:
        opcode: of the frame.
        payload: of the frame.
        first: the flags FIN and RSV (RFC 6455 section 5.2).
        mask: the flag for a mask.
    """
    size = len(payload)
    length = bytes([mask | size]) if size < 126 else bytes([mask | 127]) + size.to_bytes(8, "big")
    return bytes([first | opcode]) + length + (bytes(4) if mask else b"") + payload


def deflated(data: bytes) -> bytes:
    """The payload of a compressed message (RFC 7692 section 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def silence(attacker: Attacker) -> None:
    """Connect, say nothing."""
    await attacker.ended()


async def garbage(attacker: Attacker) -> None:
    """Bytes at random instead of a request."""
    await attacker.send(attacker.chance.randbytes(4096))
    await attacker.ended()


async def tls_on_plain(attacker: Attacker) -> None:
    """The beginning of a TLS handshake where there is none."""
    await attacker.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
    await attacker.ended()


async def slow_head(attacker: Attacker) -> None:
    """A request byte by byte, for longer than the server waits."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip, attacker, upgrade(b"X: " + b"x" * 4000))
        await attacker.ended()
        nursery.cancel_scope.cancel()


async def drip(attacker: Attacker, data: bytes) -> None:
    """Send a byte at a time."""
    for index in range(len(data)):
        await attacker.send(data[index : index + 1])
        await trio.sleep(attacker.patience / 50)


async def endless_head(attacker: Attacker) -> None:
    """Headers without an end."""
    await attacker.send(b"GET /talk/0 HTTP/1.1\r\n" + b"A: b\r\n" * 20000)
    await attacker.ended()


async def half_frame_reset(attacker: Attacker) -> None:
    """Half a frame, then a reset."""
    await attacker.open()
    await attacker.send(frame(BINARY, bytes(1000))[: attacker.chance.randint(1, 900)])
    await reset(attacker.stream)


async def half_frame_silence(attacker: Attacker) -> None:
    """Half a frame, then nothing, not even a pong."""
    await attacker.open()
    await attacker.send(frame(BINARY, bytes(1000))[: attacker.chance.randint(1, 900)])
    await attacker.ended()


async def half_close(attacker: Attacker) -> None:
    """The end of TCP without a Close frame."""
    await attacker.open()
    await attacker.stream.send_eof()
    await attacker.ended()


async def never_reads(attacker: Attacker) -> None:
    """Let the server send, read nothing until it must have given up; the rest ends."""
    await attacker.open("flood")
    await trio.sleep(attacker.patience * 1.5)
    await attacker.ended()


async def never_answers_close(attacker: Attacker) -> None:
    """Keep the connection when the server closes it."""
    await attacker.open("close")
    await attacker.send(frame(TEXT, b"please"))
    await attacker.ended()


async def ping_flood(attacker: Attacker) -> None:
    """Pings, and no look at the pongs."""
    await attacker.open()
    await attacker.send(frame(PING, bytes(125)) * 5000)
    await attacker.ended()


async def empty_fragments(attacker: Attacker) -> None:
    """A message of empty fragments."""
    await attacker.open()
    await attacker.send(frame(TEXT, first=0) + frame(CONTINUATION, first=0) * 5000)
    await attacker.ended()


async def tiny_fragments(attacker: Attacker) -> None:
    """A message of single bytes that does not end."""
    await attacker.open()
    await attacker.send(frame(TEXT, b"x", first=0) + frame(CONTINUATION, b"x", first=0) * 5000)
    await attacker.ended()


async def message_flood(attacker: Attacker) -> None:
    """Messages as fast as can be, then silence."""
    await attacker.open()
    await attacker.send(frame(BINARY, bytes(100)) * 5000)
    await attacker.ended()


async def bomb(attacker: Attacker) -> None:
    """A small message that inflates to a large one."""
    await attacker.open("sink", DEFLATE)
    await attacker.send(frame(BINARY, deflated(bytes(16 * 2**20)), first=0xC0))
    await attacker.ended()


async def wrong_frame(attacker: Attacker) -> None:
    """One of the frames that RFC 6455 and RFC 7692 forbid."""
    await attacker.open("sink", DEFLATE)
    await attacker.send(attacker.chance.choice(WRONG))
    await attacker.ended()


WRONG: Final = (
    frame(TEXT, b"no mask", mask=0),
    frame(TEXT, b"invalid \xff UTF-8"),
    frame(TEXT, b"reserved", first=0xA0),
    frame(3, b"unknown opcode"),
    frame(PING, b"fragmented", first=0),
    frame(PING, bytes(126)),
    frame(CONTINUATION, b"of nothing"),
    frame(CLOSE, b"\x03"),
    frame(CLOSE, (1005).to_bytes(2, "big")),
    frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff"),
    frame(BINARY, bytes(2**20 + 1)),
    b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4),
    b"\x82\xff" + b"\xff" * 8 + bytes(4),
    frame(BINARY, b"\xff\x00 no deflate", first=0xC0),
)
ATTACKS: Final[tuple[Callable[[Attacker], Awaitable[None]], ...]] = (
    silence,
    garbage,
    tls_on_plain,
    slow_head,
    endless_head,
    half_frame_reset,
    half_frame_silence,
    half_close,
    never_reads,
    never_answers_close,
    ping_flood,
    empty_fragments,
    tiny_fragments,
    message_flood,
    bomb,
    wrong_frame,
)


async def attack(number: int, where: tuple[str, int], seed: int, patience: float) -> str:
    """Make one attack; its name.

    Raises:
        Tolerated: the server did not end it in time.
    """
    way = ATTACKS[number % len(ATTACKS)]
    chance = random.Random(f"{seed}/attack/{number}")
    async with await trio.open_tcp_stream(*where) as stream:
        with trio.move_on_after(max(patience * 5, LEAST)) as scope:
            await way(Attacker(stream, chance, patience))
    if scope.cancelled_caught:
        raise Tolerated(f"attack {number}, {way.__name__}: the server let it go on")
    return way.__name__
