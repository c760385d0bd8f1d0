"""WebSocket URLs, hosts and resources."""

from pathlib import PurePosixPath

import pytest

from trio_ws._protocol._url import (
    Target,
    check_port,
    encode_resource,
    parse_authority,
    parse_url,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://example.com", Target("example.com", 80, "/", secure=False)),
        ("wss://example.com", Target("example.com", 443, "/", secure=True)),
        ("WSS://EXAMPLE.com/", Target("example.com", 443, "/", secure=True)),
        ("ws://a:8080/p/q?x=1&y", Target("a", 8080, "/p/q?x=1&y", secure=False)),
        ("ws://a:/?", Target("a", 80, "/?", secure=False)),
        ("ws://a?q", Target("a", 80, "/?q", secure=False)),
        ("ws://a:1", Target("a", 1, "/", secure=False)),
        ("ws://a:65535", Target("a", 65535, "/", secure=False)),
        ("ws://[::1]:90/x", Target("::1", 90, "/x", secure=False)),
        ("wss://[2001:DB8::1]", Target("2001:db8::1", 443, "/", secure=True)),
        ("ws://münchen.de:81/ä?ö", Target("xn--mnchen-3ya.de", 81, "/%C3%A4?%C3%B6", secure=False)),
        ("ws://a/%20%C3%A4", Target("a", 80, "/%20%C3%A4", secure=False)),
        ('ws://a/<{"}>[]', Target("a", 80, "/%3C%7B%22%7D%3E%5B%5D", secure=False)),
        ("ws://a//b/../c", Target("a", 80, "//b/../c", secure=False)),
    ],
)
def test_parse_url(url: str, expected: Target) -> None:
    """Ports default to those of the scheme, the path to /, and the query is kept."""
    assert parse_url(url) == expected


def test_parse_url_takes_anything_with_a_str() -> None:
    """URL objects of any library are fine."""

    class Url:
        def __str__(self) -> str:
            return "ws://a/b"

    assert parse_url(Url()) == Target("a", 80, "/b", secure=False)
    with pytest.raises(ValueError, match="ws://"):
        parse_url(PurePosixPath("/x"))


@pytest.mark.checklist("CH01")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "ws://"),
        ("example.com", "ws://"),
        ("example.com#at:home", "ws://"),
        ("//example.com/", "ws://"),
        ("http://a", "ws://"),
        ("wsx://a", "ws://"),
        (" ws://a", "ws://"),
        ("ws://a/b#c", "fragment"),
        ("ws://a/#", "fragment"),
        ("ws://a#b", "fragment"),
        ("ws://user@a/", "Authorization"),
        ("ws://user:secret@a/", "Authorization"),
        ("ws://@a/", "Authorization"),
        ("ws:", "host is missing"),
        ("ws::a", "host is missing"),
        ("ws:a", "host is missing"),
        ("ws:/a", "host is missing"),
        ("ws://", "host is missing"),
        ("ws:///path", "host is missing"),
        ("ws://:80/", r"host\[:port\]"),
        ("ws://a:0", "1-65535"),
        ("ws://a:65536", "host"),
        ("ws://a:-1", "host"),
        ("ws://a:1_0", "host"),
        ("ws://a:\u0661", "host"),
        ("ws://a:b", "host"),
        ("ws://a\\b", "host"),
        ("ws://a%41", "host"),
        ("ws://[::1", "host"),
        ("ws://[x]", "host"),
        ("ws://[::1]a", "host"),
        ("ws://a b/", "percent-encode .* in the URL$"),
        ("ws://a/b c", "percent-encode"),
        ("ws://a/b?c d", "percent-encode"),
        ("ws://a/\r\nX: y", "percent-encode"),
        ("ws://a\t/", "percent-encode"),
        ("ws://a/\x00", "percent-encode"),
        ("ws://a/\x7f", "percent-encode"),
        ("ws://a/\x85", "percent-encode"),
        ("ws://a/\ud800", "surrogate"),
        ("ws://\ud800/", r"host\[:port\]"),
        ("ws://faß.de/", r"host\[:port\]"),
        ("ws://ü..de/", r"host\[:port\]"),
        ("ws://ü\u200d.de/", r"host\[:port\]"),
        ("ws://" + "ü" * 64 + "/", r"host\[:port\]"),
        ("ws://a\uff0fb/", r"host\[:port\]"),
    ],
)
def test_parse_url_refuses(url: str, words: str) -> None:
    """A URL that RFC 6455 section 3 does not allow is a ValueError that says what to do."""
    with pytest.raises(ValueError, match=words):
        parse_url(url)


@pytest.mark.checklist("CH01")
@pytest.mark.parametrize(
    "url",
    [
        "http://u:secret@a",
        "ws://u:secret@a/ ",
        "ws://u:secret@a#b",
        "secret:x",
        "u#secret:x",
        "ws://u:secret",
        "ws://u:secret/@a",
        "ws://secrét\u200d",
    ],
)
def test_no_message_quotes_a_password(url: str) -> None:
    """A password in a URL that is refused does not end up in the exception."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a", None)),
        ("a:81", ("a", 81)),
        ("::1", ("::1", None)),
        ("fe80::1%eth0", ("fe80::1", None)),
        ("fe80::1%br-lan", ("fe80::1", None)),
        ("[::1]:81", ("::1", 81)),
        ("BÜCHER.example:81", ("xn--bcher-kva.example", 81)),
        ("bücher:81", ("xn--bcher-kva", 81)),
    ],
)
def test_parse_authority(text: str, expected: tuple[str, int | None]) -> None:
    """People write hosts with and without a port, brackets and zones."""
    assert parse_authority(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "host is missing"),
        ("a b", r"host\[:port\].*'a b'"),
        ("fe80::1%", r"host\[:port\]"),
        ("fe80::1%eth0/x", r"host\[:port\]"),
        ("\ud800", "xn--"),
        ("faß.de", "xn--"),
        ("ü..de", "xn--"),
        ("ü\u200d.de", "xn--"),
        ("ü" * 64, "xn--"),
        ("a\uff0fb", "xn--"),
    ],
)
def test_parse_authority_refuses(text: str, words: str) -> None:
    """What is no host, or one that the versions of IDNA do not agree on, is quoted."""
    with pytest.raises(ValueError, match=words):
        parse_authority(text)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_check_port_refuses(port: int) -> None:
    """A port outside 1-65535 is a ValueError."""
    with pytest.raises(ValueError, match="1-65535"):
        check_port(port)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("", "/"),
        ("/", "/"),
        ("chat", "/chat"),
        ("?a=b", "/?a=b"),
        ("/a%2Fb", "/a%2Fb"),
        ("/é?é", "/%C3%A9?%C3%A9"),
        ("/~a-b._(c)", "/~a-b._(c)"),
    ],
)
def test_encode_resource(resource: str, expected: str) -> None:
    """A resource begins with a slash and is percent-encoded where it needs to be, once."""
    assert encode_resource(resource) == expected


@pytest.mark.checklist("CH01")
@pytest.mark.parametrize("resource", ["/a b", "/a\r\nX: y", "/\x00", "/a#b", "/\udc80"])
def test_encode_resource_refuses(resource: str) -> None:
    """Blanks, control characters, fragments and lone surrogates are ValueErrors."""
    with pytest.raises(ValueError, match=r"percent-encode .* in the resource$|fragment|surrogate"):
        encode_resource(resource)
