import math

import pytest
import trio
import trio.testing

from trio_ws._timing import MessageTimer, Pings

pytestmark = pytest.mark.checklist("CT06")


@pytest.fixture
async def pings() -> Pings:
    """Pings each 20 s that are to be answered within 10 s."""
    return Pings(20, 10)


def start(pings: Pings, *payloads: bytes) -> list[trio.Event]:
    """Enter pings and count them as sent; the events that tell of their end."""
    events = []
    for payload in payloads:
        events.append(pings.start(payload).done)
        pings.sent(payload)
    return events


async def test_a_pong_answers_the_older_pings_too(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """A pong releases its ping and those sent before, not those after."""
    events = start(pings, b"1", b"2", b"3")
    pings.pong(b"2")
    assert [event.is_set() for event in events] == [True, True, False]
    pings.pong(b"2")  # again: answers nothing
    assert not events[2].is_set()


async def test_a_forged_pong_answers_nothing(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """A pong with the payload of no ping is ignored, and tells no latency."""
    events = start(pings, b"1")
    for forged in (b"", b"2", b"11"):
        pings.pong(forged)
    assert not events[0].is_set()
    assert pings.latency is None


async def test_a_pong_before_its_ping_answers_nothing(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """A ping that still waits to be sent cannot be answered, nor released by a later one."""
    waiting = pings.start(b"1")
    (sent,) = start(pings, b"2")
    pings.pong(b"1")
    assert not waiting.answered
    pings.pong(b"2")
    assert sent.is_set() and not waiting.answered


async def test_order_is_that_of_sending(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """A ping that was entered first and sent last is the newest."""
    late = pings.start(b"late")
    (early,) = start(pings, b"early")
    pings.sent(b"late")
    pings.pong(b"early")
    assert early.is_set() and not late.answered


async def test_a_payload_is_unique_while_in_flight(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """The same payload again is a ValueError, until the first ping is answered or forgotten."""
    first = pings.start(b"1")
    with pytest.raises(ValueError, match="in flight"):
        pings.start(b"1")
    pings.forget(b"1", first)
    second = pings.start(b"1")
    pings.forget(b"1", first)  # does not touch its successor
    with pytest.raises(ValueError, match="in flight"):
        pings.start(b"1")
    pings.sent(b"1")
    pings.pong(b"1")
    assert second.answered and not first.answered
    pings.forget(b"1", second)


async def test_latency_is_from_queueing_to_pong(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """Latency is the time between a ping and its own pong, in seconds."""
    start(pings, b"1")
    await trio.sleep(1.5)
    start(pings, b"2")
    await trio.sleep(0.25)
    pings.pong(b"2")
    assert pings.latency == 0.25


async def test_the_end_releases_all(autojump_clock: trio.testing.MockClock, pings: Pings) -> None:
    """At the end every ping is released without an answer."""
    ping = pings.start(b"1")
    pings.end()
    assert ping.done.is_set() and not ping.answered
    pings.pong(b"1")
    assert not ping.answered


@pytest.mark.checklist("CT07")
async def test_a_keepalive_ping_is_due_each_interval(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """One random keepalive ping is due an interval after the last one, if that was answered."""
    assert pings.due() is None
    assert pings.deadline(writing=False) == 5  # to look whether reading is paused
    await trio.sleep(5)
    assert pings.due() is None
    assert pings.deadline(writing=False) == 20
    await trio.sleep(15)
    payload = pings.due()
    assert payload is not None and len(payload) == 8
    assert pings.due() is None
    assert pings.deadline(writing=False) == pings.deadline(writing=True) == 30
    await trio.sleep(5)
    pings.pong(payload)
    assert pings.latency == 5
    assert pings.deadline(writing=False) == 40  # the time to look, 25, is past
    assert pings.due() is None
    await trio.sleep(15)
    assert pings.due() not in {None, payload}


@pytest.mark.checklist("CT10")
async def test_any_byte_is_life(autojump_clock: trio.testing.MockClock, pings: Pings) -> None:
    """Whatever is heard moves the time at which the peer counts as dead."""
    await trio.sleep(20)
    assert pings.due()
    await trio.sleep(9)
    pings.heard()
    assert pings.deadline(writing=False) == 39
    assert not pings.overdue
    assert pings.silence(1) == 30
    await trio.sleep(10)
    assert pings.overdue


@pytest.mark.checklist("CT08")
async def test_a_stalled_write_does_not_stop_the_time(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """While no ping can be sent, the peer counts as dead when an unanswered one would be."""
    assert pings.deadline(writing=True) == 30
    await trio.sleep(25)
    pings.heard()
    assert pings.deadline(writing=True) == 35


@pytest.mark.checklist("CT09")
async def test_no_time_runs_while_paused(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """While this side reads nothing there is neither a ping nor a timeout; then a full one.

    It gives a sign of life instead, once an interval.
    """
    await trio.sleep(20)
    assert pings.due()
    pings.pause(paused=True)
    assert pings.deadline(writing=True) == math.inf
    assert pings.silence(1) == math.inf
    await trio.sleep(3600)
    assert pings.due() is None and not pings.overdue
    pings.pause(paused=False)
    assert pings.deadline(writing=False) == 3620 + 10


@pytest.mark.checklist("CT09")
async def test_a_sign_of_life_is_due_while_paused(
    autojump_clock: trio.testing.MockClock, pings: Pings
) -> None:
    """While this side reads nothing it tells so twice as often as a peer of its kind asks."""
    await trio.sleep(20)
    assert not pings.beat_due()
    pings.pause(paused=True)
    assert pings.beat_due() and not pings.beat_due()
    assert pings.deadline(writing=False) == 25
    await trio.sleep(5)
    assert pings.beat_due()
    pings.pause(paused=False)
    await trio.sleep(5)
    assert not pings.beat_due()
    off = Pings(None, 10)
    off.pause(paused=True)
    await trio.sleep(3600)
    assert off.deadline(writing=False) == math.inf and not off.beat_due()


@pytest.mark.parametrize(
    ("interval", "timeout", "first", "second"),
    [(None, 10, math.inf, math.inf), (20, None, 10, math.inf), (None, None, math.inf, math.inf)],
)
async def test_none_means_never(
    autojump_clock: trio.testing.MockClock,
    interval: float | None,
    timeout: float | None,
    first: float,
    second: float,
) -> None:
    """Without an interval there is no ping, without a timeout no end."""
    pings = Pings(interval, timeout)
    assert pings.deadline(writing=False) == first
    await trio.sleep(20)
    assert (pings.due() is not None) == (interval is not None)
    assert pings.deadline(writing=False) == second


@pytest.mark.checklist("FG11")
async def test_the_timer_runs_per_message(autojump_clock: trio.testing.MockClock) -> None:
    """The deadline is that of the message that is arriving, from its first byte on."""
    timer = MessageTimer(10)
    timer.update(receiving=False, count=0)
    assert timer.deadline == math.inf
    await trio.sleep(5)
    timer.update(receiving=True, count=0)
    assert timer.deadline == 15
    await trio.sleep(5)
    timer.update(receiving=True, count=0)
    assert timer.deadline == 15
    timer.update(receiving=True, count=1)
    assert timer.deadline == 20
    timer.update(receiving=False, count=1)
    assert timer.deadline == math.inf
    await trio.sleep(1)
    timer.update(receiving=True, count=1)
    assert timer.deadline == 21
