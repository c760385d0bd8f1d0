"""The server's side of the opening handshake, for every way in which the bytes may be split."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._protocol._handshake import (
    BadRequest,
    HandshakeFailure,
    HeadLimits,
    Request,
    ServerHandshake,
    upgrade_required,
)
from trio_ws._protocol._headers import Headers, encode_headers
from trio_ws._protocol._negotiation import check_basic_auth, origin_allowed

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
HEADERS: Headers = [
    (b"Host", b"example.com"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", KEY),
    (b"Sec-WebSocket-Version", b"13"),
]


class Outcome(NamedTuple):
    """What became of some bytes: a request, or a refusal, and the bytes that nobody interpreted."""

    request: Request | None = None
    refused: tuple[int, str, bytes] | None = None
    trailing: bytes = b""


def tear(data: bytes) -> Iterator[list[bytes]]:
    """Yield *data* whole, byte by byte, and cut in two at each place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def feed(pieces: list[bytes], limits: HeadLimits | None = None) -> Outcome:
    """Feed a new handshake until it has an outcome."""
    handshake = ServerHandshake(limits)
    for number, piece in enumerate(pieces, 1):
        try:
            request = handshake.receive_data(piece)
        except BadRequest as error:
            return Outcome(refused=(error.status_code, error.message, error.response))
        if request is not None:
            return Outcome(request, trailing=handshake.trailing + b"".join(pieces[number:]))
    return Outcome()


def outcome(data: bytes, limits: HeadLimits | None = None) -> Outcome:
    """Return the outcome of *data*, which is the same however it is torn."""
    outcomes = [feed(pieces, limits) for pieces in tear(data)]
    assert outcomes == outcomes[:1] * len(outcomes)
    return outcomes[0]


def head(*headers: tuple[bytes, bytes], line: bytes = b"GET /chat HTTP/1.1") -> bytes:
    """Write a head of exactly these headers."""
    return b"\r\n".join([line, *(name + b": " + value for name, value in headers), b"", b""])


def changed(name: bytes, *values: bytes) -> bytes:
    """Write a valid request whose header *name* is there once for each of *values*."""
    rest = [pair for pair in HEADERS if pair[0].lower() != name.lower()]
    return head(*rest, *((name, value) for value in values))


def accepted(data: bytes) -> Request:
    """Return the valid upgrade that *data* must be."""
    request = outcome(data).request
    assert request is not None
    assert request.websocket is not None
    return request


def refused(data: bytes, limits: HeadLimits | None = None) -> tuple[int, bytes]:
    """Return the status code and the response with which *data* must be refused."""
    found = outcome(data, limits).refused
    assert found is not None
    assert found[2].startswith(b"HTTP/1.1 %d " % found[0])
    assert b"\r\nConnection: close\r\n" in found[2]
    assert len(found[1]) < 350
    assert found[1].isascii()
    assert found[1].isprintable()
    return found[0], found[2]


# --- Requests that are accepted


@pytest.mark.checklist("SH09", "SH10")
def test_a_valid_request_is_answered_101() -> None:
    """The 101 has the accept key of RFC 6455 section 1.3 and every header once."""
    request = accepted(head(*HEADERS, line=b"GET /chat?x=%20y HTTP/1.1"))
    assert (request.method, request.target) == ("GET", "/chat?x=%20y")
    assert request.headers == [(name.lower(), value) for name, value in HEADERS]
    assert request.websocket is not None
    assert (request.websocket.key, request.websocket.host) == (KEY, b"example.com")
    assert ServerHandshake.accept(request) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


@pytest.mark.checklist("SH04", "SH05", "SH10")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        (b"upgrade", [b"WebSocket"]),
        (b"Upgrade", [b"h2c, websocket"]),
        (b"Upgrade", [b"h2c", b"HTTP/3.0,websocket"]),
        (b"Connection", [b"keep-alive, Upgrade"]),
        (b"Connection", [b"keep-alive", b"UPGRADE"]),
        (b"Connection", [b"keep-alive,, upgrade ,"]),
        (b"Sec-WebSocket-Key", [b"\t" + KEY + b" "]),
        (b"Content-Length", [b"0"]),
        (b"Host", [b"[::1]:8080"]),
        (b"X-Obs-Text", [b"\x80\xff"]),
        (b"X-Empty", [b""]),
    ],
)
def test_what_may_vary(name: bytes, values: list[bytes]) -> None:
    """Tokens are found in lists whatever their case; harmless headers do no harm."""
    accepted(changed(name, *values))


@pytest.mark.checklist("SH02")
def test_a_higher_minor_version_is_fine() -> None:
    """RFC 6455 section 4.2.1 asks for HTTP/1.1 or higher."""
    accepted(head(*HEADERS, line=b"GET / HTTP/1.2"))


@pytest.mark.checklist("SH13", "SH14")
def test_subprotocols_are_offered_in_order() -> None:
    """Offers over several header lines are concatenated, and one of them may be chosen."""
    request = accepted(changed(b"Sec-WebSocket-Protocol", b"b, a", b"c"))
    assert request.websocket is not None
    assert request.websocket.subprotocols == ("b", "a", "c")
    response = ServerHandshake.accept(request, subprotocol="c")
    assert response.count(b"Sec-WebSocket-Protocol: c\r\n") == 1
    assert b"Sec-WebSocket-Protocol" not in ServerHandshake.accept(request)
    with pytest.raises(ValueError, match="'d'"):
        ServerHandshake.accept(request, subprotocol="d")


@pytest.mark.checklist("SH16")
@pytest.mark.parametrize(
    "offer", [b"x-unknown; a=1", b"permessage-deflate", b"permessage-deflate; x"]
)
def test_extensions_are_ignored_without_configuration(offer: bytes) -> None:
    """The offers come out parsed, and the 101 does without them."""
    request = accepted(changed(b"Sec-WebSocket-Extensions", offer, b"y"))
    assert request.websocket is not None
    assert request.websocket.extensions[-1] == ("y", ())
    assert b"Extensions" not in ServerHandshake.accept(request)


def test_the_101_carries_what_it_is_told() -> None:
    """Extensions and the user's headers go into the answer."""
    request = accepted(head(*HEADERS, (b"Sec-WebSocket-Protocol", b"chat")))
    response = ServerHandshake().accept(
        request,
        subprotocol="chat",
        extensions=[("foo", (("a", "1"),))],
        extra_headers=encode_headers([("X-A", "b")]),
    )
    assert response.endswith(
        b"\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: foo; a=1\r\nX-A: b\r\n\r\n"
    )


@pytest.mark.checklist("SH26", "SH25")
def test_bytes_behind_the_head_are_kept() -> None:
    """Early frames, even if they look like another request, come out as they are."""
    early = b"\x81\x80abcd\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    found = outcome(head(*HEADERS) + early)
    assert found.request is not None
    assert found.trailing == early


@pytest.mark.checklist("SH11", "SH12")
@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([], True),
        ([b"https://example.com"], True),
        ([b"https://evil.example"], False),
        ([b"null"], False),
        ([b"https://example.com", b"https://example.com"], False),
    ],
)
def test_origins_come_out_of_the_request(origins: list[bytes], allowed: bool) -> None:
    """The Origin headers and the Host are all that the check of the origin needs."""
    upgrade = accepted(changed(b"Origin", *origins)).websocket
    assert upgrade is not None
    assert upgrade.origins == origins
    assert origin_allowed(upgrade.origins, upgrade.host, None) is allowed


@pytest.mark.checklist("SH29")
@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (b"Basic dTpw", True),
        (b"Basic dTpx", False),
        (b"Basic \xff", False),
        (b"Basic dTpw=", False),
    ],
)
def test_credentials_come_out_of_the_request(value: bytes, allowed: bool) -> None:
    """The headers of a request can be given to check_basic_auth."""
    assert check_basic_auth(accepted(changed(b"Authorization", value)).headers, "u", "p") is allowed


# --- Requests that ask for something else


@pytest.mark.checklist("SH04", "SH05")
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="plain"),
        pytest.param([(b"Connection", b"keep-alive")], id="keep-alive"),
        pytest.param([(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c")], id="h2c"),
        pytest.param([(b"Connection", b"Upgrade")], id="upgrade-to-nothing"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_an_ordinary_request_is_no_error(headers: Headers, method: str) -> None:
    """A request without any sign of a WebSocket comes out, for someone else to answer."""
    line = f"{method} /health HTTP/1.1".encode()
    request = outcome(head((b"Host", b"a"), *headers, line=line)).request
    assert request is not None
    assert (request.method, request.target, request.websocket) == (method, "/health", None)
    with pytest.raises(ValueError, match="reject"):
        ServerHandshake.accept(request)


@pytest.mark.checklist("SH01", "SH04")
def test_upgrade_required() -> None:
    """A server that has only WebSockets answers 426 and says how, or 405 to other methods."""
    error = upgrade_required()
    assert error.status_code == 426
    for line in (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"):
        assert error.response.count(b"\r\n" + line + b"\r\n") == 1
    assert error.response.endswith(b"\r\n\r\n" + error.body)
    error = upgrade_required("HEAD")
    assert error.status_code == 405
    assert b"\r\nAllow: GET\r\n" in error.response
    assert error.response.endswith(b"\r\n\r\n")


# --- Requests that are refused


@pytest.mark.checklist("SH01")
@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"X!"])
def test_only_get_upgrades(method: bytes) -> None:
    """An upgrade with another method is 405 and names GET."""
    status_code, response = refused(head(*HEADERS, line=method + b" / HTTP/1.1"))
    assert status_code == 405
    assert b"\r\nAllow: GET\r\n" in response


@pytest.mark.checklist("SH02")
@pytest.mark.parametrize("version", [b"1.0", b"0.9", b"2.0", b"3.0", b"0.0"])
def test_other_versions_of_http(version: bytes) -> None:
    """Whatever is not HTTP/1.1 or a later HTTP/1 is 505."""
    assert refused(head(*HEADERS, line=b"GET / HTTP/" + version))[0] == 505


@pytest.mark.checklist("SH02")
def test_the_preface_of_http2_is_505() -> None:
    """A client that speaks HTTP/2 at once learns it at the first line."""
    assert refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[0] == 505


@pytest.mark.checklist("SH03")
@pytest.mark.parametrize(
    "values",
    [[], [b"a", b"a"], [b"a", b"b"], [b""], [b"a b"], [b"a,b"], [b"a/b"], [b"a:x"], [b"\xff"]],
)
@pytest.mark.parametrize("upgrade", [True, False])
def test_host(values: list[bytes], upgrade: bool) -> None:
    """Host must be there once, as host[:port], in any request."""
    hosts = [(b"Host", value) for value in values]
    assert refused(head(*hosts, *(HEADERS[1:] if upgrade else [])))[0] == 400


@pytest.mark.checklist("SH04")
@pytest.mark.parametrize("values", [[], [b""], [b"h2c"], [b"websockets"], [b"websocket/13"]])
def test_no_upgrade_to_websocket(values: list[bytes]) -> None:
    """Without the token websocket, it is 426 and the answer names it."""
    status_code, response = refused(changed(b"Upgrade", *values))
    assert status_code == 426
    assert b"\r\nUpgrade: websocket\r\n" in response


@pytest.mark.checklist("SH04", "SH06", "SH07")
def test_an_upgrade_without_any_header_of_ours() -> None:
    """Who asks for the upgrade is a WebSocket client, and learns the version to ask for."""
    upgrade = [pair for pair in HEADERS if not pair[0].startswith(b"Sec-WebSocket")]
    status_code, response = refused(head(*upgrade))
    assert status_code == 426
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in response


@pytest.mark.checklist("SH05")
@pytest.mark.parametrize("values", [[], [b"close"], [b"keep-alive"], [b"upgraded, up-grade"]])
def test_no_connection_upgrade(values: list[bytes]) -> None:
    """Without the token upgrade in Connection, it is 426."""
    assert refused(changed(b"Connection", *values))[0] == 426


@pytest.mark.checklist("SH07")
@pytest.mark.parametrize(
    "values",
    [[], [b""], [b"0"], [b"7"], [b"8"], [b"14"], [b"013"], [b"+13"], [b"13, 8"], [b"13.0"]],
)
def test_other_versions_of_the_protocol(values: list[bytes]) -> None:
    """Anything but exactly 13 is 426, and the answer names 13."""
    status_code, response = refused(changed(b"Sec-WebSocket-Version", *values))
    assert status_code == 426
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in response


@pytest.mark.checklist("SH04", "SH05", "SH06", "SH08", "SH14", "SH15")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        (b"Upgrade", [b"websocket; x"]),
        (b"Upgrade", [b"websocket", b"\xff"]),
        (b"Connection", [b"Upgrade; x"]),
        (b"Sec-WebSocket-Version", [b"13", b"13"]),
        (b"Sec-WebSocket-Version", [b"13", b"8"]),
        (b"Sec-WebSocket-Key", []),
        (b"Sec-WebSocket-Key", [KEY, KEY]),
        (b"Sec-WebSocket-Key", [b""]),
        (b"Sec-WebSocket-Key", [b"A" * 20]),
        (b"Sec-WebSocket-Key", [b"A" * 24]),
        (b"Sec-WebSocket-Key", [b"A" * 22]),
        (b"Sec-WebSocket-Key", [b"A" * 22 + b"="]),
        (b"Sec-WebSocket-Key", [b"A" * 22 + b"==="]),
        (b"Sec-WebSocket-Key", [b"A" * 21 + b"B=="]),
        (b"Sec-WebSocket-Key", [b"A" * 20 + b"-A=="]),
        (b"Sec-WebSocket-Key", [b"A" * 20 + b"_A=="]),
        (b"Sec-WebSocket-Key", [b"A" * 10 + b" " + b"A" * 12 + b"=="]),
        (b"Sec-WebSocket-Key", [b"A" * 22 + b"==!"]),
        (b"Sec-WebSocket-Key", [b"A" * 38 + b"=="]),
        (b"Sec-WebSocket-Protocol", [b""]),
        (b"Sec-WebSocket-Protocol", [b"a,,b"]),
        (b"Sec-WebSocket-Protocol", [b"a", b""]),
        (b"Sec-WebSocket-Protocol", [b"a b"]),
        (b"Sec-WebSocket-Protocol", [b"\xe9"]),
        (b"Sec-WebSocket-Protocol", [b"a", b"a"]),
        (b"Sec-WebSocket-Extensions", [b""]),
        (b"Sec-WebSocket-Extensions", [b'a; b="c']),
        (b"Sec-WebSocket-Extensions", [b"a;"]),
        (b"Sec-WebSocket-Extensions", [b"a; b@"]),
        (b"Sec-WebSocket-Extensions", [b'a; b="c d"']),
    ],
)
def test_malformed_values(name: bytes, values: list[bytes]) -> None:
    """What is malformed or repeated in the handshake's own headers is 400."""
    assert refused(changed(name, *values))[0] == 400


@pytest.mark.checklist("SH15")
@pytest.mark.parametrize(
    "value", [b'a;b="' + b"\\" * 8000, b"a" + b" " * 8000 + b"b", b"a;" * 4000]
)
def test_large_malformed_extensions(value: bytes) -> None:
    """8 KiB of nonsense are refused as fast as a few bytes (no match backtracks)."""
    found = feed([changed(b"Sec-WebSocket-Extensions", value)]).refused
    assert found is not None
    assert found[0] == 400


GOOD = head(*HEADERS)


@pytest.mark.checklist("SH20")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD.replace(b"\r\n", b"\n"), id="bare-lf"),
        pytest.param(GOOD.replace(b"\r\nUp", b"\nUp"), id="one-bare-lf"),
        pytest.param(GOOD.replace(b"\r\n", b"\r"), id="bare-cr"),
        pytest.param(GOOD.replace(b"\r\nUp", b"\rUp"), id="one-bare-cr"),
        pytest.param(GOOD.replace(b"\r\n", b"\r\r\n"), id="cr-cr-lf"),
        pytest.param(GOOD.replace(b"\r\n\r\n", b"\r\n\n"), id="lf-at-the-end"),
        pytest.param(GOOD.replace(b"example", b"exa\rmple"), id="cr-in-a-value"),
        pytest.param(GOOD.replace(b"example", b"exa\x00mple"), id="nul"),
        pytest.param(GOOD.replace(b"example", b"exa\x01mple"), id="control"),
        pytest.param(GOOD.replace(b"example", b"exa\x7fmple"), id="delete"),
        pytest.param(GOOD.replace(b"\r\nUp", b"\r\n x\r\nUp"), id="obs-fold"),
        pytest.param(GOOD.replace(b"\r\nUp", b"\r\n\tx\r\nUp"), id="obs-fold-tab"),
        pytest.param(GOOD.replace(b"\r\nHost", b"\r\n Host"), id="blank-before-the-first"),
        pytest.param(GOOD.replace(b"Upgrade:", b"Upgrade :"), id="blank-before-the-colon"),
        pytest.param(GOOD.replace(b"Upgrade: websocket", b": websocket"), id="empty-name"),
        pytest.param(GOOD.replace(b"Upgrade: websocket", b"Upgrade websocket"), id="no-colon"),
        pytest.param(GOOD.replace(b"Upgrade:", b"Up\xc3grade:"), id="non-ascii-name"),
        pytest.param(GOOD.replace(b"Upgrade:", b"Up(grade):"), id="no-token"),
        pytest.param(b"\r\n" + GOOD, id="empty-first-line"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", id="tls"),
        pytest.param(b"\x00", id="binary"),
        pytest.param(b"GET / HTTP/1.1 \r\n", id="blank-behind-the-version"),
        pytest.param(b"GET  / HTTP/1.1\r\n", id="two-blanks"),
        pytest.param(b"GET\t/\tHTTP/1.1\r\n", id="tabs"),
        pytest.param(b"GET /\r\n", id="no-version"),
        pytest.param(b"GET / http/1.1\r\n", id="version-case"),
        pytest.param(b"GET / HTTP/1.10\r\n", id="long-version"),
        pytest.param(b"G@T / HTTP/1.1\r\n", id="method"),
    ],
)
def test_the_strict_scan(data: bytes) -> None:
    """What could be read in two ways is 400, as soon as its line ends at the latest."""
    assert refused(data)[0] == 400


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"GET / HTTP/1.2\r\n\r\n", "header host exactly once", id="host"),
        pytest.param(
            GOOD.replace(b"Upgrade: ", b"Upgrade "), "'name: value' on one line", id="colon"
        ),
        pytest.param(
            GOOD.replace(b"\r\nUp", b"\r\n x\r\nUp"), "'name: value' on one", id="obs-fold"
        ),
        pytest.param(GOOD.replace(b"/chat", b"/ch\xe4t"), "target must be a path", id="target"),
        pytest.param(
            GOOD.replace(b"Host", b"Content-Length: X0\r\nHost"), "as a plain number", id="length"
        ),
        pytest.param(b"\r\n" + GOOD, "the request line must be", id="empty-line"),
        pytest.param(GOOD.replace(b"-Key", b"-Kea"), "header sec-websocket-key exactly", id="key"),
    ],
)
def test_the_mistake_is_named(data: bytes, words: str) -> None:
    """The message says what to write instead; it is the body of the response as well."""
    found = outcome(data).refused
    assert found is not None
    assert words in found[1]
    head, _, body = found[2].partition(b"\r\n\r\n")
    assert body == found[1].encode() + b"\n"
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head


def test_nothing_is_behind_a_head_that_has_not_come() -> None:
    """There are no bytes of frames before the request is complete."""
    handshake = ServerHandshake()
    assert handshake.trailing == b""
    assert handshake.receive_data(GOOD[:-1]) is None
    assert handshake.trailing == b""


@pytest.mark.checklist("SH21")
@pytest.mark.parametrize(
    ("headers", "status_code"),
    [
        ([(b"Transfer-Encoding", b"chunked")], 501),
        ([(b"transfer-encoding", b"identity")], 501),
        ([(b"Transfer-Encoding", b"")], 501),
        ([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"0")], 501),
        ([(b"Content-Length", b"1")], 413),
        ([(b"content-length", b"99999999999999999999999999")], 413),
        ([(b"Content-Length", b"00")], 413),
        ([(b"Content-Length", b"0, 0")], 400),
        ([(b"Content-Length", b"0"), (b"Content-Length", b"0")], 400),
        ([(b"Content-Length", b"+0")], 400),
        ([(b"Content-Length", b"-1")], 400),
        ([(b"Content-Length", b"1_0")], 400),
        ([(b"Content-Length", b"0x0")], 400),
        ([(b"Content-Length", b"")], 400),
        ([(b"Content-Length", b"\xb2")], 400),
    ],
)
@pytest.mark.parametrize("upgrade", [True, False])
def test_no_request_has_a_body(headers: Headers, status_code: int, upgrade: bool) -> None:
    """Whatever announces a body is refused, before anything can be taken for its bytes."""
    base = HEADERS if upgrade else HEADERS[:1]
    assert refused(head(*base, *headers))[0] == status_code


@pytest.mark.checklist("SH22")
@pytest.mark.parametrize(
    "target",
    [
        b"*",
        b"chat",
        b"http://example.com/",
        b"ws://example.com/",
        b"example.com:80",
        b"/#",
        b"/a#b",
        b"/\xc3\xa9",
        b"/a\x01",
        b"/a\x7f",
        b"/a b",
        b"?a",
    ],
)
def test_the_target_is_in_origin_form(target: bytes) -> None:
    """Only a path, in visible ASCII and without fragment, is a target."""
    assert refused(head(*HEADERS, line=b"GET " + target + b" HTTP/1.1"))[0] == 400


@pytest.mark.checklist("LM09", "LM10")
def test_messages_do_not_grow_with_the_request() -> None:
    """Peer data in a message is escaped and cut."""
    status_code, response = refused(changed(b"Sec-WebSocket-Key", b"\x80\xff<b>" * 100))
    assert status_code == 400
    assert len(response) < 500
    assert b"\\x80\\xff" in response


# --- Limits

LIMITS = HeadLimits(max_line_size=40, max_header_count=7, max_header_size=170)


def padded(size: int, data: bytes) -> bytes:
    """Fill *data* up with x."""
    return data + b"x" * (size - len(data))


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize(
    ("size", "expected"), [(8191, None), (8192, None), (8193, 414), (20_000, 414)]
)
def test_the_request_line_is_limited(size: int, expected: int | None) -> None:
    """8 KiB are fine, one byte more is 414; at both, with default limits."""
    line = b"GET /" + b"x" * (size - len(b"GET / HTTP/1.1")) + b" HTTP/1.1"
    data = head(*HEADERS, line=line)
    pieces = [[data], [data[i : i + 1] for i in range(len(data))], [data[:8193], data[8193:]]]
    for found in map(feed, pieces):
        assert (found.refused and found.refused[0]) == expected


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_small_request_line(delta: int) -> None:
    """The limit of the request line holds wherever the line is torn."""
    line = b"GET /" + b"x" * (40 + delta - len(b"GET / HTTP/1.1")) + b" HTTP/1.1"
    found = outcome(head((b"Host", b"a"), line=line), LIMITS)
    assert (found.refused and found.refused[0]) == (414 if delta > 0 else None)


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_the_header_line_is_limited(delta: int) -> None:
    """A header line may be as long as its limit."""
    long = padded(40 + delta, b"X: ")
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + long + b"\r\n\r\n"
    found = outcome(data, LIMITS)
    assert (found.refused and found.refused[0]) == (431 if delta > 0 else None)


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_the_number_of_headers_is_limited(delta: int) -> None:
    """There may be as many headers as the limit says."""
    data = head((b"Host", b"a"), *[(b"X", b"")] * (6 + delta))
    found = outcome(data, LIMITS)
    assert (found.refused and found.refused[0]) == (431 if delta > 0 else None)


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_the_number_of_headers_is_limited_in_one_piece(delta: int) -> None:
    """So it is where only their number is at its limit, and the head comes whole."""
    data = head((b"Host", b"a"), *[(b"X", b"")] * (6 + delta))
    found = outcome(data, HeadLimits(max_header_count=7))
    assert (found.refused and found.refused[0]) == (431 if delta > 0 else None)


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_the_size_of_all_headers_is_limited_in_one_piece(delta: int) -> None:
    """So it is where a single line may be longer than all of them, and the head comes whole."""
    data = head((b"Host", b"a"), (b"X", b"x" * 30))
    size = len(data) - len(b"GET /chat HTTP/1.1\r\n\r\n")
    found = outcome(data, HeadLimits(max_header_size=size - delta))
    assert (found.refused and found.refused[0]) == (431 if delta > 0 else None)


def test_limits_by_default() -> None:
    """They are those of the documentation."""
    limits = HeadLimits(max_line_size=8192, max_header_count=100, max_header_size=32768)
    assert HeadLimits() == limits
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.max_line_size = 1  # type: ignore[misc]


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"GET /" + b"x" * 40, "the start line is over 40 bytes", id="start"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + b"X" * 41, "a header line is over 40 bytes", id="line"
        ),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 8, "more than 7 headers", id="count"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + (b"X:" + b"x" * 36 + b"\r\n") * 5,
            "the headers are over 170 bytes",
            id="size",
        ),
    ],
)
def test_which_limit_was_exceeded(data: bytes, words: str) -> None:
    """Whoever runs the client, or the server, learns which limit it is."""
    found = outcome(data, LIMITS)
    assert found.refused is not None
    assert found.refused[1] == f"{words}: send a smaller head"


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize("delta", [-1, 0, 1])
@pytest.mark.parametrize("last", range(3, 41))
def test_the_size_of_all_headers_is_limited(delta: int, last: int) -> None:
    """All header lines with their CRLF may be as large as the limit, however they are divided."""
    rest = 170 + delta - (last + 2)
    lines = [b"Host: a", *[padded(38, b"X: ")] * (rest // 40 - 1)]
    lines.append(padded(rest - sum(len(line) + 2 for line in lines) - 2, b"X: "))
    lines.append(padded(last, b"X: "))
    if len(lines[-2]) > 40:
        half = len(lines[-2]) // 2
        lines[-2:-1] = [padded(half - 1, b"X: "), padded(len(lines[-2]) - half - 1, b"X: ")]
    assert sum(len(line) + 2 for line in lines) == 170 + delta
    found = outcome(b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""]), LIMITS)
    assert (found.refused and found.refused[0]) == (431 if delta > 0 else None)


@pytest.mark.checklist("SH23")
@pytest.mark.parametrize(
    ("start", "repeated", "status_code", "most"),
    [
        pytest.param(b"", b"x", 414, 8193, id="request-line"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"x", 431, 16 + 8193, id="header-line"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"X:\r\n", 431, 16 + 100 * 4 + 1, id="count"),
        pytest.param(
            b"GET / HTTP/1.1\r\n", b"X: " + b"x" * 1019 + b"\r\n", 431, 16 + 32768 + 1, id="size"
        ),
    ],
)
def test_memory_is_bounded(start: bytes, repeated: bytes, status_code: int, most: int) -> None:
    """An endless head is refused at the byte that breaks a limit, and nothing more is kept."""
    handshake = ServerHandshake()
    handshake.receive_data(start)
    received = len(start)
    with pytest.raises(BadRequest) as caught:
        while received <= most:
            piece = repeated[(received - len(start)) % len(repeated) :][:1]
            received += 1
            handshake.receive_data(piece)
    assert caught.value.status_code == status_code
    assert received <= most


# --- Answers other than 101


@pytest.mark.checklist("SH25")
def test_respond() -> None:
    """A rejection is a whole response that closes the connection."""
    assert ServerHandshake.respond(404, [(b"X-A", b"b")], b"gone") == (
        b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone"
    )
    assert ServerHandshake.respond(299).startswith(b"HTTP/1.1 299 \r\nContent-Length: 0\r\n")


def test_respond_answers_head_without_a_body() -> None:
    """The answer to HEAD has the length, and only that, of the body."""
    response = ServerHandshake().respond(200, [], b"body", method="HEAD")
    assert b"\r\nContent-Length: 4\r\n" in response
    assert response.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status_code", [200, 599])
def test_respond_takes_all_final_codes(status_code: int) -> None:
    """Codes from 200 to 599 end an exchange; both ends belong to it."""
    assert ServerHandshake.respond(status_code).startswith(b"HTTP/1.1 %d " % status_code)


@pytest.mark.parametrize("status_code", [204, 304])
def test_respond_without_content(status_code: int) -> None:
    """204 and 304 have no body, and so no length."""
    assert b"Content-Length" not in ServerHandshake.respond(status_code)


def test_respond_takes_the_right_length_from_the_user() -> None:
    """The user's Content-Length may be there if it is true, and goes out once."""
    headers = [(b"content-length", b"4")]
    assert ServerHandshake.respond(403, headers, b"body").lower().count(b"content-length: 4") == 1
    with pytest.raises(ValueError, match="Content-Length"):
        ServerHandshake.respond(403, headers, b"four+")


@pytest.mark.parametrize(
    ("status_code", "body"),
    [
        (0, b""),
        (100, b""),
        (101, b""),
        (199, b""),
        (600, b""),
        (204, b"x"),
        (205, b"x"),
        (304, b"x"),
    ],
)
def test_respond_refuses(status_code: int, body: bytes) -> None:
    """A rejection is a final response, with a body only where HTTP allows one."""
    with pytest.raises(ValueError, match=r"status_code|no body"):
        ServerHandshake.respond(status_code, [], body)


def test_eof() -> None:
    """A client that hangs up early cannot be answered."""
    with pytest.raises(HandshakeFailure, match="hung up"):
        ServerHandshake().receive_eof()


# --- Any bytes at all

PIECES = st.one_of(
    st.sampled_from(
        [b"GET / HTTP/1.1\r\n", b"\r\n", b"\r", b"\n", b" ", b":", b",", b";", b"\x00"]
    ),
    st.sampled_from([name + b": " + value + b"\r\n" for name, value in HEADERS]),
    st.sampled_from(
        [b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"]
    ),
    st.sampled_from([b"Sec-WebSocket-Extensions: ", b"Sec-WebSocket-Protocol: ", b'a; b="', b"1"]),
    st.binary(max_size=6),
)


@pytest.mark.checklist("LM10")
@settings(deadline=None)
@given(
    st.lists(PIECES, max_size=12).map(b"".join),
    st.binary(max_size=8),
    st.booleans(),
    st.integers(0),
)
def test_any_bytes_have_a_documented_outcome(
    noise: bytes, early: bytes, valid: bool, cut: int
) -> None:
    """Any bytes lead to None, a Request or BadRequest, the same whole and torn."""
    data = (GOOD[:-2] if valid else b"GET / HTTP/1.1\r\nHost: a\r\n") + noise + b"\r\n" + early
    for stream in (data, noise):
        cut %= len(stream) + 1
        whole = feed([stream])
        assert whole == feed([stream[:cut], stream[cut:]])
        assert whole == feed([stream[i : i + 1] for i in range(len(stream))])
