"""The sequences: systematic ones, which go through the rules of RFC 6455, and random ones."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import replace

from tests.differential.frames import Frame, Sequence, both

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
RSV1 = 4
_TAIL = b"\x00\x00\xff\xff"
_BEFORE, _AFTER = Frame(TEXT, b"before"), Frame(TEXT, b"after")
_BAD_TEXTS = [
    b"\xc0\x80",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xa0",
    b"\xf4\x90\x80\x80",
    b"\xfe",
    b"\x80",
    b"\xce",
    b"a\xf0\x9f",
]
_TEXTS = [
    b"",
    b"a",
    "\u00e9\u20ac\U0001f600\x00\uffff".encode(),
    b"x" * 125,
    b"x" * 126,
    b"x" * 300,
]
_CODES = [
    0,
    999,
    1000,
    1001,
    1002,
    1003,
    1004,
    1005,
    1006,
    1007,
    1008,
    1009,
    1010,
    1011,
    1012,
    1013,
    1014,
    1015,
    1016,
    1100,
    2000,
    2999,
    3000,
    3999,
    4000,
    4999,
    5000,
    65535,
]


def close(code: int | None = None, reason: bytes = b"") -> Frame:
    """A Close frame."""
    return Frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def split(opcode: int, *pieces: bytes, rsv: int = 0) -> list[Frame]:
    """A message in several frames."""
    last = len(pieces) - 1
    return [
        Frame(CONT if n else opcode, piece, fin=n == last, rsv=0 if n else rsv)
        for n, piece in enumerate(pieces)
    ]


def deflate(*messages: bytes) -> list[bytes]:
    """Messages compressed with context takeover."""
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    compressed = [context.compress(m) + context.flush(zlib.Z_SYNC_FLUSH) for m in messages]
    return [data.removesuffix(_TAIL) for data in compressed]


def _single() -> Iterator[tuple[str, list[Frame]]]:
    """A frame with each first byte, each masked rightly and wrongly, and with each length."""
    for first in range(256):
        fin, rsv, opcode = bool(first & 128), first >> 4 & 7, first & 15
        yield f"first byte {first:#04x}", [Frame(opcode, b"", fin, rsv)]
        yield f"first byte {first:#04x} with payload", [Frame(opcode, b"\x03\xe8", fin, rsv)]
    for opcode in (TEXT, PING, CLOSE):
        yield f"wrong masking of {opcode}", [_BEFORE, Frame(opcode, b"", masked=False)]
        for size in (0, 1, 125, 126, 127):
            yield f"{opcode} of {size}", [Frame(opcode, b"\x03\xe8"[:size] + b"x" * (size - 2))]
    for form, sizes in (16, (0, 125, 126, 200)), (64, (0, 125, 126, 65535)):
        for size in sizes:
            yield f"length {size} in {form} bits", [_BEFORE, Frame(BINARY, b"y" * size, form=form)]
    for declared in (2**63, 2**64 - 1):
        yield f"length {declared}", [_BEFORE, Frame(BINARY, declared=declared)]
    for text in (*_TEXTS, *_BAD_TEXTS):
        yield f"text {text[:5]!r}", [Frame(TEXT, text), _AFTER]
        yield f"text {text[:5]!r} in pieces", [*split(TEXT, text[:1], b"", text[1:]), _AFTER]
        yield f"text {text[:5]!r} begun", [Frame(TEXT, text, fin=False)]
        yield f"text {text[:5]!r} cut", [Frame(TEXT, text + b"++", cut=1)]


def _fragmented() -> Iterator[tuple[str, list[Frame]]]:
    begun = Frame(TEXT, b"a", fin=False)
    yield "continuation alone", [_BEFORE, Frame(CONT, b"x"), _AFTER]
    yield "continuation alone, cut", [_BEFORE, Frame(CONT, b"x", cut=1)]
    yield "continuation alone, more", [_BEFORE, Frame(CONT, b"x", fin=False), _AFTER]
    yield "continuation after the end", [*split(TEXT, b"a", b"b"), Frame(CONT, b"c"), _AFTER]
    for opcode in (TEXT, BINARY):
        for fin in (True, False):
            yield f"message of {opcode} inside, {fin}", [begun, Frame(opcode, b"b", fin), _AFTER]
    yield "pings inside", [begun, Frame(PING, b"1"), Frame(PONG, b"2"), Frame(CONT, b"b"), _AFTER]
    yield "close inside", [begun, close(1000, b"bye")]
    yield "close without code inside", [begun, close()]
    yield "bad close inside", [begun, close(1005)]
    yield "empty fragments", [*split(BINARY, b"", b"", b"x", b"", b""), _AFTER]
    yield "nothing in fragments", [*split(TEXT, b"", b"", b""), _AFTER]
    yield "control fragments", [begun, Frame(PING, b"", fin=False)]
    for rsv in range(1, 8):
        yield f"rsv {rsv} in a continuation", [begun, Frame(CONT, b"b", rsv=rsv)]


def _closing() -> Iterator[tuple[str, list[Frame]]]:
    for code in _CODES:
        for reason in (b"", b"why"):
            yield f"close {code} {reason!r}", [_BEFORE, close(code, reason), _AFTER]
    yield "close without code", [_BEFORE, close(), _AFTER]
    yield "close of 1 byte", [_BEFORE, Frame(CLOSE, b"\x03"), _AFTER]
    for text in _BAD_TEXTS:
        yield f"close reason {text!r}", [_BEFORE, close(1000, text)]
        yield f"close reason {text!r} and code", [_BEFORE, close(1005, text)]
    yield "close reason of 123", [close(1000, b"r" * 123)]
    yield "close reason unicode", [close(1000, _TEXTS[2])]
    yield "twice", [close(1000), close(1001)]
    yield "ping after close", [close(1000), Frame(PING, b"late")]
    yield "garbage after close", [close(1000), Frame(3, b"x", rsv=7)]
    yield "close cut", [_BEFORE, Frame(CLOSE, b"\x03\xe8abc", cut=1)]
    yield "ping of 126 cut", [_BEFORE, Frame(PING, b"x" * 126, cut=1)]
    yield "ping cut", [_BEFORE, Frame(PING, b"abc", cut=1)]
    yield "ping", [Frame(PING, b"p"), Frame(PING, b""), Frame(PING, b"p" * 125)]
    yield "pong", [Frame(PONG, b"p"), Frame(PONG, b"")]
    yield "messages", [_BEFORE, Frame(BINARY, b"b"), Frame(BINARY), _AFTER]


def _compressed() -> Iterator[tuple[str, list[Frame]]]:
    one, two, three = deflate(b"Hello", b"Hello", "\u20ac\U0001f600".encode() * 9)
    frames = [Frame(TEXT, data, rsv=RSV1) for data in (one, two, three)]
    yield "compressed", [*frames, _AFTER]
    yield "compressed and not", [frames[0], _BEFORE, frames[1]]
    yield (
        "compressed in pieces",
        [
            *split(TEXT, one[:2], b"", one[2:], rsv=RSV1),
            *split(BINARY, two[:1], two[1:], b"", rsv=RSV1),
        ],
    )
    yield "ping between", [Frame(TEXT, one[:2], False, RSV1), Frame(PING), Frame(CONT, one[2:])]
    yield "message inside", [Frame(TEXT, one[:2], False, RSV1), Frame(TEXT, b"plain text"), _AFTER]
    yield "compressed inside", [Frame(TEXT, one[:2], False, RSV1), Frame(TEXT, one, rsv=RSV1)]
    yield "stored", [Frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=RSV1)]
    yield "final block", [Frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=RSV1), _AFTER]
    yield "two blocks", [Frame(TEXT, bytes.fromhex("f24805000000ffffcac9c90700"), rsv=RSV1), _AFTER]
    yield "empty message", [Frame(TEXT, b"\x00", rsv=RSV1), frames[0]]
    yield "message of no byte", [Frame(TEXT, b"", rsv=RSV1), frames[0]]
    yield "corrupt", [_BEFORE, Frame(TEXT, b"\xff\xff\xff\xff", rsv=RSV1), _AFTER]
    yield "ends within a block", [_BEFORE, Frame(TEXT, one[:3], rsv=RSV1), _AFTER]
    yield "not utf-8 inside", [_BEFORE, Frame(TEXT, deflate(b"\xce\xff")[0], rsv=RSV1), _AFTER]
    yield "rsv1 in a continuation", [Frame(TEXT, one[:2], False, RSV1), Frame(CONT, one[2:], rsv=4)]
    for opcode in (PING, PONG, CLOSE):
        yield f"rsv1 in {opcode}", [_BEFORE, Frame(opcode, b"", rsv=RSV1)]
    for rsv in (2, 1, 6, 5):
        yield f"rsv {rsv}", [_BEFORE, Frame(TEXT, one, rsv=rsv)]


def _limited() -> Iterator[tuple[str, list[Frame]]]:
    for size in (49, 50, 51, 200):
        yield f"{size} of 50 bytes", [Frame(BINARY, b"x" * size), _AFTER]
        yield (
            f"{size} of 50 bytes in pieces",
            [*split(BINARY, b"x" * 40, b"y" * (size - 40)), _AFTER],
        )
        yield f"{size} of 50 bytes begun", [Frame(BINARY, b"x" * size, fin=False)]
        yield f"{size} of 50 bytes declared", [Frame(BINARY, declared=size)]
    yield "ping over the limit", [Frame(PING, b"p" * 100), _AFTER]


def systematic() -> list[Sequence]:
    """All systematic sequences, for both roles."""
    found: list[Sequence] = []
    plain = [*_single(), *_fragmented(), *_closing()]
    for name, frames in plain:
        found += both(Sequence(name, tuple(frames)))
    for name, frames in [*_closing(), *_fragmented()]:
        found += both(Sequence(f"after own close: {name}", tuple(frames), closing=True))
    for name, frames in [*_compressed(), *_fragmented(), *_closing()]:
        found += both(Sequence(f"deflate: {name}", tuple(frames), deflate=True))
    for name, frames in _limited():
        found += both(Sequence(f"limit: {name}", tuple(frames), max_size=50))
    return found


def at_random(seed: int) -> Sequence:
    """A sequence that goes well for a while, mostly, and then goes wrong, perhaps."""
    dice = random.Random(seed)
    deflated = dice.random() < 0.3
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    frames: list[Frame] = []
    for _ in range(dice.randrange(1, 6)):
        frames += _well(dice, context if deflated and dice.random() < 0.6 else None)
    if dice.random() < 0.7:
        frames.insert(dice.randrange(len(frames) + 1), _wild(dice))
    if dice.random() < 0.3:
        frames.append(close(dice.choice(_CODES), dice.choice(_TEXTS[:4] + _BAD_TEXTS)))
    if dice.random() < 0.1:
        frames[-1] = replace(frames[-1], cut=1)
    role = dice.choice(["client", "server"])
    return Sequence(f"seed {seed}", tuple(frames), role, dice.random() < 0.2, deflated)


def _well(dice: random.Random, context: zlib._Compress | None) -> Iterator[Frame]:
    opcode = dice.choice([TEXT, BINARY, PING, PONG, TEXT])
    text = dice.choice([*_TEXTS, str(dice.random()).encode()])
    if opcode >= 8:
        yield Frame(opcode, text[:125])
        return
    rsv = 0
    if context is not None:
        rsv = RSV1
        text = (context.compress(text) + context.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
        text = text or b"\x00"
    cuts = sorted(dice.randrange(len(text) + 1) for _ in range(dice.choice([0, 0, 1, 3])))
    for frame in split(
        opcode, *(text[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)), rsv=rsv
    ):
        yield frame
        if dice.random() < 0.2 and not frame.fin:
            yield Frame(dice.choice([PING, PONG]), dice.randbytes(dice.randrange(4)))


def _wild(dice: random.Random) -> Frame:
    return Frame(
        dice.choice([CONT, TEXT, BINARY, CLOSE, PING, PONG, dice.randrange(16)]),
        dice.choice([*_TEXTS, *_BAD_TEXTS, dice.randbytes(dice.randrange(130))]),
        fin=dice.random() < 0.8,
        rsv=dice.choice([0, 0, 0, dice.randrange(8)]),
        masked=dice.random() < 0.95,
        form=64 if dice.random() < 0.05 else None,
    )
