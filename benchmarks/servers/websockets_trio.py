"""websockets, its Trio side."""

from __future__ import annotations

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.server import ServerConnection, serve

from .common import HOST, MAX_SIZE, Options, announce, parse_options


async def echo(websocket: ServerConnection) -> None:
    """Send back whatever comes."""
    try:
        async for message in websocket:
            await websocket.send(message)
    except ConnectionClosed:
        pass


async def main(options: Options) -> None:
    """Serve until the process is killed."""
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    announce(listeners[0].socket.getsockname()[1])
    await serve(
        echo,
        listeners=listeners,
        ssl=options.context,
        compression="deflate" if options.deflate else None,
        max_size=MAX_SIZE,
    )


if __name__ == "__main__":
    trio.run(main, parse_options())
