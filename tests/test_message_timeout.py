import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    both_roles,
    connect,
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed

Clock = trio.testing.MockClock


@pytest.mark.checklist("FG11")
@both_roles
@whole_and_torn
@pytest.mark.parametrize("interval", [None, 20])
@pytest.mark.parametrize(
    "start",
    [
        lambda peer: peer.frame(wire.TEXT, b"begun", fin=False),
        lambda peer: peer.text("begun")[:-1],
        lambda peer: peer.text("begun")[:1],
    ],
    ids=["fragment", "payload", "header"],
)
async def test_a_message_has_its_time(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    interval: float | None,
    start: object,
) -> None:
    """A message that is not whole `message_timeout` seconds after its first byte gets 1008."""
    connection, peer = await connect(
        nursery, client=client, torn=torn, ping_interval=interval, message_timeout=7
    )
    for _ in range(3):  # messages in time, and idleness between them, cost nothing
        await trio.sleep(5)
        await peer.send(peer.frame(wire.TEXT, fin=False))
        await trio.sleep(6.99)
        await peer.send(peer.frame(wire.CONTINUATION))
        assert await connection.receive() == ""
    await trio.sleep(1000 if interval is None else 0)
    await peer.send(start(peer))  # type: ignore[operator]
    began = trio.current_time()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await connection.receive()
    assert trio.current_time() == began + 7
    assert isinstance(caught.value, ConnectionClosed)
    assert caught.value.reason == CloseReason(1008, "message took too long")
    if interval is None:
        assert (await peer.receive_close())[0] == 1008
    await connection.wait_closed()
    assert trio.current_time() <= began + 8


async def test_a_message_may_take_for_ever(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """By default a message has any time."""
    connection, peer = await connect(nursery, ping_interval=None)
    await peer.send(peer.frame(wire.TEXT, b"1", fin=False))
    await trio.sleep(50_000)
    await peer.send(peer.frame(wire.CONTINUATION, b"2"))
    assert await connection.receive() == "12"


async def test_no_time_of_a_message_runs_while_the_queue_is_full(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """A message that cannot be read, since the application is slow, is not late."""
    connection, peer = await connect(
        nursery, message_queue_size=1, message_timeout=5, ping_interval=None
    )
    await peer.send(peer.text("1"), peer.frame(wire.TEXT, b"2", fin=False))
    await trio.sleep(100)
    assert await connection.receive() == "1"
    await trio.sleep(4)
    await peer.send(peer.frame(wire.CONTINUATION, b"!"))
    assert await connection.receive() == "2!"
