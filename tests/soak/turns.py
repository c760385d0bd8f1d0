"""One turn on an honest connection: some messages, and the answers that they ask for."""

from __future__ import annotations

import random
from collections import Counter

import trio

import trio_ws

from .messages import CLIENT, FIRST, SERVER, Incoming, Outgoing, is_empty

BURST = 5  # messages of a turn, at most
ANSWERS = (0, 1, 1, 2)


class Talk:
    """The client's end of an honest connection.

    Args:
        seed: of the messages.
        connection: its number, which the server is told in the path.
        counts: where messages are counted.
    """

    def __init__(self, seed: int, connection: int, counts: Counter[str]) -> None:
        self.connection = connection
        self.chance = random.Random(f"{seed}/{connection}")
        self._counts = counts
        self._turns = trio.Lock()  # two turns at once would receive each other's answers
        self._outgoing = Outgoing(seed, connection, CLIENT)
        self._incoming = Incoming(seed, connection, SERVER)

    async def turn(self, websocket: trio_ws.WebSocketConnection) -> None:
        """Send a burst of messages, receive all answers; one in four in both directions at once.

        Raises:
            Damage: an answer is not what is due.
            ConnectionClosed: too early.
        """
        async with self._turns:
            plan = self._plan(self.chance.randint(1, BURST))
            if self.chance.random() < 0.25:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, websocket, plan, True)
                    await self._receive(websocket, sum(plan))
            else:
                await self._send(websocket, plan, False)
                await self._receive(websocket, sum(plan))

    async def begin(self, websocket: trio_ws.WebSocketConnection) -> None:
        """Fill all buffers with large messages, in both directions."""
        await self._send(websocket, [1] * FIRST, False)
        await self._receive(websocket, FIRST)

    async def finish(self, websocket: trio_ws.WebSocketConnection) -> None:
        """Make sure that the server has all: the last message of a connection is answered."""
        await self.ask(websocket, 1)
        await self._receive(websocket, 1)

    async def ask(self, websocket: trio_ws.WebSocketConnection, answers: int) -> None:
        """Ask for answers, and do not wait for them."""
        while is_empty(self._outgoing.number):
            await self._send(websocket, [0], False)
        await self._send(websocket, [answers], False)

    def _plan(self, burst: int) -> list[int]:
        """The answers that each message of a burst asks for."""
        numbers = range(self._outgoing.number, self._outgoing.number + burst)
        return [0 if is_empty(number) else self.chance.choice(ANSWERS) for number in numbers]

    async def _send(
        self, websocket: trio_ws.WebSocketConnection, plan: list[int], beside: bool
    ) -> None:
        for answers in plan:
            message, compress = self._outgoing.next(answers, beside=beside)
            await websocket.send(message, compress=compress)
            self._counts["sent"] += 1

    async def _receive(self, websocket: trio_ws.WebSocketConnection, count: int) -> None:
        for _ in range(count):
            self._incoming.take(await websocket.receive())
            self._counts["received"] += 1
