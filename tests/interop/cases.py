"""The case table: what a client and a server do together, and what each of them must see.

Both sides of a case are played by a program of `peers` or `node`, or by trio_ws itself. A client
gets its cases as JSON. The server echoes, except for text messages that begin with "!":

    !close:CODE:REASON              close (no CODE: an empty Close frame)
    !abort                          drop the TCP connection
    !ping:PAYLOAD                   ping, wait for the pong, then send the text "ponged:PAYLOAD"
    !fragments:KIND:UNIT:COUNT:N    send a message in N frames, with a ping after the first of them
    !burst:N                        send the N texts "0", "1", ...
    !bytes:N                        send a binary message of N bytes
    !plain:KIND:UNIT:COUNT          send a message without compression
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

from tests.interop.compression import SETUPS, possible

MIB = 2**20
SUBPROTOCOL = "echo.trio-ws"  # the only one that every server knows
CROSS_ORIGIN = "https://elsewhere.example"
MIXED = "aé€😀\x00\uffff"  # UTF-8 sequences of one to four bytes, NUL and a noncharacter: 14 bytes
_PATTERN = bytes(range(251))  # a prime: no error in offset or mask can go unnoticed
NOISE = "noise"  # the unit of a binary message that cannot be compressed


@cache
def _noise(count: int) -> bytes:
    """The same in each language: the high bytes of a linear congruential generator."""
    state, data = 1, bytearray()
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        data.append(state >> 24)
    return bytes(data)


@dataclass(frozen=True)
class Message:
    """A message described so briefly that 1 MiB of it fits into a line of JSON."""

    kind: str
    unit: str = "x"
    count: int = 1
    fragments: int = 0  # 0: sent whole; else the number of frames, with a ping after the first
    compress: bool | None = None  # None: as the sender does by itself

    @property
    def data(self) -> str | bytes:
        """The message: `count` times `unit`; or `count` bytes of a pattern or noise if binary."""
        if self.kind == "text":
            return self.unit * self.count
        if self.unit == NOISE:
            return _noise(self.count)
        return (_PATTERN * (self.count // len(_PATTERN) + 1))[: self.count]

    @property
    def pieces(self) -> list[bytes]:
        """The payloads of the frames, of equal sizes: some are empty if there are few bytes."""
        data = encode(self.data)
        size = len(data) // self.fragments
        cuts = [index * size for index in range(self.fragments)]
        return [data[start:end] for start, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]


def encode(data: str | bytes) -> bytes:
    """The payload that carries `data`."""
    return data.encode() if isinstance(data, str) else data


def fingerprint(data: str | bytes) -> list[object]:
    """Kind, payload length and SHA-256 of a message: what clients report."""
    kind = "text" if isinstance(data, str) else "binary"
    payload = encode(data)
    return [kind, len(payload), hashlib.sha256(payload).hexdigest()]


@dataclass(frozen=True)
class Case:
    """One connection: the client does what the fields say, from top to bottom."""

    id: str
    group: str
    compression: str = ""  # a name of SETUPS
    path: str = "/echo"
    offer: tuple[str, ...] = ()
    origin: str = ""  # "same": that of the URL
    ping: str | None = None  # the client pings with it and waits for the pong
    pong: str | None = None  # the client sends it unasked
    send: tuple[Message, ...] = ()
    receive: tuple[Message, ...] = ()  # how many messages the client waits for, and which
    closer: str = "client"  # or "server": who ends the connection
    how: str = "close"  # or "abort", or "limit": a message over the receiver's limit
    code: int | None = 1000
    reason: str = ""
    subprotocol: str | None = None
    status: int = 101
    client_needs: frozenset[str] = frozenset()  # abilities, see LACKS
    server_needs: frozenset[str] = frozenset()
    up: str = "dense"  # what the client sends, see compression.shrinks; "" is not looked at
    down: str = "dense"  # what the server sends

    def to_json(self) -> dict[str, Any]:
        """What a client has to know; `deflate` is for those that cannot look it up."""
        fields = dataclasses.asdict(self)
        for name in "client_needs", "server_needs", "up", "down":
            del fields[name]
        theirs = SETUPS[self.compression].theirs
        return {**fields, "deflate": None if theirs is None else dataclasses.asdict(theirs)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Case:
        """The inverse of `to_json`, for clients written in Python."""
        messages = {name: tuple(Message(**m) for m in fields[name]) for name in ("send", "receive")}
        known = {name: fields[name] for name in fields if name != "deflate"}
        return cls(**{**known, "offer": tuple(fields["offer"]), **messages})


_FOREIGN_LACKS = frozenset({"origin", "small-limit", "threshold"})
_BROWSER_LACKS = _FOREIGN_LACKS | {
    *("fragments", "abort", "ping", "protocol-codes", "set-origin", "status", "choice")
}
# What an endpoint cannot do, or only through its private parts. The rest of the table it must do.
LACKS: dict[str, frozenset[str]] = {
    # Fragmented sending and an empty Close have no public API; it never drops TCP without a Close.
    "trio_ws": frozenset({"fragments", "empty-close", "abort"}),
    # Compresses all messages or none.
    "websockets": _FOREIGN_LACKS | {"empty-close", "choice"},
    "websockets-trio": _FOREIGN_LACKS | {"empty-close", "choice"},
    # Writes every message as one frame; its client has no way to drop the connection.
    "aiohttp": _FOREIGN_LACKS | {"fragments", "empty-close", "abort", "choice"},
    "ws": _FOREIGN_LACKS,
    # WebSockets Standard 3: a page sees no control frames and closes with 1000 or 3000-4999.
    # Its Origin is tested with real pages instead.
    "chromium": _BROWSER_LACKS,
    "firefox": _BROWSER_LACKS,
}
# aiohttp answers a Close with 1000, whatever its code; RFC 6455 5.5.1: "typically" it is echoed.
ECHOED_CODE = {"aiohttp": 1000}


def able(client: str, server: str, case: Case) -> bool:
    """Whether both ends can play their part of the case."""
    if not possible(client, server, case.compression):
        return False
    return not (case.client_needs & LACKS[client] or case.server_needs & LACKS[server])


def _command(text: str) -> Message:
    return Message("text", "!" + text)


def _echo(name: str, *messages: Message, group: str = "message") -> Case:
    return Case(name, group, send=messages, receive=messages)


def _messages() -> Iterator[Case]:
    for kind, unit in ("text", "x"), ("binary", ""):
        yield _echo(f"{kind}-empty", Message(kind, unit, 0))
        for size in 1, 125, 126, 65535, 65536:  # both sides of each length form, RFC 6455 5.2
            yield _echo(f"{kind}-{size}", Message(kind, unit, size))
        yield _echo(f"{kind}-1MiB", Message(kind, unit, MIB))
    yield _echo("text-unicode", Message("text", MIXED, 100))
    yield _echo("text-unicode-1MiB", Message("text", MIXED, MIB // len(MIXED.encode())))
    pair = Message("text", "pipelined ", 100), Message("binary", "", 1000)
    yield _echo("pipelined", *pair * 32)


def _fragments() -> Iterator[Case]:
    shapes = {
        "text": ("text", MIXED, 100, 33),  # frames that end inside a UTF-8 sequence
        "binary": ("binary", "", 1000, 7),
        "1MiB": ("binary", "", MIB, 64),
        "empty": ("text", "é", 1, 5),  # four empty frames, then two bytes
        "nothing": ("binary", "", 0, 3),
    }
    ability = frozenset({"fragments"})
    for name, (kind, unit, count, number) in shapes.items():
        message = Message(kind, unit, count, number)
        echo = _echo(f"client-fragments-{name}", message, group="fragments")
        yield replace(echo, client_needs=ability)
        yield Case(
            f"server-fragments-{name}",
            "fragments",
            send=(_command(f"fragments:{kind}:{unit}:{count}:{number}"),),
            receive=(message,),
            server_needs=ability,
        )


def _pings() -> Iterator[Case]:
    hello = (Message("text", "hello"),)
    ping = frozenset({"ping"})
    for name, payload in ("empty", ""), ("text", "are you there?"), ("125", "p" * 125):
        yield Case(
            f"client-ping-{name}",
            "ping",
            ping=payload,
            send=hello,
            receive=hello,
            client_needs=ping,
        )
        yield Case(
            f"server-ping-{name}",
            "ping",
            send=(_command(f"ping:{payload}"), *hello),
            receive=(Message("text", f"ponged:{payload}"), *hello),
        )
    yield Case("pong-unasked", "ping", pong="1", send=hello, receive=hello, client_needs=ping)


def _closes() -> Iterator[Case]:
    ends: list[tuple[int | None, str]] = [(None, ""), (1000, ""), (1000, "bye"), (1001, "going")]
    ends += [(code, "") for code in (1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)]
    ends += [(3000, "registered"), (3999, ""), (4000, "private"), (4999, "last"), (4001, "r" * 123)]
    ends += [(4002, "€" * 41)]  # 123 bytes as well
    for code, reason in ends:
        detail = f"-{len(reason.encode())}" if reason else ""
        needs = frozenset({"empty-close"} if code is None else ())
        codes = frozenset({"protocol-codes"} if code is not None and 1000 < code < 3000 else ())
        name = f"close-{code or 'empty'}{detail}"
        hello = Message("text", "hello")
        end = Case(name, "close", code=code, reason=reason, receive=(hello,))
        yield replace(end, id=f"client-{name}", send=(hello,), client_needs=needs | codes)
        command = _command("close" if code is None else f"close:{code}:{reason}")
        yield replace(
            end, id=f"server-{name}", send=(hello, command), closer="server", server_needs=needs
        )
    abort = Case("", "close", how="abort", code=1006)
    ability = frozenset({"abort"})
    yield replace(abort, id="client-abort", client_needs=ability)
    yield replace(
        abort,
        id="server-abort",
        closer="server",
        send=(_command("abort"),),
        server_needs=ability,
    )
    yield Case(
        "server-close-after-burst",
        "close",
        send=(_command("burst:40"), _command("close:4000:done")),
        receive=tuple(Message("text", str(number)) for number in range(40)),
        closer="server",
        code=4000,
        reason="done",
    )


def _handshakes() -> Iterator[Case]:
    # Each exchanges a message: a server may not even start its handler for a client that leaves.
    hello = (Message("text", "hello"),)
    case = Case("", "handshake", send=hello, receive=hello)
    offer = ("other", SUBPROTOCOL)
    yield replace(case, id="subprotocol", offer=offer, subprotocol=SUBPROTOCOL)
    yield replace(case, id="percent-encoded-path", path="/echo/%E2%82%AC%20?empty=&%3D=%26")
    status = frozenset({"status"})
    yield Case("rejected", "handshake", path="/reject", status=403, client_needs=status)
    checked = replace(
        case,
        client_needs=frozenset({"set-origin"}),
        server_needs=frozenset({"origin"}),
    )
    yield replace(checked, id="same-origin", origin="same")
    yield replace(checked, id="cross-origin", origin=CROSS_ORIGIN, status=403)


def _limits() -> Iterator[Case]:
    # max_message_size is 1 MiB by default, and one byte more is too much: RFC 6455 7.4.1, 1009.
    yield Case(
        "message-too-big-for-server",
        "limit",
        send=(Message("binary", "", MIB + 1),),
        closer="server",
        how="limit",
        code=1009,
        server_needs=frozenset({"small-limit"}),
    )
    yield Case(
        "message-too-big-for-client",
        "limit",
        send=(_command(f"bytes:{MIB + 1}"),),
        how="limit",
        code=1009,
        client_needs=frozenset({"small-limit"}),
    )


def _probes() -> Iterator[Case]:
    """Played in each setup: they show whether data is compressed, and with which window."""
    text = Message("text", MIXED, 200)
    yield _echo("text", *[text] * 10, group="compression")
    near = _echo("near", *[Message("binary", NOISE, 200)] * 100, group="compression")
    yield replace(near, up="near", down="near")
    far = _echo("far", *[Message("binary", NOISE, 20_000)] * 8, group="compression")
    yield replace(far, up="far", down="far")
    noise = _echo("noise", Message("binary", NOISE, 300_000), text, group="compression")
    yield replace(noise, up="never", down="never")
    empty = Message("text", "", 0), Message("binary", "", 0)
    yield _echo("empty", *empty, text, *empty, *empty, text, group="compression")
    end = Case("", "compression", send=(text,) * 3, receive=(text,) * 3, code=4000, reason="done €")
    yield replace(end, id="client-close")
    command = _command("close:4000:done €")
    yield replace(end, id="server-close", send=(*end.send, command), closer="server")


def _choices() -> Iterator[Case]:
    """Messages that are compressed or not because of their size, or because it was said."""
    threshold = frozenset({"threshold"})
    for name, size, data in ("below-threshold", 63, "never"), ("threshold", 64, "dense"):
        echo = _echo(name, *[Message("text", "x", size)] * 200, group="compression")
        yield replace(echo, id=f"client-{name}", up=data, down="", client_needs=threshold)
        yield replace(echo, id=f"server-{name}", up="", down=data, server_needs=threshold)
    forced = _echo(
        "client-compress", *[Message("text", "x", 60, compress=True)] * 200, group="compression"
    )
    yield replace(forced, down="", client_needs=threshold)
    # What is not compressed does not get into the window.
    choice = frozenset({"choice"})
    noise, plain = Message("binary", NOISE, 200), Message("text", "plain ", 1000)
    unasked = replace(plain, compress=False)
    echo = _echo("client-plain", noise, *[unasked] * 5, noise, plain, noise, group="compression")
    yield replace(echo, up="never", client_needs=choice)
    yield Case(
        "server-plain",
        "compression",
        send=(noise, *[_command("plain:text:plain :1000")] * 5, noise),
        receive=(noise, *[plain] * 5, noise),
        down="never",
        server_needs=choice,
    )


def _compressed() -> Iterator[Case]:
    tables = {setup: [_probes()] for setup in SETUPS if setup}
    # With compression as it is by default also all that sends other messages than the probes do.
    tables["deflate"] += _messages(), _fragments(), _pings(), _limits(), _choices()
    for setup, cases in tables.items():
        for case in chain(*cases):
            yield replace(case, id=f"{setup}-{case.id}", compression=setup)


CASES: dict[str, Case] = {
    case.id: case
    for table in (_messages(), _fragments(), _pings(), _closes(), _handshakes(), _limits())
    for case in table
} | {case.id: case for case in _compressed()}
GROUPS = tuple(dict.fromkeys(case.group for case in CASES.values()))
