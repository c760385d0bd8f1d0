"""Attackers that use up what a server has little of: connections and file descriptors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tests.protocol import wire
from tests.support.servers import upgrade

from .arena import Arena
from .raw import Raw, close_all, dial
from .table import KIB, attack

_IDLE = 1000
_PATIENCE = 3.0


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """This process may open so many, both ends of all connections together."""
    if sys.platform == "win32":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft if enough else count, hard))
    try:
        yield
    finally:
        close_all()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@attack(
    f"server/{_IDLE} connections that say nothing",
    f"{_IDLE} cut, the next one served",
    memory=_IDLE * 12 * KIB,
    max_connections=_IDLE + 1,
    connect_timeout=_PATIENCE,
)
async def _idle(arena: Arena) -> str:
    """They fill `max_connections`; the deadline of the handshake makes room again."""
    with many_descriptors(3 * _IDLE):
        return await _fill(arena)


async def _fill(arena: Arena) -> str:
    peers = [await arena.dial() for _ in range(_IDLE)]
    await arena.beside(5)
    late = await arena.dial()
    await late.throw(upgrade())
    await arena.beside()
    head = await late.receive_head()
    cut = 0
    for peer in peers:
        cut += await peer.answer() == "cut"
        await peer.aclose()
    await late.throw(wire.close(1000, mask=late.key))
    await late.close_code()
    await late.aclose()
    return f"{cut} cut, the next one {'served' if head[9:12] == b'101' else 'refused'}"


@attack(
    f"server/{_IDLE // 10} connections that say nothing, in TLS",
    f"{_IDLE // 10} cut",
    tls=True,
    memory=_IDLE // 10 * 64 * KIB,
    connect_timeout=_PATIENCE,
)
async def _idle_tls(arena: Arena) -> str:
    peers = [await dial(arena.server.port) for _ in range(_IDLE // 10)]
    await arena.beside(5)
    cut = 0
    for peer in peers:
        cut += await peer.answer() == "cut"
        await peer.aclose()
    return f"{cut} cut"


@attack("server/connections beyond the maximum", "nobody beyond it, then one", max_connections=3)
async def _beyond(arena: Arena) -> str:
    """Clients that stay take all that is free; the others wait, and nobody is hurt."""
    first, second = await arena.open(), await arena.open()
    waiting = [await arena.dial() for _ in range(20)]
    for peer in waiting:
        await peer.throw(upgrade())
    await arena.beside(5)
    answered: list[Raw] = []

    async def wait(peer: Raw) -> None:
        await peer.receive_head()
        answered.append(peer)

    async with trio.open_nursery() as nursery:
        for peer in waiting:
            nursery.start_soon(wait, peer)
        await arena.beside(5)
        before = "nobody" if not answered else f"{len(answered)}"
        first.reset()
        await arena.end()
        while not answered:
            await arena.beside()
        await arena.beside(5)
        after = "one" if len(answered) == 1 else f"{len(answered)}"
        nursery.cancel_scope.cancel()
    for peer in (second, *waiting):
        peer.reset()
    for _ in (second, *waiting):  # each is served in its turn, and has gone
        await arena.beside()
    return f"{before} beyond it, then {after}"


@attack("server/1000 connections that come and go", "1000 gone", memory=50 * 48 * KIB)
async def _churn(arena: Arena) -> str:
    gone = 0
    for number in range(20):
        peers = [await arena.dial() for _ in range(50)]
        for peer in peers:
            if number % 2:
                peer.reset()
            else:
                await peer.aclose()
            gone += 1
        await arena.beside()
    return f"{gone} gone"


if sys.platform != "win32":
    import resource

    @attack("server/no file descriptor is left", "waits, 5 served afterwards")
    async def _descriptors(arena: Arena) -> str:
        """``accept`` fails with EMFILE: the open connections go on, and the others are not lost."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        sockets = [trio.socket.socket() for _ in range(5)]
        peers = [Raw(trio.SocketStream(sock), client=True) for sock in sockets]
        top = max(map(int, os.listdir("/dev/fd"))) + 1
        fillers: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
        try:
            while True:
                try:
                    fillers.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
            for sock, peer in zip(sockets, peers, strict=True):
                await sock.connect(("127.0.0.1", arena.server.port))
                await peer.throw(upgrade())
            await arena.beside(20)
            waits = all(not peer.unread for peer in peers)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in fillers:
                os.close(descriptor)
        served = 0
        for peer in peers:
            served += (await peer.receive_head())[9:12] == b"101"
            await peer.throw(wire.close(1000, mask=peer.key))
            assert await peer.close_code() == "Close 1000"
            await peer.aclose()
        return f"{'waits' if waits else 'does not wait'}, {served} served afterwards"
