"""Subprotocols, extensions, origins and credentials."""

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from trio_ws._protocol._headers import Extension, HeaderError, Headers
from trio_ws._protocol._negotiation import (
    AnyOrigin,
    accept_key,
    any_origin,
    check_basic_auth,
    check_origins,
    check_subprotocols,
    is_key,
    origin_allowed,
    parse_subprotocols,
    verify_extensions,
    verify_subprotocol,
)


@pytest.mark.checklist("SH09")
def test_accept_key() -> None:
    """The example of RFC 6455 section 1.3."""
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("last", range(256))
def test_is_key_accepts_base64_of_16_bytes(last: int) -> None:
    """Whatever the bytes are, their base64 form is a key."""
    assert is_key(base64.b64encode(bytes([*range(240, 255), last])))


def test_accept_key_works_where_sha1_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """SHA-1 secures nothing here, and says so: a Python with a policy against it computes it."""
    sha1 = hashlib.sha1

    def strict(data: bytes, *, usedforsecurity: bool = True) -> Any:
        assert not usedforsecurity
        return sha1(data, usedforsecurity=False)

    monkeypatch.setattr(hashlib, "sha1", strict)
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize(
    "key",
    [b"", KEY[1:], b"A" + KEY, KEY[:-1], KEY + b"=", KEY + b"A", KEY[:-3] + b"R==", b" " + KEY],
    ids=repr,
)
def test_is_key_refuses(key: bytes) -> None:
    """Anything longer, shorter or with bits that 16 bytes do not have is no key."""
    assert is_key(KEY)
    assert not is_key(key)


@pytest.mark.parametrize("value", [["a"], ["a", "b.c"], [], None, iter(["a"])], ids=repr)
def test_check_subprotocols(value: Iterable[str] | None) -> None:
    """Our own list keeps its order and becomes a tuple."""
    assert check_subprotocols(value) in (("a",), ("a", "b.c"), ())


@pytest.mark.checklist("CH05")
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (["a", "a"], ValueError),
        ([""], ValueError),
        (["a b"], ValueError),
        (["a,b"], ValueError),
        (["é"], ValueError),
        (["a\r\n"], ValueError),
        ("chat", TypeError),
        (b"chat", TypeError),
        ([b"chat"], TypeError),
        ([None], TypeError),
    ],
)
def test_check_subprotocols_refuses(value: Any, error: type[Exception]) -> None:
    """Our own list must hold tokens, each once; a bare string is a likely mistake."""
    with pytest.raises(error, match="subprotocol"):
        check_subprotocols(value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], ()), ([b"b, a"], ("b", "a")), ([b"b", b"a,c"], ("b", "a", "c")), ([b"a, A"], ("a", "A"))],
)
def test_parse_subprotocols(values: list[bytes], expected: tuple[str, ...]) -> None:
    """Offers are concatenated in order; names differ by case."""
    headers = [(b"sec-websocket-protocol", value) for value in values]
    assert parse_subprotocols(headers) == expected


def test_parse_subprotocols_refuses_a_name_twice() -> None:
    """The same name in two header lines is malformed."""
    headers = [(b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"b, a")]
    with pytest.raises(HeaderError, match="once"):
        parse_subprotocols(headers)


@pytest.mark.parametrize(("values", "expected"), [([], None), ([b"b"], "b")])
def test_verify_subprotocol(values: list[bytes], expected: str | None) -> None:
    """The server may choose one of ours, or none."""
    headers = [(b"sec-websocket-protocol", value) for value in values]
    assert verify_subprotocol(("a", "b"), headers) == expected


@pytest.mark.parametrize("values", [[b"c"], [b"A"], [b""], [b"a, b"], [b"a", b"a"], [b"\xff"]])
def test_verify_subprotocol_refuses(values: list[bytes]) -> None:
    """A subprotocol that was not offered, or two, are errors."""
    headers = [(b"sec-websocket-protocol", value) for value in values]
    with pytest.raises(HeaderError):
        verify_subprotocol(("a", "b"), headers)


OFFER: list[Extension] = [("foo", (("x", None),)), ("foo", ()), ("bar", ())]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([b"foo; y=1"], [("foo", (("y", "1"),))]),
        ([b"bar, foo"], [("bar", ()), ("foo", ())]),
    ],
)
def test_verify_extensions(values: list[bytes], expected: list[Extension]) -> None:
    """What the server chose among our offers comes out with its parameters."""
    headers = [(b"sec-websocket-extensions", value) for value in values]
    assert verify_extensions(OFFER, headers) == expected


@pytest.mark.parametrize(
    "values", [[b"baz"], [b"foo, foo"], [b"foo", b"bar"], [b""], [b'foo; x="']]
)
def test_verify_extensions_refuses(values: list[bytes]) -> None:
    """An extension not offered, chosen twice or malformed, and a repeated header, are errors."""
    headers = [(b"sec-websocket-extensions", value) for value in values]
    with pytest.raises(HeaderError):
        verify_extensions(OFFER, headers)


def test_check_origins() -> None:
    """An allow-list is normalised: lower case, no default port."""
    origins = [
        "https://A.example:443",
        "http://b:8080",
        "null",
        "chrome-extension://abc",
        "x://a",
    ]
    assert check_origins(origins) == frozenset(
        ["https://a.example", "http://b:8080", "null", "chrome-extension://abc", "x://a"]
    )
    assert check_origins(None) is None
    assert check_origins(any_origin) is any_origin
    assert isinstance(any_origin, AnyOrigin)
    assert repr(any_origin) == "trio_ws.any_origin"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("https://a", TypeError),
        (b"https://a", TypeError),
        ([b"https://a"], TypeError),
        (["a.example"], ValueError),
        (["https://a/"], ValueError),
        (["https://a/x"], ValueError),
        (["https://"], ValueError),
        (["https://é"], ValueError),
        (["https://\ud800"], ValueError),
        (["*"], ValueError),
    ],
)
def test_check_origins_refuses(value: Any, error: type[Exception]) -> None:
    """What can never match is refused when the server is set up."""
    with pytest.raises(error, match="origin"):
        check_origins(value)


OWN_HOST = [
    (b"https://example.com", b"example.com", True),
    (b"HTTPS://Example.COM", b"EXAMPLE.com", True),
    (b"https://example.com", b"example.com:443", True),
    (b"https://example.com:443", b"example.com", True),
    (b"http://example.com", b"example.com:80", True),
    (b"http://localhost:8000", b"localhost:8000", True),
    (b"http://[::1]:8000", b"[0:0::1]:8000", True),
    (b"http://example.com", b"example.com:443", False),
    (b"https://example.com", b"example.com:80", False),
    (b"https://example.com", b"example.com:8443", False),
    (b"https://example.com:8443", b"example.com", False),
    (b"https://evil.example", b"example.com", False),
    (b"https://example.com.evil", b"example.com", False),
    (b"https://sub.example.com", b"example.com", False),
    (b"https://example.com@evil", b"example.com", False),
    (b"https://example.com/", b"example.com", False),
    (b"https://example.com https://example.com", b"example.com", False),
    (b"ftp://example.com", b"example.com", False),
    (b"example.com", b"example.com", False),
    (b"https://ex\xe4mple.com", b"example.com", False),
    (b"null", b"null", False),
    (b"", b"example.com", False),
]


@pytest.mark.checklist("SH11")
@pytest.mark.parametrize(("origin", "host", "allowed"), OWN_HOST)
def test_the_own_host_is_the_default(origin: bytes, host: bytes, allowed: bool) -> None:
    """Without a list, only pages of the same host and port may connect."""
    assert origin_allowed([origin], host, None) is allowed


@pytest.mark.checklist("SH11")
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"https://a.example", True),
        (b"https://A.example:443", True),
        (b"null", True),
        (b"http://a.example", False),
        (b"https://own.example", False),
        (b"https://a.example:8443", False),
        (b"garbage", False),
    ],
)
def test_a_list_is_exactly_that_list(origin: bytes, allowed: bool) -> None:
    """With a list, even the own host needs to be on it."""
    origins = check_origins(["https://a.example", "null"])
    assert origin_allowed([origin], b"own.example", origins) is allowed


@pytest.mark.checklist("SH11")
def test_any_origin_allows_all_but_a_repeated_header() -> None:
    """The unsafe choice lets any single Origin pass."""
    assert origin_allowed([b"https://evil"], b"a", any_origin)
    assert origin_allowed([b"null"], b"a", any_origin)
    assert not origin_allowed([b"http://a", b"http://a"], b"a", any_origin)
    assert not origin_allowed([b"http://a", b"http://a"], b"a", None)


@pytest.mark.checklist("SH12")
@pytest.mark.parametrize("origins", [None, any_origin, frozenset(["https://a"])], ids=repr)
def test_no_origin_is_fine_unless_required(origins: frozenset[str] | AnyOrigin | None) -> None:
    """A client that is no browser sends no Origin."""
    assert origin_allowed([], b"a", origins)
    assert not origin_allowed([], b"a", origins, require_origin=True)


def basic(text: str, scheme: str = "Basic") -> Headers:
    """Return an Authorization header."""
    return [(b"authorization", f"{scheme} ".encode() + base64.b64encode(text.encode()))]


@pytest.mark.checklist("SH29")
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        pytest.param(basic("user:pä:ss"), True, id="right"),
        pytest.param(basic("user:pä:ss", "bAsIc"), True, id="scheme-case"),
        pytest.param(basic("user:pä:ss", "Basic  "), True, id="blanks"),
        pytest.param(basic("user:wrong"), False, id="password"),
        pytest.param(basic("other:pä:ss"), False, id="user"),
        pytest.param(basic("user"), False, id="no-colon"),
        pytest.param(basic("user:pä:ss", "Bearer"), False, id="scheme"),
        pytest.param(basic("user:pä:ss" * 100_000), False, id="oversize"),
        pytest.param([], False, id="missing"),
        pytest.param(basic("user:pä:ss") * 2, False, id="repeated"),
        pytest.param([(b"authorization", b"")], False, id="empty"),
        pytest.param([(b"authorization", b"Basic")], False, id="no-credentials"),
        pytest.param([(b"authorization", b"Basic dXNlcg")], False, id="padding"),
        pytest.param([(b"authorization", b"Basic dXNlcg==x")], False, id="excess"),
        pytest.param(
            [(b"authorization", basic("user:pä:ss")[0][1] + b" ")], False, id="blank-behind"
        ),
        pytest.param(
            [(b"authorization", basic("user:pä:ss", "Basic X")[0][1])], False, id="letter-before"
        ),
        pytest.param(
            [(b"authorization", basic("user:pä:ss")[0][1].replace(b"c ", b"c X"))], False, id="X"
        ),
        pytest.param([(b"authorization", b"Basic \xff\xfe==")], False, id="non-ascii"),
        pytest.param([(b"authorization", b"\xff dXNlcjpwYXNz")], False, id="non-ascii-scheme"),
        pytest.param([(b"authorization", b"Basic dXNl cg==")], False, id="blank-inside"),
    ],
)
def test_check_basic_auth(headers: Headers, allowed: bool) -> None:
    """Only the exact credentials in strict base64 pass; nothing raises."""
    assert check_basic_auth(headers, "user", "pä:ss") is allowed


@pytest.mark.checklist("SH29")
def test_check_basic_auth_compares_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """hmac.compare_digest gets the bytes, whatever the scheme."""
    seen: list[tuple[bytes, bytes]] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        seen.append((one, other))
        return True

    monkeypatch.setattr("hmac.compare_digest", compare_digest)
    assert check_basic_auth(basic("x"), "ü", "p")
    assert seen == [(b"eA==", base64.b64encode("ü:p".encode()))]


def test_check_basic_auth_refuses_a_colon_in_the_name() -> None:
    """A user name that RFC 7617 cannot carry is a mistake of the server's author."""
    with pytest.raises(ValueError, match="colon"):
        check_basic_auth([], "a:b", "c")
