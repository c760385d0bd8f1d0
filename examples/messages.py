"""Text, binary and the end."""

import trio_ws


# begin
async def main(url: str) -> None:
    """Send both kinds of messages, then read until the peer closes."""
    async with trio_ws.open_websocket_url(url) as websocket:
        await websocket.send("text")
        await websocket.send(b"binary")
        async for message in websocket:
            print(repr(message))
        print("closed:", websocket.closed)


# end
