"""Own frames, the payload of Close, the reader of frames (RFC 6455 sections 5 and 7.4)."""

from __future__ import annotations

import itertools
import sys
from typing import Any, SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.protocol.harness import BIG, CONTROL, ROLES, frames, protocol
from trio_ws._protocol._frames import (
    CloseCode,
    FrameReader,
    Part,
    Violation,
    decode_close,
    encode_close,
    encode_frame,
    encode_parts,
    is_sendable,
)

# Own frames


@pytest.mark.checklist("FR08", "FR09", "FR11")
@pytest.mark.parametrize(
    ("size", "length"),
    [
        (0, b"\x00"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65535, b"\x7e\xff\xff"),
        (65536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
@ROLES
def test_own_frames(client: bool, key: bytes | None, size: int, length: bytes) -> None:
    """Own frames have the shortest length; a client's are masked, a server's are not."""
    proto = protocol(client=client)
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    proto.send_message(payload, text=False)
    [frame] = frames(proto)
    assert (frame.opcode, frame.fin, frame.rsv, frame.payload) == (wire.BINARY, True, 0, payload)
    masked = bytes([length[0] | 0x80]) + length[1:]
    assert frame.head == b"\x82" + (masked + (frame.key or b"") if client else length)


@pytest.mark.parametrize("opcode", [wire.CONTINUATION, wire.TEXT])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("rsv1", [True, False])
def test_the_first_byte_of_own_frames(opcode: int, fin: bool, rsv1: bool) -> None:
    """FIN, RSV1 and the opcode stand where section 5.2 draws them."""
    expected = wire.build(opcode, b"x", fin=fin, rsv=4 if rsv1 else 0)
    assert encode_frame(opcode, b"x", masked=False, fin=fin, rsv1=rsv1) == expected
    assert encode_parts(opcode, b"x", masked=False, fin=fin, rsv1=rsv1) == (expected[:2], b"x")
    if fin and not rsv1:  # as it is if nothing is said
        assert encode_frame(opcode, b"x", masked=False) == expected
        assert encode_parts(opcode, b"x", masked=False) == (expected[:2], b"x")


@pytest.mark.checklist("FR08")
@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@pytest.mark.parametrize("key", [None, wire.KEY], ids=["plain", "masked"])
def test_the_length_of_own_compressed_frames(size: int, key: bytes | None) -> None:
    """A frame with RSV1 has the shortest length, too."""
    [frame] = wire.parse(encode_frame(wire.TEXT, bytes(size), masked=key is not None, rsv1=True))
    expected = wire.build(wire.TEXT, bytes(size), rsv=4, mask=frame.key)
    assert frame.head + bytes(size) == expected[: len(frame.head)] + bytes(size)
    assert (frame.payload, frame.key is not None) == (bytes(size), key is not None)


# The payload of Close

SENDABLE_RANGES = {1000: 1003, 1007: 1014, 3000: 4999}
SENDABLE = [code for low, high in SENDABLE_RANGES.items() for code in range(low, high + 1)]


@pytest.mark.checklist("CL04", "CL05", "CL06", "CL09")
def test_the_codes_that_may_be_sent() -> None:
    """Of all 16-bit codes, those of section 7.4 may stand in a Close frame, both ways."""
    assert [code for code in range(-1, 65537) if is_sendable(code)] == SENDABLE
    for code in range(65536):
        payload = code.to_bytes(2, "big") + b"why"
        if is_sendable(code):
            assert decode_close(payload) == (code, "why")
            assert encode_close(code, "why") == payload
        else:
            with pytest.raises(Violation) as caught:
                decode_close(payload)
            assert caught.value.args == (1002, f"invalid close code {code}")


@pytest.mark.checklist("CL04", "CL05", "CL06")
@pytest.mark.parametrize("low", SENDABLE_RANGES)
def test_the_ends_of_the_ranges(low: int) -> None:
    """The first and the last code of each range may be sent; those beside them may not."""
    high = SENDABLE_RANGES[low]
    for code in (low, high):
        assert decode_close(code.to_bytes(2, "big")) == (code, "")
    for code in (low - 1, high + 1):
        with pytest.raises(Violation, match=f"invalid close code {code}"):
            decode_close(code.to_bytes(2, "big"))


CODES = {
    "NORMAL_CLOSURE": 1000,
    "GOING_AWAY": 1001,
    "PROTOCOL_ERROR": 1002,
    "UNSUPPORTED_DATA": 1003,
    "NO_STATUS_RCVD": 1005,
    "ABNORMAL_CLOSURE": 1006,
    "INVALID_FRAME_PAYLOAD_DATA": 1007,
    "POLICY_VIOLATION": 1008,
    "MESSAGE_TOO_BIG": 1009,
    "MANDATORY_EXT": 1010,
    "INTERNAL_ERROR": 1011,
    "SERVICE_RESTART": 1012,
    "TRY_AGAIN_LATER": 1013,
    "BAD_GATEWAY": 1014,
    "TLS_HANDSHAKE_FAILED": 1015,
}


def test_the_close_codes() -> None:
    """The codes are those of the IANA registry."""
    assert {name: code.value for name, code in CloseCode.__members__.items()} == CODES


@pytest.mark.parametrize("name", list(CloseCode), ids=lambda code: code.name)
def test_close_codes_with_a_name(name: CloseCode) -> None:
    """The three codes that never go over the wire are the named ones that may not be sent."""
    assert is_sendable(name) == (name not in {1005, 1006, 1015})


@pytest.mark.checklist("CL02", "CL09")
@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        pytest.param(None, None, b"", id="empty"),
        pytest.param(None, "", b"", id="empty-reason"),
        pytest.param(1000, None, b"\x03\xe8", id="code"),
        pytest.param(1000, "", b"\x03\xe8", id="code-and-empty-reason"),
        pytest.param(4999, "né", b"\x13\x87n\xc3\xa9", id="utf-8"),
        pytest.param(1000, "x" * 123, b"\x03\xe8" + b"x" * 123, id="123-bytes"),
        pytest.param(
            1000, "x" * 121 + "é", b"\x03\xe8" + b"x" * 121 + b"\xc3\xa9", id="123-bytes-utf-8"
        ),
    ],
)
def test_encode_close(code: int | None, reason: str | None, payload: bytes) -> None:
    """The payload is the code in two bytes and the reason in up to 123 bytes of UTF-8."""
    assert encode_close(code, reason) == payload
    decoded = decode_close(payload)
    assert decoded == (1005 if code is None else code, reason or "")


@pytest.mark.checklist("CL09", "U04")
@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        *((code, None, f"code: {code} may not be sent") for code in (-1, 0, 999, 1004, 1005, 1006)),
        *(
            (code, None, f"code: {code} may not be sent")
            for code in (1015, 1016, 2999, 5000, 65536)
        ),
        pytest.param(None, "why", "needs a code", id="reason-alone"),
        pytest.param(1000, "x" * 124, "124 bytes of UTF-8", id="124-bytes"),
        pytest.param(1000, "x" * 122 + "é", "124 bytes of UTF-8", id="124-bytes-123-characters"),
        pytest.param(1000, "\ud800", "surrogates not allowed", id="surrogate"),
    ],
)
def test_encode_close_refuses(code: int | None, reason: str | None, message: str) -> None:
    """What may not be sent is a ValueError, and nothing goes out, not even a part of a reason."""
    with pytest.raises(ValueError, match=message):
        encode_close(code, reason)
    proto = protocol()
    with pytest.raises(ValueError, match=message):
        proto.send_close(code, reason)
    assert proto.output.size == 0
    assert proto.is_open


@pytest.mark.checklist("CL03", "CL07")
@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        pytest.param(b"\x03", 1002, "Close frame with a payload of 1 byte", id="one-byte"),
        pytest.param(b"\x03\xe8\xc3", 1007, "close reason is not UTF-8", id="cut-utf-8"),
        pytest.param(b"\x03\xe8\xed\xa0\x80", 1007, "close reason is not UTF-8", id="surrogate"),
    ],
)
def test_decode_close_refuses(payload: bytes, code: int, reason: str) -> None:
    """Half a code is a protocol error, and a reason that is not UTF-8 is an invalid payload."""
    with pytest.raises(Violation) as caught:
        decode_close(payload)
    assert caught.value.args == (code, reason)
    assert (caught.value.code, caught.value.reason) == (code, reason)


# The reader of frames


def parts(reader: FrameReader) -> list[Part]:
    """All parts that can be had."""
    found = []
    while (part := reader.next_part()) is not None:
        found.append(part)
    return found


@pytest.mark.parametrize("masked", [False, True], ids=["client", "server"])
def test_a_new_reader(masked: bool) -> None:
    """Before anything was fed there is nothing to be had."""
    reader = FrameReader(masked=masked, budget=10, rsv1=True)
    assert (reader.buffered, reader.in_frame, reader.buffer) == (0, False, b"")
    assert parts(reader) == []
    assert reader.take_messages([], BIG, BIG) == 0
    assert reader.take_compressed() is None
    reader.feed(b"\x81")
    assert parts(reader) == []
    assert (reader.buffered, reader.in_frame) == (1, True)


@pytest.mark.checklist("FR03")
def test_rsv1_with_an_extension() -> None:
    """A negotiated extension may set RSV1 in the first frame of a message, and there only."""
    good = FrameReader(masked=False, budget=10, rsv1=True)
    good.feed(wire.build(wire.TEXT, b"x", rsv=4))
    assert parts(good) == [Part(wire.TEXT, True, True, b"x", True, True)]
    for opcode, rsv in [(wire.CONTINUATION, 4), *itertools.product(CONTROL, [4])]:
        reader = FrameReader(masked=False, budget=10, rsv1=True)
        reader.continuing = opcode == wire.CONTINUATION
        reader.feed(wire.build(opcode, rsv=rsv))
        with pytest.raises(Violation, match="reserved bit set"):
            reader.next_part()
    for rsv in (1, 2, 5, 6, 7):
        reader = FrameReader(masked=False, budget=10, rsv1=True)
        reader.feed(wire.build(wire.TEXT, rsv=rsv))
        with pytest.raises(Violation, match="reserved bit set"):
            reader.next_part()


def test_rsv1_without_an_extension() -> None:
    """Where nothing is said of an extension, there is none."""
    reader = FrameReader(masked=False, budget=10)
    reader.feed(wire.build(wire.TEXT, rsv=4))
    with pytest.raises(Violation, match="reserved bit set"):
        reader.next_part()


@pytest.mark.checklist("PD06")
@pytest.mark.parametrize("budget", [0, 1, 100])
def test_the_budget_of_a_compressed_message(budget: int) -> None:
    """Blocks without output are free up to the budget and 1 KiB, since they may be needed."""
    limit = 2 * budget + 1024
    for size in (limit, limit + 1):
        data = wire.build(wire.TEXT, bytes(size), rsv=4)
        slow, fast = (FrameReader(masked=False, budget=budget, rsv1=True) for _ in range(2))
        slow.feed(data)
        fast.feed(data)
        if size == limit:
            assert parts(slow) == [Part(wire.TEXT, True, True, bytes(size), True, True)]
            assert fast.take_compressed() == (bytes(size), True)
        else:
            assert fast.take_compressed() is None
            with pytest.raises(Violation, match="too big"):
                slow.next_part()


@pytest.mark.parametrize("opcode", [wire.CONTINUATION, wire.TEXT, wire.BINARY])
def test_a_data_frame_comes_in_parts(opcode: int) -> None:
    """What has arrived of a data frame is handed on; a control frame is handed on whole."""
    reader = FrameReader(masked=True, budget=100)
    reader.continuing = opcode == wire.CONTINUATION
    data = wire.build(opcode, b"abcdefg", mask=wire.KEY)
    reader.feed(data[:6])
    assert parts(reader) == []
    assert reader.in_frame
    reader.feed(data[6:9])
    assert parts(reader) == [Part(opcode, True, False, b"abc", True, False)]
    assert reader.in_frame
    assert reader.buffered == 0
    ping = wire.build(wire.PING, b"ping", mask=wire.KEY)
    reader.feed(data[9:] + ping[:-1])
    assert parts(reader) == [Part(opcode, True, False, b"defg", False, True)]
    assert reader.in_frame
    assert reader.buffered > 0
    reader.feed(ping[-1:])
    assert parts(reader) == [Part(wire.PING, True, False, b"ping", True, True)]
    assert not reader.in_frame


@pytest.mark.checklist("FG01", "FG02")
def test_the_owner_tells_whether_a_message_is_in_progress() -> None:
    """Only while there is a message in progress may it be continued, and no other one begun."""
    for continuing in (False, True):
        for opcode in (wire.TEXT, wire.BINARY, wire.CONTINUATION):
            reader = FrameReader(masked=False, budget=100)
            reader.continuing = continuing
            reader.feed(wire.build(opcode, b"x"))
            if continuing == (opcode == wire.CONTINUATION):
                assert parts(reader) == [Part(opcode, True, False, b"x", True, True)]
            else:
                with pytest.raises(Violation, match="inside" if continuing else "nothing to"):
                    reader.next_part()


@pytest.mark.parametrize("rest", [1, 2, 7])
def test_clear_forgets_the_frame_in_progress(rest: int) -> None:
    """After `clear` the reader is between frames, wherever it was."""
    reader = FrameReader(masked=False, budget=100)
    reader.feed(wire.build(wire.BINARY, b"abcdefg")[:-rest])
    reader.next_part()
    assert reader.in_frame
    reader.clear()
    assert not reader.in_frame
    assert reader.buffered == 0
    assert parts(reader) == []
    reader.feed(wire.build(wire.TEXT, b"x"))
    assert parts(reader) == [Part(wire.TEXT, True, False, b"x", True, True)]


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([wire.TEXT, wire.BINARY, wire.PING, wire.PONG, wire.CLOSE]),
        st.binary(max_size=125) | st.integers(126, 400).map(bytes) | st.just(bytes(70_000)),
        st.booleans(),
        st.binary(min_size=4, max_size=4),
    ),
    max_size=6,
)


SIZES = st.lists(st.integers(1, 20) | st.integers(1, 50_000), min_size=5, max_size=20)


@pytest.mark.checklist("FR12", "FR13")
@given(specs=FRAMES, masked=st.booleans(), sizes=SIZES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_parts_add_up_to_the_frames(
    specs: list[tuple[int, bytes, bool, bytes]], masked: bool, sizes: list[int]
) -> None:
    """However its bytes come, each frame's parts join to its payload, and tell where they lie."""
    whole, data = [], b""
    for opcode, content, final, key in specs:
        payload = content[:125] if opcode in CONTROL else content
        fin = final or opcode in CONTROL
        whole.append((opcode, fin, payload))
        data += wire.build(opcode, payload, fin=fin, mask=key if masked else None)
    reader = FrameReader(masked=masked, budget=BIG)
    found: list[tuple[int, bool, bytes]] = []
    pos, between = 0, True
    for size in itertools.cycle(sizes):
        reader.feed(data[pos : pos + size])
        pos += size
        for part in parts(reader):
            assert part.first == between
            assert not part.rsv1
            between = part.last
            before = b"" if part.first else found.pop()[2]
            found.append((part.opcode, part.fin, before + part.payload))
        if pos >= len(data):
            break
    assert found == whole
    assert between
    assert not reader.in_frame


@pytest.mark.checklist("FR13")
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 9, 13, 130])
def test_unmasking_goes_on_where_it_stopped(size: int) -> None:
    """A payload that comes in chunks of any size, at each offset of the key, is unmasked right."""
    payload = bytes(range(256))
    data = wire.build(wire.BINARY, payload, mask=b"\x01\x20\x03\x40")
    for shift in range(1, size + 1):
        proto = protocol()
        for at in range(shift - size, len(data), size):
            proto.receive_data(data[max(at, 0) : at + size])
            if (event := proto.next_event()) is not None:
                assert event == payload
                break
        else:
            pytest.fail("no message")


# Cost


class Counted(bytes):
    """Bytes that count what is copied out of them."""

    copied = 0

    def __getitem__(self, index: SupportsIndex | slice[Any, Any, Any]) -> Any:
        piece = super().__getitem__(index)
        if isinstance(piece, int):
            return piece
        Counted.copied += len(piece)
        return Counted(piece)


def copied(count: int, payload: bytes) -> tuple[int, int]:
    """How many bytes are copied to take `count` frames out of one chunk, and the chunk's size."""
    data = wire.build(wire.BINARY, payload, mask=wire.KEY) * count
    reader = FrameReader(masked=True, budget=BIG)
    Counted.copied = 0
    reader.feed(Counted(data))
    assert len(parts(reader)) == count
    return Counted.copied, len(data)


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 200])
def test_many_frames_in_a_chunk_are_copied_once(payload: bytes) -> None:
    """To take a frame costs no copy of those behind it: twice the frames, twice the copying."""
    once, size = copied(1000, payload)
    twice, _ = copied(2000, payload)
    assert once <= size
    assert twice == 2 * once


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        pytest.param(b"", 0, id="between-frames"),
        pytest.param(wire.build(wire.BINARY, b"x")[:1], 1, id="in-a-header"),
        pytest.param(wire.build(wire.BINARY, b"xyz")[:-1], 0, id="in-a-data-frame"),
        pytest.param(wire.build(wire.BINARY, declared=3), 0, id="before-a-payload"),
        pytest.param(wire.build(wire.PING, b"xyz")[:-1], 2, id="in-a-control-frame"),
    ],
)
def test_a_chunk_is_let_go(rest: bytes, kept: int) -> None:
    """A waiting connection keeps the bytes that it has not used, not the chunk they came in."""
    reader = FrameReader(masked=False, budget=BIG)
    chunk = wire.build(wire.BINARY, bytes(1000)) + rest
    before = sys.getrefcount(chunk)
    reader.feed(chunk)
    parts(reader)
    assert sys.getrefcount(chunk) == before
    assert reader.buffered == kept
