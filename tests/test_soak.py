"""The soak finds what it looks for, and a small one finds nothing; its long forms run elsewhere."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the soak needs Linux", allow_module_level=True)

from tests.soak.__main__ import again, parse, plan_of
from tests.soak.cycles import CYCLES, way_of
from tests.soak.judge import ALONE, FRAGMENTS, SLACK, regression, slopes, violations
from tests.soak.messages import CLIENT, LARGEST, Damage, Incoming, Outgoing, is_empty
from tests.soak.plan import SHORT, Record
from tests.soak.publish import table
from tests.soak.run import Run
from tests.soak.sabotage import BUGS

SEED, CONNECTION, MANY = 3, 0xABC, 600
TINY = replace(SHORT, connections=40, cycles=200, turns=4, rounds=2)


def messages(count: int) -> list[str | bytes]:
    """The first messages of a connection."""
    outgoing = Outgoing(SEED, CONNECTION, CLIENT)
    return [outgoing.next(0 if is_empty(number) else 2)[0] for number in range(count)]


def take(sent: list[str | bytes]) -> list[tuple[int, bool]]:
    """Check messages as their receiver does."""
    incoming = Incoming(SEED, CONNECTION, CLIENT)
    return [incoming.take(message) for message in sent]


def test_messages_are_of_all_kinds() -> None:
    """Text and binary, empty and 64 KiB: all are accepted, with the answers they ask for."""
    sent = messages(MANY)
    sizes = {len(each.encode() if isinstance(each, str) else each) for each in sent}
    assert {type(each) for each in sent} == {str, bytes}
    assert min(sizes) == 0
    assert max(sizes) == LARGEST
    assert take(sent) == [(0 if is_empty(number) else 2, False) for number in range(MANY)]


def test_messages_follow_from_the_seed() -> None:
    """The same seed makes the same messages; each connection has its own."""
    assert messages(20) == messages(20)
    assert (
        Outgoing(SEED, CONNECTION + 1, CLIENT).next() != Outgoing(SEED, CONNECTION, CLIENT).next()
    )


def flipped(message: str | bytes) -> str | bytes:
    """A message with another last character."""
    if isinstance(message, str):
        return message[:-1] + ("a" if message[-1] != "a" else "b")
    return message[:-1] + bytes([message[-1] ^ 0x40])


def of_another_type(message: str | bytes) -> str | bytes:
    """A message as text if it is binary, and the reverse."""
    return message.encode() if isinstance(message, str) else message.decode("latin-1")


Sent = list[str | bytes]
DAMAGES: dict[str, Callable[[Sent, int], Sent]] = {
    "lost": lambda sent, at: sent[:at] + sent[at + 1 :],
    "doubled": lambda sent, at: sent[: at + 1] + sent[at:],
    "overtaken": lambda sent, at: [*sent[:at], sent[at + 1], sent[at], *sent[at + 2 :]],
    "changed": lambda sent, at: [*sent[:at], flipped(sent[at]), *sent[at + 1 :]],
    "cut": lambda sent, at: [*sent[:at], sent[at][:-1], *sent[at + 1 :]],
    "of another type": lambda sent, at: [*sent[:at], of_another_type(sent[at]), *sent[at + 1 :]],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_noticed(damage: Callable[[Sent, int], Sent]) -> None:
    """A message that is lost, doubled, overtaken or changed is noticed, wherever it is."""
    sent = messages(MANY)
    for at in (number for number in range(40) if not is_empty(number)):
        with pytest.raises(Damage, match="connection abc"):
            take(damage(sent, at))


@pytest.mark.parametrize("damage", ["lost", "doubled", "overtaken", "of another type"])
def test_damage_to_an_empty_message_is_noticed(damage: str) -> None:
    """An empty message, which has no number, is missed all the same."""
    sent, at = messages(40), next(filter(is_empty, range(40)))
    with pytest.raises(Damage, match="connection abc"):
        take(DAMAGES[damage](sent, at))


def test_every_way_is_taken() -> None:
    """Any hundred cycles in a row go all ways, each as often as it says."""
    ways = [way_of(number) for number in range(1234, 1334)]
    assert {way: ways.count(way) for way in ways} == CYCLES


def test_the_slope_is_that_of_the_least_squares() -> None:
    """A line has its own slope, noise on both sides does not change it, nothing has none."""
    assert regression([(x, 7 + 3 * x) for x in range(10)]) == pytest.approx(3)
    assert regression([(0, 1), (0, -1), (1, 4), (1, 2)]) == pytest.approx(3)
    assert regression([(1, 2), (1, 5)]) == regression([]) == 0


def census(**changes: Any) -> dict[str, Any]:
    """The census of a process."""
    figures = {
        "resident": 40 * SLACK,
        "descriptors": 10,
        "descriptor_kinds": {"socket": 9, "pipe": 1},
        "tasks": 5,
        "task_names": {"main": 5},
        "blocks": 5000,
        "allocated": 5 * SLACK,
        "objects": {"builtins.dict": 1000},
        "object_count": 1000,
        "container_bytes": SLACK,
    }
    return {**figures, **changes}


def record(growth: float = 0, **after: Any) -> Record:
    """A run without fault, but that memory grows for each message, and for what is there after."""
    result = Record(SHORT)
    for index in range(100):
        work = {"handlers": 50 * index, "messages": 5000 * index}
        memory = 40 * SLACK + round(growth * work["messages"])
        result.samples.append(
            {
                "time": float(index),
                "phase": "rounds",
                "resident": memory,
                "open": 300,
                "descriptors": 310,
                "tasks": 900,
                "violations": [],
                **work,
            }
        )
    works = [{"handlers": 100 * index, "messages": 10_000 * index} for index in range(10)]
    result.alone = [{**census(), **work} for work in works]
    result.rests = [{**census(), **work} for work in works[:4]]
    result.baseline = {"server": census(), "client 1": census()}
    result.after = {"server": census(**after), "client 1": census()}
    return result


def test_a_run_without_fault_is_passed() -> None:
    """Nothing is wrong with a run at whose end all is as before, and its page says so."""
    assert violations(record()) == []
    assert "* - violations\n     - 0\n" in table(record(), {"Python": "3"}, [])


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"tasks": 6, "task_names": {"main": 5, "left": 1}}, "1 more left"),
        ({"descriptors": 11, "descriptor_kinds": {"socket": 10, "pipe": 1}}, "1 more socket"),
        ({"objects": {"builtins.dict": 1021}}, "21 more builtins.dict"),
        ({"objects": {"builtins.dict": 1000, "Session": 30}}, "30 more Session"),
        ({"blocks": 7001}, "2001 more blocks"),
        ({"allocated": 8 * SLACK}, "3145728 more bytes of malloc"),
    ],
    ids=["task", "descriptor", "objects", "new type", "blocks", "malloc"],
)
def test_what_is_left_behind_is_told(after: dict[str, Any], told: str) -> None:
    """A task, a descriptor or objects that were not there before are a violation, each one line."""
    (line,) = violations(record(**after))
    assert told in line


@pytest.mark.parametrize(
    "name", ["allocated", "blocks", "container_bytes", "descriptors", "object_count", "tasks"]
)
def test_growth_between_rests_is_told(name: str) -> None:
    """More of anything at the last rest than at the one in the middle is a violation."""
    run = record()
    run.rests[-1][name] += 10_000_000
    (line,) = violations(run)
    assert f"10000000 more {name}" in line


def test_growing_memory_is_told() -> None:
    """Memory that grows by more than the bound is a violation, and by less is none."""
    name = "bytes of RSS per message"
    found = slopes(record(growth=2))[name]
    assert found.growth == pytest.approx(2)
    middle = 40 * SLACK + 2 * 250_000
    assert found.bound * found.count == pytest.approx(SLACK + FRAGMENTS * middle)
    assert violations(record(growth=0.9 * found.bound)) == []
    (line,) = violations(record(growth=1.2 * found.bound))
    assert f"{name}, {found.count} times" in line


@pytest.mark.parametrize("name", ALONE)
def test_memory_that_cycles_leave_is_told(name: str) -> None:
    """When nothing stays, growth with each cycle of the second half is a violation, of any kind."""
    most, slack = ALONE[name]
    for factor, told in ((0.9, 0), (1.1, 1)):
        run = record()
        for index, rest in enumerate(run.alone):
            rest[name] += round(factor * (100 * most + slack / 4) * index)
        assert len(violations(run)) == told
        run.alone[5:] = [{**rest, name: run.alone[5][name]} for rest in run.alone[5:]]
        assert violations(run) == []  # the first half does not count


def test_what_the_processes_noticed_is_told() -> None:
    """Violations of the server and of the clients are told, and how many more there were."""
    run = record()
    run.samples[-1]["violations"] = ["at the server"]
    run.reports = [{"counts": {"violations": 3}, "violations": ["at the client"]}]
    run.failures = ["no end"]
    assert violations(run) == ["no end", "at the server", "at the client", "and 2 more"]


def test_a_run_can_be_repeated() -> None:
    """The command that is printed makes the same plan."""
    command = again(TINY).split()
    assert command[:3] == ["python", "-m", "tests.soak"]
    assert plan_of(parse(command[3:])) == (TINY, None)


def test_more_connections_than_files_are_fewer() -> None:
    """Where fewer files may be open than there are connections, fewer are made, which is told."""
    plan, why = plan_of(parse(["--connections", "100000000"]))
    assert plan.connections < 100000000
    assert why is not None
    assert "instead of 100000000" in why


async def soak(bug: str | None) -> tuple[Record, list[str]]:
    """A small run; what was wrong."""
    result = await Run(replace(TINY, sabotage=bug), lambda text: None).run()
    return result, violations(result)


async def test_a_small_soak_finds_nothing() -> None:
    """Connections, cycles and attacks leave nothing, and no message is lost."""
    result, wrong = await soak(None)
    assert wrong == []
    assert result.total("cycles") >= TINY.cycles
    assert result.total("received") > 0


@pytest.mark.parametrize("bug", ["task-per-connection", "descriptor-per-reset"])
async def test_a_small_soak_finds_bugs(bug: str) -> None:
    """What a bug that was put in on purpose leaves behind is found."""
    assert bug in BUGS
    _, wrong = await soak(bug)
    assert wrong
