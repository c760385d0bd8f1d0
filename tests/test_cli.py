import io
import os
import re
import runpy
import signal
import ssl
import subprocess
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
import trustme

import trio_ws
from tests.support.servers import reserved_port
from trio_ws import _cli
from trio_ws.__main__ import main

Handler = Callable[[trio_ws.WebSocketRequest], Awaitable[None]]
ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")


class Lines:
    """A standard input that consists of chunks."""

    def __init__(self, *chunks: bytes, at_end: Callable[[], object] = lambda: None) -> None:
        self._chunks = list(chunks)
        self._at_end = at_end

    def read(self, size: int, /) -> bytes:
        """Return the next chunk, or none at the end."""
        if self._chunks:
            return self._chunks.pop(0)
        self._at_end()
        return b""


@contextmanager
def silent_input() -> Iterator[_cli.Input]:
    """A standard input on which nothing comes: who reads it waits until the block is left."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as stdin, open(writer, "wb"):
        yield stdin


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """Run a server around the block, which gets the server's URL."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve_websocket, handler, "127.0.0.1", 0, None, **options)
        server: trio_ws.WebSocketServer = await nursery.start(serve)
        yield f"ws://127.0.0.1:{server.port}/"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00e4\u4e2d\U0001f600", "plain, \u00e4\u4e2d\U0001f600"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("a\r\nb\t\0", "a\\r\\nb\\t\\x00"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("\udc80", "\\udc80"),
    ],
    ids=["plain", "escape", "C1", "lines", "bidi", "surrogate"],
)
def test_printable(text: str, shown: str) -> None:
    """Nothing of a peer's text is obeyed by a terminal."""
    assert _cli.printable(text) == shown


@pytest.mark.parametrize(
    ("latency", "text"), [(None, "no pong"), (0.0125, "pong after 12.50 ms")], ids=["none", "some"]
)
def test_pong_text(latency: float | None, text: str) -> None:
    """A latency is told in milliseconds."""
    assert _cli.pong_text(latency) == text


# demo


def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo tells, in aligned lines, what it has verified."""
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    title, blank, *lines = out.splitlines()
    assert title.startswith(f"trio_ws {trio_ws.__version__}: ")
    assert (blank, err) == ("", "")
    subjects = [re.fullmatch(r" *\d+\.\d{3} s  (.{8})  \S.*", line) for line in lines]
    assert [match and match[1].rstrip() for match in subjects] == [
        "server",
        "client",
        "text",
        "binary",
        "pressure",
        "cancel",
        "",
        "recovery",
        "",
        "ping",
        "close",
    ]
    assert max(map(len, lines)) <= 85


def test_demo_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the demo cannot verify ends it with a message and exit code 1."""
    monkeypatch.setattr(_cli, "_receipt", lambda _: os.urandom(4).hex())
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "error: the demo has failed: messages are damaged, missing or out of order\n"
    )


async def test_the_demo_tells_pressure_from_a_busy_machine(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A send that is cancelled before anything waits to be sent is tried again."""
    buffered = [0, 1]

    class Connection:
        async def send(self, _: bytes) -> None:
            await trio.sleep_forever()

        def statistics(self) -> types.SimpleNamespace:
            return types.SimpleNamespace(bytes_buffered=buffered.pop(0))

    assert await _cli.send_until_one_waits(cast(trio_ws.WebSocketConnection, Connection())) == []
    assert not buffered


# The program


def test_module() -> None:
    """`python -m trio_ws` is the program."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(sys, "argv", ["trio_ws", "--version"])
        patch.delitem(sys.modules, "trio_ws.__main__")
        runpy.run_module("trio_ws", run_name="__main__")
    assert caught.value.code == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130, ""),
        (_cli.CommandError("\x1b[2J", 2), 2, "error: \\x1b[2J\n"),
        (
            ExceptionGroup("", [ExceptionGroup("", [_cli.CommandError("why", 1)])]),
            1,
            "error: why\n",
        ),
    ],
    ids=["interrupt", "interrupted group", "error", "error in groups"],
)
def test_exit_code(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An error is one line and an exit code; Ctrl-C is silent."""

    async def fail() -> None:
        raise error

    monkeypatch.setattr(_cli, "demo", fail)
    assert main(["demo"]) == code
    assert capsys.readouterr().err == message


@posix
def test_nobody_reads_the_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A broken pipe ends the program without a word, also when Python flushes at the end."""
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as output:
        os.close(reader)
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["demo"]) == 1
        output.write("flushed at the end")
    assert capfd.readouterr() == ("", "")


def test_output_that_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program prints to whatever stands in for stdout."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["demo"]) == 0
    assert "no task is left" in output.getvalue()


def test_output_that_cannot_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the terminal's encoding lacks are escaped."""

    async def show() -> None:
        sys.stdout.write("\u4e2d")
        sys.stdout.flush()

    raw = io.BytesIO()
    monkeypatch.setattr(_cli, "demo", show)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["demo"]) == 0
    assert raw.getvalue() == b"\\u4e2d"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["connect"], "required: URL"),
        (["serve", "--port", "70000"], "not a port: '70000'"),
        (["serve", "--port", "-1"], "not a port: '-1'"),
        (["connect", "ws://x", "--header", "x"], "not of the form 'Name: value': 'x'"),
        (["connect", "ws://x", "--linger", "nan"], "not a number of seconds: 'nan'"),
        (["connect", "ws://x", "--linger", "long"], "'long'"),
        (["connect", "ws://x", "--insecure", "--cafile", "x"], "not allowed with"),
    ],
    ids=["command", "url", "port", "negative", "header", "nan", "word", "both"],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments are explained; the exit code is 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "arrived"),
    [
        (["serve"], (("127.0.0.1", 8765, None), {})),
        (["serve", "--host", "::1", "--port", "0"], (("::1", 0, None), {})),
        (
            ["connect", "ws://x"],
            (("ws://x", None), {"headers": [], "subprotocols": [], "linger": 1}),
        ),
        (
            [
                "connect",
                "ws://x",
                "--header=A:b",
                "--header=C: d",
                "--subprotocol=e",
                "--linger=0.5",
            ],
            (
                ("ws://x", None),
                {"headers": [("A", "b"), ("C", "d")], "subprotocols": ["e"], "linger": 0.5},
            ),
        ),
    ],
    ids=["serve", "serve all", "connect", "connect all"],
)
def test_arguments(arguments: list[str], arrived: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments reach the commands; without them there are defaults."""
    calls: list[object] = []

    async def serve(*args: object) -> None:
        calls.append((args, {}))

    async def connect(url: str, context: object, stdin: _cli.Input, **options: object) -> None:
        assert not stdin.read(1)
        calls.append(((url, context), options))

    monkeypatch.setattr(_cli, "serve", serve)
    monkeypatch.setattr(_cli, "connect", connect)
    with open(os.devnull, "rb") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(arguments) == 0
    assert calls == [arrived]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--keyfile", "key"], "--keyfile needs --certfile"),
        (["serve", "--certfile", "no/such/file"], "cannot use the certificate or its key: "),
        (["connect", "wss://x", "--cafile", "no/such/file"], "--cafile no/such/file: "),
    ],
    ids=["keyfile", "certfile", "cafile"],
)
def test_wrong_files(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Certificates that cannot be used are an error with exit code 2."""
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server with --certfile is trusted with --cafile or --insecure, and not without."""
    contexts: list[ssl.SSLContext | None] = []

    async def take(_: object, __: object, context: ssl.SSLContext | None) -> None:
        contexts.append(context)

    async def take_too(url: str, context: ssl.SSLContext | None, *_: object, **__: object) -> None:
        contexts.append(context)

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    chain = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    chain.write_to_path(str(tmp_path / "chain"))
    with monkeypatch.context() as patch, open(os.devnull, "rb") as nothing:
        patch.setattr(_cli, "serve", take)
        patch.setattr(_cli, "connect", take_too)
        patch.setattr(sys, "stdin", nothing)
        assert main(["serve", "--certfile", str(tmp_path / "chain")]) == 0
        for trust in ([], ["--cafile", str(tmp_path / "ca")], ["--insecure"]):
            assert main(["connect", "wss://x", *trust]) == 0
    server_context, *client_contexts = contexts
    assert client_contexts[0] is None

    async def talk() -> None:
        async with trio.open_nursery() as nursery:
            serve = partial(_cli.serve, "127.0.0.1", 0, server_context)
            server: trio_ws.WebSocketServer = await nursery.start(serve)
            url = f"wss://127.0.0.1:{server.port}/"
            for context in client_contexts[1:]:
                await _cli.connect(url, context, Lines(), linger=0)
            with pytest.raises(_cli.CommandError, match="CERTIFICATE_VERIFY_FAILED"):
                await _cli.connect(url, None, Lines(), linger=0)
            nursery.cancel_scope.cancel()

    trio.run(talk)
    assert "wss://127.0.0.1:" in capsys.readouterr().out


# serve


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_serve(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages come back; a signal ends the server, whose clients see 1001."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(_cli.serve, "127.0.0.1", 0, None)
        address = f"127.0.0.1:{server.port}/"
        async with trio_ws.open_websocket_url(
            f"ws://{address}", subprotocols=["first", "second"]
        ) as websocket:
            assert websocket.subprotocol == "first"
            for message in ("text", b"binary"):
                await websocket.send(message)
                assert await websocket.receive() == message
            signal.raise_signal(number)
            await websocket.wait_closed()
            assert websocket.closed == trio_ws.CloseReason(1001, "the server ends")
    assert capsys.readouterr().out == (
        f"ws://{address} sends messages back; http://{address} is a page for that\n"
        "Ctrl-C ends the server\n"
    )


async def test_serve_on_a_port_that_is_taken() -> None:
    """A server that cannot listen says so."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(_cli.CommandError, match=f"cannot listen on 127.0.0.1 port {port}: "):
            await _cli.serve("127.0.0.1", port, None)


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/", 200, _cli.PAGE),
        ("HEAD", "/?query", 200, _cli.PAGE),
        ("POST", "/", 405, b""),
        ("GET", "/favicon.ico", 404, b"there is only /\n"),
    ],
    ids=["page", "head", "post", "other"],
)
async def test_page(method: str, path: str, status: int, body: bytes) -> None:
    """An ordinary GET of / gets a page."""
    response = await _cli.page(trio_ws.HTTPRequest(method, path, [], "", ""))
    assert (response.status_code, response.body) == (status, body)


async def test_page_on_the_wire() -> None:
    """The page comes from the same port."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.WebSocketServer = await nursery.start(_cli.serve, "127.0.0.1", 0, None)
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = b"".join([chunk async for chunk in stream])
        nursery.cancel_scope.cancel()
    assert response.startswith(b"HTTP/1.1 200 ")
    assert response.endswith(b"\r\n\r\n" + _cli.PAGE)


# connect


async def test_connect_sends_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is a text message, however it arrives; the end closes with 1000."""
    received, closed = [], []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        async with await request.accept() as websocket:
            received.extend([message async for message in websocket])
            closed.append(websocket.closed)

    lines = Lines(b"one\nt", b"wo\r", b"\n\nthr", b"\xc3", b"\xa4\xff")
    async with serving(handler) as url:
        await _cli.connect(url, None, lines, linger=0)
    assert received == ["one", "two", "", "thr\u00e4\ufffd"]
    assert closed == [trio_ws.CloseReason(1000)]
    out, err = capsys.readouterr()
    first, last = err.splitlines()
    assert (out, first) == ("", f"connected to {url}; end of file closes")
    assert re.fullmatch(r"closed: 1000 NORMAL_CLOSURE; 4 sent, 0 received, .*", last)


async def test_connect_prints_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text is printed escaped, binary in hexadecimal, and how the server closed at the end."""
    answered = trio.Event()
    ping = trio_ws.WebSocketConnection.ping

    async def ping_and_tell(websocket: trio_ws.WebSocketConnection) -> None:
        await ping(websocket)
        answered.set()

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        websocket = await request.accept()
        await websocket.send("\x1b[2Jfirst\nline")
        await websocket.send(b"\x00\xff")
        await answered.wait()
        await websocket.aclose(3000, "\x07enough")

    monkeypatch.setattr(trio_ws.WebSocketConnection, "ping", ping_and_tell)
    async with serving(handler) as url:
        with silent_input() as stdin:
            await _cli.connect(url, None, stdin)  # whose thread still waits
    out, err = capsys.readouterr()
    assert out == "\\x1b[2Jfirst\\nline\n[2 bytes] 00 ff\n"
    closed = r"closed: 3000 IANA_RESERVED \\x07enough; 0 sent, 2 received, pong after .* ms"
    assert re.fullmatch(closed, err.splitlines()[-1])


async def test_connect_waits_for_answers(
    mock_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After the last line, only silence ends the client."""
    ended = trio.Event()

    async def read_inline(read: Callable[[int], bytes], size: int, **_: object) -> bytes:
        await trio.lowlevel.checkpoint()
        return read(size)

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        async with await request.accept() as websocket:
            await ended.wait()
            for _ in range(3):
                mock_clock.jump(0.75)
                await websocket.send("answer")
                await websocket.ping()
                await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1)
            await websocket.wait_closed()

    monkeypatch.setattr(trio.to_thread, "run_sync", read_inline)
    async with serving(handler) as url:
        await _cli.connect(url, None, Lines(at_end=ended.set), linger=1)
    out, err = capsys.readouterr()
    assert out == "answer\n" * 3
    assert "closed: 1000 NORMAL_CLOSURE; 0 sent, 3 received" in err


async def test_connect_shakes_hands(capsys: pytest.CaptureFixture[str]) -> None:
    """Headers and subprotocols reach the server; the one it chooses is told."""
    seen = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        seen.extend([dict(request.headers)[b"x-name"], request.proposed_subprotocols])
        await (await request.accept(subprotocol="b")).aclose()

    async with serving(handler) as url:
        await _cli.connect(
            url, None, Lines(), headers=[("X-Name", "value")], subprotocols=["a", "b"]
        )
    assert seen == [b"value", ("a", "b")]
    assert "subprotocol b;" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the server answered 403 instead of 101"),
        (b" no!\n", "the server answered 403 instead of 101: no!"),
    ],
    ids=["no body", "body"],
)
async def test_connect_is_rejected(body: bytes, message: str) -> None:
    """A rejection is told with its body; the exit code is 1."""

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await request.reject(403, body=body)

    async with serving(handler) as url:
        with pytest.raises(_cli.CommandError) as caught:
            await _cli.connect(url, None, Lines())
    assert (str(caught.value), caught.value.code) == (message, 1)


async def test_connect_finds_nobody() -> None:
    """Where nobody listens, there is an error with exit code 1."""
    with reserved_port() as port:
        with pytest.raises(_cli.CommandError, match="connecting failed") as caught:
            await _cli.connect(f"ws://127.0.0.1:{port}/", None, Lines())
    assert caught.value.code == 1


async def test_connect_to_no_url() -> None:
    """What is no WebSocket URL is an error with exit code 2."""
    with pytest.raises(_cli.CommandError) as caught:
        await _cli.connect("http://localhost/", None, Lines())
    assert caught.value.code == 2


async def test_connect_loses_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    """A connection that breaks off is an error that says why, with exit code 1."""

    async def break_off(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_ws.wrap_server_stream(nursery, stream)
            await request.accept()
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, break_off, 0)
        port = listeners[0].socket.getsockname()[1]
        with silent_input() as stdin:
            with pytest.raises(_cli.CommandError, match=r"the connection was lost: \w+") as caught:
                await _cli.connect(f"ws://127.0.0.1:{port}/", None, stdin)
        nursery.cancel_scope.cancel()
    assert caught.value.code == 1
    assert "closed: 1006 ABNORMAL_CLOSURE; 0 sent, 0 received" in capsys.readouterr().err


# As processes


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the program as a process that heeds Ctrl-C, also if the tests run in the background."""
    pipe = subprocess.PIPE
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "trio_ws", *arguments],
            cwd=ROOT,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, ours)


def ask(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to a process, and read a line from it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    return process.stdout.readline()


@posix
def test_the_program_is_interrupted() -> None:
    """Ctrl-C ends a client with 130 and a server with 0, both without a traceback."""
    with start("serve", "--port", "0") as server:
        url = ask(server, "").split()[0]
        with start("connect", url) as one, start("connect", url) as other:
            assert ask(one, "hello\n") == "hello\n"
            assert ask(other, "hi\n") == "hi\n"
            one.send_signal(signal.SIGINT)
            assert one.wait() == 130
            server.send_signal(signal.SIGINT)
            _, server_errors = server.communicate()
            assert (other.wait(), server.returncode) == (0, 0)
            assert (server_errors, one.stdin and one.stderr and one.stderr.read()) == (
                "",
                f"connected to {url}; end of file closes\n",
            )
            assert other.stderr is not None
            assert "closed: 1001 GOING_AWAY the server ends; 1 sent, " in other.stderr.read()


@posix
def test_a_pipeline() -> None:
    """What is piped in comes back, and then the program ends."""
    with start("serve", "--port", "0") as server:
        url = ask(server, "").split()[0]
        with start("connect", url, "--linger", "3600") as client:  # however late the answers are
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write("one\ntwo\n")
            client.stdin.close()
            assert [client.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
            with start("connect", url, "--linger", "0") as other:
                other.communicate("one\ntwo\n")
            server.terminate()
            server.communicate()
            assert client.stdout.read() == ""
    assert (client.returncode, other.returncode, server.returncode) == (0, 0, 0)
