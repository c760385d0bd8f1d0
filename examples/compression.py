"""Compressed messages on both sides."""

from functools import partial

import trio

import trio_ws


# begin
async def shout(request: trio_ws.WebSocketRequest) -> None:
    """Answer each message in upper case."""
    async with await request.accept() as websocket:
        async for message in websocket:
            await websocket.send(message.upper())


async def main() -> None:
    """Exchange a long message and a secret one."""
    async with trio.open_nursery() as nursery:
        smaller = trio_ws.PerMessageDeflate(server_max_window_bits=10, threshold=200)
        serve = partial(trio_ws.serve_websocket, shout, "127.0.0.1", 0, None, compression=smaller)
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/"
        async with trio_ws.open_websocket_url(url, compression="deflate") as websocket:
            await websocket.send("again and " * 1000 + "again")
            message = await websocket.receive()
            print(len(message), "characters,", websocket.statistics().bytes_received, "bytes")
            await websocket.send("a secret", compress=False)
            print(await websocket.receive())
        nursery.cancel_scope.cancel()


# end


if __name__ == "__main__":
    trio.run(main)
