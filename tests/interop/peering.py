"""Starting the peers, each server once per session, and playing trials with them."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.interop import proxies
from tests.interop.cases import CASES, Case, able
from tests.interop.comparing import expected, negotiated, seen
from tests.interop.compression import SETUPS, Parameters
from tests.interop.processes import DEADLINE, NODE, RETRY_DEADLINE, Fact, Peer, python
from tests.support.requirements import require, require_program

HOST = "127.0.0.1"
SCHEMES = ("ws", "wss")
# What was agreed on, by path, role of trio_ws and setup; it should be one thing.
Negotiated = dict[tuple[str, str, str], list[Parameters | None]]
_MODULES = {
    "trio_ws": "trio_ws",
    "websockets": "websockets.asyncio.server",
    "websockets-trio": "websockets.trio.server",
    "aiohttp": "aiohttp",
}


@dataclasses.dataclass(frozen=True)
class Trial:
    """A case between trio_ws and a peer."""

    peer: str
    role: str  # of trio_ws: client, server or both
    scheme: str  # as the client sees it
    case: Case
    proxy: str = ""  # between them
    hop: str = "tcp"  # from the proxy to the server: tcp, tls or unix

    @property
    def client(self) -> str:
        """Who is the client."""
        return self.peer if self.role == "server" else "trio_ws"

    @property
    def server(self) -> str:
        """Who is the server."""
        return self.peer if self.role == "client" else "trio_ws"

    @property
    def path(self) -> str:
        """The peer, and what is between it and trio_ws."""
        return f"{self.peer} via {self.proxy}" if self.proxy else self.peer

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The row of the results in which it counts."""
        hop = f"{self.scheme} {self.hop}" if self.proxy else self.scheme
        return self.path, self.role, hop, "yes" if self.case.compression else "no"

    def expected(self) -> dict[str, Any]:
        """What both sides must have seen."""
        return expected(self.case, self.client, self.server)


def through(proxy: str, case: Case) -> bool:
    """Whether a case is played through the proxy, if any: of compression it sees the headers."""
    if not (proxy and case.compression):
        return True
    return case.id in ("deflate-near", "deflate-client-close")


def trials(
    peers: Sequence[str],
    roles: Sequence[str] = ("client", "server"),
    schemes: Sequence[str] = SCHEMES,
    **where: str,
) -> list[Any]:
    """Parameters for pytest: each case that both sides can play."""
    every = itertools.product(roles, peers, schemes, CASES.values())
    found = [Trial(peer, role, scheme, case, **where) for role, peer, scheme, case in every]
    return [
        pytest.param(
            trial,
            id="-".join([*where.values(), trial.peer, trial.role, trial.scheme, trial.case.id]),
        )
        for trial in found
        if able(trial.client, trial.server, trial.case) and through(trial.proxy, trial.case)
    ]


def require_peer(name: str) -> None:
    """Skip or fail unless the peer is installed."""
    if name == "ws":
        require_program("node")
        reason = "the npm package ws is missing: run npm ci in tests/interop/node"
        require((NODE / "node_modules" / "ws").is_dir(), reason)
    else:
        module = _MODULES[name]
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            found = False
        require(found, f"the Python module {module} is missing")


class Peering:
    """The running peers. Context manager: leaving it ends them."""

    def __init__(self, directory: Path) -> None:
        """Keep certificates, sockets and configurations in `directory`."""
        self.directory = directory
        self.ca = directory / "ca.pem"
        self.certificate = directory / "server.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        issued = authority.issue_cert("localhost", HOST)
        issued.private_key_and_cert_chain_pem.write_to_path(self.certificate)
        self.stack = ExitStack()
        self._patience = DEADLINE
        self.negotiated: Negotiated = {}
        self._ours: list[Peer] = []
        self._servers: dict[tuple[str, ...], Peer] = {}
        self._clients: dict[str, Peer] = {}
        self._proxies: dict[tuple[str, ...], int] = {}

    def __enter__(self) -> Peering:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()
        for server in self._ours:  # no peer can make it raise or complain
            assert not server.errors, server.describe()

    def _command(self, name: str, role: str, *arguments: str | Path) -> list[str | Path]:
        if name == "ws":
            script = NODE / f"{role}.js"
            values = [argument for argument in arguments if not str(argument).startswith("--")]
            return [require_program("node"), script, *values]
        return python("with_" + name.replace("-", "_"), role, *arguments)

    def start_server(self, name: str, scheme: str, *options: str | Path) -> Peer:
        """Start an echo server, and wait until it listens."""
        tls: list[str | Path] = ["--cert", self.certificate] if scheme == "wss" else []
        command = self._command(name, "server", *tls, *options)
        theirs = {setup: s.theirs and dataclasses.asdict(s.theirs) for setup, s in SETUPS.items()}
        server = self.stack.enter_context(Peer(command, input=theirs))
        server.port()
        if name == "trio_ws":
            self._ours.append(server)
        return server

    def server(self, name: str, scheme: str, *options: str | Path) -> Peer:
        """The echo server of a peer that all trials share."""
        key = (name, scheme, *map(str, options))
        if key not in self._servers:
            self._servers[key] = self.start_server(name, scheme, *options)
        assert self._servers[key].alive(), self._servers[key].describe()
        return self._servers[key]

    def _backend(self, trial: Trial, setup: str) -> tuple[Peer, str]:
        """The server of a trial behind a proxy, and its address as a proxy writes it."""
        if trial.hop == "unix":
            path = self.directory / "unix"
            return self.server(trial.server, "unix", "--unix", path), f"{path}{setup}"
        server = self.server(trial.server, "wss" if trial.hop == "tls" else "ws")
        return server, f"{HOST}:{server.ports()[setup]}"

    def route(self, trial: Trial, setup: str) -> tuple[Peer, str]:
        """The server of a trial, and the URL (without a path) that leads to its setup."""
        if not trial.proxy:
            server = self.server(trial.server, trial.scheme)
            return server, f"{trial.scheme}://{HOST}:{server.ports()[setup]}"
        server, address = self._backend(trial, setup)
        key = (trial.proxy, trial.scheme, trial.hop, address)
        if key not in self._proxies:
            start = proxies.PROXIES[trial.proxy]
            directory = self.directory / f"proxy{len(self._proxies)}"
            directory.mkdir()
            front = self.certificate if trial.scheme == "wss" else None
            backend = proxies.Backend(address, trial.hop, self.ca)
            self._proxies[key] = self.stack.enter_context(start(directory, front, backend))
        return server, f"{trial.scheme}://{HOST}:{self._proxies[key]}"

    def client(self, trial: Trial, prefix: str) -> Peer:
        """The client of a peer, playing all cases that it can play with this server."""
        if prefix not in self._clients:
            cases = [
                {**case.to_json(), "base": self.route(trial, case.compression)[1]}
                for case in CASES.values()
                if able(trial.client, trial.server, case) and through(trial.proxy, case)
            ]
            tls: list[str | Path] = ["--ca", self.ca] if trial.scheme == "wss" else []
            command = self._command(trial.client, "client", prefix, *tls)
            self._clients[prefix] = self.stack.enter_context(Peer(command, input=cases))
        return self._clients[prefix]

    def play(self, trial: Trial) -> dict[str, Any]:
        """Play a trial; what both sides saw, to be compared with `trial.expected`."""
        require_peer(trial.client)
        require_peer(trial.server)
        if trial.proxy:
            proxies.require_proxy(trial.proxy)
        server, base = self.route(trial, trial.case.compression)
        prefix = ".".join([trial.proxy, trial.hop, trial.scheme, trial.client, trial.server, ""])
        if trial.client == "trio_ws":
            outcome = self._play_ourselves(trial, base, prefix)
        else:
            outcome = self.client(trial, prefix).outcome(trial.case.id)
        return self.compare(trial, outcome, server, prefix + trial.case.id)

    def compare(self, trial: Trial, outcome: Fact, server: Peer, run: str) -> dict[str, Any]:
        """What the client of a trial reports and what its server does, to be compared."""
        record = server.record(run) if outcome.get("status") == 101 else None
        if record is not None and "error" not in outcome:
            cell = self.negotiated.setdefault((trial.path, trial.role, trial.case.compression), [])
            agreement = negotiated(trial.client, outcome, record)
            if agreement not in cell:
                cell.append(agreement)
        return seen(trial.case, trial.client, trial.server, outcome, record)

    def _play_ourselves(self, trial: Trial, base: str, prefix: str) -> Fact:
        from tests.interop.peers import common, with_trio_ws

        link = common.Link(base, trial.case, prefix + trial.case.id, str(self.ca))

        async def main() -> Fact:
            with trio.fail_after(self._patience):
                return await common.play_case(with_trio_ws.connect, link, trial.case)

        try:
            return trio.run(main)
        except trio.TooSlowError:
            self._patience = RETRY_DEADLINE
            raise
