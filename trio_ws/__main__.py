"""The program `python -m trio_ws`: its arguments and its exit codes."""

from __future__ import annotations

import argparse
import io
import os
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import cast

import trio

from . import __version__, _cli
from ._cli import FAILED, MISUSED, CommandError
from ._protocol._mask import MASKS_IN_C

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: its arguments, without its name; None are those of the process.

    Returns:
        The exit code: 0, 1 if the network or the peer is to blame, 2 if the arguments are, 130
        after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # not a file, so there is no encoding that could fail
            cast(io.TextIOWrapper, stream).reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    code = 0
    try:
        arguments.run(arguments)
    except* KeyboardInterrupt:
        code = _INTERRUPTED
    except* BrokenPipeError:
        code = FAILED
        _discard_output()
    except* CommandError as group:
        for error in _leaves(group):
            code = error.code
            print(f"error: {_cli.printable(str(error))}", file=sys.stderr)
    return code


def _leaves(group: BaseExceptionGroup[CommandError]) -> list[CommandError]:
    """The exceptions of a group, and of the groups in it."""
    found: list[CommandError] = []
    for inner in group.exceptions:
        found += _leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner]
    return found


def _discard_output() -> None:
    """Whoever read our output has gone: Python is not to complain when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# Arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trio_ws", description="WebSocket clients and servers for Trio."
    )
    language = "C" if MASKS_IN_C else "Python"
    version = f"trio_ws {__version__}, masking in {language}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    text = "show a server and a client at work"
    command = commands.add_parser("demo", help=text, description=f"{text.capitalize()}.")
    command.set_defaults(run=lambda _: trio.run(_cli.demo))
    _add_serve(commands.add_parser("serve", help="run a server that sends messages back"))
    _add_connect(commands.add_parser("connect", help="talk to a server line by line"))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a server that sends each message back. Its address, opened in a browser, is a page to "
        "try that. Ctrl-C ends it; its clients see close code 1001."
    )
    parser.add_argument("--host", default="127.0.0.1", help="listen here (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8765, help="0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--certfile", help="speak TLS with this certificate chain (PEM), maybe with its key"
    )
    parser.add_argument("--keyfile", help="the key of --certfile, if it is in another file")
    parser.set_defaults(run=_serve)


def _add_connect(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Send each line of standard input (UTF-8) as a text message, and print each message that "
        "arrives: text with its control characters escaped, binary in hexadecimal. End of file "
        "closes the connection."
    )
    parser.add_argument("url", metavar="URL", help="ws://... or wss://...")
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        type=_header,
        action="append",
        default=[],
        help="add a header to the request; may be given several times",
    )
    parser.add_argument(
        "--subprotocol",
        metavar="NAME",
        action="append",
        default=[],
        help="propose a subprotocol; may be given several times, the preferred first",
    )
    parser.add_argument(
        "--linger",
        metavar="SECONDS",
        type=_seconds,
        default=1,
        help="after the end of file, close after so long a silence (default: %(default)s)",
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--cafile", help="trust the certificates in this file (PEM), and no others")
    trust.add_argument(
        "--insecure", action="store_true", help="unsafe: do not verify the server's certificate"
    )
    parser.set_defaults(run=_connect)


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"not a port: {text!r}")


def _seconds(text: str) -> float:
    seconds = float(text)  # what is no number is a ValueError, which argparse reports
    if seconds >= 0:
        return seconds
    raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"not of the form 'Name: value': {text!r}")
    return name, value.strip()


# Commands


def _serve(arguments: argparse.Namespace) -> None:
    trio.run(_cli.serve, arguments.host, arguments.port, _server_context(arguments))


def _connect(arguments: argparse.Namespace) -> None:
    context = _client_context(arguments)
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
        run = partial(
            _cli.connect,
            arguments.url,
            context,
            stdin,
            headers=arguments.header,
            subprotocols=arguments.subprotocol,
            linger=arguments.linger,
        )
        trio.run(run)


def _server_context(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if arguments.certfile is None:
        if arguments.keyfile is not None:
            raise CommandError("--keyfile needs --certfile", MISUSED)
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(arguments.certfile, arguments.keyfile)
    except OSError as exc:
        raise CommandError(f"cannot use the certificate or its key: {exc}", MISUSED) from exc
    return context


def _client_context(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if arguments.insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if arguments.cafile is None:
        return None
    try:
        return ssl.create_default_context(cafile=arguments.cafile)
    except OSError as exc:
        raise CommandError(f"--cafile {arguments.cafile}: {exc}", MISUSED) from exc


if __name__ == "__main__":
    sys.exit(main())
