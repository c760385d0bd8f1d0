"""websockets, its asyncio side; with ``--uvloop`` on uvloop."""

from __future__ import annotations

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .common import HOST, MAX_SIZE, Options, announce, parse_options, run


async def echo(websocket: ServerConnection) -> None:
    """Send back whatever comes."""
    try:
        async for message in websocket:
            await websocket.send(message)
    except ConnectionClosed:
        pass


async def main(options: Options) -> None:
    """Serve until the process is killed."""
    compression = "deflate" if options.deflate else None
    async with serve(
        echo, HOST, 0, ssl=options.context, compression=compression, max_size=MAX_SIZE
    ) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    run(main, parse_options())
