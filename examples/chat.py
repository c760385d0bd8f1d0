"""A chat room: what one says, all hear."""

from contextlib import suppress

import trio

import trio_ws


# begin
class Room:
    """The clients that are connected, each with the queue of what it has to hear."""

    def __init__(self, backlog: int = 100) -> None:
        self._backlog = backlog
        self._queues: set[trio.MemorySendChannel[str]] = set()

    def say(self, message: str) -> None:
        """Queue a message for everybody; let go of those who are too far behind."""
        for queue in list(self._queues):
            try:
                queue.send_nowait(message)
            except trio.WouldBlock:
                self._queues.discard(queue)
                queue.close()

    async def handle(self, request: trio_ws.WebSocketRequest) -> None:
        """Serve one client."""
        queue, heard = trio.open_memory_channel[str](self._backlog)
        async with await request.accept() as websocket, trio.open_nursery() as nursery:
            self._queues.add(queue)
            try:
                nursery.start_soon(self._tell, websocket, heard)
                with suppress(trio.ClosedResourceError):  # by `_tell`, which is still at it
                    async for message in websocket:
                        self.say(str(message))
            finally:
                self._queues.discard(queue)
                queue.close()

    async def _tell(
        self, websocket: trio_ws.WebSocketConnection, heard: trio.MemoryReceiveChannel[str]
    ) -> None:
        async for message in heard:
            await websocket.send(message)
        await websocket.aclose(1008, "too slow")  # or gone: then this does nothing


# end
