"""Peers that reset the connection, or end their half of it, in each of its phases."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from tests.protocol import wire
from tests.support.servers import switching, upgrade

from .arena import Arena
from .raw import Raw
from .table import KIB, Attack, add

_KEY = wire.KEY
_MESSAGE = b"x" * 40_000
_CLOSE = (1000).to_bytes(2, "big")

# Before the connection is open: what was sent of the request, or of the answer.
HEAD_PHASES: dict[str, slice] = {
    "before the head": slice(0, 0),
    "within the first line": slice(0, 10),
    "within the head": slice(0, 60),
    "before the head's last byte": slice(0, -1),
}
# After that: what was sent of frames.
FRAME_PHASES: dict[str, tuple[int, bytes, bool, int]] = {
    # opcode, payload, FIN, and how many bytes of the frame
    "before any frame": (wire.TEXT, b"", True, 0),
    "within a frame's head": (wire.BINARY, _MESSAGE, True, 3),
    "within a frame": (wire.BINARY, _MESSAGE, True, 2000),
    "between fragments": (wire.TEXT, b"half", False, 100),
    "within a ping": (wire.PING, b"half", True, 4),
    "within a Close": (wire.CLOSE, _CLOSE, True, 3),
}
_LEAVES = ("a reset", "an end")


async def _leave(peer: Raw, how: str) -> str:
    """Break off; tell what is received after that, where something can be."""
    if how == "a reset":
        peer.reset()
        return ""
    await peer.half_close()
    return await peer.close_code()


def _on_head(phase: str, part: slice, how: str) -> Iterator[Attack]:
    async def on_server(arena: Arena) -> str:
        peer = await arena.dial()
        await peer.throw(upgrade()[part])
        await arena.beside()
        rest = await _leave(peer, how)
        await arena.beside()
        await trio.aclose_forcefully(peer.stream)
        return rest or "gone"

    async def on_client(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            request = await peer.receive_head()
            await peer.throw(switching(request)[part])
            await arena.beside()
            return await _leave(peer, how)

        return await arena.lure(lure)

    ended = "cut, " if how == "an end" else ""
    yield Attack(f"server/{how} {phase}", "cut" if ended else "gone", on_server)
    yield Attack(f"client/{how} {phase}", f"{ended}HandshakeError", on_client)


def _on_frames(phase: str, frame: tuple[int, bytes, bool, int], how: str) -> Iterator[Attack]:
    opcode, payload, fin, size = frame

    async def on_server(arena: Arena) -> str:
        peer = await arena.open()
        await peer.throw(peer.frame(opcode, payload, fin=fin)[:size])
        await arena.beside()
        rest = await _leave(peer, how)
        await arena.beside()
        await trio.aclose_forcefully(peer.stream)
        return ", ".join(filter(None, [rest, await arena.end()]))

    async def on_client(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            await peer.accept()
            await peer.throw(peer.frame(opcode, payload, fin=fin)[:size])
            await arena.beside()
            return await _leave(peer, how)

        return await arena.lure(lure)

    outcome = "cut, closed 1006" if how == "an end" else "closed 1006"
    yield Attack(f"server/{how} {phase}", outcome, on_server)
    yield Attack(f"client/{how} {phase}", outcome, on_client)


def _while_closing(how: str) -> Iterator[Attack]:
    """The other side has sent its Close, and gets no answer."""

    async def on_server(arena: Arena) -> str:
        async def serve(request: object) -> None:
            connection = await request.accept()  # type: ignore[attr-defined]
            await connection.aclose()

        arena.serve = serve
        peer = await arena.open()
        opcode, _ = await peer.receive_frame()
        await arena.beside()
        await _leave(peer, how)
        end = await arena.end()
        await trio.aclose_forcefully(peer.stream)
        return f"opcode {opcode}, {end}"

    async def on_client(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            await peer.accept()
            opcode, _ = await peer.receive_frame()
            await arena.beside()
            await _leave(peer, how)
            return f"opcode {opcode}"

        async def use(connection: object) -> None:
            pass

        return await arena.lure(lure, use)

    yield Attack(f"server/{how} for an answer to a Close", "opcode 8, no error", on_server)
    yield Attack(f"client/{how} for an answer to a Close", "opcode 8, no error", on_client)


def _after_the_closes(how: str) -> Attack:
    async def script(arena: Arena) -> str:
        peer = await arena.open()
        await peer.throw(peer.frame(wire.CLOSE, _CLOSE))
        opcode, _ = await peer.receive_frame()
        await arena.beside()
        if how == "a reset":
            peer.reset()
        else:
            await peer.throw(b"\xff")
        end = await arena.end()
        await trio.aclose_forcefully(peer.stream)
        return f"opcode {opcode}, {end}"

    return Attack(f"server/{how} after the Closes", "opcode 8, closed 1000", script)


def _sending(how: str) -> Attack:
    """The peer goes while a large answer to it waits in the server."""

    async def script(arena: Arena) -> str:
        peer = await arena.open(small=True)
        await peer.throw(peer.frame(wire.BINARY, _MESSAGE) * 10)
        await arena.beside()
        if how == "a reset":
            peer.reset()
            end = await arena.end()
        else:
            await trio.aclose_forcefully(peer.stream)
            end = await arena.end()
        return end

    memory = 1536 * KIB
    return Attack(f"server/{how} while it is sent to", "closed 1006", script, memory=memory)


for _how in _LEAVES:
    for _phase, _part in HEAD_PHASES.items():
        for _attack in _on_head(_phase, _part, _how):
            add(_attack)
    for _phase, _frame in FRAME_PHASES.items():
        for _attack in _on_frames(_phase, _frame, _how):
            add(_attack)
    for _attack in (*_while_closing(_how), _sending(_how), _after_the_closes(_how)):
        add(_attack)
