"""Peers that send without end, or never read, or answer nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import trio

import trio_ws
from tests.protocol import wire

from .arena import Arena
from .frames import Build, accepted, both
from .raw import Raw
from .table import KIB, MAX_MESSAGE, Attack, add, attack

_CLOSE = (1000).to_bytes(2, "big")


def _flood(opcode: int, payload: bytes, count: int = 4000) -> Build:
    """So many control frames, and then a Close."""
    return lambda peer: peer.frame(opcode, payload) * count + peer.frame(wire.CLOSE, _CLOSE)


FLOODS: dict[str, Build] = {
    "a flood of pings": _flood(wire.PING, bytes(125)),
    "a flood of empty pings": _flood(wire.PING, b""),
    "a flood of pongs": _flood(wire.PONG, bytes(125)),
    "pings behind a Close": lambda peer: (
        peer.frame(wire.CLOSE, _CLOSE) + peer.frame(wire.PING, b"x") * 4000
    ),
    "messages behind a Close": lambda peer: (
        peer.frame(wire.CLOSE, _CLOSE) + peer.frame(wire.BINARY, bytes(60_000)) * 20
    ),
    "garbage behind a Close": lambda peer: peer.frame(wire.CLOSE, _CLOSE) + b"\xff" * 500_000,
    "a hundred Closes": lambda peer: peer.frame(wire.CLOSE, _CLOSE) * 100,
}
for _name, _build in FLOODS.items():
    for _attack in both(_name, _build, "Close 1000", "closed 1000"):
        add(_attack)

for _attack in both(
    "a message that never ends",
    lambda peer: peer.frame(wire.TEXT, b"x", fin=False),
    "Close 1008",
    "closed 1008",
    limits=trio_ws.Limits(message_timeout=0.2),
):
    add(_attack)
for _attack in both(
    "no answer to pings",
    lambda peer: b"",
    "Close 1011",
    "closed 1006",
    ping_interval=0.1,
    ping_timeout=0.3,
):
    add(_attack)


@attack("server/pings, and nothing read", "Close 1000, closed 1000")
async def _deaf_pinger(arena: Arena) -> str:
    peer = await arena.open(small=True)
    pings = peer.frame(wire.PING, bytes(125)) * 100
    arena.measure()
    for _ in range(150):
        await peer.throw(pings)
    await arena.beside()
    await peer.throw(peer.frame(wire.CLOSE, _CLOSE))
    code = await peer.close_code()
    await peer.aclose()
    return f"{code}, {await arena.end()}"


_STALL = trio_ws.Limits(write_timeout=0.3)


@attack("server/messages, and nothing read", "cut, closed 1006", limits=_STALL)
async def _deaf(arena: Arena) -> str:
    peer = await arena.open(small=True)
    message = peer.frame(wire.BINARY, bytes(MAX_MESSAGE))
    arena.measure()
    arena.nursery.start_soon(peer.throw, repeat(message, 200))
    await arena.beside()
    end = await arena.end()
    code = await peer.close_code()
    await peer.aclose()
    return f"{code}, {end}"


@attack("client/messages, and nothing read", "closed 1006", limits=_STALL)
async def _deaf_server(arena: Arena) -> str:
    gone = trio.Event()

    async def lure(peer: Raw) -> str:
        await peer.accept()
        arena.measure()
        await gone.wait()
        return ""

    async def use(connection: trio_ws.WebSocketConnection) -> None:
        message = bytes(MAX_MESSAGE)
        try:
            while True:
                await connection.send(message)
        finally:
            gone.set()

    return await arena.lure(lure, use)


@attack("server/an answer read byte by byte", "Close 1000, closed 1000")
async def _slow_reader(arena: Arena) -> str:
    peer = await arena.open(small=True)
    await peer.throw(peer.frame(wire.BINARY, bytes(MAX_MESSAGE)) * 2)
    for _ in range(300):
        peer.unread.extend(await peer.stream.receive_some(1))
        await arena.beside()
    await peer.throw(peer.frame(wire.CLOSE, _CLOSE))
    code = await peer.close_code()
    await peer.aclose()
    return f"{code}, {await arena.end()}"


@attack(
    "server/a message byte by byte",
    "Close 1008, closed 1008",
    limits=trio_ws.Limits(message_timeout=0.3),
)
async def _slow_message(arena: Arena) -> str:
    peer = await arena.open()
    message = wire.build(wire.BINARY, bytes(MAX_MESSAGE), mask=peer.key)
    codes: list[str] = []

    async def listen() -> None:
        codes.append(await peer.close_code())

    arena.nursery.start_soon(listen)
    for byte in message:
        await peer.throw(bytes([byte]))
        await arena.beside()
        if codes:
            break
    await peer.aclose()
    return f"{codes[0]}, {await arena.end()}"


def _unread(name: str, size: int) -> Attack:
    """Messages for a handler that does something else, until the peer breaks off."""

    async def script(arena: Arena) -> str:
        done = trio.Event()
        received = 0

        async def serve(request: trio_ws.WebSocketRequest) -> None:
            nonlocal received
            connection = await request.accept()
            await done.wait()
            while True:
                await connection.receive()
                received += 1

        arena.serve = serve
        peer = await arena.open()
        frames = peer.frame(wire.BINARY, bytes(size)) * (MAX_MESSAGE // (size + 6))
        arena.measure()
        arena.nursery.start_soon(peer.throw, repeat(frames, 300))
        await arena.beside(30)
        peer.reset()
        done.set()
        end = await arena.end()
        return f"{end}, {'some' if received else 'none'} received"

    return Attack(f"server/{name}", "closed 1006, some received", script)


add(_unread("messages that the handler does not receive", MAX_MESSAGE // 2))
add(_unread("small messages that the handler does not receive", 1))


# Closing

_HASTE = {"disconnect_timeout": 0.2}


def _deaf_to_close(name: str, build: Build) -> Iterator[Attack]:
    """A side closes, and the peer goes on, with the same bytes for ever, or with nothing."""

    async def on_server(arena: Arena) -> str:
        async def serve(request: trio_ws.WebSocketRequest) -> None:
            connection = await request.accept()
            await connection.receive()
            await connection.aclose()

        arena.serve = serve
        peer = await arena.open()
        data = build(peer)
        arena.measure()
        await peer.throw(peer.frame(wire.TEXT, b"go"))
        await arena.beside()
        await peer.throw(repeat(data) if data else b"")
        code = await peer.close_code()
        await peer.aclose()
        return f"{code}, {await arena.end()}"

    async def on_client(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            await peer.accept()
            data = build(peer)
            arena.measure()
            await peer.throw(repeat(data) if data else b"")
            return await peer.close_code()

        async def use(connection: trio_ws.WebSocketConnection) -> None:
            await arena.beside()

        return await arena.lure(lure, use)

    yield Attack(f"server/{name}", "Close 1000, no error", on_server, _HASTE)
    yield Attack(f"client/{name}", "Close 1000, DisconnectionTimeout", on_client, _HASTE)


for _attack in (
    *_deaf_to_close("no answer to a Close", lambda peer: b""),
    *_deaf_to_close("messages for an answer to a Close", lambda peer: peer.frame(2, bytes(KIB))),
    *_deaf_to_close("pings for an answer to a Close", lambda peer: peer.frame(9, b"x") * 100),
    *_deaf_to_close(
        "fragments for an answer to a Close",
        lambda peer: peer.frame(2, b"x", fin=False) + peer.frame(0, b"y"),
    ),
):
    add(_attack)


@attack("client/a Close, and TCP is not ended", "Close 1000, no error", disconnect_timeout=0.2)
async def _no_fin(arena: Arena) -> str:
    async def lure(peer: Raw) -> str:
        await peer.accept()
        await peer.throw(peer.frame(wire.CLOSE, _CLOSE))
        return await peer.close_code()

    async def use(connection: trio_ws.WebSocketConnection) -> None:
        async for _ in connection:
            pass
        await connection.wait_closed()

    return await arena.lure(lure, use)


# Pings of ours


@attack("server/forged pongs", "waits for its pong, waits for its pong, Close 1000")
async def _forged(arena: Arena) -> str:
    """A pong of another payload answers nothing, and neither does one of a ping before."""
    progress: list[str] = []

    async def serve(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()
        for _ in range(2):
            await connection.ping(b"the same")
            progress.append("answered")
        await connection.aclose()

    arena.serve = serve
    peer = await arena.open()
    outcome = []
    for number in range(2):
        opcode, payload = await peer.receive_frame()
        assert opcode == wire.PING
        for forged in (b"", b"the", b"the same ", payload[::-1], bytes(125)):
            await peer.throw(peer.frame(wire.PONG, forged) * 50)
        await arena.beside(3)
        waits = len(progress) == number
        outcome.append("waits for its pong" if waits else "was deceived")
        await peer.throw(peer.frame(wire.PONG, payload) * 3)  # those after the first are too early
    opcode, code = await peer.receive_frame()
    await peer.aclose()
    assert opcode == wire.CLOSE, opcode
    return ", ".join([*outcome, f"Close {int.from_bytes(code, 'big')}"])


@attack("server/the keepalive's pong cannot be guessed", "10 payloads, all different, of 8 bytes")
async def _guess(arena: Arena) -> str:
    payloads: set[bytes] = set()

    async def serve(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()
        for _ in range(10):
            await connection.ping()

    arena.serve = serve
    peer = await arena.open()
    await arena.beside()
    for _ in range(10):
        opcode, payload = await peer.receive_frame()
        assert opcode == wire.PING
        payloads.add(payload)
        await peer.throw(peer.frame(wire.PONG, payload))
    await peer.aclose()
    sizes = {len(payload) for payload in payloads}
    return f"{len(payloads)} payloads, all different, of {sizes.pop()} bytes"


add(
    accepted(
        "a Close of 123 bytes of reason",
        lambda peer: wire.close(4000, b"\r\n" * 61 + b"x", mask=peer.key),
        "Close 4000, 0 messages of 0 in all",
    )
)


@attack("client/masks cannot be foreseen", "500 keys, all different; no payload in the clear")
async def _masks(arena: Arena) -> str:
    """What a cache on the way would take for a request never leaves the client as it is."""
    poison = b"GET /script.js HTTP/1.1\r\nHost: victim.example\r\n\r\n"

    async def lure(peer: Raw) -> str:
        await peer.accept()
        while poison not in peer.unread and len(peer.unread) < 500 * (len(poison) + 6):
            peer.unread.extend(await peer.stream.receive_some())
        data = bytes(peer.unread)
        keys = {frame.key for frame in wire.parse(data[: 500 * (len(poison) + 6)])}
        clear = "a payload" if poison in data else "no payload"
        peer.unread.clear()
        await peer.throw(peer.frame(wire.CLOSE, _CLOSE))
        return f"{len(keys)} keys, all different; {clear} in the clear"

    async def use(connection: trio_ws.WebSocketConnection) -> None:
        for _ in range(500):
            await connection.send(poison)
        await connection.wait_closed()

    outcome = await arena.lure(lure, use)
    return outcome.removesuffix(", no error")


@attack("server/what a handler raises stays here", "Close 1011, RuntimeError, HTTP 500, no secret")
async def _leak(arena: Arena) -> str:
    """An error's text goes neither into a Close frame nor into a response."""
    secret = "password=hunter2"
    accept = True

    async def serve(request: trio_ws.WebSocketRequest) -> None:
        if accept:
            await request.accept()
        raise RuntimeError(secret)

    arena.serve = serve
    peer = await arena.open()
    await arena.beside()
    wired = await peer.receive_exactly(4)
    await peer.aclose()
    ended = await arena.end()
    accept = False
    other = await arena.dial()
    head = await other.open()
    wired += head + await other.receive_all()
    await other.aclose()
    await arena.end()
    code = int.from_bytes(wired[2:4], "big")
    leaked = "the secret" if secret.encode() in wired else "no secret"
    return f"Close {code}, {ended}, HTTP {head[9:12].decode()}, {leaked}"
