"""permessage-deflate: its parameters, their negotiation, the compressor and the inflater."""

from __future__ import annotations

import dataclasses
import itertools
import random
import sys
import zlib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._protocol._deflate import (
    NAME,
    Agreement,
    Compressor,
    Deflate,
    Inflater,
    PerMessageDeflate,
    Volume,
    accept_offer,
    check_answer,
)
from trio_ws._protocol._frames import Violation
from trio_ws._protocol._handshake import BadRequest, ClientHandshake, ServerHandshake
from trio_ws._protocol._headers import (
    Extension,
    HeaderError,
    format_extensions,
    parse_extensions,
)
from trio_ws._protocol._negotiation import accept_key

TAIL = b"\x00\x00\xff\xff"
FLAGS = [
    dict(zip(("server_no_context_takeover", "client_no_context_takeover"), flags, strict=True))
    for flags in itertools.product([False, True], repeat=2)
]
OUR_BITS = range(9, 16)
ANY_BITS = [None, *range(8, 16)]
VALUELESS = 0  # stands for client_max_window_bits without a value
WISHES = [
    PerMessageDeflate(**flags, server_max_window_bits=server, client_max_window_bits=client)
    for flags in FLAGS
    for server, client in itertools.product(OUR_BITS, OUR_BITS)
]
EVERYTHING = Agreement(15, True, 15, True)
NO_TAKEOVER = Agreement(15, False, 15, False)
TEXT = ("The quick brown fox jumps over the lazy dog. %d " * 40 % tuple(range(40))).encode()


def parameters(
    flags: dict[str, bool], server_bits: int | None, client_bits: int | None
) -> Extension:
    """Write parameters as an offer or an answer has them."""
    written: list[tuple[str, str | None]] = [(name, None) for name, on in flags.items() if on]
    for name, bits in ("server", server_bits), ("client", client_bits):
        if bits is not None:
            written.append((f"{name}_max_window_bits", str(bits) if bits else None))
    return NAME, tuple(written)


def read(extension: Extension) -> tuple[dict[str, bool], int | None, int | None]:
    """Read parameters again: the opposite of `parameters`."""
    name, written = extension
    values = dict(written)
    assert name == NAME
    assert len(values) == len(written)
    flags = {flag: flag in values and values.pop(flag) is None for flag in FLAGS[0]}
    bits = [
        (int(values.pop(key) or VALUELESS) if key in values else None)
        for key in ("server_max_window_bits", "client_max_window_bits")
    ]
    assert not values
    return flags, bits[0], bits[1]


def inflate(inflater: Inflater, pieces: Iterable[bytes], limit: int = 2**20) -> bytes:
    """Inflate a message that comes in pieces."""
    inflated = []
    fed = list(pieces)
    for number, piece in enumerate(fed, 1):
        inflater.feed(piece, last=number == len(fed))
        while inflater.pending:
            inflated.append(inflater.read(limit))
    inflater.finish()
    return b"".join(inflated)


def torn(payload: bytes) -> Iterator[list[bytes]]:
    """A payload whole, byte by byte, and cut in two at each place, its ends as well."""
    yield [payload]
    yield [payload[i : i + 1] for i in range(len(payload))] or [b""]
    for i in range(len(payload) + 1):
        yield [payload[:i], payload[i:]]


def inflated(payload: bytes, agreement: Agreement = EVERYTHING, *before: bytes) -> bytes:
    """What a payload inflates to after those before it, which is the same however it is torn."""
    results = []
    for pieces in torn(payload):
        inflater = Inflater(agreement)
        for earlier in before:
            inflate(inflater, [earlier])
        results.append(inflate(inflater, pieces))
    assert results == results[:1] * len(results)
    return results[0]


def fault(payload: bytes, agreement: Agreement = EVERYTHING, *before: bytes) -> int:
    """The close code with which a payload fails, which is the same however it is torn."""
    codes = set()
    for pieces in torn(payload):
        inflater = Inflater(agreement)
        for earlier in before:
            inflate(inflater, [earlier])
        with pytest.raises(Violation) as caught:
            inflate(inflater, pieces)
        codes.add(caught.value.code)
    assert len(codes) == 1
    return codes.pop()


def raw(data: bytes, bits: int = 15, level: int = -1) -> bytes:
    """Compress as any peer may."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def final(data: bytes) -> bytes:
    """Compress into blocks of which the last is final; the byte after it is section 7.2.3.4's."""
    compressor = zlib.compressobj(-1, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


# What the user asks for


@pytest.mark.checklist("PD08")
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("server_max_window_bits", 8, ValueError),
        ("server_max_window_bits", 16, ValueError),
        ("client_max_window_bits", 8, ValueError),
        ("client_max_window_bits", 16, ValueError),
        ("client_max_window_bits", "12", TypeError),
        ("client_max_window_bits", None, TypeError),
        ("level", -2, ValueError),
        ("level", 10, ValueError),
        ("mem_level", 0, ValueError),
        ("mem_level", 10, ValueError),
        ("mem_level", True, TypeError),
        ("threshold", -1, ValueError),
        ("threshold", 1.5, TypeError),
        ("server_no_context_takeover", 1, TypeError),
        ("server_no_context_takeover", None, TypeError),
        ("client_no_context_takeover", "no", TypeError),
    ],
)
def test_parameters_are_checked(name: str, value: object, error: type[Exception]) -> None:
    """What is out of its range is named in the error; 8 bits are none that zlib can send."""
    with pytest.raises(error, match=name):
        PerMessageDeflate(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("level", 10, "level must be -1 to 9, and is 10"), ("threshold", -1, "0 or more, and is -1")],
)
def test_the_range_is_named(name: str, value: int, words: str) -> None:
    """The error says which numbers are fine."""
    with pytest.raises(ValueError, match=words):
        PerMessageDeflate(**{name: value})  # type: ignore[arg-type]


@pytest.mark.checklist("PD08")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_max_window_bits", 9),
        ("server_max_window_bits", 15),
        ("client_max_window_bits", 9),
        ("client_max_window_bits", 15),
        ("level", -1),
        ("level", 0),
        ("level", 9),
        ("mem_level", 1),
        ("mem_level", 9),
        ("threshold", 0),
        ("threshold", 2**40),
    ],
)
def test_parameters_at_their_bounds(name: str, value: int) -> None:
    """The ends of each range belong to it."""
    wish = PerMessageDeflate(**{name: value})  # type: ignore[arg-type]
    assert getattr(wish, name) == value


def test_parameters_by_default() -> None:
    """Compression takes little memory if nothing is said; what is said is never changed."""
    assert PerMessageDeflate() == PerMessageDeflate(
        server_no_context_takeover=False,
        client_no_context_takeover=False,
        server_max_window_bits=12,
        client_max_window_bits=12,
        level=-1,
        mem_level=5,
        threshold=64,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        PerMessageDeflate().level = 9  # type: ignore[misc]
    with pytest.raises(TypeError):
        PerMessageDeflate(False)  # type: ignore[call-arg]


@pytest.mark.parametrize("wish", WISHES)
def test_offers(wish: PerMessageDeflate) -> None:
    """A client offers what it would like, then, if that limits the server, the same without."""
    offers = wish._offers()
    assert parse_extensions([format_extensions(offers)]) == offers
    wanted = {name: getattr(wish, name) for name in FLAGS[0]}
    found = [read(offer) for offer in offers]
    assert all(flags == wanted for flags, _, _ in found)
    client_bits = wish.client_max_window_bits
    first = VALUELESS if client_bits == 15 else client_bits
    if wish.server_max_window_bits == 15:
        assert [bits for _, *bits in found] == [[None, first]]
    else:
        expected = [[wish.server_max_window_bits, first], [None, VALUELESS]]
        assert [bits for _, *bits in found] == expected


# The server's answer


@pytest.mark.checklist("PD08", "SH19")
@pytest.mark.parametrize("offered_flags", FLAGS, ids=str)
def test_each_answer_to_each_offer(offered_flags: dict[str, bool]) -> None:
    """For each offer and each wish: a legal answer (RFC 7692 section 7.1), or none for 8 bits."""
    for server, client in itertools.product(ANY_BITS, [*ANY_BITS, VALUELESS]):
        offer = parameters(offered_flags, server, client)
        for wish in WISHES:
            answered = accept_offer([offer], wish)
            if server == 8:
                assert answered is None
                continue
            assert answered is not None
            extension, agreement = answered
            flags, server_bits, client_bits = read(extension)
            assert flags == {name: on or getattr(wish, name) for name, on in offered_flags.items()}
            assert (server_bits is None) == (server is None)
            assert agreement.compress_bits == min(wish.server_max_window_bits, server or 15)
            assert server_bits in {None, agreement.compress_bits}
            # Section 7.1.2.2: only a client that has offered it may be told its window.
            assert (client_bits is None) == (client is None)
            assert agreement.inflate_bits == (client_bits or 15) <= (client or 15)
            if client is not None:
                assert agreement.inflate_bits <= wish.client_max_window_bits
            assert agreement.compress_takeover is not flags["server_no_context_takeover"]
            assert agreement.inflate_takeover is not flags["client_no_context_takeover"]


@pytest.mark.checklist("PD08")
def test_both_ends_agree() -> None:
    """For each two wishes, client's and server's, each end can read what the other writes."""
    for client, server in itertools.product(WISHES, WISHES):
        answered = accept_offer(client._offers(), server)
        assert answered is not None
        extension, theirs = answered
        ours = check_answer([extension], client)
        assert ours is not None
        assert ours.compress_bits <= theirs.inflate_bits <= client.client_max_window_bits
        assert theirs.compress_bits <= ours.inflate_bits <= client.server_max_window_bits
        assert ours.compress_takeover is theirs.inflate_takeover
        assert theirs.compress_takeover is ours.inflate_takeover


def answer_to(*offers: bytes, wish: PerMessageDeflate | None = None) -> Extension | int | None:
    """A server's answer to header lines, out of its 101, or the status of its refusal."""
    lines = [b"Sec-WebSocket-Extensions: " + offer for offer in offers]
    request = b"\r\n".join(
        [
            b"GET / HTTP/1.1",
            b"Host: example.com",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
            *lines,
            b"",
            b"",
        ]
    )
    results: list[list[Extension | int | None]] = []
    for pieces in torn(request):
        handshake = ServerHandshake()
        try:
            found = [done for done in map(handshake.receive_data, pieces) if done is not None]
        except BadRequest as refusal:
            results.append([refusal.status_code])
            continue
        assert found[0].websocket is not None
        accepted = accept_offer(found[0].websocket.extensions, wish or PerMessageDeflate())
        extensions = [accepted[0]] if accepted else []
        head = ServerHandshake.accept(found[0], extensions=extensions)
        value = head.partition(b"Sec-WebSocket-Extensions: ")[2].partition(b"\r\n")[0]
        results.append([*parse_extensions([value])] if value else [None])
    assert results == results[:1] * len(results)
    (result,) = results[0]
    return result


@pytest.mark.checklist("SH17")
@pytest.mark.parametrize(
    ("offers", "server_bits"),
    [
        ([b"permessage-deflate; server_max_window_bits=10, permessage-deflate"], "10"),
        ([b"permessage-deflate; server_max_window_bits=10", b"permessage-deflate"], "10"),
        ([b"x-other, permessage-deflate; server_max_window_bits=10"], "10"),
        ([b"permessage-deflate; mystery, permessage-deflate; server_max_window_bits=11"], "11"),
        ([b"permessage-deflate; server_max_window_bits=8, permessage-deflate"], None),
        ([b"permessage-deflate, permessage-deflate; server_max_window_bits=10"], None),
        ([b'permessage-deflate; server_max_window_bits="10"'], "10"),
    ],
)
def test_the_first_acceptable_offer_wins(offers: list[bytes], server_bits: str | None) -> None:
    """Of several offers the first that the server can accept is answered, and no other."""
    answer = answer_to(*offers)
    assert isinstance(answer, tuple)
    assert dict(answer[1]).get("server_max_window_bits") == server_bits


BAD_PARAMETERS = [
    b"mystery",
    b"mystery=1",
    b"mystery=10",
    b"server_no_context_takeover=1",
    b"client_no_context_takeover=true",
    b"server_no_context_takeover; server_no_context_takeover",
    b"client_max_window_bits=10; client_max_window_bits=10",
    b"server_max_window_bits",
    *(
        name + b"_max_window_bits=" + value
        for name in (b"server", b"client")
        for value in (b"7", b"16", b"08", b"0", b"+9", b"9.0", b"115", b"-9", b"x")
    ),
]


@pytest.mark.checklist("SH18")
@pytest.mark.parametrize("bad", BAD_PARAMETERS, ids=bytes.decode)
def test_an_offer_with_a_bad_parameter_is_declined(bad: bytes) -> None:
    """An unknown, repeated or invalid parameter declines its offer, and no other."""
    assert answer_to(b"permessage-deflate; " + bad) is None
    assert answer_to(b"permessage-deflate; " + bad + b", permessage-deflate") == (NAME, ())


@pytest.mark.checklist("SH15", "SH18")
@pytest.mark.parametrize("bad", [b'client_max_window_bits=""', b"client_max_window_bits="])
def test_a_value_that_is_no_token_is_malformed(bad: bytes) -> None:
    """An empty value is no token, so the header is malformed: 400."""
    assert answer_to(b"permessage-deflate; " + bad) == 400


@pytest.mark.checklist("SH16")
def test_other_extensions_are_not_ours() -> None:
    """A server answers none but the extension that it knows."""
    assert answer_to(b"x-webkit-deflate-frame, bbf-usp-protocol; a=1") is None


@pytest.mark.checklist("SH19")
@pytest.mark.parametrize("client_bits", OUR_BITS)
def test_the_clients_window_on_the_wire(client_bits: int) -> None:
    """client_max_window_bits is in the 101 if, and only if, it was in the offer."""
    wish = PerMessageDeflate(client_max_window_bits=client_bits)
    assert answer_to(b"permessage-deflate", wish=wish) == (NAME, ())
    answer = answer_to(b"permessage-deflate; client_max_window_bits", wish=wish)
    assert answer == (NAME, (("client_max_window_bits", str(client_bits)),))


# The client's check of the answer


@pytest.mark.checklist("PD08", "CH11")
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_each_answer_for_each_wish(flags: dict[str, bool]) -> None:
    """Each answer is accepted, unless it breaks what was asked for or zlib cannot do it."""
    for server_bits, client_bits in itertools.product(ANY_BITS, ANY_BITS):
        answer = parameters(flags, server_bits, client_bits)
        for wish in WISHES:
            forgets = flags["server_no_context_takeover"]
            refused = (
                (wish.server_no_context_takeover and not forgets)
                or (server_bits is not None and server_bits > wish.server_max_window_bits)
                or client_bits == 8
            )
            if refused:
                with pytest.raises(HeaderError, match=r"server"):
                    check_answer([answer], wish)
                continue
            agreed = check_answer([answer], wish)
            assert agreed == Agreement(
                min(wish.client_max_window_bits, client_bits or 15),
                not (wish.client_no_context_takeover or flags["client_no_context_takeover"]),
                server_bits or 15,
                not forgets,
            )


def client_outcome(value: bytes | None, wish: PerMessageDeflate) -> Agreement | str | None:
    """What a client makes of a 101 with this header, however it is torn; a str is the error."""
    results: list[Agreement | str | None] = []
    extension = [] if value is None else [b"Sec-WebSocket-Extensions: " + value]
    for cut in itertools.count(-1):
        handshake = ClientHandshake("example.com", 80, "/", extensions=wish._offers())
        key = handshake.request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        head = b"\r\n".join(
            [
                b"HTTP/1.1 101 Switching Protocols",
                b"Upgrade: websocket",
                b"Connection: Upgrade",
                b"Sec-WebSocket-Accept: " + accept_key(key),
                *extension,
                b"",
                b"",
            ]
        )
        if cut == len(head):
            break
        whole = [head[i : i + 1] for i in range(len(head))] if cut < 0 else [head[:cut], head[cut:]]
        (response,) = filter(None, map(handshake.receive_data, whole))
        try:
            results.append(check_answer(response.extensions, wish))
        except HeaderError as exc:
            results.append(str(exc))
    assert results == results[:1] * len(results)
    return results[0]


@pytest.mark.checklist("CH11")
@pytest.mark.parametrize(
    "bad",
    [
        *BAD_PARAMETERS,
        b"client_max_window_bits",
        b"client_max_window_bits=8",
        b"server_max_window_bits=13",
    ],
    ids=bytes.decode,
)
def test_an_answer_with_a_bad_parameter_is_an_error(bad: bytes) -> None:
    """An answer that is not legal, asks for too much or for 8 bits of us fails the handshake."""
    assert isinstance(client_outcome(NAME.encode() + b"; " + bad, PerMessageDeflate()), str)


@pytest.mark.checklist("CH11")
def test_no_answer_is_no_compression() -> None:
    """Without an answer nothing is agreed on."""
    assert client_outcome(None, PerMessageDeflate()) is None
    assert client_outcome(NAME.encode(), PerMessageDeflate()) == Agreement(12, True, 15, True)


# Compressing and inflating


@pytest.mark.checklist("PD03")
@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("f248cdc9c90700", b"Hello"),
        ("000500faff48656c6c6f00", b"Hello"),
        ("f348cdc9c9070000", b"Hello"),
        ("f24805000000ffffcac9c90700", b"Hello"),
        ("00", b""),
        ("010400fbff", TAIL),
    ],
    ids=[
        *("7.2.3.1", "7.2.3.3 stored", "7.2.3.4 final", "7.2.3.5 two blocks", "7.2.3.6 empty"),
        "a final block of what is appended",
    ],
)
def test_vectors(payload: str, message: bytes) -> None:
    """The examples of RFC 7692 section 7.2.3, and more, inflate as it says, in any pieces."""
    assert inflated(bytes.fromhex(payload)) == message
    assert inflated(bytes.fromhex(payload), NO_TAKEOVER) == message


@pytest.mark.checklist("PD03", "PD07")
def test_vectors_of_the_compressor() -> None:
    """What is sent for "Hello", twice and as an empty message, is as in section 7.2.3."""
    compressor = Compressor(EVERYTHING, PerMessageDeflate(mem_level=8))
    assert compressor.compress(b"Hello").hex() == "f248cdc9c90700"
    assert compressor.compress(b"Hello").hex() == "f200110000"
    assert compressor.compress(b"").hex() == "00"


@pytest.mark.checklist("PD07")
def test_the_window_of_the_last_message() -> None:
    """A message may refer to the one before it, unless no context takeover was agreed on."""
    first, second = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")
    assert inflated(second, EVERYTHING, first) == b"Hello"
    assert fault(second, NO_TAKEOVER, first) == 1007


@pytest.mark.checklist("PD07")
@pytest.mark.parametrize("steps", [False, True], ids=["at once", "in steps"])
def test_context_takeover(steps: bool) -> None:
    """A context is made when first used; with takeover it stays, without it is gone at once."""

    def compress(compressor: Compressor, data: bytes) -> bytes:
        return [*compressor.steps(data)][-1] or b"" if steps else compressor.compress(data)

    keeping = Compressor(EVERYTHING, PerMessageDeflate())
    forgetting = Compressor(NO_TAKEOVER, PerMessageDeflate())
    assert keeping._context is forgetting._context is None
    first = compress(keeping, TEXT)
    assert compress(forgetting, TEXT) == compress(forgetting, TEXT) == first
    assert forgetting._context is None
    assert keeping._context is not None
    assert len(compress(keeping, TEXT)) < len(first) / 4
    inflaters = Inflater(EVERYTHING), Inflater(NO_TAKEOVER)
    assert inflaters[0]._context is inflaters[1]._context is None
    for inflater in inflaters:
        assert inflate(inflater, [first]) == TEXT
    assert inflaters[0]._context is not None
    assert inflaters[1]._context is None


@pytest.mark.checklist("PD04")
def test_a_final_block_ends_the_context() -> None:
    """After a final block, the padding and what follows are a new stream (section 7.2.3.4)."""
    inflater = Inflater(EVERYTHING)
    assert inflate(inflater, [raw(b"Hello")]) == b"Hello"
    assert inflate(inflater, [final(b"Hello") + b"\x00"]) == b"Hello"
    with pytest.raises(Violation):
        inflate(inflater, [bytes.fromhex("f200110000")])


@pytest.mark.checklist("PD04")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_data_after_a_final_block(count: int) -> None:
    """Blocks after a final block are read, as section 7.2.1 allows; what is no block fails."""
    payload = final(b"Hello, ") * count + raw(b"world")
    assert inflated(payload) == b"Hello, " * count + b"world"
    assert fault(final(b"Hello")) == 1007  # without its padding
    assert fault(final(b"Hello") + b"\x07") == 1007


@pytest.mark.checklist("PD04", "PD06")
def test_too_many_final_blocks() -> None:
    """A message of more than 1024 streams, each of which costs a context, fails with 1008."""
    empty = b"\x03\x00"
    payload = empty * 1024 + b"\x00"
    inflater = Inflater(EVERYTHING)
    for _ in range(2):  # each message has its own
        assert inflate(inflater, [payload]) == b""
    with pytest.raises(Violation) as caught:
        inflate(inflater, [empty + payload])
    assert caught.value.code == 1008


@pytest.mark.checklist("PD04")
@pytest.mark.parametrize("agreement", [EVERYTHING, NO_TAKEOVER], ids=["takeover", "none"])
def test_a_truncated_message(agreement: Agreement) -> None:
    """A message that ends within a block fails with 1007, wherever it was cut."""
    payload = raw(TEXT)
    whole = {len(payload)}
    codes = set()
    for end in range(1, len(payload)):
        inflater = Inflater(agreement)
        try:
            result = inflate(inflater, [payload[:end]])
        except Violation as violation:
            codes.add(violation.code)
        else:
            whole.add(end)
            assert TEXT.startswith(result)
    assert codes == {1007}
    # What lies between the last block and its end is the header of the empty one that follows.
    assert min(whole) >= len(payload) - 1
    assert fault(payload[:50], agreement) == 1007


@pytest.mark.checklist("PD04")
@pytest.mark.parametrize("missing", [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 20])
def test_a_truncated_final_block(missing: int) -> None:
    """Neither the tail that is appended nor anything else makes up for bytes that are missing."""
    block = b"\x01\x14\x00\xeb\xff" + TEXT[:20]  # 20 bytes that are stored
    assert inflated(block + b"\x00") == TEXT[:20]
    assert fault(block[:-missing]) == 1007
    assert fault(block[:-missing], NO_TAKEOVER) == 1007


@pytest.mark.checklist("PD04")
def test_a_corrupt_message() -> None:
    """Whatever byte is changed: it inflates to something, or fails with 1007."""
    payload = raw(TEXT[:200])
    codes = []
    for position, value in itertools.product(range(len(payload)), (0x00, 0x55, 0xAA, 0xFF)):
        corrupt = payload[:position] + bytes([value]) + payload[position + 1 :]
        try:
            inflate(Inflater(EVERYTHING), [corrupt])
        except Violation as violation:
            codes.append(violation.code)
    assert set(codes) == {1007}
    assert len(codes) > len(payload)


@pytest.mark.checklist("PD04")
@pytest.mark.parametrize(
    "payload",
    [
        b"\x07",  # a block of the reserved type
        b"\x00\x01\x00\x01\x00x",  # a stored block whose length does not fit its complement
        zlib.compress(b"Hello"),  # the header of section 2.2 of RFC 1950
        b"\x78\xbb\x05\x8c\x01\xf5" + raw(b"Hello"),  # with a preset dictionary
        bytes.fromhex("f200110000"),  # a distance to before the start
        b"",
        b"\x04\x00",  # within a dynamic block's codes, which swallow any empty block
    ],
    ids=["reserved", "stored", "zlib", "dictionary", "distance", "nothing", "codes"],
)
def test_no_deflate(payload: bytes) -> None:
    """What is no DEFLATE data (RFC 1951) fails with 1007."""
    assert fault(payload) == 1007
    assert fault(payload, NO_TAKEOVER) == 1007


@pytest.mark.checklist("PD08")
@pytest.mark.parametrize("bits", range(8, 16))
def test_inflating_each_window(bits: int) -> None:
    """A window of 8 to 15 bits is inflated; for 8, older versions of zlib compress with 9."""
    bits_used = max(9, bits)
    period = b"".join(
        number.to_bytes(2, "big") for number in range(min(2**bits_used, 32_000) // 2 - 50)
    )
    data = period * (20_000 // len(period) + 2)
    payload = raw(data)  # at the distance of a period, which fits the window
    assert len(payload) < len(data) / 1.5
    assert inflate(Inflater(Agreement(15, True, bits, True)), [payload]) == data
    # In small portions zlib has but its window to look into.
    assert inflate(Inflater(Agreement(15, True, bits, True)), [payload], 100) == data


@pytest.mark.checklist("PD08")
def test_a_distance_beyond_the_window() -> None:
    """What was agreed on bounds the memory: a reference to far behind it fails with 1007."""
    unique = b"".join(number.to_bytes(2, "big") for number in range(10_000))
    payload = raw(unique + unique[:50])
    assert inflate(Inflater(EVERYTHING), [payload]) == unique + unique[:50]
    with pytest.raises(Violation):
        inflate(Inflater(Agreement(15, True, 9, True)), [payload])


@pytest.mark.checklist("PD08")
@pytest.mark.parametrize("bits", range(8, 15))
def test_a_distance_just_beyond_the_window(bits: int) -> None:
    """The window has the size that was agreed on; for 8 bits it has 9."""
    size = 2 ** max(9, bits) + 300
    start = random.Random(bits).randbytes(size)
    payload = raw(start + start[:100])
    assert inflate(Inflater(Agreement(15, True, 15, True)), [payload], 100) == start + start[:100]
    with pytest.raises(Violation):
        inflate(Inflater(Agreement(15, True, bits, True)), [payload], 100)


@pytest.mark.checklist("PD08")
@pytest.mark.parametrize("bits", OUR_BITS)
@pytest.mark.parametrize("mem_level", [1, 5, 9])
@pytest.mark.parametrize("level", [-1, 0, 1, 9])
def test_compressing_with_each_window(bits: int, mem_level: int, level: int) -> None:
    """What is compressed with a window is inflated with that window."""
    agreement = Agreement(bits, True, bits, True)
    wish = PerMessageDeflate(level=level, mem_level=mem_level)
    compressor, inflater, threshold = Deflate.of(agreement, wish)
    assert threshold == wish.threshold
    for message in (TEXT, b"", b"x", bytes(70_000), TEXT * 10):
        assert inflate(inflater, [compressor.compress(message)]) == message


@pytest.mark.checklist("PD05")
def test_what_is_read_is_limited() -> None:
    """However much there is, a read returns no more than asked for, nor than 32 KiB."""
    inflater = Inflater(EVERYTHING)
    inflater.feed(raw(bytes(200_000)), last=True)
    sizes = [len(inflater.read(limit)) for limit in (1, 10, 1000, 10**6)]
    assert sizes == [1, 10, 1000, 32 * 1024]
    while inflater.pending:
        sizes.append(len(inflater.read(10**6)))
    assert sum(sizes) == 200_000
    inflater.finish()


@pytest.mark.checklist("PD05")
def test_the_last_reads_are_small() -> None:
    """Near to a limit, what a read returns is small, for that is held beyond the limit."""
    inflater = Inflater(EVERYTHING)
    inflater.feed(raw(bytes(200_000)), last=True)
    left = 150_000
    sizes = []
    while left:
        sizes.append(len(inflater.read(left)))
        assert sizes[-1] <= 1024 + left // 8
        left -= sizes[-1]
    assert len(sizes) <= 25


@pytest.mark.checklist("PD05", "U06")
def test_nothing_is_kept_back() -> None:
    """In whatever portions it is read: all that zlib has understood comes out at once."""
    payload = raw(bytes(5000) + TEXT)
    inflater = Inflater(EVERYTHING)
    reference = zlib.decompressobj(-15)
    for position in range(len(payload)):
        piece = payload[position : position + 1]
        inflater.feed(piece, last=False)
        found = []
        while inflater.pending:
            found.append(inflater.read(7))
        assert b"".join(found) == reference.decompress(piece)


@pytest.mark.checklist("PD11")
def test_volumes() -> None:
    """Both ends count the bytes of whole messages, without and with compression."""
    compressor, inflater, _ = Deflate.of(EVERYTHING, PerMessageDeflate())
    assert compressor.volume == inflater.volume == Volume() == (0, 0)
    uncompressed = compressed = 0
    for message in (TEXT, b"", b"x", TEXT * 20):
        uncompressed += len(message)
        payload = compressor.compress(message)
        compressed += len(payload)
        assert inflate(inflater, [payload[:3], payload[3:]], limit=10) == message
        assert compressor.volume == inflater.volume == (uncompressed, compressed)
    stepping = Compressor(EVERYTHING, PerMessageDeflate())
    uncompressed = compressed = 0
    for message in (TEXT, TEXT * 2):
        *_, payload_in_steps = stepping.steps(message)
        assert payload_in_steps is not None
        uncompressed += len(message)
        compressed += len(payload_in_steps)
        assert stepping.volume == (uncompressed, compressed)


@pytest.mark.checklist("PD11")
def test_work() -> None:
    """Of each call the larger of what went in and what came out counts, and 512 bytes besides."""
    inflater = Inflater(EVERYTHING)
    assert inflater.work == 0
    expected = 0
    payloads = [(raw(bytes(1000)), 1000), (raw(b"", level=0), 0), (raw(TEXT[:100], level=0), 100)]
    for payload, size in payloads * 2:
        inflater.feed(payload, last=True)
        given = len(payload) + len(TAIL)
        assert len(inflater.read(2000)) == size
        assert not inflater.pending
        inflater.finish()
        expected += max(size, given) + 512
        assert inflater.work == expected


def test_a_new_inflater_has_nothing_to_read() -> None:
    """There is something to read once something was fed."""
    inflater = Inflater(EVERYTHING)
    assert not inflater.pending
    inflater.feed(raw(b"Hello"), last=True)
    assert inflater.pending


def test_what_is_dropped_is_not_read() -> None:
    """After `drop` there is nothing to read of what was fed."""
    inflater = Inflater(EVERYTHING)
    inflater.feed(raw(bytes(100_000)), last=True)
    assert len(inflater.read(1000)) == 1000
    inflater.drop()
    assert not inflater.pending


@pytest.mark.checklist("PD11")
@pytest.mark.parametrize("last", [False, True])
def test_a_call_takes_16_kib(last: bool) -> None:
    """However much was fed, zlib is given 16 KiB at once, and the tail behind the rest."""
    inflater = Inflater(EVERYTHING)
    payload = raw(random.Random(3).randbytes(40_000), level=0)
    tail = len(TAIL) if last else 0
    inflater.feed(payload, last=last)
    works = []
    while inflater.pending:
        before = inflater.work
        inflater.read(10**6)
        works.append(inflater.work - before - 512)
    assert works == [16_384, 16_384, len(payload) - 2 * 16_384 + tail]


@pytest.mark.checklist("PD04")
def test_nothing_is_left_behind_a_final_block() -> None:
    """There is nothing to read where a stream ends with what was fed, and then there is more."""
    inflater = Inflater(EVERYTHING)
    for _ in range(2):
        inflater.feed(final(b"Hello"), last=False)
        assert inflater.read(100) == b"Hello"
        assert not inflater.pending
    inflater.feed(b"\x00", last=True)
    assert inflater.read(100) == b""
    inflater.finish()


def test_an_empty_message_takes_no_context() -> None:
    """Its payload is always the same, so that nothing has to be made for it."""
    compressor = Compressor(EVERYTHING, PerMessageDeflate())
    assert compressor.compress(b"") == b"\x00"
    assert compressor._context is None


@pytest.mark.checklist("PD03")
@pytest.mark.parametrize("cut", [0, 1, 8191, 8192, 8193, 16384, 20_000, 65_536])
def test_large_pieces(cut: int) -> None:
    """A piece of many steps is read to its end, whether it is the message's last or not."""
    data = random.Random(1).randbytes(90_000)
    payload = raw(data)
    assert len(payload) > 90_000
    assert inflate(Inflater(EVERYTHING), [payload[:cut], payload[cut:]]) == data


def test_a_message_that_was_read_is_let_go() -> None:
    """Nothing of what was fed stays with an idle connection, but the window."""
    payload = raw(TEXT)
    before = sys.getrefcount(payload)
    inflater = Inflater(EVERYTHING)
    assert inflate(inflater, [payload]) == TEXT
    assert sys.getrefcount(payload) == before


# In steps


def sizes_of_interest() -> list[int]:
    """Sizes around the step of 128 KiB."""
    step = 128 * 1024
    return [0, 1, step - 1, step, step + 1, 3 * step, 3 * step + 7]


@pytest.mark.checklist("PD11", "PD03")
@pytest.mark.parametrize("agreement", [EVERYTHING, NO_TAKEOVER], ids=["takeover", "none"])
@pytest.mark.parametrize("size", sizes_of_interest())
def test_steps(size: int, agreement: Agreement) -> None:
    """Compressing in steps gives what it gives at once, a step for each 128 KiB."""
    message = (TEXT * (size // len(TEXT) + 1))[:size]
    stepwise, at_once = (Compressor(agreement, PerMessageDeflate()) for _ in range(2))
    inflater = Inflater(agreement)
    for _ in range(2):
        *waits, payload = stepwise.steps(message)
        assert waits == [None] * -(-size // (128 * 1024))
        assert payload is not None
        assert inflate(inflater, [payload]) == message
        at_once.compress(message)
    assert stepwise.compress(TEXT) == at_once.compress(TEXT)


@pytest.mark.checklist("PD09")
@pytest.mark.parametrize("agreement", [EVERYTHING, NO_TAKEOVER], ids=["takeover", "none"])
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("steps", range(6))
def test_stopped_steps(steps: int, used: bool, agreement: Agreement) -> None:
    """Whoever stops between two steps has changed nothing: the next 1000 messages are the same."""
    stopped, untouched = (Compressor(agreement, PerMessageDeflate()) for _ in range(2))
    if used:
        stopped.compress(TEXT)
        untouched.compress(TEXT)
    payloads = stopped.steps(TEXT[::-1] * 400)  # five steps
    assert list(itertools.islice(payloads, steps)) == [None] * min(steps, 5)
    del payloads
    for number in range(1000):
        message = b"%d: %s" % (number, TEXT[: number % 300])
        assert stopped.compress(message) == untouched.compress(message)


# Anything


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Agreement, list[bytes]]:
    """What two ends agree on, and messages."""
    bits = draw(st.integers(9, 15))
    takeover = draw(st.booleans())
    unit = draw(st.binary(min_size=1, max_size=300))
    pieces = st.one_of(st.binary(max_size=500), st.integers(0, 500).map(lambda n: unit * n))
    return Agreement(bits, takeover, bits, takeover), draw(st.lists(pieces, max_size=8))


@settings(max_examples=60, deadline=None)
@given(conversations(), st.data())
def test_round_trip(conversation: tuple[Agreement, list[bytes]], data: st.DataObject) -> None:
    """Any messages come out as they went in, compressed and torn in any way."""
    agreement, messages = conversation
    compressor, inflater, _ = Deflate.of(agreement, PerMessageDeflate())
    for message in messages:
        if data.draw(st.booleans()):
            payload = [*compressor.steps(message)][-1] or b""
        else:
            payload = compressor.compress(message)
        cut = data.draw(st.integers(0, len(payload)))
        limit = data.draw(st.integers(1, 2**20))
        assert inflate(inflater, [payload[:cut], payload[cut:]], limit) == message


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_anything_inflates_or_fails(payloads: list[bytes], takeover: bool) -> None:
    """No bytes raise anything but a violation."""
    inflater = Inflater(Agreement(15, takeover, 15, takeover))
    try:
        for payload in payloads:
            inflate(inflater, [payload])
    except Violation:
        pass
