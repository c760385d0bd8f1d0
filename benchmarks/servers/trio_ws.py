"""trio_ws."""

from __future__ import annotations

from functools import partial

import trio

import trio_ws

from .common import HOST, MAX_SIZE, Options, announce, parse_options


async def echo(request: trio_ws.WebSocketRequest) -> None:
    """Send back whatever comes."""
    async with await request.accept() as websocket:
        async for message in websocket:
            await websocket.send(message)


async def main(options: Options) -> None:
    """Serve until the process is killed."""
    keywords: trio_ws.ServerOptions = {"max_message_size": MAX_SIZE}
    if options.deflate:
        keywords["compression"] = "deflate"
    serve = partial(trio_ws.serve_websocket, echo, HOST, 0, options.context, **keywords)
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        announce(server.port)


if __name__ == "__main__":
    trio.run(main, parse_options())
