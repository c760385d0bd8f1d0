"""Sequences of calls on a pair of connections, drawn at random and judged by a model."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.breaking import Break, around, instead
from tests.support.examples import examples, first_or_all
from tests.support.stateful_pair import Operation, Setup, world
from trio_ws._errors import ConnectionLost

SIDES = st.integers(0, 1)
MESSAGES = st.text(max_size=6) | st.binary(max_size=6) | st.sampled_from(["x" * 300, b"y" * 3000])
CODES = st.sampled_from([1000, 1001, 3000, 4999])
STEPS = st.integers(0, 8)


def _operation(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.tuples(st.just(name), *arguments)


OFTEN = (
    _operation("send", SIDES, MESSAGES, st.sampled_from([None, True, False])),
    _operation("receive", SIDES),
    _operation("cancelled_send", SIDES, MESSAGES, STEPS),
    _operation("cancelled_receive", SIDES, MESSAGES, STEPS),
    _operation("burst", SIDES, st.integers(1, 40)),
    _operation("ping", SIDES),
    _operation("wait", st.sampled_from([0.0, 1.0, 25.0, 300.0])),
)
ENDS = (
    _operation("close", SIDES, CODES, st.sampled_from(["", "bye", "\u20ac" * 41])),
    _operation("cut", SIDES),
)
OPERATIONS = st.builds(
    lambda before, after: before + after,
    st.lists(st.one_of(OFTEN), max_size=25),
    st.lists(st.one_of(*ENDS, *OFTEN), max_size=6),
)
SETUPS = st.builds(
    Setup,
    lockstep=st.booleans(),
    torn=st.sampled_from([None, 1, 5]),
    compression=st.booleans(),
    queue=st.sampled_from([1, 2, 16]),
)


def play(setup: Setup, operations: list[Operation]) -> None:
    """Do all this with a pair, in virtual time."""

    async def main() -> None:
        async with world(setup) as pair:
            for operation in operations:
                await pair.do(operation)
            await pair.finish()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def run(max_examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Look for a sequence that the model judges otherwise."""

    @settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @given(setup=SETUPS, operations=OPERATIONS)
    def look(setup: Setup, operations: list[Operation]) -> None:
        play(setup, operations)

    look()


@pytest.mark.checklist("CA01", "CA02", "CA05", "CL01", "CL08", "CL17", "CL18", "CT09", "PD09")
def test_a_pair_does_as_its_model() -> None:
    """Messages, pings and ends are the model's, whatever is called, cancelled, closed or cut."""
    run(examples(60))


# The library broken on purpose

_CONNECTION = "_connection:WebSocketConnection"


async def _greedy_receive(true: Any, self: Any) -> Any:
    message = await true(self)
    await trio.lowlevel.checkpoint()
    return message


async def _late_send(true: Any, self: Any, value: Any, **how: Any) -> None:
    await true(self, value, **how)
    await trio.lowlevel.checkpoint()


async def _binary_send(true: Any, self: Any, value: Any, **how: Any) -> None:
    await true(self, value.encode() if isinstance(value, str) and value else value, **how)


async def _lossy_send(true: Any, self: Any, value: Any, **how: Any) -> None:
    if value:
        await true(self, value, **how)


async def _polite_close(true: Any, self: Any, code: int = 1000, reason: str | None = None) -> None:
    await true(self, 1000, reason)


async def _silent_close(true: Any, self: Any, code: int = 1000, reason: str | None = None) -> None:
    await true(self, code)


def _no_reply(true: Any, self: Any, payload: bytes) -> None:
    """Do not answer a ping."""


def _fresh_window(true: Any, self: Any) -> None:
    true(self)
    self._context = None


def _no_offset(true: Any, data: Any, key: Any, offset: int = 0) -> Any:
    return true(data, key)


SABOTAGES: dict[str, Break] = {
    "texts are sent as binary": around(f"{_CONNECTION}.send", _binary_send),
    "empty messages are not sent": around(f"{_CONNECTION}.send", _lossy_send),
    "pings are not answered": around("_protocol._machine:Protocol._reply_pong", _no_reply),
    "each close is a normal one": around(f"{_CONNECTION}.aclose", _polite_close),
    "the window is lost": around("_protocol._deflate:Inflater.finish", _fresh_window),
    # Those take longer to find.
    "receive pops before its checkpoint": around(f"{_CONNECTION}.receive", _greedy_receive),
    "send is cancelled too late": around(f"{_CONNECTION}.send", _late_send),
    "the reason is not sent": around(f"{_CONNECTION}.aclose", _silent_close),
    "a payload in pieces is unmasked wrongly": around("_protocol._frames:mask", _no_offset),
    "a clean end is a loss": instead("_connection:ClosedByPeer", ConnectionLost),
}


@pytest.mark.parametrize("sabotage", first_or_all(SABOTAGES, 5))
def test_a_bug_is_found(sabotage: str) -> None:
    """Each bug that is put in on purpose is found."""
    with SABOTAGES[sabotage](), pytest.raises((Exception, BaseExceptionGroup)):
        run(1000, phases=(Phase.generate,))
