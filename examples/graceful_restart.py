"""A server that SIGTERM stops gracefully."""

import signal

import trio

import trio_ws
from examples.shout_server import shout


# begin
async def close_on_sigterm(
    server: trio_ws.WebSocketServer,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wait for the signal, then let everybody finish."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        await anext(aiter(signals))
    await server.aclose(1012, "restarting")


async def main(
    port: int = 8765,
    *,
    task_status: trio.TaskStatus[trio_ws.WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    server = trio_ws.WebSocketServer(shout, listeners, disconnect_timeout=10)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await nursery.start(close_on_sigterm, server)
        task_status.started(server)


# end
if __name__ == "__main__":
    trio.run(main)
