"""The grammar of header values."""

import pytest

from trio_ws._protocol._headers import (
    RESPONSE_OWNED,
    Extension,
    HeaderError,
    by_name,
    encode_headers,
    format_authority,
    format_extensions,
    get_all,
    get_one,
    has_token,
    is_token,
    parse_extensions,
    parse_host,
    parse_token_list,
    received,
    show,
)


@pytest.mark.checklist("LM09")
@pytest.mark.parametrize(
    ("data", "shown"),
    [
        pytest.param(b"a\r\n\x1b[2J", r"b'a\r\n\x1b[2J'", id="controls"),
        pytest.param("\u202eabc", r"'\u202eabc'", id="text-direction"),
        pytest.param(b"x" * 64, "b'" + "x" * 64 + "'", id="at-the-limit"),
        pytest.param(b"x" * 65, "b'" + "x" * 64 + "'...", id="over-the-limit"),
    ],
)
def test_show_escapes_and_truncates(data: bytes | str, shown: str) -> None:
    """Peer data in a message is escaped ASCII of bounded length."""
    assert show(data) == shown


def test_get_all_and_get_one() -> None:
    """All values come in order; get_one insists on exactly one."""
    headers = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert get_all(headers, b"a") == [b"1", b"3"]
    assert get_one(headers, b"b") == b"2"
    for name in (b"a", b"c"):
        with pytest.raises(HeaderError, match="exactly once"):
            get_one(headers, name)


def test_by_name() -> None:
    """All values of each header come in order."""
    headers = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert by_name(headers) == {b"a": [b"1", b"3"], b"b": [b"2"]}


def test_received() -> None:
    """Received names are in lower case; order and values are as they came."""
    assert received([(b"X-B", b"C"), (b"A", b"")]) == [(b"x-b", b"C"), (b"a", b"")]


COMMON_NAMES = [
    b"Accept-Encoding",
    b"Accept-Language",
    b"Cache-Control",
    b"Connection",
    b"Cookie",
    b"Host",
    b"Origin",
    b"Pragma",
    b"Sec-WebSocket-Accept",
    b"Sec-WebSocket-Extensions",
    b"Sec-WebSocket-Key",
    b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Version",
    b"Upgrade",
    b"User-Agent",
]


@pytest.mark.parametrize("name", COMMON_NAMES, ids=repr)
def test_connections_share_common_names(name: bytes) -> None:
    """A name that nearly each handshake has takes memory once, not once for each connection."""
    ((one, _),) = received([(name, b"")])
    ((other, _),) = received([(name.upper(), b"")])
    assert one == name.lower()
    assert one is other


def test_header_errors_are_400_unless_they_say_otherwise() -> None:
    """What a server answers to a malformed head is part of the error."""
    assert HeaderError("no").status_code == 400
    assert HeaderError("too much", 431).status_code == 431


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat", True),
        ("!#$%&'*+-.^_`|~", True),
        *((mark, True) for mark in "!#$%&'*+-.^_`|~"),
        *((mark, False) for mark in '"(),/:;<=>?@[\\]{}'),
        ("\ud800", False),
        ("v1.x-y_z~", True),
        ("", False),
        ("a b", False),
        ("é", False),
        ("a,b", False),
    ],
)
def test_is_token(text: str, expected: bool) -> None:
    """A token is made of the characters of RFC 9110 section 5.6.2, and not empty."""
    assert is_token(text) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], [], id="no-header"),
        pytest.param([b"a"], ["a"], id="one"),
        pytest.param([b" a ,\tb"], ["a", "b"], id="blanks"),
        pytest.param([b"XaX"], ["XaX"], id="only-blanks-are-stripped"),
        pytest.param([b"b, a", b"c"], ["b", "a", "c"], id="several-lines-in-order"),
    ],
)
def test_parse_token_list(values: list[bytes], expected: list[str]) -> None:
    """A list over several header lines is concatenated in order."""
    assert parse_token_list(values) == expected


@pytest.mark.parametrize("value", [b"", b",", b"a,,b", b"a,", b"a b", b"\xe9", b'"a"', b"a\n"])
def test_parse_token_list_refuses(value: bytes) -> None:
    """An empty element or one that is no token is an error."""
    with pytest.raises(HeaderError, match="token"):
        parse_token_list([b"ok", value])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"WebSocket"], True),
        ([b"keep-alive, , WEBSOCKET"], True),
        ([b"h2c", b"websocket"], True),
        ([b"HTTP/2.0, websocket"], True),
        ([b"h2c ,\twebsocket\t, x"], True),
        ([b"Xwebsocket"], False),
        ([b"websockets"], False),
        ([b"my-websocket"], False),
        ([b"websocket/13"], False),
        ([b""], False),
        ([], False),
    ],
)
def test_has_token(values: list[bytes], expected: bool) -> None:
    """The token is found in a list, whatever its case, and never as a part of another one."""
    assert has_token(values, b"websocket") is expected


@pytest.mark.parametrize("value", [b"web socket", b"websocket;q=1", b"websocket, \xff", b"a/b/c"])
def test_has_token_refuses_garbage(value: bytes) -> None:
    """What is no list of names is an error, even if the token is there as well."""
    with pytest.raises(HeaderError, match="list of names"):
        has_token([value], b"websocket")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], [], id="no-header"),
        pytest.param([b"foo"], [("foo", ())], id="name"),
        pytest.param([b"foo; a; b=1"], [("foo", (("a", None), ("b", "1")))], id="parameters"),
        pytest.param([b'foo;a="b"'], [("foo", (("a", "b"),))], id="quoted"),
        pytest.param([rb'foo;a="\b\1"'], [("foo", (("a", "b1"),))], id="quoted-pair"),
        pytest.param([b"\tfoo ; a = 1 , bar"], [("foo", (("a", "1"),)), ("bar", ())], id="blanks"),
        pytest.param(
            [b"a, b; x; y=1"], [("a", ()), ("b", (("x", None), ("y", "1")))], id="the-second"
        ),
        pytest.param(
            [b"a;x", b"b", b"a"], [("a", (("x", None),)), ("b", ()), ("a", ())], id="lines"
        ),
    ],
)
def test_parse_extensions(values: list[bytes], expected: list[Extension]) -> None:
    """Names and parameters come out in order, quoted values without their quotes."""
    assert parse_extensions(values) == expected


@pytest.mark.checklist("SH15")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b",", id="comma"),
        pytest.param(b"a,", id="trailing-comma"),
        pytest.param(b"a,,b", id="empty-element"),
        pytest.param(b";", id="semicolon"),
        pytest.param(b"a;", id="stray-semicolon"),
        pytest.param(b"a;;b", id="empty-parameter"),
        pytest.param(b"a=1", id="value-of-a-name"),
        pytest.param(b"a;b=", id="no-value"),
        pytest.param(b"a;=1", id="no-parameter"),
        pytest.param(b"a b", id="two-words"),
        pytest.param(b'a;b="', id="lone-quote"),
        pytest.param(b'a;b="c', id="unterminated"),
        pytest.param(b'a;b="c\\', id="unterminated-pair"),
        pytest.param(b'a;b=""', id="quoted-nothing"),
        pytest.param(b'a;b="c d"', id="quoted-no-token"),
        pytest.param(b'a;b="c"d', id="behind-the-quotes"),
        pytest.param(b'"a"', id="quoted-name"),
        pytest.param(b"a\xe9", id="non-ascii"),
        pytest.param(b"a\n", id="line-feed"),
    ],
)
def test_parse_extensions_refuses(value: bytes) -> None:
    """Malformed extension lists are errors, alone and between good lines."""
    for values in ([value], [b"x", value], [value, b"x"]):
        with pytest.raises(HeaderError):
            parse_extensions(values)


@pytest.mark.parametrize("value", [b'a; b=""', b'a; b="c d"', b'a; b="\\""'])
def test_a_quoted_value_is_a_token(value: bytes) -> None:
    """A quoted string that holds no token, or nothing, is said to be the mistake."""
    with pytest.raises(HeaderError, match="quoted parameter value"):
        parse_extensions([value])


@pytest.mark.checklist("SH15")
def test_a_quoted_string_does_not_run_into_the_next_line() -> None:
    """Two header lines with half a quoted string each are an error."""
    with pytest.raises(HeaderError, match="token"):
        parse_extensions([b'a; b="c', b'd"'])


def test_extensions_round_trip() -> None:
    """What format_extensions writes, parse_extensions reads."""
    extensions: list[Extension] = [("foo", (("a", None), ("b", "1"))), ("bar", ())]
    assert format_extensions(extensions) == b"foo; a; b=1, bar"
    assert parse_extensions([format_extensions(extensions)]) == extensions


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"example.com", ("example.com", None)),
        (b"EXAMPLE.com:80", ("example.com", 80)),
        (b"my_host-1", ("my_host-1", None)),
        (b"127.0.0.1:65535", ("127.0.0.1", 65535)),
        (b"host:", ("host", None)),
        (b"host:0080", ("host", 80)),
        (b"[::1]", ("::1", None)),
        (b"[::1.2.3.4]", ("::102:304", None)),
        (b"[0:0:0:0:0:0:0:1]:8080", ("::1", 8080)),
    ],
)
def test_parse_host(value: bytes, expected: tuple[str, int | None]) -> None:
    """A host comes out in lower case, an IPv6 address in its shortest form."""
    assert parse_host(value) == expected


BAD_HOSTS = [
    b"",
    b":80",
    b"a b",
    b"a,b",
    b"a/b",
    b"u@a",
    b"a:b",
    b"a:-1",
    b"a:65536",
    b"a:123456",
    b"a:000080",
    b"a:1:2",
    b"::1",
    b"[::1",
    b"[]",
    b"[:]",
    b"[1.2.3.4]",
    b"[::1]x",
    b"[fe80::1%eth0]",
    b"[v1.x]",
    b"\xc3\xa9.example",
    b"a\n",
]


@pytest.mark.parametrize("value", BAD_HOSTS)
def test_parse_host_refuses(value: bytes) -> None:
    """Anything but host[:port] is an error."""
    with pytest.raises(HeaderError):
        parse_host(value)


def test_brackets_without_an_address_are_no_host() -> None:
    """The message does not speak of an address where there is none."""
    with pytest.raises(HeaderError, match=r"host\[:port\]"):
        parse_host(b"[]")


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [("a", None, "a"), ("a", 8080, "a:8080"), ("::1", None, "[::1]"), ("::1", 1, "[::1]:1")],
)
def test_format_authority(host: str, port: int | None, expected: str) -> None:
    """An IPv6 address gets brackets, and a port its colon."""
    assert format_authority(host, port) == expected


def test_encode_headers() -> None:
    """Text becomes bytes, blanks around values go, names keep their spelling."""
    headers: list[tuple[bytes | str, bytes | str]] = [
        ("X-A", "b"),
        (b"x-c", b" \xe9\t"),
        ("X-Empty", ""),
        ("X-Letters", "Xylophone, X"),
        ("Host-Hint", "a"),
        ("Upgrade-Insecure-Requests", "1"),
        ("Set-Cookie", "a=b\tc"),
    ]
    assert encode_headers(headers) == [
        (b"X-A", b"b"),
        (b"x-c", b"\xe9"),
        (b"X-Empty", b""),
        (b"X-Letters", b"Xylophone, X"),
        (b"Host-Hint", b"a"),
        (b"Upgrade-Insecure-Requests", b"1"),
        (b"Set-Cookie", b"a=b\tc"),
    ]
    assert encode_headers(None) == []


OWNED = [
    "Sec-WebSocket-Accept",
    "sec-websocket-anything",
    "Sec-WebSocket-",
    "UPGRADE",
    "Connection",
    "Host",
    "Content-Length",
    "Transfer-Encoding",
]
BAD_PAIRS: list[tuple[bytes | str, bytes | str]] = [
    ("X", "a\rb"),
    ("X", "a\nb"),
    ("X", b"a\x00b"),
    ("X", "a\x7f"),
    ("X", "a\r\nY: b"),
    ("", "a"),
    ("X:", "a"),
    ("X Y", "a"),
    (b"X\r\n", "a"),
    ("é", "a"),
    ("X", "é"),
    *((name, "x") for name in OWNED),
]


@pytest.mark.checklist("SH28", "CH20")
@pytest.mark.parametrize("pair", BAD_PAIRS, ids=repr)
def test_encode_headers_refuses(pair: tuple[bytes | str, bytes | str]) -> None:
    """Injected lines, bad names and the handshake's own headers never get out."""
    with pytest.raises(ValueError, match="extra_headers"):
        encode_headers([("X-Good", "x"), pair])


@pytest.mark.parametrize("item", ["ab", ("a",), ("a", 1), (None, "a"), 3], ids=repr)
def test_encode_headers_refuses_types(item: object) -> None:
    """Anything but pairs of str or bytes is a TypeError that names the argument."""
    with pytest.raises(TypeError, match="extra_headers"):
        encode_headers([item])  # type: ignore[list-item]


def test_a_response_may_name_its_upgrade() -> None:
    """A user may answer 426, with Upgrade and Sec-WebSocket-Version; framing stays ours."""
    headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Content-Length", "0")]
    assert len(encode_headers(headers, RESPONSE_OWNED)) == 3
    for name in ("Connection", "transfer-encoding"):
        with pytest.raises(ValueError, match="leave out"):
            encode_headers([(name, "x")], RESPONSE_OWNED)
