"""Attacks by permessage-deflate (RFC 7692 sections 6 to 8)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache

from tests.protocol import wire

from .frames import accepted, both
from .raw import Raw
from .table import KIB, MAX_MESSAGE, add

_TAIL = b"\x00\x00\xff\xff"
_RSV1 = 4


@cache
def _zeros(size: int, end: bytes = b"") -> bytes:
    """So many zeros and an end, compressed; made in steps, so that it is nobody's memory."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(64 * KIB)
    parts = [deflater.compress(block) for _ in range(size // len(block))]
    parts += [deflater.compress(bytes(size % len(block)) + end), deflater.flush(zlib.Z_SYNC_FLUSH)]
    return b"".join(parts).removesuffix(_TAIL)


def _message(payload: bytes, opcode: int = wire.BINARY) -> Callable[[Raw], bytes]:
    return lambda peer: peer.frame(opcode, payload, rsv=_RSV1)


def _fragments(payload: bytes, size: int, between: int | None = None) -> Callable[[Raw], bytes]:
    """A compressed message in fragments of `size` bytes, with a control frame behind each."""

    def build(peer: Raw) -> bytes:
        pieces = [payload[i : i + size] for i in range(0, len(payload), size)]
        control = b"" if between is None else peer.frame(between, b"p")
        return control.join(
            peer.frame(
                wire.CONTINUATION if i else wire.BINARY,
                piece,
                fin=i == len(pieces) - 1,
                rsv=0 if i else _RSV1,
            )
            for i, piece in enumerate(pieces)
        )

    return build


def _context(peer: Raw) -> bytes:
    """A message that refers to the one before it, where each was to begin anew."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    frames = []
    for _ in range(2):
        data = deflater.compress(b"something to refer to") + deflater.flush(zlib.Z_SYNC_FLUSH)
        frames.append(peer.frame(wire.TEXT, data.removesuffix(_TAIL), rsv=_RSV1))
    return b"".join(frames)


# Blocks that make nothing: each is three bits and an empty stored block.
_NOTHING = b"\x00\x00\x00\xff\xff" * 40_000
_BOMB = _zeros(1000 * 64 * KIB)

ATTACKS_BY_DEFLATE: dict[str, tuple[Callable[[Raw], bytes], int]] = {
    "a bomb, 1000-fold": (_message(_zeros(60_000 * 1000)), 1009),
    "a bomb of a byte too many": (_message(_zeros(MAX_MESSAGE + 1)), 1009),
    "a bomb in fragments": (_fragments(_BOMB, 100), 1009),
    "a bomb in fragments, pings between": (_fragments(_BOMB, 100, wire.PING), 1009),
    "a bomb in fragments, pongs between": (_fragments(_BOMB, 20, wire.PONG), 1009),
    "a bomb of text, bad at its end": (
        _message(_zeros(MAX_MESSAGE - 1, b"\xff"), wire.TEXT),
        1007,
    ),
    "blocks of nothing": (_fragments(_NOTHING, 1000), 1009),
    "no deflate at all": (_message(b"\xff" * 100), 1007),
    "a context from before": (_context, 1007),
    "a compressed ping": (lambda peer: peer.frame(wire.PING, b"\x00", rsv=_RSV1), 1002),
    "a compressed Close": (lambda peer: peer.frame(wire.CLOSE, b"\x00", rsv=_RSV1), 1002),
    "RSV1 in a continuation": (
        lambda peer: (
            peer.frame(wire.TEXT, b"\x00", fin=False, rsv=_RSV1)
            + peer.frame(wire.CONTINUATION, b"\x00", rsv=_RSV1)
        ),
        1002,
    ),
    "a compressed frame that declares 2^63-1": (
        lambda peer: wire.build(
            wire.TEXT, b"", rsv=_RSV1, mask=peer.key, declared=2**63 - 1, length_form=64
        ),
        1009,
    ),
}

_OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"
_ANSWER = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"

for _name, (_build, _code) in ATTACKS_BY_DEFLATE.items():
    for _attack in both(
        _name,
        _build,
        f"Close {_code}",
        f"closed {_code}",
        lines=((_OFFER,), (_ANSWER,)),
        compression="deflate",
    ):
        add(_attack)

add(
    accepted(
        "10000 empty compressed messages",
        lambda peer: peer.frame(wire.TEXT, b"\x00", rsv=_RSV1) * 10_000,
        "Close 1000, 10000 messages of 0 in all",
        (_OFFER,),
        compression="deflate",
    )
)
add(
    accepted(
        "a bomb of exactly the limit",
        _message(_zeros(MAX_MESSAGE)),
        f"Close 1000, 1 messages of {MAX_MESSAGE} in all",
        (_OFFER,),
        compression="deflate",
    )
)
