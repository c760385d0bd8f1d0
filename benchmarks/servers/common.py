"""What the servers share: their command line, their first line of output, their end."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, NamedTuple

HOST: Final = "127.0.0.1"
# Bytes of the largest message: whoever measures sends 64 MiB at most.
MAX_SIZE: Final = 65 * 2**20


class Options(NamedTuple):
    """How a server is to run.

    Args:
        context: for TLS; None is without.
        deflate: agree to permessage-deflate.
        uvloop: run asyncio on uvloop.
    """

    context: ssl.SSLContext | None
    deflate: bool
    uvloop: bool


def parse_options() -> Options:
    """Read the command line, and end when whoever started this process has ended."""
    parser = argparse.ArgumentParser(description="An echo server; prints its port as JSON.")
    parser.add_argument("--certificate", type=Path, help="PEM of key and certificate; for TLS")
    parser.add_argument("--deflate", action="store_true", help="agree to permessage-deflate")
    parser.add_argument("--uvloop", action="store_true", help="for servers on asyncio")
    arguments = parser.parse_args()
    context = None
    if arguments.certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.certificate)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return Options(context, arguments.deflate, arguments.uvloop)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def announce(port: int) -> None:
    """Tell whoever started this process that it listens."""
    print(json.dumps({"port": port, "pid": os.getpid()}), flush=True)


def run(main: Callable[[Options], Coroutine[object, object, None]], options: Options) -> None:
    """Run a server on asyncio, or on uvloop."""
    factory = None
    if options.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(options))
