"""Chromium and Firefox on a page that our http_handler serves (pages/page.js)."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.browsers import PROGRAMS, open_page, require_browser
from tests.interop.cases import Case
from tests.interop.peering import HOST, SCHEMES, Peering, Trial, trials
from tests.interop.processes import Fact, Peer

pytestmark = pytest.mark.interop

OPENED = {"opened": True, "closed": None}
REFUSED = {"opened": False, "closed": [1006, ""]}
# What the page tells of each WebSocket that it tried to open on its own or another origin.
ORIGINS: dict[str, Fact] = {
    "same-origin": OPENED,
    "other-port": REFUSED,
    "other-port-any-origin": OPENED,  # so it is not the network that refuses the others
    "other-host": REFUSED,  # localhost, which is the same server
    "sandboxed": {"opened": False},  # an opaque origin, sent as null
    "page-leaves": {"opened": True},
}

Visit = Callable[[Trial], Peer]


@pytest.fixture(scope="module")
def visit(peering: Peering) -> Visit:
    """The server that the page of a trial reports to; the browser starts when first needed."""
    servers: dict[tuple[str, str], Peer] = {}

    def start(browser: str, scheme: str) -> Peer:
        server = peering.start_server("trio_ws", scheme)
        other = peering.server("trio_ws", scheme)
        unsafe = peering.server("trio_ws", scheme, "--any-origin")
        ports = [server.port(), other.port(), unsafe.port()]
        every = [*ports, *server.ports().values()]
        own, *others = [f"{scheme}://{HOST}:{port}" for port in ports]
        query = f"?client={browser}&other={others[0]}&open={others[1]}"
        url = own.replace("ws", "http", 1) + "/" + query
        directory = peering.directory / f"{browser}-{scheme}"
        page = open_page(browser, url, directory, peering.certificate, every)
        peering.stack.enter_context(page)
        return server

    def visit(trial: Trial) -> Peer:
        key = (trial.peer, trial.scheme)
        require_browser(trial.peer)
        if key not in servers:
            servers[key] = start(*key)
        return servers[key]

    return visit


def outcome_of(server: Peer, case: str) -> Fact:
    """What the page reports of a case."""

    def wanted(fact: Fact) -> bool:
        return fact.get("case") == case or "page error" in fact

    return server.wait_for(wanted, f"outcome of {case}")


@pytest.mark.parametrize("trial", trials(list(PROGRAMS), ["server"]))
def test_case(peering: Peering, visit: Visit, trial: Trial) -> None:
    """A page and our server agree on every message and Close of the case, and on compression."""
    server = visit(trial)
    outcome = outcome_of(server, trial.case.id)
    assert peering.compare(trial, outcome, server, trial.case.id) == trial.expected()


def origin_trials() -> list[Any]:
    """Parameters for pytest: each WebSocket of `ORIGINS` in each browser."""
    every = itertools.product(PROGRAMS, SCHEMES, ORIGINS)
    return [
        pytest.param(
            Trial(browser, "server", scheme, Case(name, "origin")), id=f"{browser}-{scheme}-{name}"
        )
        for browser, scheme, name in every
    ]


@pytest.mark.parametrize("trial", origin_trials())
def test_origin(visit: Visit, trial: Trial) -> None:
    """Pages of our own origin are served, all others are refused; a page that leaves says so."""
    server = visit(trial)
    name = trial.case.id
    assert outcome_of(server, name) == {"case": name, **ORIGINS[name]}
    if name == "page-leaves":
        assert server.record(name)["closed"] == [1001, ""]
