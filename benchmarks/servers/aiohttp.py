"""aiohttp; with ``--uvloop`` on uvloop."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from .common import HOST, MAX_SIZE, Options, announce, parse_options, run


async def main(options: Options) -> None:
    """Serve until the process is killed."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(compress=options.deflate, max_msg_size=MAX_SIZE)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
        return websocket

    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=options.context).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main, parse_options())
