"""Connections that compress: in pairs, or each with a raw peer."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import trio

import trio_ws
from tests.protocol import wire
from tests.support.connections import RawPeer, StreamPair, memory_pair
from tests.support.servers import MemoryListener
from trio_ws import PerMessageDeflate, WebSocketConnection
from trio_ws._facts import Opening
from trio_ws._options import Settings
from trio_ws._protocol._deflate import Agreement, Deflate

Compression = PerMessageDeflate | Literal["deflate"] | None
RSV1 = 4
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
LARGE = bytes(range(256)) * 4096  # 1 MiB: eight steps
_TAIL = b"\x00\x00\xff\xff"


class DeflatePeer(RawPeer):
    """A raw peer that has agreed on permessage-deflate without context takeover."""

    @property
    def key(self) -> bytes | None:
        """The key of its frames, or None if it does not mask."""
        return self._key

    async def receive(self) -> wire.Frame:
        """Receive a frame, which may be compressed."""
        await self._need(2)
        first = self._buffer[0]
        self._buffer[0] &= ~0x40
        frame = await super().receive()
        if not first & 0x40:
            return frame
        payload = zlib.decompressobj(-15).decompress(frame.payload + _TAIL)
        return frame._replace(payload=payload, rsv=RSV1)

    def compressed(self, opcode: int, message: bytes) -> bytes:
        """A frame with a compressed message."""
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        payload = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return wire.build(opcode, payload.removesuffix(_TAIL), rsv=RSV1, mask=self._key)


@asynccontextmanager
async def raw_connection(
    *, client: bool = False, streams: StreamPair = memory_pair, torn: bool = False, **options: Any
) -> AsyncIterator[tuple[WebSocketConnection, DeflatePeer]]:
    """A connection that compresses, and its raw peer."""
    ours, theirs = streams()
    if torn:
        options["receive_buffer_size"] = 1
    deflate = Deflate.of(Agreement(15, False, 15, False), PerMessageDeflate())
    settings = Settings(**{"max_message_size": 2**22, "ping_interval": None, **options})
    connection = WebSocketConnection(
        ours, Opening("/", None, ()), settings, client=client, deflate=deflate
    )
    async with trio.open_nursery() as nursery:
        await connection._start(nursery)
        yield connection, DeflatePeer(theirs, client=not client)
        await trio.aclose_forcefully(theirs)
        await connection.aclose()


@asynccontextmanager
async def connected(
    client: Compression = "deflate", server: Compression = "deflate", **options: Any
) -> AsyncIterator[tuple[WebSocketConnection, WebSocketConnection]]:
    """A client's connection and the server's behind it, through the opening handshake."""
    options = {"max_message_size": 2**22, "ping_interval": None, **options}
    accepted, accept = trio.open_memory_channel[WebSocketConnection](1)

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        connection = await request.accept()
        accepted.send_nowait(connection)
        await connection.wait_closed()

    listener = MemoryListener()
    ws_server = trio_ws.WebSocketServer(handler, [listener], compression=server, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(ws_server.run)
        ours = await trio_ws.wrap_client_stream(
            nursery,
            listener.connect_stream(),
            "server.example",
            "/",
            compression=client,
            **options,
        )
        yield ours, await accept.receive()
        await ours.aclose()
        await ws_server.aclose()


def served_pair(
    streams: StreamPair = memory_pair, *, takeover: bool = True, **options: Any
) -> tuple[WebSocketConnection, WebSocketConnection]:
    """A client's connection and the server's behind it, without a handshake, not yet served."""
    settings = Settings(max_message_size=2**22, ping_interval=None, **options)
    ends = []
    for client, stream in zip((True, False), streams(), strict=True):
        deflate = Deflate.of(Agreement(12, takeover, 12, takeover), PerMessageDeflate())
        opening = Opening("/", None, ())
        ends.append(WebSocketConnection(stream, opening, settings, client=client, deflate=deflate))
    return ends[0], ends[1]


async def exchange(sender: WebSocketConnection, receiver: WebSocketConnection) -> None:
    """A thousand messages of all kinds arrive exactly as they were sent."""

    async def send() -> None:
        for number in range(1000):
            text = f"message {number} " * (number % 30)
            await sender.send(text.encode() if number % 3 else text, compress=number % 7 != 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for number in range(1000):
            text = f"message {number} " * (number % 30)
            assert await receiver.receive() == (text.encode() if number % 3 else text)
