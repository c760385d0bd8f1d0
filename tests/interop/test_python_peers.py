import pytest

from tests.interop.peering import Peering, Trial, trials

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("trial", trials(["websockets", "websockets-trio", "aiohttp"]))
def test_case(peering: Peering, trial: Trial) -> None:
    """trio_ws and the peer agree on every message, ping and Close, and on compression."""
    assert peering.play(trial) == trial.expected()
