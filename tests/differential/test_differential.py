from importlib.util import find_spec

import pytest

from tests.differential.__main__ import main
from tests.differential.compare import Tally, compare, difference, play
from tests.differential.sabotage import SABOTAGES, Sabotage, found
from tests.differential.sequences import at_random, systematic
from tests.differential.table import TABLE
from tests.support.requirements import require

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module", autouse=True)
def _libraries() -> None:
    for name in ("websockets", "wsproto"):
        require(find_spec(name), f"the Python module {name} is missing")


def test_systematic_sequences() -> None:
    """The others make the same of each sequence, or the table says why not; no row is idle."""
    tally = Tally()
    for sequence in systematic():
        compare(sequence, tally)
    assert tally.violations == []
    assert [row.name for row in TABLE if row.name not in tally.explained] == []
    assert tally.sequences > 1900


def test_random_sequences() -> None:
    """The same of random ones."""
    tally = Tally()
    for seed in range(400):
        compare(at_random(seed), tally)
    assert tally.violations == []


def test_the_table() -> None:
    """Each kind of disagreement is explained once, with the section of an RFC or a reason."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert len(row.reason) > 60
        assert row.follows
        assert (
            row.ours != row.theirs
            or row.ours == row.theirs == ("*",)
            or "other reason" in row.ours[0]
        )


def test_most_is_agreed_on() -> None:
    """Most random sequences lead to the same events everywhere, so this compares something."""
    agreed = 0
    for seed in range(200):
        sequence = at_random(seed)
        outcomes = [play(name, sequence, [sequence.data]) for name in ("", "wsproto", "websockets")]
        agreed += not any(difference(outcomes[0], other) for other in outcomes[1:])
        assert any(outcome.events for outcome in outcomes) or not sequence.frames[-1].fin
    assert agreed > 100


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_a_bug_is_found(sabotage: Sabotage) -> None:
    """Each bug that is put in on purpose is found."""
    assert found(sabotage, systematic())


def test_one_sequence_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The command shows what each library has made of a sequence."""
    assert main(["--only", "ping"]) == 0
    out = capsys.readouterr().out
    assert "trio_ws: [['ping', b'p']" in out
    assert "websockets: [['ping', b'p']" in out
