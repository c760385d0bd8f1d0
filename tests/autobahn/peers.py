"""What the Autobahn TestSuite talks to: an echo server, and a client that echoes case by case.

``python -m tests.autobahn.peers server`` prints its port, then serves until it is terminated;
``python -m tests.autobahn.peers client URL`` runs all cases of the fuzzing server at URL.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

import trio_ws

AGENT = "trio_ws"
# The largest message of the suite has 16 MiB (9.1.6).
_OPTIONS: trio_ws.ConnectionOptions = {
    "compression": "deflate",
    "max_message_size": 32 * 2**20,
    "ping_interval": None,
    "disconnect_timeout": 10,
}


async def _echo(connection: trio_ws.WebSocketConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _handle(request: trio_ws.WebSocketRequest) -> None:
    try:
        async with await request.accept() as connection:
            await _echo(connection)
    except trio_ws.ConnectionClosed:
        pass  # most cases end that way


async def serve() -> None:
    """Serve on a free port, which is printed."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = trio_ws.WebSocketServer(_handle, listeners, **_OPTIONS)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        print(server.port, flush=True)  # noqa: T201 - the runner waits for it


def _compression(case: str) -> trio_ws.PerMessageDeflate:
    """What to offer: in these cases the suite asks only clients that say so to forget."""
    forget = case.startswith(("13.2.", "13.5.", "13.6."))
    return trio_ws.PerMessageDeflate(client_no_context_takeover=forget)


async def _ask(url: str) -> Any:
    """Connect, and return the only message, if there is one, which is JSON."""
    async with trio_ws.open_websocket_url(url, **_OPTIONS) as connection:
        async for message in connection:
            return json.loads(message)
    return None


async def run_cases(url: str) -> None:
    """Run each case of a fuzzing server, and have it write its reports."""
    count = await _ask(f"{url}/getCaseCount")
    for case in range(1, count + 1):
        name = (await _ask(f"{url}/getCaseInfo?case={case}"))["id"]
        try:
            async with trio_ws.open_websocket_url(
                f"{url}/runCase?case={case}&agent={AGENT}",
                **_OPTIONS | {"compression": _compression(name)},
            ) as connection:
                await _echo(connection)
        except (trio_ws.ConnectionClosed, trio_ws.HandshakeError):
            pass  # what it means is in the report
    await _ask(f"{url}/updateReports?agent={AGENT}")


def main(arguments: list[str]) -> None:
    """Be the server or the client."""
    if arguments[0] == "server":
        trio.run(serve)
    else:
        trio.run(run_cases, arguments[1])


if __name__ == "__main__":
    main(sys.argv[1:])
