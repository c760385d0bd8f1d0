"""Every call of the API cancelled at its steps, its stream failing at each byte (tests/harness)."""

from collections.abc import Iterator

import pytest

from tests.harness import catalogue, together
from tests.harness.__main__ import main
from tests.harness.catalogue import CASES, SEEDS, find
from tests.harness.deflated import DeflateError
from tests.harness.faults import FAULTS
from tests.harness.injection import KINDS, Injection
from tests.harness.runner import cheap_garbage, run_all, run_once
from tests.harness.sabotage import SABOTAGES, found
from tests.harness.tally import TOTAL, replay
from tests.harness.tls import arrived, decrypts_to
from tests.harness.wire import WireError, parse

# The session fails when all have run at too few points: see tests/harness/tally.py.
TOTAL.all_cases = len(CASES) * len(SEEDS)


@pytest.fixture(scope="module", autouse=True)
def _garbage() -> Iterator[None]:
    with cheap_garbage():
        yield


@pytest.mark.checklist("CA01", "CA02", "CA04", "CA05", "PD09")
@pytest.mark.parametrize("name", CASES)
def test_cancelled_anywhere(name: str) -> None:
    """Wherever a call is cancelled, or its stream fails, ends or stalls, I1 to I10 hold.

    What does not is printed with the command that runs this point again.
    """
    points = 0
    for seed in SEEDS:  # one may be over at once, since another call has closed the connection
        tally = run_all(CASES[name], seed)
        TOTAL.add(tally)
        assert not tally.violations, "\n".join(map(replay, tally.violations))
        points += tally.points
    assert points


def test_there_are_all_pairs_of_calls() -> None:
    """Each call goes on while each other one does, its own kind included."""
    names = {scenario.name for scenario in catalogue.SCENARIOS}
    calls = {name.partition("_with_")[0] for name in together.NAMES}
    assert {f"{one}_with_{other}" for one in calls for other in calls} <= names
    assert len(calls) >= 8 and len(names) >= 100


def test_a_violation_is_found_again_by_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    """What a run of many points prints, ``python -m tests.harness <id>`` prints again."""
    sabotage = SABOTAGES["receive pops before its checkpoint"]
    with sabotage.patch():
        violation, *_ = run_all(CASES[sabotage.cases[0]], 1).violations
        words, _, what = replay(violation).partition("  # ")
        *command, point = words.split()
        assert command == ["python", "-m", "tests.harness"]
        assert main([point]) == 1
        assert what in capsys.readouterr().out.splitlines()
    assert main([point]) == 0
    assert capsys.readouterr().out == f"{point}: no violation\n"


def test_a_point_that_does_not_come_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """A point that the case does not reach any more, or of no case, is told, and fails."""
    assert main(["ping-mem-client/1/scope:100000"]) == 1
    assert "did not come" in capsys.readouterr().out
    for unknown in ("nothing/1/scope:1", "nothing"):
        with pytest.raises(SystemExit, match="2"):
            main([unknown])


@pytest.mark.parametrize(
    "point",
    [
        "open_websocket_url-tls-client/2/anywhere:120",
        "send_concurrently-mem-client-takeover/1/send-oserror:200",
        "handler-mem-server/1/receive-stall:180",
        "ping_with_aclose-tls-client/3/send-garbage:5",
        "run_in_the_middle_of_echo-unix-server/1/anywhere:60",
        "run_in_the_middle_of_close-unix-server/2/receive-closed:20",
        "send_both_ways-tlssock-client/1/anywhere:40",
        "aclose_in_the_middle_of_echo-tlssock-server/2/send-oserror:50",
    ],
)
def test_a_point_is_the_same_each_time(point: str) -> None:
    """Scheduling, time, sizes of reads and writes: a point replays exactly."""

    def trace() -> object:
        world = run_once(*find(point))
        assert world.injector.fired_at is not None
        steps = world.injector.steps, world.injector.all_steps, world.victim.ended_at
        return steps, [[len(pipe.log) for pipe in link.pipes.values()] for link in world.links]

    assert trace() == trace()


def test_parts_are_the_whole() -> None:
    """``--shard`` takes each point once."""
    case = CASES["pong_with_pong-mem-client"]
    parts = [run_all(case, 1, every=True, shard=(part, 3)) for part in range(3)]
    assert (
        sum(part.points + part.missed for part in parts)
        == run_all(case, 1, every=True, run=False).points
    )
    assert not any(part.violations for part in parts)


def test_a_frame_is_cut_at_each_byte() -> None:
    """Of all faults there are points at each byte of what the call sends, and one behind it."""
    case = CASES["pong_with_pong-mem-client"]
    clean = run_once(case, 1, None)
    pongs = parse(clean.links[0].log("client"), client=True).pongs
    # Four frames of 6 bytes, two of them with 4 more; what follows answers the probe.
    assert sorted(pongs[:4]) == [b"", b"", b"here", b"here"]
    assert clean.fault.offsets("send") == list(range(4 * 6 + 2 * 4 + 1))
    counted = run_all(case, 1, every=True, run=False).by_kind
    assert {counted[f"send-{what}"] for what in FAULTS["mem"]["send"]} == {33}
    assert set(KINDS) <= set(counted)


@pytest.mark.parametrize("what", ["broken", "closed", "oserror", "sslerror"])
def test_a_fault_comes_where_it_should(what: str) -> None:
    """So many bytes of the call are on the wire, and no more."""
    case = CASES["pong_with_pong-mem-client"]
    before = len(run_once(case, 1, Injection(f"send-{what}", 0)).links[0].log("client"))
    world = run_once(case, 1, Injection(f"send-{what}", 7))
    assert len(world.links[0].log("client")) == before + 7
    assert not world.violations


@pytest.mark.parametrize("name", ["send_large-tlssock-client", "receive-tlssock-server"])
def test_what_arrives_under_tls_is_known(name: str) -> None:
    """The bytes on the wire tell how many bytes were decrypted, be they read or not."""
    (link,) = run_once(CASES[name], 1, None).links
    assert sum(map(len, link.written.values())) > 10_000
    for role, log in link.written.items():
        assert decrypts_to(bytes(link.pipes[role].log), role) == len(log)
        assert arrived(link, role) == link.log(role) == log


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
    assert {*sabotage.cases} <= CASES.keys()
    counts = found(sabotage)
    assert sabotage.finds & counts.keys(), f"not found; instead: {counts}"
