"""Attacks on TLS: cut short, not spoken at all, by somebody else."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from functools import cache

import trio
import trustme

from tests.protocol import wire
from tests.support.servers import upgrade
from tests.support.tls import authority, server_context

from .arena import Arena
from .raw import Raw, dial
from .table import Attack, add, attack

_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)  # application data that nobody has encrypted

_HELLO = b"\x16\x03\x01\x02\x00" + b"\x01\x00\x01\xfc\x03\x03" + bytes(100)  # a part of one

# What is sent to a TLS port instead of TLS; the answer, if any, is TLS's own.
NOT_TLS: dict[str, bytes] = {
    "plain HTTP to a TLS port": upgrade(),
    "garbage to a TLS port": bytes(range(256)) * 8,
    "a hello that declares 16 MiB": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16_380),
    "a record of 64 KiB": b"\x16\x03\x01\xff\xff" + bytes(65_535),
    "SSLv2": b"\x80\x2e\x01\x00\x02" + bytes(44),
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
}


def _not_tls(name: str, data: bytes) -> Attack:
    async def script(arena: Arena) -> str:
        peer = await dial(arena.server.port)
        await peer.throw(data)
        await arena.beside()
        answer = await peer.receive_all()
        await peer.aclose()
        return f"{'plain text' if b'HTTP' in answer else 'nothing but an alert'}, cut"

    return Attack(f"server/{name}", "nothing but an alert, cut", script, tls=True)


for _name, _data in NOT_TLS.items():
    add(_not_tls(_name, _data))


@attack("server/a TLS handshake that stops", "cut", tls=True, connect_timeout=0.3)
async def _stalled(arena: Arena) -> str:
    peer = await dial(arena.server.port)
    await peer.throw(_HELLO)
    await arena.beside()
    return await peer.answer()


@attack("server/a request byte by byte in TLS", "cut", tls=True, connect_timeout=0.4)
async def _slowloris(arena: Arena) -> str:
    peer = await arena.dial()
    for byte in upgrade()[:-2] + b"X: y\r\n" * 90:
        if not await peer.throw(bytes([byte])):
            break
        await arena.beside()
    return await peer.answer()


def _cut(name: str, data: Callable[[Raw], bytes]) -> Attack:
    """Without a close_notify, or by what nobody has encrypted."""

    async def script(arena: Arena) -> str:
        peer = await arena.open()
        await peer.throw(peer.frame(wire.BINARY, bytes(1000))[:500])
        await arena.beside()
        await peer.socket.send_all(data(peer))
        await peer.half_close()
        end = await arena.end()
        await trio.aclose_forcefully(peer.stream)
        return end

    return Attack(f"server/{name}", "closed 1006", script, tls=True)


add(_cut("TLS cut within a frame", lambda peer: b""))
add(_cut("a forged record in TLS", lambda peer: _RECORD))
add(_cut("plain text in TLS", lambda peer: wire.build(wire.TEXT, b"x", mask=peer.key)))
add(_cut("half a record of TLS", lambda peer: _RECORD[:20]))


@attack("server/a bomb of frames in TLS", "Close 1009, closed 1009", tls=True)
async def _over(arena: Arena) -> str:
    peer = await arena.open()
    frame = wire.build(wire.BINARY, b"", mask=peer.key, declared=2**63 - 1, length_form=64)
    arena.measure()
    await peer.throw(frame)
    await arena.beside()
    code = await peer.close_code()
    await trio.aclose_forcefully(peer.stream)
    return f"{code}, {await arena.end()}"


def _broken_off(name: str, *, by_reset: bool) -> Attack:
    """Gone in the middle of TLS's own handshake."""

    async def script(arena: Arena) -> str:
        peer = await dial(arena.server.port)
        await peer.throw(_HELLO)
        await arena.beside()
        if by_reset:
            peer.reset()
            answer = "gone"
        else:
            await peer.half_close()
            answer = await peer.answer()
        await arena.beside()
        await trio.aclose_forcefully(peer.stream)
        return answer

    return Attack(f"server/{name}", "gone" if by_reset else "cut", script, tls=True)


add(_broken_off("a reset within the TLS handshake", by_reset=True))
add(_broken_off("an end within the TLS handshake", by_reset=False))


@attack("server/a reset in TLS", "closed 1006", tls=True)
async def _reset(arena: Arena) -> str:
    peer = await arena.open()
    await arena.beside()
    peer.reset()
    return await arena.end()


# Clients


@cache
def _stranger() -> ssl.SSLContext:
    """A server's context with a certificate of an authority that nobody trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@cache
def _expired() -> ssl.SSLContext:
    """A server's context with a certificate of yesterday."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    authority().issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    return context


CERTIFICATES: dict[str, Callable[[], ssl.SSLContext]] = {
    "a certificate of an unknown authority": _stranger,
    "a certificate of yesterday": _expired,
    "a certificate of another name": lambda: server_context("other.example"),
    "a certificate of another address": lambda: server_context("127.0.0.2"),
    "a certificate with our name as a prefix": lambda: server_context("127.0.0.1.evil.example"),
}


def _certificate(name: str, context: Callable[[], ssl.SSLContext]) -> Attack:
    async def script(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            await arena.beside()
            data = await peer.receive_all()
            return "a request" if data else "no request"

        return await arena.lure(lure, context=context())

    return Attack(f"client/{name}", "no request, HandshakeError", script)


for _name, _context in CERTIFICATES.items():
    add(_certificate(_name, _context))


def _plain_server(name: str, data: bytes, *, stop: bool = False) -> Attack:
    """A server that does not speak TLS where it should."""
    options = {"connect_timeout": 0.3} if stop else {}

    async def script(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            await arena.beside()
            await peer.socket.receive_some()
            await peer.socket.send_all(data)
            with trio.move_on_after(20):
                while await peer.socket.receive_some():
                    pass
            return ""

        return await arena.lure(lure, context=server_context("127.0.0.1"))

    outcome = "ConnectionTimeout" if stop else "HandshakeError"
    return Attack(f"client/{name}", outcome, script, options)


def _leaving_server(name: str, *, by_reset: bool) -> Attack:
    """A server that goes in the middle of TLS's own handshake."""

    async def script(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            await peer.socket.receive_some()
            await arena.beside()
            if by_reset:
                peer.reset()
            else:
                await peer.half_close()
                while await peer.socket.receive_some():
                    pass
            return ""

        return await arena.lure(lure, context=server_context("127.0.0.1"))

    return Attack(f"client/{name}", "HandshakeError", script)


add(_leaving_server("a reset within the TLS handshake", by_reset=True))
add(_leaving_server("an end within the TLS handshake", by_reset=False))
add(_plain_server("plain HTTP from a TLS port", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"))
add(_plain_server("garbage from a TLS port", bytes(range(256)) * 8))
add(_plain_server("half a TLS record", b"\x16\x03\x03\x40\x00", stop=True))


def _cut_client(name: str, data: Callable[[Raw], bytes]) -> Attack:
    async def script(arena: Arena) -> str:
        async def lure(peer: Raw) -> str:
            await peer.accept()
            await peer.throw(peer.frame(wire.BINARY, bytes(1000))[:500])
            await arena.beside()
            await peer.socket.send_all(data(peer))
            await peer.half_close()
            return ""

        return await arena.lure(lure, context=server_context("127.0.0.1"))

    return Attack(f"client/{name}", "closed 1006", script)


add(_cut_client("TLS cut within a frame", lambda peer: b""))
add(_cut_client("a forged record in TLS", lambda peer: _RECORD))
add(_cut_client("plain text in TLS", lambda peer: wire.build(wire.TEXT, b"x")))
