"""The grammars of headers, each against a slow reader of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from trio_ws import any_origin, check_basic_auth

from . import core, http_oracle
from .http_oracle import Malformed
from .properties import expect, same
from .source import ByteSource

_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_BITS = ("server_max_window_bits", "client_max_window_bits")


def grammar(data: bytes) -> None:
    """Token lists, extensions, hosts, origins, credentials, a user's headers, deflate's offers."""
    source = ByteSource(data)
    check = source.choice([_tokens, _extensions, _host, _headers, _origin, _basic, _deflate])
    # Header lines, as the head's scan lets them pass: no control characters.
    lines = [
        bytes(byte for byte in line if byte in b"\t" or 32 <= byte != 127).strip(b" \t")
        for line in source.rest().split(b"\n")
    ]
    check(lines)


def _both(parse: Callable[[Any], object], oracle: Callable[[Any], object], value: Any) -> Any:
    """The value of both, which must be the same; None if both refuse."""
    try:
        wanted = oracle(value)
    except Malformed:
        wanted = None
    try:
        found = parse(value)
    except core.HeaderError as error:
        expect(str(error).isprintable() and len(str(error)) < 400, "message", str(error))
        found = None
    same(found, wanted, f"{parse} {value!r}")
    return found


def _tokens(lines: list[bytes]) -> None:
    found = _both(core.parse_token_list, http_oracle.tokens, lines)
    if found:
        same(core.parse_token_list([", ".join(found).encode()]), found, "read, written, read")
    for token in (b"upgrade", b"websocket"):
        _both(partial(core.has_token, token=token), partial(http_oracle.names, token=token), lines)


def _extensions(lines: list[bytes]) -> list[core.Extension]:
    found: list[core.Extension] = _both(core.parse_extensions, http_oracle.extensions, lines)
    if found:
        again = core.parse_extensions([core.format_extensions(found)])
        same(again, found, "read, written, read")
    return found or []


def _host(lines: list[bytes]) -> None:
    found = _both(core.parse_host, http_oracle.host, lines[0])
    if found is not None:
        written = core.format_authority(*found)
        same(core.parse_host(written.encode()), found, "read, written, read")


def _headers(lines: list[bytes]) -> None:
    """What passes is written as whole lines; names of the handshake, and CR, LF, NUL never pass."""
    raw = b"\n".join(lines)
    pairs = [tuple(line.split(b"=", 1)) for line in (*lines, raw + b"=" + raw, b"a=" + raw)]
    for pair in pairs:
        if len(pair) != 2:
            continue
        name, value = pair
        try:
            found = core.encode_headers([(name, value)])
        except ValueError:
            continue
        same(found, [(name, value.strip(b" \t"))], "header")
        expect(http_oracle.is_token(name), "name", name)
        expect(not any(byte in b"\r\n\0" for byte in value), "value", value)
        owned = {b"upgrade", b"connection", b"host", b"content-length", b"transfer-encoding"}
        mine = name.lower() in owned or name.lower().startswith(b"sec-websocket-")
        expect(not mine, "a header of the handshake", name)


def _origin(lines: list[bytes]) -> None:
    """The same host, or one of a list; whatever it is, an answer and no exception."""
    origin, host = lines[0], lines[-1]
    try:
        http_oracle.host(host)
    except Malformed:
        host = b"a.example"  # such a request has been refused
    own = core.origin_allowed([origin], host, None)
    if own:
        scheme, _, authority = origin.lower().partition(b"://")
        port = {b"http": 80, b"ws": 80}.get(scheme, 443)
        ends = [http_oracle.host(value) for value in (authority, host)]
        whole = [(name, port if number is None else number) for name, number in ends]
        same(whole[0], whole[1], f"origin {origin!r} of host {host!r}")
    expect(core.origin_allowed([origin], host, any_origin), "any")
    expect(not core.origin_allowed([origin, origin], host, None), "twice")
    expect(core.origin_allowed([], host, None), "none")
    try:
        allowed = core.check_origins([origin.decode("latin-1")])
    except ValueError:
        expect(not own, "an origin that cannot be listed", origin)
    else:
        expect(core.origin_allowed([origin], host, allowed), "listed", origin)


def _basic(lines: list[bytes]) -> None:
    """Only the right credentials pass: here there are none that are right."""
    headers = [(b"authorization", line) for line in lines]
    expect(not check_basic_auth(headers, "user", "\x00 never sent"), "credentials")


def _deflate(lines: list[bytes]) -> None:
    """A server's answer to an offer is legal, and a client that made the offer takes it."""
    offers = _extensions(lines)
    for wish in (core.PerMessageDeflate(), core.PerMessageDeflate(server_max_window_bits=9)):
        answer = core.accept_offer(offers, wish)
        if answer is None:
            continue
        (name, parameters), agreed = answer
        chosen = dict(parameters)
        same(name, "permessage-deflate", "name")
        fits = [dict(offer) for key, offer in offers if key == name and _legal(offer)]
        expect(any(_answers(chosen, offer) for offer in fits), "no legal answer", chosen, fits)
        expect(9 <= agreed.compress_bits <= 15 and 8 <= agreed.inflate_bits <= 15, "bits", agreed)
        same(agreed.compress_takeover, _FLAGS[0] not in chosen, "the server's context")
        same(agreed.inflate_takeover, _FLAGS[1] not in chosen, "the client's context")
    if offers:
        try:
            core.check_answer(offers[:1], core.PerMessageDeflate())
        except core.HeaderError:
            pass
        else:
            expect(_legal(offers[0][1]), "an answer that is not legal", offers[0])


def _legal(offer: tuple[tuple[str, str | None], ...]) -> bool:
    """RFC 7692 section 7.1: known parameters, each once, with the values that it may have."""
    numbers: set[str | None] = {str(bits) for bits in range(8, 16)}
    legal: dict[str, set[str | None]] = {_BITS[0]: numbers, _BITS[1]: {None, *numbers}}
    legal |= {name: {None} for name in _FLAGS}
    known = all(name in legal and value in legal[name] for name, value in offer)
    return known and len({name for name, _ in offer}) == len(offer)


def _answers(answer: dict[str, str | None], offer: dict[str, str | None]) -> bool:
    """RFC 7692 sections 7.1.1 and 7.1.2."""
    if _FLAGS[0] in offer and _FLAGS[0] not in answer:
        return False
    if _BITS[1] in answer and _BITS[1] not in offer:
        return False
    if _BITS[0] in offer and _BITS[0] not in answer:
        return False
    return all(
        int(answer.get(name) or 15) <= int(offer.get(name) or 15)
        for name in _BITS
        if name in answer
    )
