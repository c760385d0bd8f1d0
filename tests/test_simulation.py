"""Worlds of clients, faults and cancellations, each made by one seed (tests/simulation)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import COMMAND
from tests.simulation.batch import run_batch, run_seeds
from tests.simulation.making import make_plan
from tests.simulation.plan import PAGES, RECEIVING, SERVERS, Plan
from tests.simulation.run import run
from tests.simulation.sabotage import BUGS, search
from tests.simulation.shrink import minimal, shrink

ROOT = Path(__file__).parent.parent
CHUNKS = range(1, 201, 20)
# Found by one of the first seeds, so that to look for them is quick; the rest is found by
# `python -m tests.simulation --sabotage`.
QUICK_BUGS = (
    "send is cancelled too late",
    "receive loses what it has",
    "receive repeats itself",
    "streams stay open",
    "the last to wait sends first",
    "what is behind a full queue is lost at the end",
    "empty messages are skipped",
    "pages are cut short",
    "receivers are not told of the end",
    "handlers' errors leave the server",
)


@pytest.mark.checklist("CA01", "CA02", "CA04", "CA05", "LM04", "CL18")
@pytest.mark.parametrize("first", CHUNKS, ids="from{}".format)
def test_no_world_violates_the_model(first: int) -> None:
    """Whatever befalls its clients, a world keeps what the model of acknowledged messages says.

    ``python -m tests.simulation --seed <seed> --trace``
    """
    failures = run_seeds(list(range(first, first + CHUNKS.step))).failures
    lines = [
        f"{COMMAND} --seed {seed} --trace  {violation}"
        for seed, violations in failures.items()
        for violation in violations
    ]
    assert not lines, "\n".join(lines)


SEEDS = (1, 2, 5, 8, 13)


def digests() -> list[str]:
    """Of the traces of some worlds: events, virtual times and bytes."""
    return [run(make_plan(seed)).trace.digest() for seed in SEEDS]


def test_a_seed_replays_exactly() -> None:
    """Two runs of a seed are the same, byte for byte, whatever ran before; two seeds are not."""
    first = digests()
    assert digests() == first
    assert len(set(first)) == len(SEEDS)


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_a_seed_replays_in_a_fresh_process(hash_seed: str) -> None:
    """A fresh process, with any order of its sets, runs the same world."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "8", "--digest"]
    env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] == run(make_plan(8)).trace.digest()


def test_worlds_have_everything_in_them() -> None:
    """Within the seeds of these tests everything that a plan knows of happens."""
    plans = [make_plan(seed) for seed in range(CHUNKS.start, CHUNKS.stop)]
    sessions = [session for plan in plans for client in plan.clients for session in client.sessions]
    assert {3, 12} <= {len(plan.clients) for plan in plans}
    assert {plan.server.kind for plan in plans} == set(SERVERS)
    assert {plan.server.has_pages for plan in plans} == {True, False}
    assert len({event.kind for plan in plans for event in plan.events}) == 4
    assert len({fault.kind for session in sessions for fault in session.faults}) == 6
    assert len({session.link.transport for session in sessions}) == 3
    assert len({session.handler for session in sessions}) == 12
    assert len({session.ending for session in sessions}) == 10
    styles = {style for one in sessions for style in (one.receiving, one.server_receiving)}
    assert styles == set(RECEIVING)
    assert {0, 0.5} <= {session.empties for session in sessions}
    assert {visit.page for plan in plans for visit in plan.visits} == set(PAGES)


def test_what_is_dropped_changes_nothing_else() -> None:
    """A plan without a client or a fault is otherwise the same."""
    plan = make_plan(6)
    assert plan.without(["c1"]).clients == (plan.clients[0], *plan.clients[2:])
    assert plan.without([]) == plan
    assert plan.without(plan.names()).names() == []


def test_a_failing_world_is_made_small() -> None:
    """The shrinker keeps what a failure needs, and drops the rest."""
    plan = make_plan(6)
    needed = {"c2", "c2.0"}

    def look(plan: Plan) -> list[str]:
        return ["lost: it"] if needed <= set(plan.names()) else ["other: thing"]

    dropped = shrink(plan, {"lost"}, look)
    assert set(plan.without(dropped).names()) == needed
    assert "c0" in minimal(plan.names(), dropped)
    assert "c0.0" not in minimal(plan.names(), dropped)


def test_processes_share_the_work() -> None:
    """With two processes the same worlds run."""
    total = run_batch(1, 30, processes=2)
    assert (total.worlds, total.failures) == (30, {})


@pytest.mark.parametrize("name", QUICK_BUGS)
def test_a_bug_on_purpose_is_found(name: str) -> None:
    """The worlds turn red when the library is broken."""
    seed, seen = search(BUGS[name], 25)
    assert seed is not None, f"not found; instead: {seen}"
