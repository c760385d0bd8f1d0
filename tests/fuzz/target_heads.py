"""The opening handshake's heads, a client's and a server's, in any pieces."""

from __future__ import annotations

from typing import Final

from . import core, http_oracle
from .http_oracle import Head, HeadLimits, Malformed
from .properties import expect, same
from .source import ByteSource, cut, splittings

_LIMITS: Final = [HeadLimits(8192, 100, 32768), HeadLimits(200, 8, 500), HeadLimits(60, 3, 70)]
_BLANK: Final = b"\r\n\r\n"
Outcome = tuple[object, ...]


def request(data: bytes) -> None:
    """A request head: taken exactly if it is right; the same in all pieces; a 4xx or 5xx else."""
    source = ByteSource(data)
    limits, seed = source.choice(_LIMITS), source.byte()
    head = source.rest()
    outcome = _read_request(head, limits, 0)
    for split in splittings(seed)[1:]:
        same(_read_request(head, limits, split), outcome, f"request, split by {split}")
    try:
        parsed, upgrade = http_oracle.request(head, limits)
    except Malformed:
        expect(outcome[0] in {"more", "bad"}, "a bad request is refused", head, outcome)
        expect(outcome[0] == "bad" or _BLANK not in head, "a whole head has an answer", head)
    else:
        same(outcome[0], "request", f"{head!r}: a good request is taken")
        _check_request(outcome, parsed, upgrade)
    if outcome[0] == "more":
        expect(len(head) <= limits.line + limits.size + 4, "what is kept is bounded", len(head))


def _read_request(data: bytes, limits: HeadLimits, split: int) -> Outcome:
    handshake = core.ServerHandshake(core.HeadLimits(*limits))
    pieces = cut(data, split)
    for piece in pieces:
        try:
            found = handshake.receive_data(piece)
        except core.BadRequest as error:
            _check_refusal(error)
            return "bad", error.status_code, str(error)
        if found is not None:
            return "request", found, handshake.trailing + b"".join(pieces)
    try:
        handshake.receive_eof()
    except core.HandshakeFailure:
        return ("more",)


def _check_request(outcome: Outcome, parsed: Head, upgrade: bool) -> None:
    _, found, trailing = outcome
    assert isinstance(found, core.Request)
    same(trailing, parsed.rest, "the bytes after the head")
    same(found.headers, parsed.headers, "headers")
    same(f"{found.method} {found.target}".encode(), parsed.start[: -len(" HTTP/1.1")], "start")
    same(found.websocket is not None, upgrade, "is an upgrade")
    lines = b"".join(b"%b: %b\r\n" % header for header in found.headers)
    again = f"{found.method} {found.target} HTTP/1.1\r\n".encode() + lines + b"\r\n"
    if len(lines) <= 500 and len(found.headers) <= 100:  # the names may have grown by blanks
        outcome = _read_request(again, HeadLimits(8192, 100, 32768), 0)
        same(outcome, ("request", found, b""), "read, written, read")
    if found.websocket is None:
        return
    offers = [name.encode() for name in found.websocket.subprotocols]
    for chosen in [None, *found.websocket.subprotocols[:1]]:
        answer = core.ServerHandshake.accept(found, subprotocol=chosen)
        head = http_oracle.read_head(answer, _LIMITS[0])
        key = parsed.all(b"sec-websocket-key")[0]
        names = [name.decode() for name in offers]
        same(http_oracle.switching(head, key, names, set()), chosen, "the answer's subprotocol")
        same(head.rest, b"", "nothing after the answer")


def _check_refusal(error: core.BadRequest) -> None:
    """A refusal is a whole response that quotes no control character, and not much."""
    expect(error.status_code in {400, 405, 413, 414, 426, 431, 501, 505}, "status", error)
    head = http_oracle.read_head(error.response, _LIMITS[0])
    expect(head.start.startswith(b"HTTP/1.1 %d " % error.status_code), "status line", head)
    same(head.all(b"connection")[-1:], [b"close"], "the connection is closed")
    same(head.all(b"content-length"), [b"%d" % len(head.rest)], "content length")
    expect(head.rest[:-1].decode().isprintable() and len(head.rest) < 600, "text", head.rest)


def response(data: bytes) -> None:
    """A server's answer: 101 exactly if it is right; bodies are cut; the same in all pieces."""
    source = ByteSource(data)
    limits, seed, wish = source.choice(_LIMITS), source.byte(), source.byte()
    keep = source.choice([1000, 0, 1, 10, 65536])
    options = {
        "subprotocols": ["chat", "b"][: wish & 3],
        "extensions": [("permessage-deflate", ()), ("x", (("a", "1"),))][: wish >> 2 & 3],
        "limits": core.HeadLimits(*limits),
        "max_rejection_size": keep,
    }
    key = http_oracle.read_head(_new(options).request, _LIMITS[0]).all(b"sec-websocket-key")[0]
    accept = http_oracle.accept(key)
    answer = source.rest().replace(b"{ACCEPT}", accept).replace(b"{accept}", accept.swapcase())
    outcome = _read_response(answer, options, 0)
    for split in splittings(seed)[1:]:
        same(_read_response(answer, options, split), outcome, f"response, split by {split}")
    kind, found = outcome[:2]
    if kind == "more":
        most = 11 * (limits.line + limits.size + 4) + 2 * keep + 1024
        expect(len(answer) <= most, "what is kept is bounded", len(answer))
    if isinstance(found, core.Response):
        expect(len(found.body) <= keep, "the body is cut", len(found.body))
        expect(found.status_code == 101 or 200 <= found.status_code <= 999, "status", found)
    _check_switching(answer, limits, key, options, outcome)


def _new(options: dict[str, object]) -> core.ClientHandshake:
    return core.client_handshake("example.org", 80, "/", **options)


def _read_response(data: bytes, options: dict[str, object], split: int) -> Outcome:
    handshake = _new(options)
    pieces = cut(data, split)
    try:
        for piece in pieces:
            found = handshake.receive_data(piece)
            if found is not None:
                rest = b"".join(pieces) if found.status_code == 101 else b""
                return "done", found, handshake.trailing + rest
    except core.HandshakeFailure as error:
        expect(str(error).isprintable() and len(str(error)) < 600, "message", str(error))
        return "failure", str(error)
    try:
        return "more", handshake.receive_eof()
    except core.HandshakeFailure:
        return "more", None


def _check_switching(
    answer: bytes, limits: HeadLimits, key: bytes, options: dict[str, object], outcome: Outcome
) -> None:
    """If the first head is a 101, it is taken exactly if it is right."""
    try:
        head = http_oracle.read_head(answer, limits)
    except Malformed:
        expect(outcome[0] != "done" or answer.count(_BLANK) > 1, "a bad head is refused", outcome)
        return
    version, _, status = head.start.partition(b" ")
    if not (version[:7] == b"HTTP/1." and version[7:].isdigit() and len(version) == 8):
        same(outcome[0], "failure", "the version")
        return
    if status[:4] not in {b"101", b"101 "}:
        return
    protocols, offered = options["subprotocols"], options["extensions"]
    assert isinstance(protocols, list)
    assert isinstance(offered, list)
    try:
        chosen = http_oracle.switching(head, key, protocols, {name for name, _ in offered})
    except Malformed:
        same(outcome[0], "failure", f"{answer!r}: a bad 101")
        return
    same(outcome[0], "done", f"{answer!r}: {outcome!r}: a good 101")
    _, found, trailing = outcome
    assert isinstance(found, core.Response)
    same((found.status_code, found.subprotocol, trailing), (101, chosen, head.rest), "the 101")
    same(found.headers, head.headers, "headers")
    wanted = http_oracle.extensions(head.all(b"sec-websocket-extensions"))
    same(list(found.extensions), wanted, "extensions")
