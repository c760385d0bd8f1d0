"""Frames that break the rules, sent to a server and to a client (RFC 6455 sections 5, 7 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import trio_ws
from tests.protocol import wire

from .arena import Arena
from .raw import Raw
from .table import KIB, MAX_MESSAGE, MEMORY, Attack, add

# An attack by bytes: what a peer sends, once the connection is open.
Build = Callable[[Raw], bytes]

_TEXT, _BINARY, _CONTINUATION = wire.TEXT, wire.BINARY, wire.CONTINUATION
_LARGE = "ä".encode() * (MAX_MESSAGE // 2 - 8)


def _bytes(opcode: int, payload: bytes = b"x", **how: Any) -> Build:
    """One frame."""
    return lambda peer: wire.build(opcode, payload, mask=peer.key, **how)


def _close(code: int, reason: bytes = b"") -> Build:
    return lambda peer: wire.close(code, reason, mask=peer.key)


def _pieces(*pieces: tuple[int, bytes, bool]) -> Build:
    """Frames: opcode, payload, FIN."""
    return lambda peer: b"".join(peer.frame(code, data, fin=fin) for code, data, fin in pieces)


def _wrong_mask(peer: Raw) -> bytes:
    """Unmasked from a client, masked from a server."""
    return wire.build(_TEXT, b"x", mask=wire.KEY if peer.key is None else None)


def _fragments(size: int, count: int, last: int) -> Build:
    """So many fragments of `size` bytes, and one of `last`."""

    def build(peer: Raw) -> bytes:
        return b"".join(
            [
                peer.frame(_BINARY, bytes(size), fin=False),
                peer.frame(_CONTINUATION, bytes(size), fin=False) * (count - 1),
                peer.frame(_CONTINUATION, bytes(last)),
            ]
        )

    return build


def _interleaved(peer: Raw) -> bytes:
    """A message over the limit by a byte, with a ping behind each of its fragments."""
    piece = bytes(MAX_MESSAGE // 16)
    frames = [peer.frame(_BINARY, piece, fin=False)]
    frames += [peer.frame(_CONTINUATION, piece, fin=False)] * 15
    return peer.frame(wire.PING, b"p").join([*frames, peer.frame(_CONTINUATION, b"x")])


# What is sent, and the code that both sides end with.
VIOLATIONS: dict[str, tuple[Build, int]] = {
    # The first two bytes
    "the mask is wrong": (_wrong_mask, 1002),
    "RSV1 without an extension": (_bytes(_TEXT, rsv=4), 1002),
    "RSV2": (_bytes(_TEXT, rsv=2), 1002),
    "RSV3": (_bytes(_TEXT, rsv=1), 1002),
    "RSV1 in a ping": (_bytes(wire.PING, rsv=4), 1002),
    "opcode 3": (_bytes(3), 1002),
    "opcode 15": (_bytes(15), 1002),
    "a ping of 126 bytes": (_bytes(wire.PING, bytes(126)), 1002),
    "a pong that declares 2^63-1 bytes": (
        _bytes(wire.PONG, declared=2**63 - 1, length_form=64),
        1002,
    ),
    "a fragmented ping": (_bytes(wire.PING, fin=False), 1002),
    # Lengths
    "2^63-1 bytes declared": (_bytes(_BINARY, declared=2**63 - 1, length_form=64), 1009),
    "2^63 bytes declared": (_bytes(_BINARY, declared=2**63, length_form=64), 1002),
    "2^64-1 bytes declared": (_bytes(_BINARY, declared=2**64 - 1, length_form=64), 1002),
    "4 GiB declared": (_bytes(_BINARY, declared=2**32, length_form=64), 1009),
    "a byte over the limit declared": (_bytes(_BINARY, b"", declared=MAX_MESSAGE + 1), 1009),
    "5 bytes in 16 bits": (_bytes(_BINARY, bytes(5), length_form=16), 1002),
    "5 bytes in 64 bits": (_bytes(_BINARY, bytes(5), length_form=64), 1002),
    "65535 bytes in 64 bits": (_bytes(_BINARY, bytes(65535), length_form=64), 1002),
    # Fragments
    "a continuation of nothing": (_bytes(_CONTINUATION), 1002),
    "a last continuation of nothing": (_bytes(_CONTINUATION, fin=False), 1002),
    "a message within a message": (_pieces((_TEXT, b"a", False), (_TEXT, b"b", True)), 1002),
    "fragments over the limit by a byte": (_fragments(KIB, 64, 1), 1009),
    "fragments over the limit, pings between": (_interleaved, 1009),
    "1025 empty fragments": (
        lambda peer: peer.frame(_TEXT, fin=False) + peer.frame(_CONTINUATION, fin=False) * 1024,
        1008,
    ),
    "20000 empty fragments": (
        lambda peer: peer.frame(_TEXT, fin=False) + peer.frame(_CONTINUATION, fin=False) * 20_000,
        1008,
    ),
    # UTF-8
    "a byte that is no UTF-8 late in a large text": (_bytes(_TEXT, _LARGE + b"\xff"), 1007),
    "UTF-8 cut at the end of a large text": (_bytes(_TEXT, _LARGE + b"\xc3"), 1007),
    "an overlong slash": (_bytes(_TEXT, b"..\xc0\xaf.."), 1007),
    "a surrogate": (_bytes(_TEXT, b"\xed\xa0\x80"), 1007),
    "beyond U+10FFFF": (_bytes(_TEXT, b"\xf4\x90\x80\x80"), 1007),
    "bad UTF-8 split over fragments": (
        _pieces((_TEXT, _LARGE + b"\xe2", False), (_CONTINUATION, b"\x28\xa1", True)),
        1007,
    ),
    "the first bad byte in a frame that never ends": (
        _bytes(_TEXT, b"ok \xff", declared=MAX_MESSAGE),
        1007,
    ),
    # Close
    "a Close of 1 byte": (_bytes(wire.CLOSE, b"\x03"), 1002),
    "a Close of 126 bytes": (_bytes(wire.CLOSE, b"\x03\xe8" + bytes(124)), 1002),
    "a fragmented Close": (_bytes(wire.CLOSE, b"\x03\xe8", fin=False), 1002),
    "a Close reason that is no UTF-8": (_close(1000, b"\xff"), 1007),
    **{
        f"close code {code}": (_close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


def both(
    name: str,
    build: Build,
    wired: str,
    ended: str,
    *,
    lines: tuple[tuple[bytes, ...], tuple[bytes, ...]] = ((), ()),
    memory: int = MEMORY,
    **options: Any,
) -> Iterator[Attack]:
    """An attack by bytes on a server, and the same on a client.

    Args:
        name: what it is.
        build: the bytes, in the role of the peer that sends them.
        wired: what the peer is told, see `Raw.close_code`.
        ended: what the application is told.
        lines: of the request that a server gets, and of the answer that a client gets.
        memory: see `Attack`.
        options: of the attacked side.
    """

    async def on_server(arena: Arena) -> str:
        peer = await arena.open(*lines[0])
        data = build(peer)
        arena.measure()
        await arena.beside()
        arena.nursery.start_soon(peer.throw, data)
        code = await peer.close_code()
        await arena.beside()
        await peer.aclose()
        return f"{code}, {await arena.end()}"

    async def on_client(arena: Arena) -> str:
        data = b""

        async def lure(peer: Raw) -> str:
            nonlocal data
            data = data or build(peer)
            await peer.accept(*lines[1])
            arena.measure()
            await arena.beside()
            arena.nursery.start_soon(peer.throw, data)
            return await peer.close_code(end=True)

        return await arena.lure(lure)

    outcome = f"{wired}, {ended}"
    yield Attack(f"server/{name}", outcome, on_server, options, memory=memory)
    yield Attack(f"client/{name}", outcome, on_client, options, memory=memory)


for _name, (_build, _code) in VIOLATIONS.items():
    for _attack in both(_name, _build, f"Close {_code}", f"closed {_code}"):
        add(_attack)


_FRAGMENTS = 8 * KIB
for _attack in both(
    "8193 fragments of a byte, one too many",
    _fragments(1, _FRAGMENTS, 1),
    "Close 1009",
    "closed 1009",
    max_message_size=_FRAGMENTS,
):
    add(_attack)


def accepted(
    name: str, build: Build, told: str, lines: tuple[bytes, ...] = (), **options: Any
) -> Attack:
    """What looks like an attack, and has to be served: the server tells what it received."""

    async def script(arena: Arena) -> str:
        received: list[str | bytes] = []

        async def serve(request: trio_ws.WebSocketRequest) -> None:
            connection = await request.accept()
            received.extend([message async for message in connection])

        arena.serve = serve
        peer = await arena.open(*lines)
        data = build(peer)
        arena.measure()
        await arena.beside()
        arena.nursery.start_soon(peer.throw, data + wire.close(1000, mask=peer.key))
        code = await peer.close_code()
        await peer.aclose()
        await arena.end()
        size = sum(map(len, received))
        return f"{code}, {len(received)} messages of {size} in all"

    return Attack(f"server/{name}", told, script, options)


for _attack in (
    accepted(
        "20000 fragments of a byte",
        _fragments(1, 20_000, 0),
        "Close 1000, 1 messages of 20000 in all",
    ),
    accepted(
        "1024 empty fragments",
        lambda peer: (
            peer.frame(_TEXT, fin=False)
            + peer.frame(_CONTINUATION, fin=False) * 1023
            + peer.frame(_CONTINUATION, b"x")
        ),
        "Close 1000, 1 messages of 1 in all",
    ),
    accepted(
        "a message of exactly the limit",
        _bytes(_BINARY, bytes(MAX_MESSAGE)),
        f"Close 1000, 1 messages of {MAX_MESSAGE} in all",
    ),
    accepted(
        "10000 empty messages",
        lambda peer: peer.frame(_TEXT) * 10_000,
        "Close 1000, 10000 messages of 0 in all",
    ),
    accepted(
        "a Close within a message",
        _pieces((_TEXT, b"half", False)),
        "Close 1000, 0 messages of 0 in all",
    ),
):
    add(_attack)
