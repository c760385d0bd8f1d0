"""Every call of the API cancelled at each of its steps (tests/harness)."""

import pytest

from tests.harness.catalogue import CASES, SEEDS
from tests.harness.deflated import DeflateError
from tests.harness.runner import run_all
from tests.harness.sabotage import SABOTAGES, found
from tests.harness.tally import TOTAL
from tests.harness.wire import WireError, parse

# The session fails when all have run at too few points: see tests/harness/tally.py.
TOTAL.all_cases = len(CASES) * len(SEEDS)


@pytest.mark.checklist("CA01", "CA02", "CA04", "PD09")
@pytest.mark.parametrize("seed", SEEDS, ids="seed{}".format)
@pytest.mark.parametrize("name", CASES)
def test_cancelled_anywhere(name: str, seed: int) -> None:
    """Wherever a call is cancelled, I1 to I10 hold; a point is run again with its id.

    ``python -m tests.harness <id>``
    """
    tally = run_all(CASES[name], seed)
    TOTAL.add(tally)
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.points


_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"\x81\x05hel\x81\x05hello\x81\x01a", id="torn in the middle"),
        pytest.param(b"\xc1\x00", id="reserved bit"),
        pytest.param(b"\x83", id="unknown opcode"),
        pytest.param(b"\x81\x80", id="masked by the server"),
        pytest.param(b"\x81\x7e\x00\x7d", id="not the shortest length"),
        pytest.param(b"\x09\x00", id="control frame in fragments"),
        pytest.param(b"\x89\x7e", id="long control frame"),
        pytest.param(b"\x80\x00", id="nothing to continue"),
        pytest.param(b"\x01\x00\x81\x00", id="a message within a message"),
        pytest.param(b"\x81\x01\xff", id="no UTF-8"),
        pytest.param(b"\x88\x02\x03\xe8\x88\x02\x03\xe8", id="two Close frames"),
        pytest.param(b"\x88\x02\x03\xe8\x81", id="bytes after Close"),
        pytest.param(b"\x88\x02\x03\xed", id="1005 on the wire"),
        pytest.param(b"\x88\x01\x03", id="half a close code"),
    ],
)
def test_the_parser_refuses(frames: bytes) -> None:
    """The harness's own parser of the wire tells what RFC 6455 section 5 forbids."""
    with pytest.raises(WireError):
        parse(_SWITCHED + frames, client=False)


def test_the_parser_reads() -> None:
    """Fragments with a ping between them, an empty message, and a torn frame at the end."""
    frames = b"\x01\x02he\x89\x01p\x80\x03llo\x82\x00\x82\x7e\x01"
    wire = parse(_SWITCHED + frames, client=False)
    assert (wire.messages, wire.pings, wire.rest) == (["hello", b""], [b"p"], b"\x82\x7e\x01")


_DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"
_HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692 section 7.2.3.1
_AGAIN = b"\xf2\x00\x11\x00\x00"  # section 7.2.3.2: it refers to the first


def switched(parameters: bytes = b"") -> bytes:
    """An answer that agrees on compression."""
    return _SWITCHED[:-2] + _DEFLATE + parameters + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("parameters", "frames", "error"),
    [
        pytest.param(b"", b"\xc9\x00", WireError, id="RSV1 on a ping"),
        pytest.param(b"", b"\x41\x01\xf2\xc0\x00", WireError, id="RSV1 in the middle"),
        pytest.param(b"", b"\xa1\x00", WireError, id="RSV2"),
        pytest.param(b"", b"\xc1\x05" + _AGAIN, DeflateError, id="refers to nothing"),
        pytest.param(b"", b"\xc1\x03" + _HELLO[:3], DeflateError, id="ends within a block"),
        pytest.param(b"", b"\xc1\x02\x03\x00", DeflateError, id="a final block"),
        pytest.param(b"", b"\xc1\x02\xff\xff", DeflateError, id="no DEFLATE"),
        pytest.param(b"", b"\xc1\x07\x00\x01\x00\xfe\xff\xff\x00", DeflateError, id="no UTF-8"),
        pytest.param(
            b"; server_no_context_takeover",
            b"\xc1\x07" + _HELLO + b"\xc1\x05" + _AGAIN,
            DeflateError,
            id="a window that was to be dropped",
        ),
        pytest.param(b"; x", b"", DeflateError, id="unknown parameter"),
        pytest.param(b", x-other", b"", DeflateError, id="unknown extension"),
    ],
)
def test_the_parser_refuses_compressed(
    parameters: bytes, frames: bytes, error: type[Exception]
) -> None:
    """The harness's own parser tells compressed data that is out of step (RFC 7692)."""
    with pytest.raises(error):
        parse(switched(parameters) + frames, client=False)


@pytest.mark.parametrize("split", range(len(_HELLO)))
def test_the_parser_inflates(split: int) -> None:
    """The examples of RFC 7692 section 7.2.3, in fragments, with a message as it is between."""
    frames = b"\x41%c%b\x80%c%b" % (split, _HELLO[:split], 7 - split, _HELLO[split:])
    frames += b"\x81\x02as\xc1\x05" + _AGAIN
    wire = parse(switched(b"; server_max_window_bits=9") + frames, client=False)
    assert (wire.messages, wire.compressed) == (["Hello", "as", "Hello"], {0: 7, 2: 5})


@pytest.mark.parametrize("name", SABOTAGES)
def test_sabotage_is_found(name: str) -> None:
    """The harness turns red when the library is broken on purpose."""
    sabotage = SABOTAGES[name]
    counts = found(sabotage)
    assert sabotage.finds & counts.keys(), f"not found; instead: {counts}"
