"""What the peers written in Python share: the commands, the cases, the command line.

The only difference between the libraries is the `Connection` that each of them fills in, and
the event loop; nothing here knows whether it is asyncio or Trio.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.interop.cases import Case, Message, fingerprint
from tests.interop.compression import SETUPS

HOST = "127.0.0.1"
BETWEEN = b"between fragments"


class Rejected(Exception):
    """The server answered the opening handshake with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connection(Protocol):
    """What a library must offer to be a peer, in either role."""

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol."""

    @property
    def extensions(self) -> str:
        """The negotiated extensions, as in the answer; see compression.TELLS."""

    async def send(self, message: str | bytes, *, compress: bool | None = None) -> None:
        """Send a message in one frame; None compresses as the library does by itself."""

    async def send_fragments(self, pieces: list[bytes], *, text: bool) -> None:
        """Send a message in several frames; after the first, ping and wait for the pong."""

    async def receive(self) -> str | bytes | None:
        """The next message, None once the connection is closed."""

    async def ping(self, payload: bytes) -> None:
        """Ping and wait for the pong."""

    async def pong(self, payload: bytes) -> None:
        """Send a pong that nobody asked for."""

    async def close(self, code: int | None, reason: str) -> None:
        """Close, and wait until that is done. Without a code: an empty Close frame."""

    async def abort(self) -> None:
        """Drop the TCP connection without a Close frame."""

    def closed(self) -> tuple[int, str]:
        """Code and reason of the Close frame that was received; 1005 if empty, 1006 if none."""

    def traffic(self) -> tuple[int, int] | None:
        """Bytes sent and received after the opening handshake, None if nobody counts."""


def announce(fact: dict[str, Any]) -> None:
    """Tell the test a fact, as a line of JSON."""
    print(json.dumps(fact), flush=True)


def run_of(target: str) -> str:
    """The name that the client gave to this connection, from the target of its request."""
    return parse_qs(urlsplit(target).query)["run"][0]


def rejects(target: str) -> bool:
    """Whether the server has to refuse the request."""
    return urlsplit(target).path == "/reject"


async def serve_connection(connection: Connection, target: str) -> None:
    """The server's side of a case; announces how the connection ended."""
    while (message := await connection.receive()) is not None:
        if isinstance(message, str) and message.startswith("!"):
            await _obey(connection, *message[1:].split(":"))
        else:
            await connection.send(message)
    announce(
        {
            "run": run_of(target),
            "closed": connection.closed(),
            "subprotocol": connection.subprotocol,
            "extensions": connection.extensions,
            "traffic": connection.traffic(),
        }
    )


async def _obey(connection: Connection, verb: str, *arguments: str) -> None:
    if verb == "close":
        code, reason = (int(arguments[0]), arguments[1]) if arguments else (None, "")
        await connection.close(code, reason)
    elif verb == "abort":
        await connection.abort()
    elif verb == "ping":
        await connection.ping(arguments[0].encode())
        await connection.send(f"ponged:{arguments[0]}")
    elif verb == "fragments":
        kind, unit, count, fragments = arguments
        await _send(connection, Message(kind, unit, int(count), int(fragments)))
    elif verb == "burst":
        for number in range(int(arguments[0])):
            await connection.send(str(number))
    elif verb == "plain":
        kind, unit, count = arguments
        await _send(connection, Message(kind, unit, int(count), compress=False))
    elif verb == "bytes":
        await connection.send(Message("binary", count=int(arguments[0])).data)
    else:
        raise ValueError(f"unknown command {verb}")


async def _send(connection: Connection, message: Message) -> None:
    if message.fragments:
        await connection.send_fragments(message.pieces, text=message.kind == "text")
    else:
        await connection.send(message.data, compress=message.compress)


async def play(connection: Connection, case: Case) -> dict[str, Any]:
    """The client's side of a case: what it saw, see cases.seen."""
    if case.ping is not None:
        await connection.ping(case.ping.encode())
    if case.pong is not None:
        await connection.pong(case.pong.encode())
    for message in case.send:
        await _send(connection, message)
    received = []
    for _ in case.receive:
        data = await connection.receive()
        if data is None:
            break
        received.append(fingerprint(data))
    if case.closer == "server" or case.how == "limit":
        data = await connection.receive()
        if data is not None:
            received.append(fingerprint(data))
    elif case.how == "abort":
        await connection.abort()
    else:
        await connection.close(case.code, case.reason)
    return {
        "case": case.id,
        "status": 101,
        "received": received,
        "closed": connection.closed(),
        "subprotocol": connection.subprotocol,
        "extensions": connection.extensions,
        "traffic": connection.traffic(),
    }


class Link:
    """Where a client connects to for a case, and how."""

    def __init__(self, base: str, case: Case, run: str, ca: str | None) -> None:
        separator = "&" if "?" in case.path else "?"
        self.url = f"{base}{case.path}{separator}run={run}"
        self.secure = base.startswith("wss:")
        self.ssl = ssl.create_default_context(cafile=ca) if self.secure else None
        self.subprotocols = list(case.offer) or None
        self.setup = SETUPS[case.compression]
        self.origin = case.origin or None
        if case.origin == "same":
            self.origin = base.replace("ws", "http", 1)


Connect = Callable[[Link], AbstractAsyncContextManager[Connection]]
Main = Callable[[], Coroutine[Any, Any, None]]


async def play_case(connect: Connect, link: Link, case: Case) -> dict[str, Any]:
    """Connect and play; whatever goes wrong is part of the outcome."""
    try:
        async with connect(link) as connection:
            return await play(connection, case)
    except Rejected as error:
        return {"case": case.id, "status": error.status}


async def play_cases(connect: Connect, prefix: str, ca: str | None) -> None:
    """Play the cases that arrive on standard input; announce the outcome of each."""
    for fields in json.load(sys.stdin):
        base = fields.pop("base")
        case = Case.from_json(fields)
        try:
            outcome = await play_case(connect, Link(base, case, prefix + case.id, ca), case)
        except Exception as error:
            outcome = {"case": case.id, "error": f"{type(error).__name__}: {error}"}
        announce(outcome)


def server_context(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """The TLS context of a server, None for plain TCP."""
    if arguments.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.cert)
    return context


def main(
    run: Callable[[Main], object],
    serve: Callable[[argparse.Namespace], Awaitable[None]],
    connect: Connect,
) -> None:
    """`server [--cert PEM]` or `client PREFIX [--ca PEM]`, in the event loop of `run`."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="role", required=True)
    server = commands.add_parser("server")
    server.add_argument("--cert", help="certificate and key: serve wss")
    server.add_argument("--unix", help="trio_ws only: listen on this path instead of TCP")
    server.add_argument("--any-origin", action="store_true", help="trio_ws only")
    client = commands.add_parser("client")
    client.add_argument("prefix")
    client.add_argument("--ca", help="trust this certificate authority")
    arguments = parser.parse_args()

    async def start() -> None:
        if arguments.role == "server":
            await serve(arguments)
        else:
            await play_cases(connect, arguments.prefix, arguments.ca)

    run(start)
