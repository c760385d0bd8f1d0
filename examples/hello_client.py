"""Sends a message and prints the answer."""

import trio

import trio_ws


async def main(url: str = "ws://127.0.0.1:8765/") -> None:
    """Say hello to the server."""
    async with trio_ws.open_websocket_url(url) as websocket:
        await websocket.send("hello")
        print(await websocket.receive())


if __name__ == "__main__":
    trio.run(main)
