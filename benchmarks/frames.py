"""What goes over the wire, encoded beforehand: requests, frames and the replies to expect."""

from __future__ import annotations

import random
import zlib
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

KEY: Final = b"\x5a\xc3\x0f\x96"
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
FIN: Final = 0x80
RSV1: Final = 0x40
WINDOW_BITS: Final = 12  # any server can inflate it: it may not ask for less than it knows
TAIL: Final = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.1: taken off after a sync flush

WORDS: Final = (
    *("the", "a", "of", "to", "and", "in", "is", "that", "it", "with", "for", "on", "as", "be"),
    *("frame", "message", "server", "client", "channel", "nursery", "cancel", "deadline"),
    *("socket", "buffer", "this", "are", "from", "at", "which", "has", "not", "but", "when", "one"),
)


class Traffic(NamedTuple):
    """What a connection sends, again and again, and what the echo answers.

    Args:
        blob: the messages twice in a row, so that any window of them is one slice.
        ends: where each message ends in the first half, after a 0.
        reply: the bytes of one answer; None if they are not known, and frames have to be counted.
    """

    blob: bytes
    ends: list[int]
    reply: bytes | None


def xor(data: bytes, key: bytes = KEY) -> bytes:
    """Mask or unmask (RFC 6455 section 5.3)."""
    size = len(data)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")


def frame(first: int, payload: bytes, *, masked: bool) -> bytes:
    """One frame with `first` as its first byte (RFC 6455 section 5.2)."""
    size = len(payload)
    bit = 0x80 if masked else 0
    if size <= 125:
        head = bytes((first, bit | size))
    elif size <= 0xFFFF:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + KEY + xor(payload) if masked else head + payload


def upgrade_request(port: int, more: bytes = b"") -> bytes:
    """The client's part of an opening handshake, with `more` header lines."""
    return (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
        % (port, more)
    )


DEFLATE_OFFER: Final = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
CLOSE_FRAME: Final = frame(FIN | CLOSE, b"\x03\xe8", masked=True)


def repeated(message: bytes, reply: bytes, window: int) -> Traffic:
    """One message over and over, `window` of them under way."""
    ends = list(accumulate([len(message)] * window, initial=0))
    return Traffic(message * (2 * window), ends, reply)


def payload_of(size: int) -> bytes:
    """A payload of ASCII, so that it may be a text as well."""
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def echo_traffic(size: int, window: int, *, raw: bool = False, text: bool = False) -> Traffic:
    """Messages of `size` bytes; `raw` is for an echo of bytes, without frames."""
    payload = payload_of(size)
    if raw:
        return repeated(payload, payload, window)
    first = FIN | (TEXT if text else BINARY)
    reply = frame(first, payload, masked=False)
    return repeated(frame(first, payload, masked=True), reply, window)


def fragmented_traffic(size: int, fragments: int, window: int) -> Traffic:
    """Binary messages of `size` bytes in `fragments` frames, whose echo is one frame."""
    payload = payload_of(size)
    step, more = divmod(size, fragments)
    cuts = list(accumulate((step + (index < more) for index in range(fragments)), initial=0))
    parts = [payload[start:end] for start, end in pairwise(cuts)]
    firsts = [BINARY] + [CONTINUATION] * (fragments - 1)
    firsts[-1] |= FIN
    message = b"".join(
        frame(first, part, masked=True) for first, part in zip(firsts, parts, strict=True)
    )
    return repeated(message, frame(FIN | BINARY, payload, masked=False), window)


def texts(size: int, count: int) -> list[bytes]:
    """`count` different texts, which compress as prose does; the same ones each time."""
    chance = random.Random(size)
    result = []
    for _ in range(count):
        text = ""
        while len(text) < size:
            text += f"{chance.choice(WORDS)} "
            if chance.random() < 0.1:
                text += f"{chance.randrange(10_000)}, "
        result.append(text[:size].encode())
    return result


def compressed(text: bytes) -> bytes:
    """A message as RFC 7692 has it, that refers to no earlier one."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -WINDOW_BITS)
    return (deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def deflate_traffic(size: int, count: int) -> Traffic:
    """`count` compressed texts in turn: more than fit a window, so that none is found again."""
    frames = [
        frame(FIN | RSV1 | TEXT, compressed(text), masked=True) for text in texts(size, count)
    ]
    return Traffic(b"".join(frames) * 2, list(accumulate(map(len, frames), initial=0)), None)


def split_frames(buffer: bytearray) -> int:
    """Take the whole unmasked frames off `buffer`, in place, and return how many there were."""
    position = count = 0
    while len(buffer) - position >= 2:
        size, head = buffer[position + 1], 2
        if size == 126:
            size, head = int.from_bytes(buffer[position + 2 : position + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[position + 2 : position + 10], "big"), 10
        if len(buffer) < position + head + size:
            break
        position += head + size
        count += 1
    del buffer[:position]
    return count
