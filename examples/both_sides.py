"""A server and its client in one program."""

from functools import partial

import trio

import trio_ws
from examples.shout_server import shout


# begin
async def main() -> None:
    """Start a server on a free port, talk to it, and shut it down gracefully."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve_websocket, shout, "127.0.0.1", 0, None)
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/"
        async with trio_ws.open_websocket_url(url) as websocket:
            await websocket.send("hello")
            print(await websocket.receive())
        await server.aclose()


# end
if __name__ == "__main__":
    trio.run(main)
