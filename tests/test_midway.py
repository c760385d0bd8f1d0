"""Cancelling half-way through a message."""

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import StreamPair as Streams
from tests.support.connections import both_roles, connect, memory_and_socket


@pytest.mark.checklist("CA03")
@both_roles
@memory_and_socket
@pytest.mark.parametrize("opcode", [wire.TEXT, wire.BINARY], ids=["text", "binary"])
async def test_receive_is_cancelled_between_the_fragments_of_a_message(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    client: bool,
    streams: Streams,
    opcode: int,
) -> None:
    """Whatever part has come when `receive` is cancelled, the next call gets the message whole."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    for torn in (
        [peer.frame(opcode, b"one", fin=False), peer.frame(wire.CONTINUATION, b"two")],
        [bytes([byte]) for byte in peer.frame(opcode, b"onetwo")],
    ):
        for piece in torn[:-1]:
            await peer.send(piece)
            with trio.move_on_after(1) as scope:
                await connection.receive()
            assert scope.cancelled_caught
        await peer.send(torn[-1])
        assert await connection.receive() == ("onetwo" if opcode == wire.TEXT else b"onetwo")
    assert connection.closed is None


@pytest.mark.checklist("CA03")
@both_roles
async def test_send_is_cancelled_while_a_message_is_half_way_out(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, client: bool
) -> None:
    """A `send` that is cancelled behind a half-sent message sends nothing, and tears nothing."""
    connection, peer = await connect(
        nursery,
        client=client,
        streams=trio.testing.lockstep_stream_pair,
        send_buffer_size=1000,
        ping_interval=None,
    )
    await connection.send(b"1" * 50_000)  # the peer reads nothing: it stays half-way
    with trio.move_on_after(1) as scope:
        await connection.send(b"2" * 50_000)
    assert scope.cancelled_caught
    nursery.start_soon(connection.send, b"3" * 50_000)
    for number in b"13":
        frame = await peer.receive()
        assert (frame.opcode, frame.payload) == (wire.BINARY, bytes([number]) * 50_000)
    assert connection.closed is None
