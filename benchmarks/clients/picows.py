"""picows, by its core API; with ``--uvloop`` on uvloop."""

from __future__ import annotations

from functools import partial

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from .common import Task, main_asyncio


class Closer(WSListener):  # type: ignore[misc,unused-ignore]  # Any where picows is not installed
    """Closes as soon as it is connected; leaves when the server has answered."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Say goodbye."""
        transport.send_close(WSCloseCode.OK)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle the answer."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


class Echo(Closer):
    """Sends a message whenever one comes, while the meter says so."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send the first message."""
        transport.send(WSMsgType.BINARY, self._task.payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send the next message."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        elif self._task.meter.running():
            transport.send(WSMsgType.BINARY, self._task.payload)
        else:
            transport.send_close(WSCloseCode.OK)


async def client(task: Task) -> None:
    """Do what is asked."""
    if task.work == "connect":
        while task.meter.running():
            transport, _ = await ws_connect(Closer, task.url)
            await transport.wait_disconnected()
        return
    transport, _ = await ws_connect(partial(Echo, task), task.url)
    await transport.wait_disconnected()


if __name__ == "__main__":
    main_asyncio(client)
