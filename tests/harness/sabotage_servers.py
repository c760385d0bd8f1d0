"""Broken on purpose: servers that are run and shut down, and unix sockets."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import Any, Final

import trio

import trio_ws

from . import internals
from .defects import Sabotage, replaced
from .internals import ACCEPT_FROM, LEAVE, REMOVE_STALE, SAY_GOODBYE, SOCKET_ACLOSE

_aclose = trio_ws.WebSocketServer.aclose
_remove_stale: Any = getattr(*REMOVE_STALE)


async def _patient_aclose(self: Any, code: int = 1001, reason: str | None = None) -> None:
    """Lets handlers go on when it is cancelled."""
    await internals.shut_down(self, code)


async def _hospitable_aclose(self: Any, code: int = 1001, reason: str | None = None) -> None:
    """Goes on accepting, and waits for the end of that."""
    await internals.shut_down(self, code, accepting=True)


async def _hasty_aclose(self: Any, code: int = 1001, reason: str | None = None) -> None:
    """Returns while handlers still run."""
    with trio.move_on_after(0):
        await internals.shut_down(self, code)
    await trio.lowlevel.checkpoint()


async def _deaf_aclose(self: Any, code: int = 1001, reason: str | None = None) -> None:
    """Swallows Cancelled."""
    try:
        await _aclose(self, code, reason)
    except trio.Cancelled:
        pass


async def _open_listener(path: str, **_: object) -> trio.SocketListener:
    """Leaves its socket open when it cannot listen."""
    await _remove_stale(path)
    assert hasattr(socket, "AF_UNIX")
    sock = trio.socket.socket(socket.AF_UNIX)
    await sock.bind(path)
    sock.listen()
    return trio.SocketListener(sock)


async def _careless_remove_stale(path: str) -> None:
    """Leaves the stream open that it has tried."""
    try:
        await trio.open_unix_socket(path)
    except FileNotFoundError:
        pass
    except ConnectionRefusedError:
        os.unlink(path)


async def _leaking_aclose(self: Any, *, force: bool) -> None:
    """Leaves the socket open."""
    await trio.lowlevel.cancel_shielded_checkpoint()


def _without_a_word() -> ExitStack:
    """Neither the handler's task says goodbye, nor those of the connection."""
    stack = replaced(LEAVE, internals.leave_without_a_word)()
    stack.enter_context(replaced(SAY_GOODBYE, internals.hurry)())
    return stack


def _middle(victim: str, *names: str, transport: str = "mem") -> tuple[str, ...]:
    return tuple(f"{victim}_in_the_middle_of_{name}-{transport}-server" for name in names)


_UNIX_CLIENTS: Final = ("open_websocket-unix-client", "connect_websocket-unix-client")
_UNIX_LISTENER: Final = ("open_unix_listener-unix-server",)

_ALL: Final = [
    Sabotage(
        "a cancelled server says no goodbye",
        _without_a_word,
        _middle("run", "echo", transport="unix"),
        frozenset({"goodbye"}),
    ),
    *(
        Sabotage(name, replaced(target, by), cases, frozenset(finds))
        for name, target, by, cases, finds in (
            (
                "a cancelled shutdown lets the handlers go on",
                (trio_ws.WebSocketServer, "aclose"),
                _patient_aclose,
                _middle("aclose", "handshake", "close"),
                {"I9"},
            ),
            (
                "a server that shuts down goes on accepting",
                (trio_ws.WebSocketServer, "aclose"),
                _hospitable_aclose,
                _middle("aclose", "echo"),
                {"I9"},
            ),
            (
                "a shutdown does not wait for the handlers",
                (trio_ws.WebSocketServer, "aclose"),
                _hasty_aclose,
                _middle("aclose", "handshake", transport="unix"),
                {"I9"},
            ),
            (
                "a shutdown swallows Cancelled",
                (trio_ws.WebSocketServer, "aclose"),
                _deaf_aclose,
                _middle("aclose", "handshake", transport="tls"),
                {"I8"},
            ),
            (
                "a server leaves its listener open",
                ACCEPT_FROM,
                internals.serve_from,
                _middle("run", "handshake", transport="unix"),
                {"I5"},
            ),
            (
                "a listener that cannot be opened leaves its socket open",
                (trio_ws, "open_unix_listener"),
                _open_listener,
                _UNIX_LISTENER,
                {"I5", "I10"},
            ),
            (
                "looking whether a server listens leaves a socket open",
                REMOVE_STALE,
                _careless_remove_stale,
                _UNIX_LISTENER,
                {"I5", "I10"},
            ),
            (
                "a client leaves its unix socket open",
                SOCKET_ACLOSE,
                _leaking_aclose,
                _UNIX_CLIENTS,
                {"I5"},
            ),
        )
    ),
]
SABOTAGES: Final = [
    sabotage
    for sabotage in _ALL
    if hasattr(socket, "AF_UNIX") or not any("-unix-" in case for case in sabotage.cases)
]
