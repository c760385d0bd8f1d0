"""Listening on unix sockets, which Trio leaves to its users."""

from __future__ import annotations

import os
import socket
import stat

import trio

from ._arguments import check_type


async def open_unix_listener(
    path: str | bytes | os.PathLike[str],
    *,
    mode: int | None = None,
    backlog: int | None = None,
) -> trio.SocketListener:
    """Listen on a unix socket, for `WebSocketServer`.

    A socket file that an earlier server has left behind is replaced; the listener leaves its own.

    Args:
        path: where the socket is to be.
        mode: its permissions, such as ``0o600``; None leaves them to the umask.
        backlog: connections that wait to be accepted; None is what Trio takes for TCP.

    Raises:
        ValueError: `backlog` is negative.
        TypeError: an argument of the wrong type.
        OSError: there is something else, or a server that listens.
        RuntimeError: the platform has no unix sockets.
    """
    check_type("path", path, str, bytes, os.PathLike)
    check_type("mode", mode, int, None)
    check_type("backlog", backlog, int, None)
    if backlog is not None and backlog < 0:
        raise ValueError(f"backlog must not be negative, and is {backlog}")
    if not hasattr(socket, "AF_UNIX"):
        raise RuntimeError("this platform has no unix sockets")
    path = os.fspath(path)
    await _remove_stale(path)
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await sock.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(backlog if backlog is not None else 65535)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)


async def _remove_stale(path: str | bytes) -> None:
    """Remove a socket file that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        stream = await trio.open_unix_socket(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
    else:
        await stream.aclose()
