"""A program written for trio-websocket."""

# begin
import trio

import trio_ws as trio_websocket


async def main(url: str) -> None:
    """Say hello, in the words of trio-websocket."""
    try:
        async with trio_websocket.open_websocket_url(url) as websocket:
            await websocket.send_message("hello")
            print(await websocket.get_message())
            await websocket.aclose(1000, "bye")
            await websocket.get_message()
    except trio_websocket.ConnectionClosed as closed:
        print(closed.reason.code if closed.reason else None)


# end
if __name__ == "__main__":
    trio.run(main, "ws://127.0.0.1:8765/")
