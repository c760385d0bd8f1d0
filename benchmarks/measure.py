"""Measures a row: all contenders side by side, in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from .contenders import ZLIB, Contender
from .frames import Traffic, deflate_traffic, echo_traffic, fragmented_traffic
from .handshakes import Handshakes
from .idle import idle_bytes
from .links import Address
from .load import Load
from .processes import LOAD_CORE, MEASURED_CORE, Measured
from .rows import Row

# Texts that are compressed in turn: with fewer, one would still be in the window when it is next.
TEXTS: Final = 64

Round = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How long and how often.

    Args:
        rounds: rounds; the median counts.
        seconds: seconds of a round that count.
        warmup: seconds before them.
        certificate: PEM for the servers that speak TLS.
    """

    rounds: int
    seconds: float
    warmup: float
    certificate: Path


@dataclass
class Outcome:
    """What the rounds of a row gave.

    Args:
        measures: for each contender its rounds.
        failed: why a contender has none, or fewer than the others.
    """

    measures: dict[str, list[Round]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure_row(row: Row, contenders: Iterable[Contender], plan: Plan) -> Outcome:
    """Run all rounds of a row: A B C, A B C, and so on."""
    outcome = Outcome()
    with ExitStack() as stack:
        rounds: dict[str, Callable[[], Round]] = {}
        if row.kind == "client":
            port = _start_echo(stack)
            for contender in contenders:
                rounds[contender.name] = _client(stack, row, contender, plan, port)
        else:
            for contender in contenders:
                rounds[contender.name] = _server(stack, row, contender, plan)
        if row.kind == "deflate":
            rounds[ZLIB] = _zlib(stack, row, plan)
        for _ in range(plan.rounds):
            for name, measure in list(rounds.items()):
                try:
                    measured = measure()
                except Exception as exc:  # noqa: BLE001 - the others go on, and the table says so
                    outcome.failed[name] = f"{type(exc).__name__}: {exc}"
                    del rounds[name]
                else:
                    outcome.measures.setdefault(name, []).append(measured)
    return outcome


def _start_server(stack: ExitStack, row: Row, contender: Contender, plan: Plan) -> Measured:
    """Start a server on its core."""
    arguments = list(contender.arguments)
    if row.tls:
        arguments += ["--certificate", str(plan.certificate)]
    if row.kind == "deflate":
        arguments.append("--deflate")
    process = Measured(
        f"servers.{contender.module}", arguments, contender.environment, MEASURED_CORE
    )
    stack.callback(process.stop)
    return process


def _server(stack: ExitStack, row: Row, contender: Contender, plan: Plan) -> Callable[[], Round]:
    """Start a server, unless each round needs a new one; return what measures a round."""
    if row.kind == "idle":
        return partial(_idle, row, contender, plan)
    process = _start_server(stack, row, contender, plan)
    traffic = _traffic(row, contender)

    def measure() -> Round:
        address = _address(process, row, contender)
        load: Load | Handshakes
        if row.kind == "handshake":
            load = Handshakes(address, process.pid, row.conns)
        else:
            load = Load(address, process.pid, traffic, row.conns, row.window)
        try:
            return asdict(load.run(plan.warmup, plan.seconds))
        finally:
            load.close()

    return measure


def _traffic(row: Row, contender: Contender) -> Traffic:
    if row.kind == "deflate":
        return deflate_traffic(row.size, TEXTS)
    if row.fragments > 1:
        return fragmented_traffic(row.size, row.fragments, row.window)
    return echo_traffic(row.size, row.window, raw=contender.raw)


def _address(process: Measured, row: Row, contender: Contender) -> Address:
    port = process.ready()["port"]
    return Address(port, raw=contender.raw, tls=row.tls, deflate=row.kind == "deflate")


def _idle(row: Row, contender: Contender, plan: Plan) -> Round:
    """Measure memory, in a new server: what others have left behind would be used again."""
    with ExitStack() as stack:
        process = _start_server(stack, row, contender, plan)
        address = _address(process, row, contender)
        return {"kib": idle_bytes(address, process.pid, row.conns) / 1024}


def _client(
    stack: ExitStack, row: Row, contender: Contender, plan: Plan, port: int
) -> Callable[[], Round]:
    """Start a client; return what measures a round."""
    process = Measured(
        f"clients.{contender.module}", contender.arguments, contender.environment, MEASURED_CORE
    )
    stack.callback(process.stop)

    def measure() -> Round:
        process.ready()
        return process.ask(
            work=row.work, port=port, size=row.size, warmup=plan.warmup, seconds=plan.seconds
        )

    return measure


def _start_echo(stack: ExitStack) -> int:
    """Start the server that all clients talk to, on the other core; return its port."""
    process = Measured("servers.frames_echo", (), {}, LOAD_CORE)
    stack.callback(process.stop)
    port: int = process.ready()["port"]
    return port


def _zlib(stack: ExitStack, row: Row, plan: Plan) -> Callable[[], Round]:
    """Start what only compresses and decompresses; return what measures a round."""
    process = Measured("zlib_alone", (), {}, MEASURED_CORE)
    stack.callback(process.stop)

    def measure() -> Round:
        process.ready()
        return process.ask(size=row.size, texts=TEXTS, warmup=plan.warmup, seconds=plan.seconds)

    return measure
