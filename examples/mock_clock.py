"""A program's test without a network and without waiting."""

import trio
import trio.testing

import trio_ws


# begin
async def remind(request: trio_ws.WebSocketRequest) -> None:
    """Send a reminder after an hour of silence: what is to be tested."""
    async with await request.accept() as websocket:
        with trio.move_on_after(3600):
            await websocket.receive()
            return
        await websocket.send("are you there?")


async def test_remind(autojump_clock: trio.testing.MockClock) -> None:
    """The reminder comes after an hour, which takes no time here."""
    client_stream, server_stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await remind(await trio_ws.wrap_server_stream(nursery, server_stream))

        nursery.start_soon(serve)
        client = await trio_ws.wrap_client_stream(nursery, client_stream, "localhost", "/")
        started = trio.current_time()
        assert await client.receive() == "are you there?"
        assert trio.current_time() - started >= 3600
        await client.aclose()


# end
