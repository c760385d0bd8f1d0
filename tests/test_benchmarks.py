"""The benchmarks measure what they say; how fast anything is, is not tested."""

import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmarks need Linux", allow_module_level=True)

from benchmarks import frames
from benchmarks.cli import make_certificate, parse
from benchmarks.contenders import CONTENDERS, NAMES, OURS, PURE, ZLIB, Contender
from benchmarks.growth import SERIES
from benchmarks.handshakes import Handshakes
from benchmarks.idle import idle_bytes
from benchmarks.links import Address
from benchmarks.load import Load, quantile
from benchmarks.measure import Outcome, Plan, measure_row
from benchmarks.meter import Meter
from benchmarks.page import page
from benchmarks.processes import MEASURED_CORE, Measured, resident_bytes, settle
from benchmarks.report import number, report
from benchmarks.results import Results, Rounds, judge, ratio
from benchmarks.rows import ROW_NAMES, Row
from benchmarks.servers.frames_echo import answer_frames, answer_upgrade
from benchmarks.targets import TARGETS, Target

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIZES = [0, 1, 64, 125, 126, 0xFFFF, 0x10000]


def parts_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the first byte and the payload of each masked frame, unmasked byte by byte."""
    while data:
        assert data[1] & 0x80
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        key, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
        assert len(payload) == size
        yield data[0], bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
        data = data[start + 4 + size :]


def messages_of(traffic: frames.Traffic) -> list[bytes]:
    """Return the messages of a connection, which it repeats."""
    ends = traffic.ends
    half = len(traffic.blob) // 2
    assert traffic.blob[:half] == traffic.blob[half:]
    assert (ends[0], ends[-1]) == (0, half)
    return [traffic.blob[start:end] for start, end in pairwise(ends)]


def test_masking() -> None:
    """Masking is that of the example in RFC 6455 section 5.7."""
    assert frames.xor(b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex("7f9f4d5158")


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize("size", SIZES)
def test_echo_traffic(size: int, text: bool) -> None:
    """A message is one masked frame, in the shortest form, and the reply the same unmasked."""
    traffic = frames.echo_traffic(size, 3, text=text)
    first, second, third = messages_of(traffic)
    assert first == second == third
    ((head, payload),) = parts_of(first)
    assert head == (0x81 if text else 0x82)
    assert payload == frames.payload_of(size)
    assert traffic.reply is not None
    head_size = 2 if size <= 125 else 4 if size <= 0xFFFF else 10
    assert len(traffic.reply) == len(first) - 4 == head_size + size
    assert traffic.reply.endswith(payload)


def test_raw_traffic() -> None:
    """An echo of bytes gets the payload alone."""
    traffic = frames.echo_traffic(64, 2, raw=True)
    assert messages_of(traffic) == [traffic.reply, traffic.reply]
    assert traffic.reply == frames.payload_of(64)


@pytest.mark.parametrize(("size", "fragments"), [(10, 2), (10, 3), (10, 10), (1000, 7)])
def test_fragmented_traffic(size: int, fragments: int) -> None:
    """A fragmented message is BINARY, CONTINUATIONs, the last with FIN; its echo is one frame."""
    traffic = frames.fragmented_traffic(size, fragments, 1)
    (message,) = messages_of(traffic)
    parts = list(parts_of(message))
    assert [head for head, _ in parts] == [2, *[0] * (fragments - 2), 0x80]
    assert b"".join(payload for _, payload in parts) == frames.payload_of(size)
    assert traffic.reply == frames.frame(0x82, frames.payload_of(size), masked=False)


def test_deflate_traffic() -> None:
    """Compressed messages stand alone, differ, and together are larger than any window."""
    messages = messages_of(frames.deflate_traffic(4096, 64))
    texts = []
    for message in messages:
        ((head, payload),) = parts_of(message)
        assert head == 0xC1  # FIN, RSV1, TEXT
        texts.append(zlib.decompressobj(-12).decompress(payload + frames.TAIL))
    assert texts == frames.texts(4096, 64)
    assert len(set(texts)) == 64
    assert sum(map(len, messages)) > 2**15


def test_split_frames() -> None:
    """Replies are counted when they are complete, however they arrive."""
    sizes = [0, 125, 126, 300, 0x10000]
    data = b"".join(frames.frame(0x82, bytes(size), masked=False) for size in sizes)
    for cut in [*range(600), len(data) - 1, len(data)]:
        buffer = bytearray(data[:cut])
        count = frames.split_frames(buffer)
        buffer += data[cut:]
        assert count + frames.split_frames(buffer) == len(sizes)
        assert not buffer


def test_frames_echo() -> None:
    """The server of the client rows answers the key of RFC 6455 section 1.3, and echoes."""
    answer = answer_upgrade(frames.upgrade_request(80))
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    with pytest.raises(ValueError, match="no upgrade"):
        answer_upgrade(b"GET / HTTP/1.1\r\n\r\n")
    for size in SIZES:
        message = frames.frame(0x82, bytes(size), masked=True)
        buffer = bytearray(message + frames.CLOSE_FRAME[:-1])
        assert answer_frames(buffer) == (frames.frame(0x82, bytes(size), masked=False), False)
        buffer += frames.CLOSE_FRAME[-1:]
        assert answer_frames(buffer) == (frames.frame(0x88, b"\x03\xe8", masked=False), True)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, there is time for as many messages as it should be."""
    monkeypatch.setattr("benchmarks.load.PATIENCE", 3600)


@contextmanager
def running(module: str, *arguments: str, **environment: str) -> Iterator[Measured]:
    """Run a server or a client, and end it."""
    process = Measured(module, arguments, environment, MEASURED_CORE)
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


SERVERS = {
    "bare": ("servers.bare", True, {}),
    "trio_ws": ("servers.trio_ws", False, {}),
    "trio_ws-pure": ("servers.trio_ws", False, PURE),
    "frames_echo": ("servers.frames_echo", False, {}),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_echoes(name: str) -> None:
    """The load checks the first echo of each connection and counts at least forty."""
    module, raw, environment = SERVERS[name]
    with running(module, **environment) as server:
        address = Address(server.ready()["port"], raw=raw)
        for size, conns, window in [(64, 3, 1), (64, 1, 16), (100_000, 2, 2)]:
            load = Load(
                address, server.pid, frames.echo_traffic(size, window, raw=raw), conns, window
            )
            measure = load.run(0, 0)
            load.close()
            assert measure.messages >= 40
            assert measure.cpu > 0
            assert 0 < measure.p50 <= measure.p99
        handshakes = Handshakes(address, server.pid, 2)
        assert handshakes.run(0, 0).messages >= 1
        handshakes.close()


@pytest.mark.parametrize("name", ["bare", "trio_ws"])
def test_a_server_echoes_over_tls(
    name: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS is the same; nothing is left unread that was deciphered with what was read."""
    monkeypatch.setattr("benchmarks.load.READ", 1000)
    module, raw, _ = SERVERS[name]
    with running(module, "--certificate", str(certificate)) as server:
        address = Address(server.ready()["port"], raw=raw, tls=True)
        for size, window in [(64, 8), (100_000, 4)]:
            load = Load(address, server.pid, frames.echo_traffic(size, window, raw=raw), 2, window)
            assert load.run(0, 0).messages >= 40
            load.close()


def test_a_server_compresses() -> None:
    """Compressed messages are answered, and fragmented ones."""
    with running("servers.trio_ws", "--deflate") as server:
        port = server.ready()["port"]
        traffic = frames.deflate_traffic(1024, 64)
        load = Load(Address(port, deflate=True), server.pid, traffic, 2, 4)
        assert load.run(0, 0).messages >= 40
        load.close()
        load = Load(Address(port), server.pid, frames.fragmented_traffic(1000, 100, 2), 1, 2)
        assert load.run(0, 0).messages >= 40
        load.close()


def test_idle_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process has more than before is shared among the connections that it has more.

    How much that is, is up to the kernel, too: it may take memory away.
    """
    sizes = [5000, 1000]

    def resident(pid: int) -> int:
        assert resident_bytes(pid) > 0
        return sizes.pop()

    monkeypatch.setattr("benchmarks.idle.resident_bytes", resident)
    with running("servers.trio_ws") as server:
        assert idle_bytes(Address(server.ready()["port"]), server.pid, 50) == 80
    assert sizes == []


def test_a_wrong_echo_is_an_error() -> None:
    """A server that answers something else is not measured."""
    with running("servers.bare") as server:
        address = Address(server.ready()["port"], raw=True)
        with pytest.raises(ConnectionError, match="not the echo"):
            Load(address, server.pid, frames.repeated(b"hello", b"world", 1), 1, 1)


@pytest.mark.parametrize("work", ["echo", "connect"])
def test_the_client(work: str) -> None:
    """The client does what it is asked, several times."""
    with running("servers.frames_echo") as server, running("clients.trio_ws") as client:
        port = server.ready()["port"]
        client.ready()
        for _ in range(2):
            result = client.ask(work=work, port=port, size=64, warmup=0, seconds=0)
            assert result["messages"] >= 1
            assert result["cpu"] > 0


def test_zlib_alone() -> None:
    """What zlib takes is measured in the same way."""
    with running("zlib_alone") as process:
        process.ready()
        assert process.ask(size=1024, texts=8, warmup=0, seconds=0)["cpu"] > 0


def test_a_process_that_ends_is_an_error() -> None:
    """A server that does not start is named."""
    with running("servers.bare", "--no-such-option") as server:
        with pytest.raises(RuntimeError, match=r"servers\.bare ended with 2"):
            server.ready()


def test_the_cpu_clock() -> None:
    """A process at rest has an exact CPU time, which goes on with the next thing it does."""
    with running("zlib_alone") as process:
        process.ready()
        used = settle(process.pid)
        assert used == settle(process.pid) > 0
        process.ask(size=4096, texts=8, warmup=0, seconds=0)
        assert settle(process.pid) > used


def test_rounds_take_turns_and_failures_are_noted(certificate: Path) -> None:
    """Each contender has its rounds; one that fails does not keep the others from theirs."""
    ours, bare = (each for each in CONTENDERS if each.name in {"trio_ws", "bare"})
    broken = Contender("broken", "bare", ())  # speaks no WebSocket
    plan = Plan(2, 0, 0, certificate)
    outcome: Outcome = measure_row(Row("row", "", size=10), (ours, broken, bare), plan)
    assert {name: len(rounds) for name, rounds in outcome.measures.items()} == {
        "trio_ws": 2,
        "bare": 2,
    }
    assert "the server answered" in outcome.failed["broken"]


def test_the_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done before the end of the warm-up does not count."""
    clock = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("time.process_time", iter([10.0, 12.0]).__next__)
    meter = Meter(2, 3)  # asks for the time twice at the end of the warm-up
    assert [meter.running() for _ in range(5)] == [True, True, True, True, False]
    assert meter.result == {
        "messages": 3,
        "seconds": 3,
        "cpu": pytest.approx(2e6 / 3),
        "rate": 1,
        "p50": 1e6,
        "p99": 1e6,
        "busy": pytest.approx(2 / 3),
    }


def test_quantiles() -> None:
    """A quantile counts messages, not samples."""
    samples = [(1000, 98), (2000, 1), (9000, 1)]
    assert [quantile(samples, share) for share in (0.5, 0.99, 1)] == [1, 2, 9]


def rounds_of(*values: float, key: str = "cpu") -> Rounds:
    """Return rounds with these figures."""
    return [{key: value, "rate": 1.0, "p50": 2.0, "p99": 3.0} for value in values]


def test_ratios_are_of_rounds() -> None:
    """A ratio is the median of the ratios of rounds, so that what slows both down is no matter."""
    assert ratio(rounds_of(10, 100, 12), rounds_of(5, 50, 4)) == 2


@pytest.mark.parametrize(("bound", "met"), [(0.5, True), (0.49, False)], ids=["within", "beyond"])
def test_a_target_is_against_the_best(bound: float, met: bool) -> None:
    """Of several peers the fastest counts."""
    row = {"trio_ws": rounds_of(5), "slow": rounds_of(20), "fast": rounds_of(10)}
    verdict = judge(Target("inflight", ("slow", "fast", "absent"), bound), row, "trio_ws")
    assert (verdict.against, verdict.ratio, verdict.met) == ("fast", 0.5, met)


@pytest.mark.parametrize(
    "row", [{}, {"bare": rounds_of(1)}, {"trio_ws": rounds_of(1)}], ids=["none", "peer", "ours"]
)
def test_a_target_that_was_not_measured(row: dict[str, Rounds]) -> None:
    """Without both figures there is no verdict."""
    verdict = judge(Target("64k", ("bare",), 1), row, "trio_ws")
    assert (verdict.ratio, verdict.met) == (None, None)


def results() -> Results:
    """Return the results of a small run."""
    return Results(
        conditions={"machine": "a fine one"},
        rows={
            "pingpong1": {"trio_ws": rounds_of(30, 10, 20), "bare": rounds_of(30, 10, 10)},
            "idle": {"trio_ws": rounds_of(9, key="kib"), "bare": rounds_of(3, key="kib")},
        },
        growth={"fragments": {"trio_ws": {"1": rounds_of(5), "100": rounds_of(7)}}},
        failed={"1m": {"bare": "it broke"}},
        left_out={"picows-uvloop": "picows is not installed"},
    )


def test_the_report() -> None:
    """The tables have each figure, each target with its verdict, and what is missing."""
    lines = [re.sub(" {2,}", " | ", line) for line in report(results()).splitlines()]
    for line in (
        "ping-pong 64 B, 1 connection | µs | 20.0 | 10.0",
        "memory of an idle connection | KiB | 9.00 | 3.00",
        "ping-pong 64 B, 1 connection | bare | 1.2 | 1 | ok | - | not measured",
        "memory of an idle connection | bare | 2.2 | 3 | missed | - | not measured",
        "100 | 7.00",
        "picows-uvloop is left out: picows is not installed",
        "1m, bare: it broke",
    ):
        assert line in lines


def test_the_page(tmp_path: Path) -> None:
    """The page has the same, and can be made again from what was saved."""
    path = tmp_path / "results.json"
    results().save(path)
    text = page(Results.load(path), [Path("rows.svg")])
    assert text == page(results(), [Path("elsewhere/rows.svg")])
    assert ":machine: a fine one\n" in text
    assert ".. image:: benchmarks/rows.svg\n" in text
    assert "growth.svg" not in text
    assert "   * - ping-pong 64 B, 1 connection\n     - bare\n     - 1.2\n     - 1\n" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.12")],
)
def test_numbers(value: float, text: str) -> None:
    """A figure has no digits that mean nothing."""
    assert number(value) == text


def test_the_names_fit() -> None:
    """What the targets and the contenders name is there."""
    assert {target.row for target in TARGETS} <= set(ROW_NAMES)
    assert {name for target in TARGETS for name in target.against} <= {*NAMES, ZLIB}
    assert set(OURS) <= set(NAMES)
    for contender in CONTENDERS:
        assert (BENCHMARKS / "servers" / f"{contender.module}.py").exists()
        assert contender.client == (BENCHMARKS / "clients" / f"{contender.module}.py").exists()


def test_growth() -> None:
    """A series varies one field of a row."""
    for series in SERIES:
        for value, row in series.rows():
            assert getattr(row, series.varied) == value


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Contenders and rows are chosen by name; a wrong one is told what there is."""
    options = parse(["quick", "--only", "bare,trio_ws", "--rows", "64k"])
    assert (options.mode, options.only, options.rows) == ("quick", ["bare", "trio_ws"], ["64k"])
    with pytest.raises(SystemExit):
        parse(["--only", "apache"])
    assert "no such name: apache; there are trio_ws, " in capsys.readouterr().err
