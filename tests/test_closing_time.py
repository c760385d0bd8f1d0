from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    RawPeer,
    StreamPair,
    both_roles,
    connect,
    lockstep_pair,
    memory_and_socket,
    socket_pair,
    whole_and_torn,
)
from trio_ws import CloseReason

Clock = trio.testing.MockClock


@pytest.mark.checklist("CL12")
@whole_and_torn
@memory_and_socket
@pytest.mark.parametrize("we_begin", [True, False])
async def test_a_server_ends_tcp_first(
    nursery: trio.Nursery, autojump_clock: Clock, torn: bool, streams: StreamPair, we_begin: bool
) -> None:
    """A server closes the transport at once when both Close frames are there."""
    connection, peer = await connect(nursery, streams=streams, torn=torn)
    if we_begin:
        connection._begin_close(1000)
        assert await peer.receive_close() == (1000, b"")
        with trio.move_on_after(10) as scope:
            await peer.receive()
        assert scope.cancelled_caught
    await peer.send(peer.close(1000))
    before = trio.current_time()
    assert len(await peer.receive_rest()) == (0 if we_begin else 1)
    await connection.wait_closed()
    assert trio.current_time() == before


@pytest.mark.checklist("CL12", "CL14")
@whole_and_torn
@memory_and_socket
@pytest.mark.parametrize("we_begin", [True, False])
@pytest.mark.parametrize("server", ["ends", "waits", "sends"])
@pytest.mark.parametrize("timeout", [60, 0.5])
async def test_a_client_waits_a_moment_for_the_server_to_end_tcp(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    torn: bool,
    streams: StreamPair,
    we_begin: bool,
    server: str,
    timeout: float,
) -> None:
    """A client closes the transport when the server has, or a second later, whatever comes."""
    connection, peer = await connect(
        nursery, client=True, streams=streams, torn=torn, disconnect_timeout=timeout
    )
    if we_begin:
        connection._begin_close(1000)
    await peer.send(peer.close(1000))
    await trio.testing.wait_all_tasks_blocked()
    if server == "ends":
        await peer.stream.aclose()
    elif server == "sends":
        nursery.start_soon(send_for_ever, peer)
    await connection.wait_closed()
    assert trio.current_time() == (0 if server == "ends" else min(1, timeout))
    assert connection.closed == CloseReason(1000)


async def send_for_ever(peer: RawPeer) -> None:
    """Send messages, whatever comes."""
    try:
        while True:
            await peer.send(peer.frame(wire.BINARY, bytes(20)))
            await trio.sleep(0.25)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


@pytest.mark.checklist("CL14")
@both_roles
@whole_and_torn
@memory_and_socket
@pytest.mark.parametrize(
    ("options", "seconds"), [({}, 60), ({"disconnect_timeout": 3}, 3)], ids=["default", "set"]
)
@pytest.mark.parametrize("sends", [False, True], ids=["silent", "sends"])
async def test_a_peer_that_never_answers_is_cut_off(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    torn: bool,
    streams: StreamPair,
    options: dict[str, Any],
    seconds: float,
    sends: bool,
) -> None:
    """Without an answer to its Close a connection ends after `disconnect_timeout`: 1006."""
    connection, peer = await connect(
        nursery, client=client, torn=torn, streams=streams, ping_interval=None, **options
    )
    if sends:
        nursery.start_soon(send_for_ever, peer)
    await connection.aclose()
    assert trio.current_time() == seconds
    assert connection._close_timed_out
    assert connection.closed == CloseReason(1006)
    with pytest.raises(trio.ClosedResourceError):
        await connection.receive()


@pytest.mark.checklist("CL14")
@both_roles
@whole_and_torn
@pytest.mark.parametrize("late", [-0.25, 0.25])
async def test_the_answer_to_a_close_has_its_time(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, late: float
) -> None:
    """An answer just before `disconnect_timeout` is in time."""
    connection, peer = await connect(
        nursery, client=client, torn=torn, disconnect_timeout=5, ping_interval=None
    )
    connection._begin_close(1000)
    await trio.sleep(5 + late)
    if late < 0:
        await peer.send(peer.close(4000))
    await connection.wait_closed()
    assert connection.closed == CloseReason(4000 if late < 0 else 1006)
    assert connection._close_timed_out is (late > 0)


@pytest.mark.checklist("CL14")
@both_roles
@pytest.mark.parametrize("streams", [lockstep_pair, socket_pair], ids=["lockstep", "socket"])
@pytest.mark.parametrize(
    ("options", "seconds"), [({}, 30), ({"disconnect_timeout": 3}, 3)], ids=["default", "set"]
)
@pytest.mark.parametrize("begin", ["we", "peer", "violation"])
async def test_a_peer_that_never_reads_is_cut_off(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    options: dict[str, Any],
    seconds: float,
    begin: str,
) -> None:
    """A Close that cannot be sent, since the peer takes nothing, ends within the limits."""
    connection, peer = await connect(
        nursery, client=client, streams=streams, ping_interval=None, **options
    )
    await connection.send(bytes(3_000_000))
    if begin == "we":
        connection._begin_close(1000)
    else:
        await peer.send(peer.close(1000) if begin == "peer" else b"\xff\xff")
    await connection.wait_closed()
    assert trio.current_time() == seconds
    assert connection.closed is not None
