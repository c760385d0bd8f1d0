"""websockets, its Trio side."""

from __future__ import annotations

from websockets.trio.client import connect

from .common import Task, main_trio


async def client(task: Task) -> None:
    """Do what is asked."""
    if task.work == "connect":
        while task.meter.running():
            async with connect(task.url, compression=None, proxy=None):
                pass
        return
    async with connect(task.url, compression=None, proxy=None) as websocket:
        while task.meter.running():
            await websocket.send(task.payload)
            await websocket.recv()


if __name__ == "__main__":
    main_trio(client)
