"""The library broken on purpose: the worlds have to find each of these bugs.

The table is the only place in this directory that knows names from within the library.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from unittest import mock

import trio

import trio_ws
from trio_ws import _inbox, _reader, _server, _transport, _turns, _writer
from trio_ws._protocol import _deflate, _frames, _machine, _mask, _output

from .batch import alarm
from .making import make_plan
from .run import run
from .shrink import kinds

_Connection: Any = trio_ws.WebSocketConnection
_send, _receive, _aclose = _Connection.send, _Connection.receive, _Connection.aclose
_send_close: Any = _machine.Protocol.send_close
_compress: Any = _deflate.Compressor.compress
_right_mask: Any = _mask.mask
_advance: Any = _output.Output.advance


_fill: Any = _inbox.Inbox.fill


def _boundless_fill(inbox: Any, protocol: Any) -> bool:
    inbox._max_messages = inbox._max_bytes = 2**62
    return bool(_fill(inbox, protocol))


# A bug may make a task go round in circles.
_WORLD_SECONDS: Final = 8.0


@dataclass(frozen=True)
class Bug:
    """A way to break the library.

    Args:
        name: what is broken.
        target: a class or a module.
        changes: what its names are replaced by.
        finds: kinds of violations, one of which has to be seen.
        within: seeds, from the first on, that have to be enough.
    """

    name: str
    target: Any
    changes: dict[str, Any]
    finds: frozenset[str]
    within: int = 100

    @contextmanager
    def patched(self) -> Generator[None, None, None]:
        """The library is broken meanwhile."""
        with ExitStack() as stack:
            for name, change in self.changes.items():
                stack.enter_context(mock.patch.object(self.target, name, change))
            yield


async def _late_send(self: Any, value: str | bytes, **options: Any) -> None:
    await _send(self, value, **options)
    await trio.lowlevel.checkpoint()


async def _proud_send(self: Any, value: str | bytes, **options: Any) -> None:
    try:
        await _send(self, value, **options)
    except trio_ws.ConnectionClosed:
        await trio.lowlevel.checkpoint()


async def _greedy_receive(self: Any) -> str | bytes:
    message: str | bytes = await _receive(self)
    await trio.lowlevel.checkpoint()
    return message


async def _stuttering_receive(self: Any) -> str | bytes:
    before = vars(self).pop("_before", None)
    if before is not None and len(before) % 5 == 0:
        await trio.lowlevel.checkpoint()
        return bytes(before) if isinstance(before, bytes) else str(before)
    message: str | bytes = await _receive(self)
    self._before = message
    return message


async def _deaf_aclose(self: Any, code: int = 1000, reason: str | None = None) -> None:
    try:
        await _aclose(self, code, reason)
    except trio.Cancelled:
        pass


async def _hasty_aclose(self: Any, code: int = 1000, reason: str | None = None) -> None:
    self._begin_close(code, reason)
    await trio.lowlevel.checkpoint()


async def _open_transport(self: Any, *, force: bool) -> None:
    await trio.lowlevel.cancel_shielded_checkpoint()


def _unfair_admit(self: Any) -> None:
    protocol = self._protocol
    while self.waiting and not self._reserved and protocol.has_room and protocol.is_open:
        turn = self.waiting.pop()
        turn.queue()
        turn.queued = True
        trio.lowlevel.reschedule(turn.task)


def _forgetful_lost(self: Any, cause: Exception) -> None:
    self._inbox.messages.clear()
    self._inbox.size = 0
    _lost(self, cause)


def _idle_refill(self: Any) -> None:
    if not self._protocol.eof:
        _refill(self)


async def _empty_handed_receive(self: Any) -> str | bytes:
    message: str | bytes = ""
    while not message:
        message = await _receive(self)
    return message


def _short_encode(self: Any, method: str) -> bytes:
    answer: bytes = _encode(self, method)
    return answer if method == "HEAD" else answer[:-1]


async def _silent_http_handler(self: Any, exchange: Any) -> None:
    await trio.sleep_forever()


def _talkative_close(self: Any, code: int | None, reason: str | None = None) -> None:
    was_open = self.is_open
    _send_close(self, code, reason)
    if was_open:
        self.output.append(_frames.encode_frame(_frames.PONG, b"", masked=self.client))


async def _sticky_wait(self: Any) -> None:
    self.answered = True
    self._receivers.append(trio.lowlevel.current_task())
    await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)


def _torn_mask(data: Any, key: Any, offset: int = 0, /) -> bytes:
    masked: bytes = _right_mask(data, key, 0)
    return masked


def _drifting_compress(self: Any, message: bytes) -> bytes:
    if len(message) % 7 == 0:
        _compress(self, message)  # as if for a send that was given up
    compressed: bytes = _compress(self, message)
    return compressed


def _skipping_advance(self: Any, size: int) -> None:
    _advance(self, size if size % 5 else self.size)


_lost: Any = _reader.Reader._lost
_refill: Any = _reader.Reader.refill
_encode: Any = trio_ws.HTTPResponse._encode


class _Unshielded:
    """Trio without shields."""

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)

    @staticmethod
    def CancelScope(*, shield: bool = False, **options: Any) -> trio.CancelScope:  # noqa: N802
        """A scope without a shield."""
        return trio.CancelScope(**options)


def _nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""


def _raise(self: Any, request: Any, exc: BaseException) -> None:
    raise exc


def _bug(name: str, target: Any, finds: str, within: int = 100, **changes: Any) -> Bug:
    return Bug(name, target, changes, frozenset(finds.split()), within)


BUGS: Final = {
    bug.name: bug
    for bug in (
        _bug("send is cancelled too late", _Connection, "cancelled", send=_late_send),
        _bug("send hides the end", _Connection, "after-close lost", send=_proud_send),
        _bug("receive loses what it has", _Connection, "gap", receive=_greedy_receive),
        _bug("receive repeats itself", _Connection, "double", receive=_stuttering_receive),
        _bug("aclose swallows Cancelled", _Connection, "swallowed", aclose=_deaf_aclose),
        _bug("aclose does not wait", _Connection, "state", aclose=_hasty_aclose),
        _bug("a Close is followed by messages", _machine.Protocol, "wire",
             send_close=_talkative_close),
        _bug("streams stay open", _transport.StreamTransport, "streams", aclose=_open_transport),
        _bug("writes are torn by cancellation", _writer, "wire hang tasks undocumented",
             trio=_Unshielded()),
        _bug("no goodbye", _writer.Writer, "goodbye",
             goodbye=lambda self, code=1001: self.hurry()),
        _bug("the last to wait sends first", _turns.Turns, "order", admit=_unfair_admit),
        _bug("nobody is told that no turn comes", _turns.Turns, "hang", refuse=_nothing),
        _bug("a lost connection loses its queue", _reader.Reader, "lost", _lost=_forgetful_lost),
        _bug("what is behind a full queue is lost at the end", _reader.Reader, "lost",
             refill=_idle_refill),
        _bug("empty messages are skipped", _Connection, "gap calm lost",
             receive=_empty_handed_receive),
        _bug("pages are cut short", trio_ws.HTTPResponse, "http", _encode=_short_encode),
        _bug("ordinary requests are not answered", _server.WebSocketServer, "http hang",
             _run_http_handler=_silent_http_handler),
        _bug("receivers are not told of the end", _inbox.Inbox, "hang", wake_all=_nothing),
        _bug("cancelled receivers stay in line", _inbox.Inbox, "calm hang undocumented",
             wait=_sticky_wait),
        _bug("a queue without bounds", _inbox.Inbox, "statistics",
             fill=_boundless_fill),
        _bug("masks begin anew in each piece", _frames, "whole calm close", mask=_torn_mask),
        _bug("compressors get out of step", _deflate.Compressor, "wire calm whole",
             compress=_drifting_compress),
        _bug("pings are not answered", _machine.Protocol, "calm hang", _reply_pong=_nothing),
        _bug("bytes that were not sent count as sent", _output.Output, "wire whole lost calm",
             advance=_skipping_advance),
        _bug("handlers' errors leave the server", _server.WebSocketServer, "leaked undocumented",
             _handle_error=_raise),
    )
}  # fmt: skip


@contextmanager
def broken(name: str | None) -> Generator[None, None, None]:
    """The library with one bug; None is none."""
    with ExitStack() as stack:
        if name is not None:
            stack.enter_context(BUGS[name].patched())
        yield


def search(bug: Bug, most: int | None = None) -> tuple[int | None, set[str]]:
    """The first seed that finds a bug, or None; and the kinds of what was violated."""
    seen: set[str] = set()
    with bug.patched():
        for seed in count(1):
            if seed > (most or bug.within):
                return None, seen
            with alarm(_WORLD_SECONDS):
                seen |= kinds(run(make_plan(seed)).violations)
            if seen & bug.finds:
                return seed, seen
    raise AssertionError


def run_all(say: Callable[[str], None], name: str, most: int | None) -> int:
    """Print which seed finds each bug; 1 if one goes unnoticed."""
    unnoticed = 0
    for bug in BUGS.values() if not name else [BUGS[name]]:
        seed, seen = search(bug, most)
        unnoticed += seed is None
        found = "NOT FOUND" if seed is None else f"found by seed {seed}"
        say(f"{bug.name}: {found} {sorted(seen)}")
    say(f"{len(BUGS) if not name else 1} bugs, {unnoticed} not found")
    return unnoticed > 0
