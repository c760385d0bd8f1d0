"""Answers each message in upper case."""

import trio

import trio_ws


async def shout(request: trio_ws.WebSocketRequest) -> None:
    """Serve one connection."""
    async with await request.accept() as websocket:
        async for message in websocket:
            await websocket.send(message.upper())


if __name__ == "__main__":
    trio.run(trio_ws.serve_websocket, shout, "127.0.0.1", 8765, None)
