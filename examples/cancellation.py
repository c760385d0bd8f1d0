"""Timeouts around any call, on a connection that goes on living."""

import trio

import trio_ws


# begin
async def ask(websocket: trio_ws.WebSocketConnection, question: str) -> str | None:
    """Return the answer, or None if there is none within a second."""
    with trio.move_on_after(1):
        await websocket.send(question)
        return await websocket.receive_text()
    return None  # sent whole or not at all; an answer that comes late is not lost


async def main(url: str) -> None:
    """Ask twice: a question that is cancelled does no harm to the next one."""
    async with trio_ws.open_websocket_url(url) as websocket:
        print(await ask(websocket, "think about it"))
        print(await ask(websocket, "quick!"))


# end
