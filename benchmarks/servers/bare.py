"""A bare Trio echo of bytes, with no WebSocket: what Trio itself takes."""

from __future__ import annotations

import trio

from .common import HOST, Options, announce, parse_options

READ = 64 * 1024


async def echo(stream: trio.abc.Stream) -> None:
    """Send back whatever comes."""
    try:
        while data := await stream.receive_some(READ):
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


async def main(options: Options) -> None:
    """Serve until the process is killed."""
    listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host=HOST)
    announce(listeners[0].socket.getsockname()[1])
    if options.context is None:
        await trio.serve_listeners(echo, listeners)
    else:
        wrapped = [
            trio.SSLListener(listener, options.context, https_compatible=True)
            for listener in listeners
        ]
        await trio.serve_listeners(echo, wrapped)


if __name__ == "__main__":
    trio.run(main, parse_options())
