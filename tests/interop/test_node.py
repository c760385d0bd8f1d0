import pytest

from tests.interop.peering import Peering, Trial, trials

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("trial", trials(["ws"]))
def test_case(peering: Peering, trial: Trial) -> None:
    """trio_ws and Node's ws agree on every message, ping and Close, and on compression."""
    assert peering.play(trial) == trial.expected()
