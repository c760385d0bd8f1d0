"""trio_ws."""

from __future__ import annotations

import trio_ws

from .common import Task, main_trio


async def client(task: Task) -> None:
    """Do what is asked."""
    if task.work == "connect":
        while task.meter.running():
            async with trio_ws.open_websocket_url(task.url):
                pass
        return
    async with trio_ws.open_websocket_url(task.url) as websocket:
        while task.meter.running():
            await websocket.send(task.payload)
            await websocket.receive()


if __name__ == "__main__":
    main_trio(client)
