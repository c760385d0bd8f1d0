"""trio-websocket."""

from __future__ import annotations

from trio_websocket import open_websocket_url

from .common import Task, main_trio


async def client(task: Task) -> None:
    """Do what is asked."""
    if task.work == "connect":
        while task.meter.running():
            async with open_websocket_url(task.url):
                pass
        return
    async with open_websocket_url(task.url) as websocket:
        while task.meter.running():
            await websocket.send_message(task.payload)
            await websocket.get_message()


if __name__ == "__main__":
    main_trio(client)
