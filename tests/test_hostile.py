"""The attacks of `tests.hostile`, and the library without its defences."""

from typing import Any

import pytest

from tests.hostile import ATTACKS, run
from tests.hostile.sabotage import SABOTAGES, noticed
from tests.hostile.table import KNOWN


def _attack(name: str) -> Any:
    """A parameter; an attack that is known to get through has to go on doing so, or be deleted."""
    marks = [pytest.mark.xfail(reason=KNOWN[name], strict=True)] if name in KNOWN else []
    return pytest.param(name, marks=marks)


@pytest.mark.checklist("LM04", "LM10")
@pytest.mark.parametrize("name", [_attack(name) for name in ATTACKS])
def test_an_attack(name: str) -> None:
    """It ends as its row says, in bounded memory, and the honest connection beside it is served."""
    assert run(ATTACKS[name]).faults == []


def test_there_are_attacks_on_both_sides() -> None:
    """Servers and clients are attacked; the names of the known failures are those of attacks."""
    sides = [name.partition("/")[0] for name in ATTACKS]
    assert sides.count("server") >= 60
    assert sides.count("client") >= 60
    assert len(sides) == sides.count("server") + sides.count("client")
    assert KNOWN.keys() <= ATTACKS.keys()


@pytest.mark.parametrize("name", list(SABOTAGES))
def test_a_defence_taken_away(name: str) -> None:
    """An attack turns red when the defence against it is gone."""
    assert noticed(SABOTAGES[name])
