"""trio-websocket."""

from __future__ import annotations

from functools import partial

import trio
import trio_websocket

from .common import HOST, MAX_SIZE, Options, announce, parse_options


async def echo(request: trio_websocket.WebSocketRequest) -> None:
    """Send back whatever comes."""
    websocket = await request.accept()
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except trio_websocket.ConnectionClosed:
        pass


async def main(options: Options) -> None:
    """Serve until the process is killed."""
    serve = partial(
        trio_websocket.serve_websocket,
        *(echo, HOST, 0, options.context),
        max_message_size=MAX_SIZE,
    )
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        announce(server.port)


if __name__ == "__main__":
    trio.run(main, parse_options())
