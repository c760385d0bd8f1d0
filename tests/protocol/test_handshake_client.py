"""The client's side of the opening handshake, for every way in which the bytes may be split."""

import base64
import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._protocol._handshake import (
    ClientHandshake,
    HandshakeFailure,
    HeadLimits,
    Response,
    ServerHandshake,
)
from trio_ws._protocol._headers import Extension, Headers
from trio_ws._protocol._negotiation import accept_key

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
HEADERS: Headers = [
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Accept", accept_key(KEY)),
]
OFFER: list[Extension] = [("foo", (("x", None),)), ("bar", ())]


class Outcome(NamedTuple):
    """What became of some bytes: an answer, or a failure, and the bytes that nobody interpreted."""

    response: Response | None = None
    failed: str | None = None
    trailing: bytes = b""


@pytest.fixture(autouse=True)
def _fixed_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every key the one of RFC 6455 section 1.3."""
    monkeypatch.setattr("os.urandom", lambda size: b"the sample nonce"[:size])


def tear(data: bytes) -> Iterator[list[bytes]]:
    """Yield *data* whole, byte by byte, and cut in two at each place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def feed(pieces: list[bytes], *, eof: bool = False, **options: Any) -> Outcome:
    """Feed a new handshake until it has an outcome, and then the end of the stream if asked."""
    options = {"subprotocols": ["a", "b"], "extensions": OFFER, **options}
    handshake = ClientHandshake("example.com", 80, "/", **options)
    try:
        for number, piece in enumerate(pieces, 1):
            response = handshake.receive_data(piece)
            if response is not None:
                rest = b"".join(pieces[number:]) if response.status_code == 101 else b""
                return Outcome(response, trailing=handshake.trailing + rest)
        return Outcome(handshake.receive_eof()) if eof else Outcome()
    except HandshakeFailure as error:
        return Outcome(failed=str(error))


def outcome(data: bytes, *, eof: bool = False, **options: Any) -> Outcome:
    """Return the outcome of *data*, which is the same however it is torn."""
    outcomes = [feed(pieces, eof=eof, **options) for pieces in tear(data)]
    assert outcomes == outcomes[:1] * len(outcomes)
    return outcomes[0]


def answer(*headers: tuple[bytes, bytes], line: bytes = b"HTTP/1.1 101 Switching") -> bytes:
    """Write a head of exactly these headers."""
    return b"\r\n".join([line, *(name + b": " + value for name, value in headers), b"", b""])


def changed(name: bytes, *values: bytes) -> bytes:
    """Write a valid 101 whose header *name* is there once for each of *values*."""
    rest = [pair for pair in HEADERS if pair[0].lower() != name.lower()]
    return answer(*rest, *((name, value) for value in values))


def responded(data: bytes, *, eof: bool = False, **options: Any) -> Response:
    """Return the answer that *data* must be."""
    response = outcome(data, eof=eof, **options).response
    assert response is not None
    return response


def failed(data: bytes, **options: Any) -> str:
    """Return the message of the failure that *data* must be."""
    message = outcome(data, **options).failed
    assert message is not None
    assert len(message) < 350
    assert message.isascii()
    assert message.isprintable()
    return message


# --- The request


@pytest.mark.checklist("CH02", "CH03", "CH04")
def test_the_request() -> None:
    """The request holds what RFC 6455 section 4.1 asks for, each header once."""
    handshake = ClientHandshake(
        "Example.com",
        8080,
        "/chat?x=é",
        subprotocols=["b", "a"],
        extensions=OFFER,
        extra_headers=[("X-Extra", b"1")],
    )
    assert handshake.target == "/chat?x=%C3%A9"
    assert handshake.request == (
        b"GET /chat?x=%C3%A9 HTTP/1.1\r\n"
        b"Host: example.com:8080\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: b, a\r\n"
        b"Sec-WebSocket-Extensions: foo; x, bar\r\n"
        b"X-Extra: 1\r\n"
        b"\r\n"
    )


def test_nothing_is_offered_by_default() -> None:
    """Without subprotocols and extensions, their headers are absent."""
    request = ClientHandshake("a", None, "").request
    assert request.startswith(b"GET / HTTP/1.1\r\nHost: a\r\n")
    assert request.count(b"Sec-WebSocket") == 2


@pytest.mark.checklist("CH02")
@pytest.mark.parametrize(
    ("host", "port", "secure", "expected"),
    [
        ("a", 80, False, b"a"),
        ("a", 443, True, b"a"),
        ("a", 443, False, b"a:443"),
        ("a", 80, True, b"a:80"),
        ("a", None, False, b"a"),
        ("a:81", None, False, b"a:81"),
        ("a:80", None, False, b"a"),
        ("127.0.0.1", 1, False, b"127.0.0.1:1"),
        ("::1", 80, False, b"[::1]"),
        ("::1", 65535, False, b"[::1]:65535"),
        ("[::1]", 443, True, b"[::1]"),
        ("[::1]:81", None, True, b"[::1]:81"),
        ("fe80::1%eth0", 80, False, b"[fe80::1]"),
        ("München.de", 80, False, b"xn--mnchen-3ya.de"),
    ],
)
def test_host(host: str, port: int | None, secure: bool, expected: bytes) -> None:
    """Host is in ASCII, with brackets for IPv6, and without the port if that is the default."""
    request = ClientHandshake(host, port, "/", secure=secure).request
    assert re.findall(rb"\r\nHost: (.*)\r\n", request) == [expected]


@pytest.mark.checklist("CH03")
def test_each_attempt_has_a_fresh_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is the base64 form of 16 bytes of the operating system's generator, drawn anew."""
    monkeypatch.undo()
    requests = [ClientHandshake("a", 80, "/").request for _ in range(1000)]
    keys = {re.findall(rb"Sec-WebSocket-Key: (.*)\r\n", request)[0] for request in requests}
    assert len(keys) == 1000
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}
    drawn: list[int] = []

    def urandom(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    monkeypatch.setattr("os.urandom", urandom)
    assert (
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" in ClientHandshake("a", 1, "/").request
    )
    assert drawn == [16]


@pytest.mark.checklist("CH01", "CH05", "CH20")
@pytest.mark.parametrize(
    ("host", "port", "resource", "options"),
    [
        ("", 80, "/", {}),
        ("a b", 80, "/", {}),
        ("a\r\nX: y", 80, "/", {}),
        ("a/b", 80, "/", {}),
        ("u@a", 80, "/", {}),
        ("faß.de", 80, "/", {}),
        ("[::1", 80, "/", {}),
        ("a", 0, "/", {}),
        ("a", 65536, "/", {}),
        ("a:0", 65536, "/", {}),
        ("a", 80, "/a b", {}),
        ("a", 80, "/ HTTP/1.1\r\nX: y", {}),
        ("a", 80, "/#", {}),
        ("a", 80, "/", {"subprotocols": ["a", "a"]}),
        ("a", 80, "/", {"subprotocols": ["a b"]}),
        ("a", 80, "/", {"extra_headers": [("Host", "b")]}),
        ("a", 80, "/", {"extra_headers": [("X", "a\r\nY: b")]}),
        ("a", 80, "/", {"extra_headers": [(b"sec-websocket-key", b"x")]}),
    ],
)
def test_what_cannot_be_sent(host: str, port: int, resource: str, options: dict[str, Any]) -> None:
    """Wrong arguments are a ValueError before there is anything to send."""
    with pytest.raises(ValueError, match=r"."):
        ClientHandshake(host, port, resource, **options)


# --- 101


@pytest.mark.checklist("CH07", "CH08", "CH17")
def test_a_valid_answer() -> None:
    """The answer of RFC 6455 section 1.3 is accepted, and the frames behind it are kept."""
    found = outcome(answer(*HEADERS) + b"\x81\x02\r\n\x00")
    assert found.response == Response(101, [(name.lower(), value) for name, value in HEADERS])
    assert found.trailing == b"\x81\x02\r\n\x00"


@pytest.mark.checklist("CH07")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        (b"upgrade", [b"WebSocket"]),
        (b"Connection", [b"keep-alive, UPGRADE"]),
        (b"Connection", [b"x", b"upgrade"]),
        (b"X-Obs-Text", [b"\xff"]),
    ],
)
def test_what_may_vary(name: bytes, values: list[bytes]) -> None:
    """Case does not matter where RFC 6455 says so."""
    assert responded(changed(name, *values)).status_code == 101


@pytest.mark.parametrize("line", [b"HTTP/1.1 101", b"HTTP/1.1 101 ", b"HTTP/1.1 101 \xe9\tx"])
def test_the_reason_phrase_does_not_matter(line: bytes) -> None:
    """Any text, or none, may follow the status code."""
    assert responded(answer(*HEADERS, line=line)).status_code == 101


@pytest.mark.checklist("CH09", "CH10")
def test_what_was_agreed() -> None:
    """Subprotocol and extensions come out of the answer."""
    agreed = [(b"Sec-WebSocket-Protocol", b"b"), (b"Sec-WebSocket-Extensions", b"foo; y=1, bar")]
    response = responded(answer(*HEADERS, *agreed))
    assert response.subprotocol == "b"
    assert response.extensions == (("foo", (("y", "1"),)), ("bar", ()))


@pytest.mark.checklist("CH07", "CH08", "CH09", "CH10", "LM09")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        (b"Upgrade", []),
        (b"Upgrade", [b""]),
        (b"Upgrade", [b"h2c"]),
        (b"Upgrade", [b"websockets"]),
        (b"Upgrade", [b"websocket, h2c"]),
        (b"Upgrade", [b"websocket", b"websocket"]),
        (b"Upgrade", [b"\xff" * 500]),
        (b"Connection", []),
        (b"Connection", [b"close"]),
        (b"Connection", [b"upgrades"]),
        (b"Connection", [b"Upgrade; x"]),
        (b"Sec-WebSocket-Accept", []),
        (b"Sec-WebSocket-Accept", [b""]),
        (b"Sec-WebSocket-Accept", [b"x" * 1000]),
        (b"Sec-WebSocket-Accept", [accept_key(KEY).lower()]),
        (b"Sec-WebSocket-Accept", [accept_key(KEY).swapcase()]),
        (b"Sec-WebSocket-Accept", [accept_key(KEY)[:-1]]),
        (b"Sec-WebSocket-Accept", [accept_key(KEY)] * 2),
        (b"Sec-WebSocket-Accept", [accept_key(KEY), b"x"]),
        (b"Sec-WebSocket-Extensions", [b"permessage-deflate"]),
        (b"Sec-WebSocket-Extensions", [b"foo", b"bar"]),
        (b"Sec-WebSocket-Extensions", [b"foo, foo"]),
        (b"Sec-WebSocket-Extensions", [b"foo;"]),
        (b"Sec-WebSocket-Extensions", [b""]),
        (b"Sec-WebSocket-Protocol", [b"c"]),
        (b"Sec-WebSocket-Protocol", [b"A"]),
        (b"Sec-WebSocket-Protocol", [b"a, b"]),
        (b"Sec-WebSocket-Protocol", [b"a", b"a"]),
        (b"Sec-WebSocket-Protocol", [b""]),
        (b"Content-Length", [b"x"]),
    ],
)
def test_wrong_values(name: bytes, values: list[bytes]) -> None:
    """What the client must check in a 101, it checks."""
    failed(changed(name, *values))


@pytest.mark.checklist("CH09", "CH10")
@pytest.mark.parametrize(
    ("name", "value"),
    [(b"Sec-WebSocket-Extensions", b"permessage-deflate"), (b"Sec-WebSocket-Protocol", b"a")],
)
def test_nothing_is_accepted_that_was_not_offered(name: bytes, value: bytes) -> None:
    """A client that offered nothing accepts nothing."""
    assert "not" in failed(changed(name, value), subprotocols=None, extensions=())


def test_an_answer_stays_as_it_is() -> None:
    """Who is handed an answer cannot change it for others."""
    response = responded(answer(*HEADERS))
    with pytest.raises(dataclasses.FrozenInstanceError):
        response.status_code = 200  # type: ignore[misc]


def test_nothing_is_behind_an_answer_that_has_not_come() -> None:
    """There are no bytes of frames before the answer is complete."""
    handshake = ClientHandshake("a", 80, "/")
    assert handshake.trailing == b""
    assert handshake.receive_data(answer(*HEADERS)[:-1]) is None
    assert handshake.trailing == b""


@pytest.mark.checklist("CH17")
@pytest.mark.parametrize("early", [b"\x81\x02hi", b"\r\n", b"\n", b" "])
def test_nothing_may_precede_the_answer(early: bytes) -> None:
    """Frames, or anything else, before the status line are a failure."""
    failed(early + answer(*HEADERS))


@pytest.mark.checklist("CH06", "CH07")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(*HEADERS, line=b"HTTP/1.0 101 Switching"), id="http10"),
        pytest.param(answer(*HEADERS, line=b"HTTP/2.0 101 Switching"), id="http2"),
        pytest.param(answer(*HEADERS, line=b"HTTP/1.1 0101 Switching"), id="long-status"),
        pytest.param(answer(*HEADERS, line=b"HTTP/1.1 099 Switching"), id="small-status"),
        pytest.param(answer(*HEADERS, line=b"HTTP/1.1  101 Switching"), id="two-blanks"),
        pytest.param(answer(*HEADERS, line=b"HTTP/1.1 101Switching"), id="no-blank"),
        pytest.param(answer(*HEADERS, line=b"ICY 200 OK"), id="other-protocol"),
        pytest.param(answer(*HEADERS).replace(b"\r\n", b"\n"), id="bare-lf"),
        pytest.param(answer(*HEADERS).replace(b"\r\nConn", b"\r\n x\r\nConn"), id="obs-fold"),
        pytest.param(answer(*HEADERS).replace(b"Upgrade:", b"Upgrade :"), id="blank"),
        pytest.param(answer(*HEADERS).replace(b"websocket", b"web\x00socket"), id="nul"),
        pytest.param(answer((b"Content-Length", b"x"), line=b"HTTP/1.1 404 No"), id="length"),
        pytest.param(b"<html>\r\n", id="html"),
        pytest.param(b"\x15\x03\x01", id="tls"),
    ],
)
def test_no_http(data: bytes) -> None:
    """What is no strict HTTP/1.1 answer is a failure."""
    failed(data)


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 101Switching", b"HTTP/1.1 1011 x", b"HTTP/1.1 10", b"HTTP/1.1 101x", b"HTTP/2 101"],
    ids=bytes.decode,
)
def test_a_status_line_of_something_else(line: bytes) -> None:
    """What does not begin as an answer in HTTP/1.1 does, up to the end of the code, is said."""
    assert "does not speak HTTP/1.1" in failed(answer(*HEADERS, line=line))


# --- Other answers


@pytest.mark.checklist("CH06")
@pytest.mark.parametrize(
    "status", [b"200 OK", b"302 Found", b"401 No", b"403 No", b"503 x", b"999"]
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_rejection_has_status_headers_and_body(status: bytes, version: bytes) -> None:
    """Any final answer but 101 comes out with all that may explain it."""
    headers = [(b"X-Why", b"because"), (b"Content-Length", b"4")]
    response = responded(answer(*headers, line=version + b" " + status) + b"why!more")
    assert response == Response(
        int(status[:3]), [(b"x-why", b"because"), (b"content-length", b"4")], b"why!"
    )


@pytest.mark.checklist("CH06")
@pytest.mark.parametrize("line", [b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified"])
def test_a_rejection_without_content(line: bytes) -> None:
    """Some answers are complete at the end of their head."""
    assert responded(answer((b"X", b"y"), line=line)).body == b""


def chunked(*chunks: bytes) -> bytes:
    """Write an answer with a chunked body."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return answer((b"Transfer-Encoding", b"chunked"), line=b"HTTP/1.1 404 No") + body


@pytest.mark.checklist("CH06")
def test_a_chunked_body() -> None:
    """Chunks are put together, trailers and what follows are left out."""
    response = responded(chunked(b"abc", b"defgh", b"").removesuffix(b"\r\n") + b"X: y\r\n\r\nmore")
    assert response.body == b"abcdefgh"


@pytest.mark.checklist("CH06")
@pytest.mark.parametrize(
    ("data", "rejected"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"HTTP/1.1 404 No\r\n", False, id="half"),
        pytest.param(answer(line=b"HTTP/1.1 404 No"), True, id="head"),
        pytest.param(answer(line=b"HTTP/1.1 404 No") + b"body", True, id="body"),
        pytest.param(answer(line=b"HTTP/1.1 100 Go on"), False, id="informational"),
        pytest.param(answer(*HEADERS), False, id="101"),
    ],
)
def test_whether_it_is_a_rejection(data: bytes, rejected: bool) -> None:
    """It is one from the head on, wherever the body ends."""
    for pieces in tear(data):
        handshake = ClientHandshake("example.com", 80, "/")
        for piece in pieces:
            handshake.receive_data(piece)
        assert handshake.rejected is rejected


@pytest.mark.checklist("CH06")
@pytest.mark.parametrize(
    ("data", "body"),
    [
        pytest.param(
            answer(line=b"HTTP/1.1 404 No") + b"until the end", b"until the end", id="eof"
        ),
        pytest.param(answer(line=b"HTTP/1.1 404 No"), b"", id="nothing"),
        pytest.param(
            answer((b"Content-Length", b"9"), line=b"HTTP/1.1 404 No") + b"cut", b"cut", id="cut"
        ),
        pytest.param(chunked(b"abc", b"def")[:-3], b"abcde", id="cut-chunk"),
    ],
)
def test_a_body_ends_with_the_stream(data: bytes, body: bytes) -> None:
    """At the end of the stream, a rejection has the body that came."""
    assert outcome(data) == Outcome()
    assert responded(data, eof=True) == Response(404, responded(data, eof=True).headers, body)


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize("garbage", [b"x\r\n", b"-1\r\n", b"3\r\nabcd\r\n"])
def test_a_badly_framed_body_ends_there(garbage: bytes) -> None:
    """The status of a rejection is not lost over its body."""
    response = responded(chunked(b"abc") + garbage)
    assert response.status_code == 404
    assert response.body.startswith(b"abc")


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize("size", [0, 1, 19, 20, 21, 60])
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: %d\r\n", id="length"),
        pytest.param(b"Content-Length: 9999999999%d\r\n", id="length-bomb"),
        pytest.param(b"X: %d\r\n", id="eof"),
    ],
)
def test_the_body_is_cut_at_its_limit(size: int, head: bytes) -> None:
    """No more of a body is kept than the limit says, and nothing more is waited for."""
    data = b"HTTP/1.1 404 No\r\n" + head % size + b"\r\n" + b"0123456789" * 6
    data = data[: len(data) - 60 + size]
    response = responded(data, eof=True, max_rejection_size=20)
    assert response.body == (b"0123456789" * 6)[: min(size, 20)]
    is_complete = size >= 20 or head == b"Content-Length: %d\r\n"
    assert (outcome(data, max_rejection_size=20).response is not None) == is_complete


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize("size", [19, 20, 21])
def test_a_chunked_body_is_cut_at_its_limit(size: int) -> None:
    """The limit counts the bytes of the body, not those of its framing."""
    data = chunked(*[b"x"] * size)
    body = responded(data, eof=True, max_rejection_size=20).body
    assert body == b"x" * min(size, 20)
    assert (outcome(data, max_rejection_size=20).response is not None) == (size >= 20)


@pytest.mark.checklist("CH16")
def test_a_rejection_without_room_for_its_body() -> None:
    """With a limit of 0, the head is the whole answer."""
    data = answer(line=b"HTTP/1.1 404 No")
    assert responded(data + b"body", max_rejection_size=0) == Response(404, [])


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"1;" + b"x" * 4000 + b"\r\nx\r\n", id="chunk-extensions"),
        pytest.param(b"1;" + b"x" * 100_000, id="chunk-header"),
        pytest.param(b"0\r\n" + b"X: y\r\n" * 20_000, id="trailers"),
    ],
)
def test_endless_framing_is_cut(endless: bytes) -> None:
    """A body that is all framing ends after twice the limit and a little."""
    data = chunked() + endless * (100_000 // len(endless) + 1)
    handshake = ClientHandshake("a", 80, "/", max_rejection_size=10_000)
    received = 0
    while (response := handshake.receive_data(data[received : received + 100])) is None:
        received += 100
    assert response.status_code == 404
    assert received < len(chunked()) + 2 * 10_000 + 1024 <= received + 100


@pytest.mark.checklist("CH02")
def test_plain_tcp_is_the_default() -> None:
    """Only over TLS does port 443 go without saying."""
    assert b"\r\nHost: a:443\r\n" in ClientHandshake("a", 443, "/").request
    assert b"\r\nHost: a\r\n" in ClientHandshake("a", 80, "/").request


@pytest.mark.checklist("CH16")
def test_64_kib_of_a_body_are_kept_by_default() -> None:
    """More of a rejection is not kept unless it is asked for."""
    handshake = ClientHandshake("a", 80, "/")
    response = handshake.receive_data(answer(line=b"HTTP/1.1 404 No") + bytes(100_000))
    assert response is not None
    assert len(response.body) == 65_536


@pytest.mark.checklist("CH16")
def test_framing_may_take_as_much_as_the_body() -> None:
    """A body in small chunks, of 5 bytes of framing each, is not cut."""
    body = b"12345678" * 512
    data = chunked(*[b"12345678"] * 512) + b"0\r\n\r\n"
    handshake = ClientHandshake("a", 80, "/", max_rejection_size=len(body) + 1)
    response = handshake.receive_data(data)
    assert response is not None
    assert response.body == body


@pytest.mark.checklist("CH16")
def test_a_long_chunk_extension_is_skipped() -> None:
    """What the framing may take as a whole, it may take in one place."""
    handshake = ClientHandshake("a", 80, "/")
    assert handshake.receive_data(chunked() + b"5;" + b"x" * 20_000) is None
    response = handshake.receive_data(b"x\r\nhello\r\n0\r\n\r\n")
    assert response is not None
    assert response.body == b"hello"


# --- Limits and informational answers


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize("line", [b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Hints", b"HTTP/1.1 199"])
@pytest.mark.parametrize("count", [1, 9, 10, 11, 12])
def test_informational_answers_are_skipped(line: bytes, count: int) -> None:
    """Ten answers 1xx are skipped, the eleventh is a failure."""
    data = answer((b"X", b"y"), line=line) * count
    if count <= 10:
        found = feed([data + answer(*HEADERS) + b"frame"])
        assert found.response is not None
        assert found.response.status_code == 101
        assert found.trailing == b"frame"
        assert responded(data + answer(line=b"HTTP/1.1 204 x")).status_code == 204
    else:
        assert "1xx" in failed(data)


LIMITS = HeadLimits(max_line_size=60, max_header_count=5, max_header_size=200)


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize("delta", [-1, 0, 1])
@pytest.mark.parametrize("limited", ["status line", "header line", "count", "size"])
def test_the_head_is_limited(limited: str, delta: int) -> None:
    """A limit may be reached, one byte or header more is a failure."""
    line, headers = b"HTTP/1.1 101 x", HEADERS[:]
    size = sum(len(name + value) + 4 for name, value in headers)
    match limited:
        case "status line":
            line = line.ljust(60 + delta, b"x")
        case "header line":
            headers.append((b"X", b"x" * (57 + delta)))
        case "count":
            headers += [(b"X", b"")] * (2 + delta)
        case _:
            headers += [(b"X", b"x" * 40), (b"X", b"x" * (200 + delta - size - 45 - 5))]
    found = outcome(answer(*headers, line=line), limits=LIMITS)
    assert (found.failed is not None) == (delta > 0)
    assert (found.response is not None) == (delta <= 0)


@pytest.mark.checklist("CH16")
@pytest.mark.parametrize(
    ("repeated", "most"),
    [
        pytest.param(b"", 8193, id="status-line"),
        pytest.param(b"X: y\r\n", 18 + 100 * 6 + 1, id="headers"),
        pytest.param(b"X: " + b"x" * 1019 + b"\r\n", 18 + 32768 + 1, id="large-headers"),
    ],
)
def test_an_endless_head_fails(repeated: bytes, most: int) -> None:
    """An endless head fails at the byte that breaks a default limit."""
    data = b"HTTP/1.1 101 x" + (b"\r\n" + repeated * 40_000 if repeated else b"x" * 10_000)
    handshake = ClientHandshake("a", 80, "/")
    with pytest.raises(HandshakeFailure, match="smaller head"):
        for i in range(most):
            handshake.receive_data(data[i : i + 1])


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101", answer(line=b"HTTP/1.1 100 Continue")])
def test_eof_before_an_answer(data: bytes) -> None:
    """A server that hangs up early is a failure that says so."""
    assert feed([data], eof=True).failed == "the server hung up before its answer was complete"


# --- Both ends


@pytest.mark.checklist("SH09", "CH08")
def test_client_and_server_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one end writes, the other reads, torn into single bytes."""
    monkeypatch.undo()
    client = ClientHandshake("[::1]:81", None, "/é?x", subprotocols=["a", "b"], extensions=OFFER)
    server = ServerHandshake()
    *_, request = [server.receive_data(bytes([byte])) for byte in client.request]
    assert request is not None
    assert request.websocket is not None
    assert (request.target, request.websocket.host) == ("/%C3%A9?x", b"[::1]:81")
    assert request.websocket.extensions == OFFER
    answer = server.accept(request, subprotocol="b", extensions=OFFER[1:])
    *_, response = [client.receive_data(bytes([byte])) for byte in answer]
    assert response is not None
    assert (response.subprotocol, response.extensions) == ("b", (("bar", ()),))


# --- Any bytes at all

PIECES = st.one_of(
    st.sampled_from([b"HTTP/1.1 101 x\r\n", b"HTTP/1.1 100 x\r\n", b"HTTP/1.1 404 x\r\n"]),
    st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b":", b"\x00", b"0\r\n\r\n", b"5\r\n", b"abcde"]),
    st.sampled_from([name + b": " + value + b"\r\n" for name, value in HEADERS]),
    st.sampled_from(
        [b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"1"]
    ),
    st.sampled_from([b"Sec-WebSocket-Extensions: ", b"Sec-WebSocket-Protocol: ", b'a; b="']),
    st.binary(max_size=6),
)


@pytest.mark.checklist("LM10")
@settings(deadline=None)
@given(
    st.sampled_from([b"", b"HTTP/1.1 101 x\r\n", b"HTTP/1.1 404 x\r\n", answer(*HEADERS)[:-2]]),
    st.lists(PIECES, max_size=12).map(b"".join),
    st.integers(0),
    st.integers(0, 20),
)
def test_any_bytes_have_a_documented_outcome(
    start: bytes, noise: bytes, cut: int, size: int
) -> None:
    """Any bytes lead to None, a Response or HandshakeFailure, the same whole and torn."""
    data = start + noise
    cut %= len(data) + 1
    for pieces in ([data[:cut], data[cut:]], [data[i : i + 1] for i in range(len(data))]):
        for eof in (False, True):
            whole = feed([data], eof=eof, max_rejection_size=size)
            assert whole == feed(pieces, eof=eof, max_rejection_size=size)
