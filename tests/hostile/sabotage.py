"""The library without one of its defences: which attack turns red.

All names of the library's inside that this package knows stand in this table.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
import ssl
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import trio

from trio_ws import _inbox, _request, _timing
from trio_ws._protocol import _messages

from .runner import run
from .table import ATTACKS

# Real seconds after which an attack hangs, with a defence taken away; or more, see `noticed`.
GUARD = 1.0


@dataclass(frozen=True)
class Sabotage:
    """A defence that is taken away.

    Args:
        name: what does not hold any more.
        attack: the attack that finds it.
        patches: what stands in for what, by dotted names.
    """

    name: str
    attack: str
    patches: dict[str, Any]


class _Equal(bytes):
    """Equal to everything."""

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def _nothing(*args: object, **options: object) -> None:
    pass


_fill: Any = _inbox.Inbox.fill
_add: Any = _messages.Message.add
_begin_pings: Any = _timing.Pings.__init__


def _add_without_limit(message: Any, data: bytes) -> None:
    message._max_size = 2**62
    _add(message, data)


def _fill_without_bounds(inbox: Any, protocol: Any) -> bool:
    inbox._max_messages = inbox._max_bytes = 2**62
    return bool(_fill(inbox, protocol))


def _width(data: bytes, width: int) -> int:
    return int.from_bytes(data, "big") << 8 * (width - len(data))


_read_request = _request.read_request


def _inflate_all(assembler: Any) -> Any:
    inflater, message = assembler._inflater, assembler.message
    message._max_size = 2**62
    while inflater.pending:
        message.add(inflater.read(2**20))
    if not message.last:
        return None
    whole = assembler._finish(message)
    inflater.finish()
    return whole


def _inflate_whole(assembler: Any, payload: bytes, *, text: bool) -> Any:
    assembler._inflater.feed(payload, last=True)
    message = assembler._begin(text=text, compressed=True)
    message.last = True
    return _inflate_all(assembler)


async def _wait_for_ever(stream: Any, settings: Any, scope: Any, data: bytes = b"") -> Any:
    settings = dataclasses.replace(settings, connect_timeout=10**6)
    return await _read_request(stream, settings, scope, data)


def _prefix(origins: Any, host: bytes, *args: object) -> bool:
    return all(origin.startswith(b"http://" + host.split(b":")[0]) for origin in origins)


def _no_pings(self: Any, interval: object, timeout: object) -> None:
    _begin_pings(self, None, None)


def _any_pong(self: Any, payload: bytes) -> None:
    for ping in self._in_flight.values():
        ping.answered = True
        ping.done.set()


async def _enter(*args: object) -> None:
    await trio.lowlevel.checkpoint()


def _trust_all(context: ssl.SSLContext, name: str) -> None:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE


class _Never(Exception):
    """Is not raised."""


_replacing = codecs.getincrementaldecoder("utf-8")
_P = "trio_ws._protocol."

SABOTAGES: Final = {
    name: Sabotage(name, attack, patches)
    for name, attack, patches in (
        (
            "messages have no limit",
            "server/fragments over the limit by a byte",
            {
                _P + "_messages.Assembler.budget": property(lambda self: 2**62),
                _P + "_messages.Message.add": _add_without_limit,
            },
        ),
        (
            "the mask is not checked",
            "server/the mask is wrong",
            {_P + "_frames.FrameReader._check_second": _nothing},
        ),
        (
            "reserved bits and opcodes are not checked",
            "server/RSV2",
            {_P + "_frames.FrameReader._check_first": _nothing},
        ),
        (
            "lengths need not be short",
            "server/5 bytes in 64 bits",
            {_P + "_frames._least_size": _width},
        ),
        (
            "UTF-8 is looked at when the message is whole",
            "server/the first bad byte in a frame that never ends",
            {_P + "_messages._utf8_decoder": lambda: _replacing("replace")},
        ),
        (
            "empty fragments are not counted",
            "server/1025 empty fragments",
            {_P + "_messages.Assembler._count_empty": _nothing},
        ),
        (
            "inflating has no limit",
            "server/a bomb, 1000-fold",
            {
                _P + "_messages.Assembler.inflate": _inflate_all,
                _P + "_messages.Assembler.add_compressed": _inflate_whole,
            },
        ),
        (
            "every ping is answered at once",
            "server/pings, and nothing read",
            {_P + "_machine.Protocol.has_room": property(lambda self: True)},
        ),
        (
            "the queue of messages has no limit",
            "server/messages that the handler does not receive",
            {"trio_ws._inbox.Inbox.fill": _fill_without_bounds},
        ),
        (
            "the handshake has no deadline",
            "server/no request at all",
            {"trio_ws._server.read_request": _wait_for_ever},
        ),
        (
            "a write has no deadline",
            "server/messages, and nothing read",
            {"trio_ws._timing.Watch.begin_write": _nothing},
        ),
        (
            "closing has no deadline",
            "client/no answer to a Close",
            {"trio_ws._timing.Watch.leave_within": _nothing},
        ),
        (
            "a message has no deadline",
            "server/a message that never ends",
            {"trio_ws._timing.MessageTimer.update": _nothing},
        ),
        (
            "there is no keepalive",
            "server/no answer to pings",
            {"trio_ws._timing.Pings.__init__": _no_pings},
        ),
        (
            "any pong answers a ping",
            "server/forged pongs",
            {"trio_ws._timing.Pings.pong": _any_pong},
        ),
        (
            "Origin is not checked",
            "server/Origin null",
            {"trio_ws._request.origin_allowed": lambda *args: True},
        ),
        (
            "Origin is compared at its beginning",
            "server/Origin with our host as a prefix",
            {"trio_ws._request.origin_allowed": _prefix},
        ),
        (
            "a body is let through",
            "server/a request in the body",
            {_P + "_handshake_server._refuse_body": _nothing},
        ),
        (
            "heads have no limit",
            "server/one endless header line",
            {_P + "_head.HeadReader._room": lambda self: (2**40, 431, "")},
        ),
        (
            "a bad request ends the server",
            "server/garbage",
            {"trio_ws._server.HandshakeError": _Never},
        ),
        (
            "a lack of descriptors ends the server",
            "server/no file descriptor is left",
            {"trio_ws._server._SHORTAGES": frozenset()},
        ),
        (
            "there is no maximum of connections",
            "server/connections beyond the maximum",
            {"trio_ws._server.WebSocketServer._enter": _enter},
        ),
        (
            "any accept is good",
            "client/a wrong accept",
            {_P + "_handshake_client.accept_key": lambda key: _Equal()},
        ),
        (
            "extensions are not checked",
            "client/an extension nobody asked for",
            {_P + "_handshake_client.verify_extensions": lambda *args: []},
        ),
        (
            "interim answers are not counted",
            "client/interim answers without end",
            {_P + "_handshake_client._MAX_INFORMATIONAL": 10**9},
        ),
        (
            "a rejection's body has no limit",
            "client/a page without end",
            {_P + "_handshake_client._Rejection.receive_data": _nothing},
        ),
        (
            "certificates are not verified",
            "client/a certificate of another name",
            {"trio_ws._client._check_tls": _trust_all},
        ),
        (
            "masking keys are zero",
            "client/masks cannot be foreseen",
            {_P + "_frames.masking_keys": mock.Mock(take=lambda: bytes(4))},
        ),
        (
            "headers may hold anything",
            "client/CR and LF in a header's value",
            {_P + "_headers._field_value": re.compile(rb"(?s).*")},
        ),
        (
            "subprotocols may be anything",
            "client/CR and LF in a subprotocol",
            {_P + "_negotiation.is_token": lambda text: True},
        ),
    )
}


# Of a stand-in that does not fit the library any more, not of a defence that is gone.
_MISFITS: Final = ("AttributeError", "NameError", "TypeError")


def noticed(sabotage: Sabotage) -> list[str]:
    """What the attack has to say against the library without this defence.

    It counts as hanging when it takes several times as long as with the defence, which must hold.
    """
    attack, began = ATTACKS[sabotage.attack], time.monotonic()
    assert not run(attack).faults, f"{attack.name} fails without any sabotage"
    guard = max(GUARD, 5 * (time.monotonic() - began))
    with ExitStack() as stack:
        for target, stand_in in sabotage.patches.items():
            stack.enter_context(mock.patch(target, stand_in))
        result = run(attack, guard=guard)
    misfits = [name for name in _MISFITS if name in result.outcome]
    assert not misfits, f"{sabotage.name}: {result.outcome}"
    return result.faults
