"""What `python -m trio_ws` does: its commands as coroutines; `__main__` knows their arguments."""

from __future__ import annotations

import math
import os
import signal
import ssl
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import trio

from . import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    Endpoint,
    HandshakeError,
    HTTPRequest,
    HTTPResponse,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
    __version__,
    open_websocket_url,
    serve_websocket,
)

# Exit codes: the network or the peer, and, as argparse has it, the arguments.
FAILED: Final = 1
MISUSED: Final = 2


class CommandError(Exception):
    """What ends a command.

    Args:
        message: one line for the user.
        code: the exit code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def printable(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey.

    Control characters (ESC begins a terminal's commands), line breaks and the marks that reverse
    the direction of writing become backslash escapes.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


# demo


_MESSAGE_SIZE: Final = 2**20
# Seconds that a send may wait before the demo takes it for stuck and cancels it.
_PATIENCE: Final = 0.2
_PAUSE: Final = "do not read for a moment"


async def demo() -> None:
    """Show a server and a client at work, and a `send` that is cancelled half-way.

    Raises:
        CommandError: something else happened than what is to be shown.
    """
    show = _Show()
    living = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        serve = partial(serve_websocket, show.handle, "127.0.0.1", 0, None)
        server: WebSocketServer = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/"
        show.say("server", f"listens on {url}, in a nursery")
        async with open_websocket_url(url) as websocket:
            show.say("client", "open_websocket_url() has connected")
            await show.exchange(websocket)
            await show.cancel_a_send(websocket)
            await websocket.ping()
            show.say("ping", pong_text(websocket.latency))
            await websocket.aclose(1000, "that was all")
        await server.aclose()
    verify(trio.lowlevel.current_statistics().tasks_living == living, "a task is left behind")
    verify(show.closed == CloseReason(1000, "that was all"), "the close has gone wrong")
    show.say("close", "the server has heard 1000 'that was all'; no task is left")


class _Show:
    """The parts of the demo."""

    def __init__(self) -> None:
        self.closed: CloseReason | None = None  # as the server sees it
        self._started = trio.current_time()
        self._read_on = trio.Event()
        print(f"trio_ws {__version__}: a server and a client in one program\n")

    def say(self, what: str, text: str) -> None:
        """Print a line: the time, the subject, what happened."""
        print(f"{trio.current_time() - self._started:6.3f} s  {what:<8}  {text}", flush=True)

    async def handle(self, request: WebSocketRequest) -> None:
        """The server's side: send messages back, receipts for large ones, pause if told to."""
        async with await request.accept() as websocket:
            async for message in websocket:
                if message == _PAUSE:
                    await self._read_on.wait()
                elif isinstance(message, bytes) and len(message) == _MESSAGE_SIZE:
                    await websocket.send(_receipt(message))
                else:
                    await websocket.send(message)
            self.closed = websocket.closed

    async def exchange(self, websocket: WebSocketConnection) -> None:
        """Text and binary messages there and back."""
        for message in ("hello, world", bytes(range(256))):
            await websocket.send(message)
            verify(await websocket.receive() == message, "the echo is another message")
        self.say("text", "'hello, world' there and back")
        self.say("binary", "256 bytes there and back")

    async def cancel_a_send(self, websocket: WebSocketConnection) -> None:
        """Fill the way to a server that does not read, cancel the send that waits, go on."""
        await websocket.send(_PAUSE)
        receipts = await send_until_one_waits(websocket)
        sent, waiting = len(receipts), websocket.statistics().bytes_buffered
        self.say("pressure", f"the server stops reading; send() takes {sent} messages of 1 MiB")
        self.say("cancel", f"send() of message {sent + 1} waits, is cancelled after {_PATIENCE} s,")
        self.say("", f"in the middle of a frame: {waiting // 1024} KiB are still to go out")
        self._read_on.set()
        await websocket.send("still alive?")
        heard = [await websocket.receive() for _ in receipts]
        verify(heard == receipts, "messages are damaged, missing or out of order")
        self.say("recovery", f"the server reads on: messages 1 to {sent} arrive whole and in order")
        verify(await websocket.receive() == "still alive?", "the cancelled message has arrived")
        self.say("", f"not a byte of message {sent + 1}; the next one is 'still alive?'")


async def send_until_one_waits(websocket: WebSocketConnection) -> list[str]:
    """Send numbered messages until one has to wait, cancel that; return the others' receipts."""
    receipts: list[str] = []
    content = os.urandom(_MESSAGE_SIZE - 4)
    while True:
        message = len(receipts).to_bytes(4, "big") + content
        with trio.move_on_after(_PATIENCE) as scope:
            await websocket.send(message)
        if not scope.cancelled_caught:
            receipts.append(_receipt(message))
        elif websocket.statistics().bytes_buffered:  # else the machine, not the way, is busy
            return receipts


def _receipt(message: bytes) -> str:
    return f"{int.from_bytes(message[:4], 'big')}: {len(message)} bytes, {zlib.crc32(message):08x}"


def verify(holds: bool, otherwise: str) -> None:
    """Go on if what the demo is about to claim holds.

    Raises:
        CommandError: it does not.
    """
    if not holds:
        raise CommandError(f"the demo has failed: {otherwise}", FAILED)


def pong_text(latency: float | None) -> str:
    """What to say about a ping: its pong came after `latency` seconds, or not at all (None)."""
    return "no pong" if latency is None else f"pong after {latency * 1000:.2f} ms"


# serve


PAGE: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>trio_ws echo</title>
<h1>trio_ws echo</h1>
<form id="form"><input id="text" autofocus> <button>Send</button></form>
<pre id="log"></pre>
<script>
  const [form, text, log] = ["form", "text", "log"].map((id) => document.getElementById(id));
  const say = (line) => { log.textContent += line + "\\n"; };
  const websocket = new WebSocket(location.href.replace(/^http/, "ws").replace(/#.*/, ""));
  websocket.onopen = () => say("open");
  websocket.onmessage = (event) => say("< " + event.data);
  websocket.onclose = (event) => say(`closed: ${event.code} ${event.reason}`);
  form.onsubmit = (event) => {
    event.preventDefault();
    say("> " + text.value);
    websocket.send(text.value);
    text.value = "";
  };
</script>
"""


async def serve(
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Send messages back until SIGINT (Ctrl-C) or SIGTERM, then close with 1001.

    Args:
        host: the address to listen on.
        port: 0 is any free one.
        ssl_context: for TLS; None is without.
        task_status: gets the server once it listens, and signals end it.

    Raises:
        CommandError: listening failed.
    """
    server = WebSocketServer(
        echo, await _listen(host, port, ssl_context), http_handler=page, disconnect_timeout=5
    )
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await nursery.start(server.run)
            for listener in server.listeners:
                url = f"{listener.url}/" if isinstance(listener, Endpoint) else listener
                page_url = url.replace("ws", "http", 1)
                print(f"{url} sends messages back; {page_url} is a page for that", flush=True)
            print("Ctrl-C ends the server", flush=True)
            task_status.started(server)
            await anext(aiter(signals))
        # A second Ctrl-C, which nobody receives, now ends the program at once.
        await server.aclose(1001, "the server ends")


async def _listen(
    host: str, port: int, ssl_context: ssl.SSLContext | None
) -> list[trio.SocketListener] | list[trio.SSLListener[trio.SocketStream]]:
    try:
        if ssl_context is None:
            return await trio.open_tcp_listeners(port, host=host)
        return await trio.open_ssl_over_tcp_listeners(
            port, ssl_context, host=host, https_compatible=True
        )
    except OSError as exc:
        raise CommandError(f"cannot listen on {host} port {port}: {exc}", FAILED) from exc


async def echo(request: WebSocketRequest) -> None:
    """Send each message back; speak whatever subprotocol the client prefers."""
    subprotocol = next(iter(request.proposed_subprotocols), None)
    async with await request.accept(subprotocol=subprotocol) as websocket:
        async for message in websocket:
            await websocket.send(message)


async def page(request: HTTPRequest) -> HTTPResponse:
    """Answer ordinary HTTP: `PAGE` is at /."""
    if request.path.partition("?")[0] != "/":
        return HTTPResponse(404, body=b"there is only /\n")
    if request.method not in {"GET", "HEAD"}:
        return HTTPResponse(405, [("Allow", "GET, HEAD")])
    return HTTPResponse(200, [("Content-Type", "text/html; charset=utf-8")], PAGE)


# connect


class Input(Protocol):
    """A raw file: `read` waits for bytes, and returns none at the end."""

    def read(self, size: int, /) -> bytes | None:
        """Read up to `size` bytes."""


async def connect(
    url: str,
    ssl_context: ssl.SSLContext | None,
    stdin: Input,
    *,
    headers: Iterable[tuple[str, str]] = (),
    subprotocols: Iterable[str] = (),
    linger: float = 1,
) -> None:
    """Send each line of `stdin` as a text message, print each message that arrives.

    Ends when the peer closes, or when `stdin` has ended and no message has come for a while.
    Messages are printed on stdout, all the rest on stderr.

    Args:
        url: where to.
        ssl_context: for ``wss:``, instead of TLS with the system's certificates.
        stdin: unbuffered, for a thread that waits for it is left alone in the end; a buffered
            file would be locked then, and keep Python from ending.
        headers: headers to add to the request.
        subprotocols: subprotocols to propose.
        linger: seconds without a message after the end of `stdin`, for answers that are due.

    Raises:
        CommandError: an argument was wrong, no connection came about, or it was lost.
    """
    try:
        opening = open_websocket_url(
            url, ssl_context, extra_headers=list(headers), subprotocols=list(subprotocols)
        )
    except ValueError as exc:
        raise CommandError(str(exc), MISUSED) from exc
    try:
        async with opening as websocket:
            _note(f"connected to {url}{_with_subprotocol(websocket)}; end of file closes")
            lost = await _Dialogue(websocket, stdin, linger).run()
    except ConnectionRejected as exc:
        body = (exc.body or b"").decode(errors="backslashreplace").strip()
        raise CommandError(f"{exc}: {body[:200]}" if body else str(exc), FAILED) from exc
    except HandshakeError as exc:
        raise CommandError(str(exc), FAILED) from exc
    _note(_summary(websocket))
    if lost is not None:
        raise CommandError(f"the connection was lost: {lost.__cause__ or lost}", FAILED)


class _Dialogue:
    """Lines out, messages in.

    Args:
        websocket: the connection.
        stdin: where the lines come from.
        linger: seconds of silence that end it after the last line.
    """

    def __init__(self, websocket: WebSocketConnection, stdin: Input, linger: float) -> None:
        self._websocket = websocket
        self._stdin = stdin
        self._linger = linger
        self._silence = trio.CancelScope()  # its deadline is set once there are no more lines

    async def run(self) -> ConnectionClosed | None:
        """Talk until the end; return the error if the connection was lost."""
        lost = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_lines)
            nursery.start_soon(self._ping)
            with self._silence:
                lost = await self._print_messages()
            nursery.cancel_scope.cancel()
        return lost

    async def _print_messages(self) -> ConnectionClosed | None:
        try:
            async for message in self._websocket:
                print(_shown(message), flush=True)
                if self._silence.deadline < math.inf:
                    self._expect_silence()
        except ConnectionClosed as exc:
            return exc
        return None

    async def _send_lines(self) -> None:
        with suppress(ConnectionClosed):  # which the other task hears of, too
            rest = b""
            while chunk := await self._read():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    await self._send(line)
            if rest:
                await self._send(rest)
            self._expect_silence()

    async def _read(self) -> bytes | None:
        return await trio.to_thread.run_sync(self._stdin.read, 2**16, abandon_on_cancel=True)

    async def _send(self, line: bytes) -> None:
        await self._websocket.send(line.removesuffix(b"\r").decode(errors="replace"))

    async def _ping(self) -> None:
        with suppress(ConnectionClosed):
            await self._websocket.ping()

    def _expect_silence(self) -> None:
        self._silence.deadline = trio.current_time() + self._linger


def _shown(message: str | bytes) -> str:
    if isinstance(message, str):
        return printable(message)
    return f"[{len(message)} bytes] {message.hex(' ')}"


def _with_subprotocol(websocket: WebSocketConnection) -> str:
    return "" if websocket.subprotocol is None else f", subprotocol {websocket.subprotocol}"


def _summary(websocket: WebSocketConnection) -> str:
    done, closed = websocket.statistics(), websocket.closed
    assert closed is not None
    return (
        f"closed: {closed.code} {closed.name} {closed.reason or ''}".rstrip()
        + f"; {done.messages_sent} sent, {done.messages_received} received"
        + f", {pong_text(done.latency)}"
    )


def _note(text: str) -> None:
    """Print a line about the connection beside the messages."""
    print(printable(text), file=sys.stderr, flush=True)
