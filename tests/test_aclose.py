import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    RawPeer,
    StreamPair,
    all_streams,
    both_roles,
    connect,
    half_raw_pair,
    lockstep_pair,
    memory_and_socket,
    memory_pair,
    socket_pair,
    whole_and_torn,
)
from trio_ws import CloseReason, ConnectionClosed, WebSocketConnection

Clock = trio.testing.MockClock

GOING_AWAY = (wire.CLOSE, (1001).to_bytes(2, "big"))
NORMAL = (wire.CLOSE, (1000).to_bytes(2, "big"))


@pytest.mark.checklist("CL17", "CA06")
@both_roles
@whole_and_torn
async def test_closing_again_does_nothing(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """A second close is a checkpoint and nothing else, whatever its code."""
    connection, peer = await connect(nursery, client=client, torn=torn)
    nursery.start_soon(connection.aclose)
    assert await peer.receive_close() == (1000, b"")
    await peer.send(peer.close(1000))
    await connection.wait_closed()
    for call in (connection.aclose, connection.wait_closed):
        with trio.testing.assert_checkpoints():
            await call()
    await connection.aclose(4000, "too late")
    await connection.__aexit__(None, None, None)
    assert connection.closed == CloseReason(1000)
    assert await peer.receive_rest() == []


@pytest.mark.checklist("CL17", "CA05")
@both_roles
@all_streams
async def test_concurrent_closes_send_one_close(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """Of several closes the first one's code is sent; all return when the connection is closed."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    returned = 0

    async def close(code: int) -> None:
        nonlocal returned
        await connection.aclose(code)
        returned += 1

    for code in range(4000, 4005):
        nursery.start_soon(close, code)
        await trio.testing.wait_all_tasks_blocked()
    assert await peer.receive_close() == (4000, b"")
    assert returned == 0
    await peer.send(peer.close(4000))
    assert await peer.receive_rest() == []
    await trio.testing.wait_all_tasks_blocked()
    assert returned == 5


@pytest.mark.checklist("CA05")
@both_roles
async def test_a_close_interrupts_the_other_calls(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool
) -> None:
    """Tasks that wait in any other call are woken with ClosedResourceError."""
    connection, peer = await connect(
        nursery, client=client, streams=lockstep_pair, ping_interval=None
    )
    woken = 0

    async def waiting(call: Callable[..., Any], *args: object) -> None:
        nonlocal woken
        with pytest.raises(trio.ClosedResourceError):
            await call(*args)
        woken += 1

    nursery.start_soon(waiting, connection.receive)
    nursery.start_soon(waiting, connection.__anext__)
    nursery.start_soon(waiting, connection.ping)
    await trio.testing.wait_all_tasks_blocked()
    await connection.send(bytes(100_000))
    nursery.start_soon(waiting, connection.send, "x")
    nursery.start_soon(waiting, connection.ping)
    nursery.start_soon(waiting, connection.pong)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(connection.aclose)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == 6
    nursery.start_soon(peer.answer)
    await connection.wait_closed()


@pytest.mark.checklist("CL17", "CA04")
@both_roles
@memory_and_socket
@pytest.mark.parametrize("before", [True, False], ids=["before", "meanwhile"])
async def test_a_cancelled_close_is_forced(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    before: bool,
) -> None:
    """A cancelled close still sends its Close, and closes the transport without waiting."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    with trio.move_on_after(0 if before else 5) as scope:
        await connection.aclose(4000)
    assert scope.cancelled_caught
    assert trio.current_time() == (0 if before else 5)
    assert connection.closed == CloseReason(1006)
    await connection.wait_closed()
    assert await peer.receive_rest() == [(wire.CLOSE, (4000).to_bytes(2, "big"))]


@pytest.mark.checklist("CA04")
@both_roles
@pytest.mark.parametrize(
    ("streams", "seconds"), [(lockstep_pair, 0.5), (socket_pair, 0)], ids=["lockstep", "socket"]
)
async def test_a_cancelled_close_does_not_wait_for_a_stalled_write(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    seconds: float,
) -> None:
    """With data in the way a forced close takes no time, or half a second for a slow stream."""
    connection, _ = await connect(nursery, client=client, streams=streams)
    await connection.send(bytes(3_000_000))
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.aclose()
    assert scope.cancelled_caught
    assert trio.current_time() == seconds


@pytest.mark.checklist("CA04")
@both_roles
@whole_and_torn
@all_streams
async def test_a_cancelled_nursery_says_goodbye(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool, streams: StreamPair
) -> None:
    """Cancelling the tasks of a connection hands the peer a Close 1001, then the end."""
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as inner:
            connection, peer = await connect(
                inner, client=client, torn=torn, streams=streams, guard=nursery
            )
            received: list[tuple[int, bytes]] = []

            async def read() -> None:
                received.extend(await peer.receive_rest())

            outer.start_soon(read)
            with trio.move_on_after(10):
                await connection.receive()
            inner.cancel_scope.cancel()
    assert received == [GOING_AWAY]
    assert connection.closed == CloseReason(1006)
    assert trio.current_time() == 10
    with pytest.raises(trio.ClosedResourceError):
        connection.receive_nowait()


@pytest.mark.checklist("CA04", "CL14")
@both_roles
@pytest.mark.parametrize(
    ("streams", "seconds"), [(lockstep_pair, 0.5), (socket_pair, 0)], ids=["lockstep", "socket"]
)
@pytest.mark.parametrize("state", ["open", "closing", "closed by the peer", "ended by the peer"])
async def test_a_cancelled_nursery_does_not_wait(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    seconds: float,
    state: str,
) -> None:
    """Cancelling the tasks of a connection that cannot send takes no time, or half a second."""
    async with trio.open_nursery() as inner:
        connection, peer = await connect(inner, client=client, streams=streams, guard=nursery)
        await connection.send(bytes(3_000_000))
        if state == "closing":
            connection._begin_close(1000)
        elif state != "open":
            await peer.send(peer.close(1000))
        if state == "ended by the peer":
            if isinstance(peer.stream, trio.SocketStream):
                peer.stream.socket.shutdown(socket.SHUT_WR)
            else:
                await peer.stream.send_stream.aclose()  # type: ignore[attr-defined]
        await trio.sleep(1)
        inner.cancel_scope.cancel()
    assert trio.current_time() == 1 + seconds


@pytest.mark.parametrize("attempt", range(6))  # the scheduler's order is random
async def test_goodbye_overtakes_waiting_senders(autojump_clock: Clock, attempt: int) -> None:
    """Senders that wait when the tasks are cancelled send nothing behind the Close."""
    ours, theirs = half_raw_pair()
    raised = 0

    async def sender(connection: WebSocketConnection) -> None:
        nonlocal raised
        with pytest.raises(trio.ClosedResourceError):
            while True:
                await connection.send(bytes(100_000))
        raised += 1

    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            connection, _ = await connect(
                nursery, client=False, streams=lambda: (ours, memory_pair()[1])
            )
            for _ in range(3):
                outer.start_soon(sender, connection)
            await trio.lowlevel.checkpoint()
            with suppress(BlockingIOError):
                theirs.recv(3_000_000)
            nursery.cancel_scope.cancel()
    theirs.close()
    assert raised == 3


class Escape(BaseException):
    """What is no `Exception`, as KeyboardInterrupt is not."""


@pytest.mark.checklist("CL17", "CA07")
@both_roles
@memory_and_socket
@pytest.mark.parametrize(
    ("exception", "code", "seconds"),
    [
        (None, 1000, 60),
        (ValueError("x"), 1011, 60),
        (ExceptionGroup("x", [ValueError()]), 1011, 60),
        (Escape(), 1001, 0),
        (KeyboardInterrupt(), 1001, 0),
        (SystemExit(1), 1001, 0),
        (BaseExceptionGroup("x", [Escape()]), 1001, 0),
    ],
    ids=repr,
)
async def test_leaving_a_block_closes(
    nursery: trio.Nursery,
    autojump_clock: Clock,
    client: bool,
    streams: StreamPair,
    exception: BaseException | None,
    code: int,
    seconds: float,
) -> None:
    """``async with`` closes with 1000, or for an exception, which comes out as it is.

    A server's error is 1011, any other exception 1001. What ends the program does not wait for the
    peer.
    """
    connection, peer = await connect(
        nursery, client=client, streams=streams, ping_interval=None, disconnect_timeout=60
    )
    caught = None
    try:
        async with connection as entered:
            assert entered is connection
            if exception is not None:
                raise exception
    except BaseException as exc:
        caught = exc
    assert caught is exception
    assert trio.current_time() == seconds
    if client and code == 1011:
        code = 1001
    assert await peer.receive_rest() == [(wire.CLOSE, code.to_bytes(2, "big"))]


@pytest.mark.checklist("CL17", "CA07")
@both_roles
@memory_and_socket
async def test_leaving_a_block_by_cancellation(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """A cancelled block says 1001 without waiting, and the cancellation goes on."""
    connection, peer = await connect(nursery, client=client, streams=streams)
    with trio.move_on_after(5) as scope:
        async with connection:
            await connection.receive()
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    assert await peer.receive_rest() == [GOING_AWAY]


async def test_an_exception_beats_a_cancellation(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """When the close after an exception is cancelled, the exception comes out, and at once."""
    connection, _ = await connect(nursery, ping_interval=None)
    with trio.CancelScope(deadline=5) as scope:
        with pytest.raises(ValueError, match="body"):
            async with connection:
                raise ValueError("body")
    assert trio.current_time() == 5
    assert not scope.cancelled_caught
    assert connection.closed == CloseReason(1006)


@pytest.mark.checklist("CA07")
@pytest.mark.parametrize("call", ["receive", "__anext__", "ping", "send", "wait_closed", "aclose"])
@memory_and_socket
def test_control_c_passes_through(call: str, streams: StreamPair) -> None:
    """Control-C in any waiting call is a KeyboardInterrupt there, and the connection is intact."""
    frames: list[tuple[int, bytes]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            chosen = lockstep_pair if call == "send" and streams is memory_pair else streams
            connection, peer = await connect(nursery, streams=chosen, ping_interval=None)
            if call == "send":
                await connection.send(bytes(3_000_000))
            nursery.start_soon(interrupt)
            with pytest.raises(KeyboardInterrupt):
                await getattr(connection, call)(*(["x"] if call == "send" else []))
            if call == "aclose":
                await connection.wait_closed()
            else:
                nursery.start_soon(check, peer)
                await connection.send("intact")
                await connection.aclose()
            nursery.cancel_scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def interrupt() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)

    async def check(peer: RawPeer) -> None:
        while not frames or frames[-1][0] != wire.CLOSE:
            frame = await peer.receive()
            frames.append((frame.opcode, frame.payload))
        await peer.send(peer.close(1000))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    if call != "aclose":
        assert frames[-2:] == [(wire.TEXT, b"intact"), NORMAL]


@pytest.mark.checklist("CA07")
async def test_the_tasks_of_a_connection_never_raise(autojump_clock: Clock) -> None:
    """A nursery's own exception is not joined by any of the connection's, however it ends."""

    class BadStream(trio.abc.Stream):
        async def send_all(self, data: object) -> None:
            raise RuntimeError("send")

        async def wait_send_all_might_not_block(self) -> None:
            raise RuntimeError("wait")

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.lowlevel.checkpoint()
            raise RuntimeError("receive")

        async def aclose(self) -> None:
            raise RuntimeError("close")

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            connection, _ = await connect(
                nursery, streams=lambda: (BadStream(), memory_pair()[1]), first_out=b"x"
            )
            with pytest.raises(ConnectionClosed):
                await connection.receive()
            await connection.wait_closed()
            raise ValueError("only this")
    assert [repr(exc) for exc in caught.value.exceptions] == ["ValueError('only this')"]


@both_roles
@memory_and_socket
async def test_closing_after_a_refusal_with_a_full_queue(
    nursery: trio.Nursery, mock_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """What the full queue keeps from being read is read then, so nobody has to linger."""
    connection, peer = await connect(nursery, client=client, streams=streams, message_queue_size=2)
    await peer.send(*[peer.frame(wire.BINARY, b"x")] * 10)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(ConnectionClosed):
        await connection.receive_text()
    assert (await peer.receive()).opcode == wire.CLOSE
    await peer.send(peer.close(1003))
    await peer.stream.aclose()
    await connection.aclose()
    assert trio.current_time() == 0


async def test_a_socket_whose_close_fails(
    nursery: trio.Nursery, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as good as closed: nobody waits for more."""
    ours, theirs = half_raw_pair()
    connection, _ = await connect(nursery, streams=lambda: (ours, memory_pair()[1]))
    close = ours.socket.close

    def fail() -> None:
        close()
        raise OSError("Input/output error")

    monkeypatch.setattr(ours.socket, "close", fail)
    nursery.start_soon(connection.aclose)
    await trio.testing.wait_all_tasks_blocked()
    theirs.close()
    with trio.fail_after(10):
        await connection.wait_closed()


async def test_the_end_behind_a_full_queue(
    nursery: trio.Nursery, mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a stalled write ends the connection, nobody waits for the closed socket any more."""
    ours, theirs = half_raw_pair()
    waited = []
    wait_readable = trio.lowlevel.wait_readable

    async def wait(sock: Any) -> None:
        waited.append(sock.fileno())
        await wait_readable(sock)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
    connection, peer = await connect(
        nursery, streams=lambda: (ours, memory_pair()[1]), message_queue_size=1
    )
    theirs.send(peer.frame(wire.BINARY, b"x") * 10)
    await connection.send(bytes(2**24))
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(100)
    await connection.wait_closed()
    await trio.testing.wait_all_tasks_blocked()
    assert waited and -1 not in waited
    theirs.close()


class NurseryStream(trio.abc.Stream):
    """A stream whose calls open a nursery, so that they are cancelled by a group."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            data = await self._stream.receive_some(max_bytes)
            nursery.cancel_scope.cancel()
        return bytes(data)

    async def send_all(self, data: Any) -> None:
        """Send."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait."""

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


@pytest.mark.checklist("CA06")
@both_roles
async def test_a_stream_with_a_nursery_inside(autojump_clock: Clock, client: bool) -> None:
    """Its cancellation is a group; the connection ends and says goodbye as with any other."""
    ours, theirs = memory_pair()
    async with trio.open_nursery() as nursery:
        connection, _ = await connect(
            nursery, client=client, streams=lambda: (NurseryStream(ours), memory_pair()[1])
        )
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await connection.wait_closed()
    (frame,) = wire.parse(bytes(await theirs.receive_some()))
    assert (frame.opcode, frame.payload) == GOING_AWAY


@pytest.mark.parametrize("full", [False, True])
async def test_a_socket_that_somebody_else_has_closed(
    nursery: trio.Nursery, autojump_clock: Clock, full: bool
) -> None:
    """The connection is lost, and nobody waits for what is no socket any more."""
    ours, theirs = half_raw_pair()
    connection, peer = await connect(
        nursery, streams=lambda: (ours, memory_pair()[1]), message_queue_size=1
    )
    theirs.send(peer.frame(wire.BINARY, b"x") * (10 if full else 1))
    await trio.testing.wait_all_tasks_blocked()
    before = trio.lowlevel.current_statistics().io_statistics
    ours.socket.close()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError) as caught:
        while True:
            await connection.receive()
    assert isinstance(caught.value.__cause__, trio.ClosedResourceError)
    await connection.wait_closed()
    after = trio.lowlevel.current_statistics().io_statistics
    assert getattr(after, "tasks_waiting_read", 0) <= getattr(before, "tasks_waiting_read", 0)
    theirs.close()
