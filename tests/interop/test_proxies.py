import pytest

from tests.interop.peering import Peering, Trial, trials

pytestmark = pytest.mark.interop

PROXIES = ("nginx", "haproxy")


@pytest.mark.parametrize(
    "trial", [trial for proxy in PROXIES for trial in trials(["websockets"], proxy=proxy)]
)
def test_case(peering: Peering, trial: Trial) -> None:
    """A reverse proxy, with or without TLS in front, changes nothing for client and server."""
    assert peering.play(trial) == trial.expected()


@pytest.mark.parametrize(
    "trial",
    [
        trial
        for proxy in PROXIES
        for hop in ("tcp", "tls", "unix")
        for trial in trials(["trio_ws"], ["both"], proxy=proxy, hop=hop)
    ],
)
def test_both_ends(peering: Peering, trial: Trial) -> None:
    """trio_ws talks to itself through a proxy that reaches it by TCP, TLS or a unix socket."""
    assert peering.play(trial) == trial.expected()
