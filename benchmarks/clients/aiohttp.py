"""aiohttp; with ``--uvloop`` on uvloop."""

from __future__ import annotations

import aiohttp

from .common import Task, main_asyncio


async def client(task: Task) -> None:
    """Do what is asked."""
    async with aiohttp.ClientSession() as session:
        if task.work == "connect":
            while task.meter.running():
                async with session.ws_connect(task.url):
                    pass
            return
        async with session.ws_connect(task.url) as websocket:
            while task.meter.running():
                await websocket.send_bytes(task.payload)
                await websocket.receive_bytes()


if __name__ == "__main__":
    main_asyncio(client)
