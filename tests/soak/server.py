"""The server process of the soak."""

from __future__ import annotations

import json
import ssl
import sys
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

import trio_ws

from . import sabotage
from .census import census, descriptors, resident, tasks
from .control import Command, answer_commands, raise_limit
from .messages import CLIENT, SERVER, Damage, Incoming, Outgoing

KEPT = 30  # violations that are told in full
BLOCK = bytes(16 * 1024)


class OnPurpose(Exception):
    """What a handler raises when it is asked to."""


class Site:
    """The handlers, and what they have seen.

    Args:
        seed: of the messages.
        patience: seconds; the deadlines for peers are made of it.
        certificate: a file with the certificate and its key.
        addresses: how many addresses of loopback to listen on.
    """

    def __init__(self, seed: int, patience: float, certificate: str, addresses: int) -> None:
        self._seed = seed
        self._patience = patience
        self._certificate = certificate
        self._addresses = addresses
        self._server: trio_ws.WebSocketServer | None = None
        self._traced: tracemalloc.Snapshot | None = None
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    async def run(self, *, task_status: trio.TaskStatus[list[tuple[str, int, bool]]]) -> None:
        """Serve; tells the addresses, the ports, and whether they are TLS."""
        listeners: list[trio.abc.Listener[Any]] = []
        for number in range(1, self._addresses + 1):
            listeners += await trio.open_tcp_listeners(0, host=f"127.0.0.{number}")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._certificate)
        listeners += await trio.open_ssl_over_tcp_listeners(
            0, context, host="127.0.0.1", https_compatible=True
        )
        self._server = trio_ws.WebSocketServer(
            self.handle,
            listeners,
            compression="deflate",
            connect_timeout=self._patience,
            disconnect_timeout=self._patience / 2,
            ping_interval=self._patience,
            ping_timeout=self._patience,
            limits=trio_ws.Limits(write_timeout=self._patience / 2),
            http_handler=self.answer_http,
            handler_error=self.on_error,
        )
        where = [each for each in self._server.listeners if isinstance(each, trio_ws.Endpoint)]
        async with trio.open_nursery() as nursery:
            await nursery.start(self._server.run)
            task_status.started([(str(each.address), each.port, each.is_ssl) for each in where])

    # What clients ask for

    async def handle(self, request: trio_ws.WebSocketRequest) -> None:
        """Do what the path says: ``/what/connection``."""
        _, what, connection = request.path.split("/")
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "talk": partial(self.talk, request, int(connection, 16)),
            "close": partial(self.close, request),
            "cancel": partial(self.cancel, request),
            "raise": partial(self.fail, request),
            "reject": partial(request.reject, 403, body=b"no"),
            "leave": partial(self.leave, request),
            "sink": partial(self.sink, request),
            "flood": partial(self.flood, request),
        }
        self.counts["open"] += 1
        try:
            await ways[what]()
        finally:
            self.counts["open"] -= 1
            self.counts["handlers"] += 1

    async def talk(self, request: trio_ws.WebSocketRequest, connection: int) -> None:
        """Check what comes, answer as asked."""
        incoming = Incoming(self._seed, connection, CLIENT)
        outgoing = Outgoing(self._seed, connection, SERVER)
        async with await request.accept() as websocket:
            asked = await self._take(websocket, incoming)
            while asked:
                if asked[1]:
                    async with trio.open_nursery() as nursery:
                        while asked and asked[1]:
                            nursery.start_soon(self._answer, websocket, outgoing, asked[0])
                            asked = await self._take(websocket, incoming)
                else:
                    await self._answer(websocket, outgoing, asked[0])
                    asked = await self._take(websocket, incoming)

    async def _take(
        self, websocket: trio_ws.WebSocketConnection, incoming: Incoming
    ) -> tuple[int, bool] | None:
        """The answers that the next message asks for, and whether beside; None at the end."""
        try:
            asked = incoming.take(await websocket.receive())
        except trio_ws.ConnectionClosed:
            return None
        except Damage as exc:
            self.violate(f"at the server: {exc}")
            await websocket.aclose(4001)
            return None
        self.counts["messages"] += 1
        return asked

    async def _answer(
        self, websocket: trio_ws.WebSocketConnection, outgoing: Outgoing, count: int
    ) -> None:
        for _ in range(count):
            message, compress = outgoing.next()
            try:
                await websocket.send(message, compress=compress)
            except trio_ws.ConnectionClosed:
                return  # the client judges whether that was right
            self.counts["messages"] += 1

    async def close(self, request: trio_ws.WebSocketRequest) -> None:
        """Close after the first message."""
        websocket = await request.accept()
        await websocket.receive()
        await websocket.aclose(4000, "enough")

    async def cancel(self, request: trio_ws.WebSocketRequest) -> None:
        """Be cancelled after the first message."""
        with trio.CancelScope() as scope:
            async with await request.accept() as websocket:
                await websocket.receive()
                scope.cancel()
                await websocket.receive()

    async def fail(self, request: trio_ws.WebSocketRequest) -> None:
        """Raise after the first message."""
        websocket = await request.accept()
        await websocket.receive()
        raise OnPurpose

    async def leave(self, request: trio_ws.WebSocketRequest) -> None:
        """Return at once."""
        await request.accept()

    async def sink(self, request: trio_ws.WebSocketRequest) -> None:
        """Receive, whatever it is."""
        async with await request.accept() as websocket:
            async for _ in websocket:
                self.counts["sunk"] += 1

    async def flood(self, request: trio_ws.WebSocketRequest) -> None:
        """Send for as long as that is possible."""
        async with await request.accept() as websocket:
            while True:
                await websocket.send(BLOCK)

    async def answer_http(self, request: trio_ws.HTTPRequest) -> trio_ws.HTTPResponse:
        """Answer what asks for no WebSocket."""
        self.counts["handlers"] += 1
        return trio_ws.HTTPResponse(200, body=b"well")

    def on_error(self, request: object, exc: Exception) -> None:
        """Nothing but what was raised on purpose comes here."""
        if not isinstance(exc, OnPurpose):
            self.violate(f"the handler of {request!r} raised {exc!r}, cause {exc.__cause__!r}")

    def violate(self, text: str) -> None:
        """Keep a violation."""
        self.counts["violations"] += 1
        if len(self.violations) < KEPT:
            self.violations.append(text)

    # What the run asks for

    async def sample(self) -> dict[str, Any]:
        """Figures that cost little."""
        return {
            "resident": resident(),
            "descriptors": descriptors(),
            "tasks": tasks(),
            "open": self.counts["open"],
            "handlers": self.counts["handlers"],
            "messages": self.counts["messages"],
            "violations": self.violations,
        }

    async def trace(self) -> list[str]:
        """What grew since the last call, by the line that allocated it."""
        before, self._traced = self._traced, None
        if not tracemalloc.is_tracing():
            tracemalloc.start(3)
        self._traced = tracemalloc.take_snapshot()
        if before is None:
            return []
        return [str(each) for each in self._traced.compare_to(before, "lineno")[:20]]

    async def shut_down(self) -> bool:
        """Close the server; whether that ended in time."""
        assert self._server is not None
        with trio.move_on_after(2 * self._patience):
            await self._server.aclose()
            return True
        return False


async def main(arguments: dict[str, Any]) -> None:
    """Serve, and do as told."""
    raise_limit()
    sabotage.apply(arguments.pop("sabotage"))
    site = Site(**arguments)
    async with trio.open_nursery() as nursery:
        addresses: list[tuple[str, int, bool]] = await nursery.start(site.run)

        async def where() -> list[tuple[str, int, bool]]:
            return addresses

        commands: dict[str, Command] = {
            "where": where,
            "sample": site.sample,
            "census": census,
            "trace": site.trace,
            "shut_down": site.shut_down,
        }
        await answer_commands(commands)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
