"""A program typed with trio-typing, whose stubs stand in for trio's own types.

It is checked, not run: trio_ws must be usable for those who have trio-typing installed.
"""

from __future__ import annotations

import ssl
from functools import partial

import trio
import trio_typing

import trio_ws


async def shout(request: trio_ws.WebSocketRequest) -> None:
    """Answer each message in upper case."""
    async with await request.accept(subprotocol=None) as websocket:
        async for message in websocket:
            await websocket.send(message.upper())


async def serve(
    *,
    task_status: trio_typing.TaskStatus[trio_ws.WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Start a server and hand it on."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(
            partial(trio_ws.serve_websocket, shout, "127.0.0.1", 0, None, ping_interval=None)
        )
        task_status.started(server)


async def talk(nursery: trio_typing.Nursery, url: str, context: ssl.SSLContext | None) -> int:
    """Use both ways to connect, and each way to receive."""
    async with trio_ws.open_websocket_url(url, context, max_message_size=2**16) as websocket:
        await websocket.send("text")
        message: str | bytes = await websocket.receive()
        text: str = await websocket.receive_text()
        data: bytes = await websocket.receive_bytes()
        with trio.move_on_after(1):
            await websocket.ping(b"payload")
    other = await trio_ws.connect_websocket_url(nursery, url)
    try:
        await other.send_message(b"bytes")
    except trio_ws.ConnectionClosed as error:
        return error.reason.code if error.reason is not None else 0
    finally:
        await other.aclose(1000, "done")
    return len(message) + len(text) + len(data)


async def main() -> None:
    """Run both sides."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        await talk(nursery, f"ws://127.0.0.1:{server.port}/", None)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
