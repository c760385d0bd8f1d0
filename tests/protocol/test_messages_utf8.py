"""UTF-8 in text messages (RFC 6455 section 8.1), checked as it comes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.protocol.harness import ROLES, failure, outcomes
from trio_ws._protocol._frames import Part, Violation
from trio_ws._protocol._messages import Assembler

# The well-formed sequences of bytes, Table 3-7 of the Unicode standard: the range of the first byte
# and those of the bytes after it.
TAIL = (0x80, 0xBF)
WELL_FORMED = [
    ((0x00, 0x7F),),
    ((0xC2, 0xDF), TAIL),
    ((0xE0, 0xE0), (0xA0, 0xBF), TAIL),
    ((0xE1, 0xEC), TAIL, TAIL),
    ((0xED, 0xED), (0x80, 0x9F), TAIL),
    ((0xEE, 0xEF), TAIL, TAIL),
    ((0xF0, 0xF0), (0x90, 0xBF), TAIL, TAIL),
    ((0xF1, 0xF3), TAIL, TAIL, TAIL),
    ((0xF4, 0xF4), (0x80, 0x8F), TAIL, TAIL),
]


def possible(data: bytes) -> bool:
    """Whether a character's bytes may begin with, or be, `data`."""
    return any(
        len(data) <= len(row)
        and all(low <= octet <= high for octet, (low, high) in zip(data, row, strict=False))
        for row in WELL_FORMED
    )


INVALID = [
    pytest.param(b"\x80", 0, id="lone-tail-80"),
    pytest.param(b"\xbf", 0, id="lone-tail-bf"),
    pytest.param(b"\xc0\xaf", 0, id="overlong-2"),
    pytest.param(b"\xc1\xbf", 0, id="overlong-2-highest"),
    pytest.param(b"\xe0\x80\xaf", 1, id="overlong-3"),
    pytest.param(b"\xe0\x9f\xbf", 1, id="overlong-3-highest"),
    pytest.param(b"\xf0\x80\x80\xaf", 1, id="overlong-4"),
    pytest.param(b"\xf0\x8f\xbf\xbf", 1, id="overlong-4-highest"),
    pytest.param(b"\xf8\x80\x80\x80\xaf", 0, id="overlong-5"),
    pytest.param(b"\xfc\x80\x80\x80\x80\xaf", 0, id="overlong-6"),
    pytest.param(b"\xed\xa0\x80", 1, id="surrogate-lowest"),
    pytest.param(b"\xed\xaf\xbf", 1, id="surrogate-high"),
    pytest.param(b"\xed\xb0\x80", 1, id="surrogate-low"),
    pytest.param(b"\xed\xbf\xbf", 1, id="surrogate-highest"),
    pytest.param(b"\xf4\x90\x80\x80", 1, id="over-10ffff"),
    pytest.param(b"\xf5\x80\x80\x80", 0, id="over-13ffff"),
    pytest.param(b"\xfe", 0, id="fe"),
    pytest.param(b"\xff", 0, id="ff"),
    pytest.param(b"\xc3(", 1, id="no-tail-2"),
    pytest.param(b"\xe2\x82(", 2, id="no-tail-3"),
    pytest.param(b"\xf0\x9f\x98(", 3, id="no-tail-4"),
    pytest.param(b"\xe2\xe2", 1, id="lead-for-tail"),
]
BEFORE = ["", "x", "κόσμε", "\U0001f600"]


@pytest.mark.checklist("U01", "U03")
@pytest.mark.parametrize(("sequence", "at"), INVALID)
@pytest.mark.parametrize("before", BEFORE, ids=ascii)
@ROLES
def test_the_first_impossible_byte(
    client: bool, key: bytes | None, before: str, sequence: bytes, at: int
) -> None:
    """Bad UTF-8 fails with 1007 at its first impossible byte, though its frame is not whole."""
    good = before.encode()
    text = good + sequence + b"and so on"
    data = wire.build(wire.TEXT, text, mask=key)
    head = len(data) - len(text)
    assert failure(data[:-2], client=client) == (1007, head + len(good) + at + 1)


@pytest.mark.checklist("U01", "U03")
@pytest.mark.parametrize(("sequence", "at"), INVALID)
@ROLES
def test_the_first_impossible_byte_of_fragments(
    client: bool, key: bytes | None, sequence: bytes, at: int
) -> None:
    """The same over fragments, wherever they part, and with empty ones in between."""
    text = "é".encode() + sequence + b"and so on"
    for cut in range(len(text) - 8):
        pieces = [text[:cut], b"", text[cut:]]
        data = wire.fragmented(wire.TEXT, pieces, key)
        heads = [len(wire.build(wire.TEXT, piece, mask=key)) - len(piece) for piece in pieces]
        bad = 2 + at
        expected = bad + 1 + (heads[0] if bad < cut else sum(heads))
        assert failure(data, client=client) == (1007, expected), cut


@pytest.mark.checklist("U01")
@pytest.mark.parametrize("text", ["é", "€", "\ud7ff", "\U0001f600", "\U0010ffff"], ids=ascii)
@ROLES
def test_text_that_ends_inside_a_character(client: bool, key: bytes | None, text: str) -> None:
    """A character cut by the end of its message fails with 1007, in one frame or several."""
    whole = text.encode()
    for size in range(1, len(whole)):
        cut = b"x" + whole[:size]
        for pieces in ([cut], [cut, b""], [b"x", cut[1:]], [cut[:1], b"", cut[1:]]):
            data = wire.fragmented(wire.TEXT, pieces, key)
            assert failure(data, client=client) == (1007, len(data))


@pytest.mark.checklist("U01", "U03")
def test_each_pair_of_bytes() -> None:
    """For each two bytes the first impossible one is the one that Unicode's table has."""
    singles = [bytes([octet]) for octet in range(256)]
    for first, second in itertools.product(singles, singles):
        assert fails_at(first + second) == impossible_at(first + second), (first, second)


@pytest.mark.checklist("U01", "U03")
def test_longer_sequences() -> None:
    """The same for three and four bytes, at the boundaries of the table's ranges."""
    octets = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xED, 0xF4, 0xFF]
    leads = [0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4]
    for sequence in itertools.product(leads, octets, octets, octets):
        data = bytes(sequence)
        assert fails_at(data) == impossible_at(data), data


def impossible_at(data: bytes) -> int | None:
    """The index of the first byte that no text can have there, by Unicode's table."""
    begun = b""
    for at, octet in enumerate(data):
        begun += bytes([octet])
        if not possible(begun):
            return at
        if any(len(row) == len(begun) for row in WELL_FORMED if row[0][0] <= begun[0] <= row[0][1]):
            begun = b""
    return None


def fails_at(data: bytes) -> int | None:
    """The index of the byte at which a text that begins so fails; the same if it comes at once."""
    at_once = Assembler(100, 3)
    found = None
    torn = Assembler(100, 3)
    for at in range(len(data)):
        try:
            torn.add(Part(wire.TEXT, False, False, data[at : at + 1], not at, False))
        except Violation:
            found = at
            break
    try:
        at_once.add(Part(wire.TEXT, False, False, data, True, False))
    except Violation:
        assert found is not None
    else:
        assert found is None
    return found


@pytest.mark.checklist("U02")
@ROLES
def test_characters_may_be_split_anywhere(client: bool, key: bytes | None) -> None:
    """Fragments and chunks may part within a character, at each of its bytes."""
    text = "aé€\ud7ff\ue000\U0001f600\U0010ffffz"
    data = text.encode()
    for cut in range(len(data) + 1):
        pieces = wire.fragmented(wire.TEXT, [data[:cut], data[cut:]], key)
        assert outcomes(pieces, client=client) == ([text], [])
    singles = wire.fragmented(wire.TEXT, [data[at : at + 1] for at in range(len(data))], key)
    assert outcomes(singles, client=client) == ([text], [])


@pytest.mark.checklist("U05")
@ROLES
def test_noncharacters_and_nul_are_text(client: bool, key: bytes | None) -> None:
    """NUL, the byte order mark and all 66 non-characters are delivered as they are."""
    nonchars = [*range(0xFDD0, 0xFDF0)]
    nonchars += [plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF)]
    assert len(nonchars) == 66
    text = "\0\ufeff" + "".join(map(chr, nonchars)) + "\0"
    data = wire.build(wire.TEXT, text.encode(), mask=key)
    assert outcomes(data, client=client) == ([text], [])
    cut = wire.fragmented(wire.TEXT, [text.encode()[:7], text.encode()[7:]], key)
    assert outcomes(cut, client=client) == ([text], [])


@pytest.mark.checklist("U01", "U02", "U03")
@given(text=st.binary(max_size=12) | st.text(max_size=6).map(str.encode), client=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_bytes_as_text(text: bytes, client: bool) -> None:
    """Text is delivered if Python decodes it, and fails with 1007 if not, in whatever pieces."""
    data = wire.build(wire.TEXT, text, mask=None if client else wire.KEY)
    try:
        expected = text.decode()
    except UnicodeDecodeError:
        assert failure(data, client=client)[0] == 1007
    else:
        assert outcomes(data, client=client) == ([expected], [])
