"""Whatever a peer sends, and however it leaves: documented exceptions, whole frames, an end."""

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import wire
from tests.support.connections import RawPeer, connect, memory_pair
from trio_ws import CloseReason, ConnectionClosed, WebSocketConnection


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame, mostly a legal one."""
    legal = draw(st.integers(0, 9)) > 0
    opcode = draw(st.sampled_from([0, 1, 2, 8, 9, 10]) if legal else st.integers(0, 15))
    payload = draw(
        st.one_of(
            st.binary(max_size=20),
            st.text(max_size=10).map(str.encode),
            st.sampled_from([1000, 1001, 1005, 3000, 5000]).map(
                lambda code: code.to_bytes(2, "big")
            ),
            st.integers(120, 300).map(bytes),
        )
    )
    return wire.build(
        opcode,
        payload,
        fin=draw(st.integers(0, 4)) > 0,
        rsv=0 if legal else draw(st.integers(0, 7)),
        mask=draw(st.sampled_from([wire.KEY, wire.KEY, wire.KEY, None])),
        declared=None if legal else draw(st.integers(0, 125)),
        length_form=None if legal else 64,
    )


def unmask(data: list[bytes]) -> bytes:
    """For a client: the server's frames, roughly as many of them legal."""
    return b"".join(
        wire.build(frame.opcode, frame.payload, fin=frame.fin, rsv=frame.rsv)
        for part in data
        for frame in _parsed(part)
    )


def _parsed(part: bytes) -> list[wire.Frame]:
    try:
        return list(wire.parse(part))
    except (AssertionError, IndexError):
        return []


async def _only_closed(call: Callable[[], Awaitable[object]]) -> None:
    """Repeat a call until the connection is closed."""
    try:
        while True:
            await call()
            await trio.sleep(1)
    except (ConnectionClosed, StopAsyncIteration):
        pass


async def _check(data: list[bytes], *, client: bool, torn: bool, leaves: str) -> None:
    async with trio.open_nursery() as nursery:
        connection, peer = await connect(
            nursery, client=client, torn=torn, max_message_size=250, message_queue_size=3
        )
        for call in (
            connection.receive,
            connection.__anext__,
            lambda: connection.send("x"),
            lambda: connection.send_message(b"y"),
            connection.ping,
            connection.pong,
        ):
            nursery.start_soon(_only_closed, call)
        received: list[tuple[int, bytes]] = []

        async def read() -> None:
            received.extend(await peer.receive_rest())

        nursery.start_soon(read)
        try:
            for part in data:
                await peer.send(part)
            if leaves == "half":
                await peer.stream.send_stream.aclose()  # type: ignore[attr-defined]
        except trio.BrokenResourceError:
            pass  # the connection has had enough
        with trio.move_on_after(10_000) as scope:
            await connection.wait_closed()
        assert not scope.cancelled_caught
        await _check_closed(connection, peer)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.CLOSE not in [opcode for opcode, _ in received[:-1]]
        nursery.cancel_scope.cancel()


async def _check_closed(connection: WebSocketConnection, peer: RawPeer) -> None:
    """Whatever happened, each call now tells a reason."""
    assert isinstance(connection.closed, CloseReason)
    assert connection.closed.name != "INVALID_CODE"
    assert repr(connection).isprintable()
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            connection.receive_nowait()
    assert repr(caught.value).isprintable() and str(caught.value).isprintable()
    assert isinstance(caught.value.__cause__, EOFError | trio.TooSlowError | None)
    await connection.aclose()


def run(data: list[bytes], *, client: bool, torn: bool, leaves: str) -> None:
    """Run one case, as fast as virtual time goes."""

    async def main() -> None:
        await _check(data, client=client, torn=torn, leaves=leaves)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


ways = st.fixed_dictionaries(
    {"client": st.booleans(), "torn": st.booleans(), "leaves": st.sampled_from(["half", "no"])}
)


@pytest.mark.checklist("LM10")
@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=40), max_size=5), ways)
def test_any_bytes(data: list[bytes], way: dict[str, bool]) -> None:
    """Random bytes lead to ConnectionClosed and to nothing else."""
    run(data, **way)  # type: ignore[arg-type]


@pytest.mark.checklist("LM10", "CL13")
@settings(deadline=None, max_examples=100)
@given(st.lists(frames(), max_size=12), ways)
def test_any_frames(data: list[bytes], way: dict[str, bool]) -> None:
    """Frames in any order, most of them legal, lead to ConnectionClosed and to nothing else."""
    run([unmask(data)] if way["client"] else data, **way)  # type: ignore[arg-type]


@pytest.mark.checklist("LM01", "LM02")
async def test_a_flood_takes_bounded_memory(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A peer that sends without end and reads nothing takes a bounded amount of memory."""
    connection, peer = await connect(
        nursery, message_queue_size=math.inf, max_message_size=1000, ping_interval=None
    )

    async def flood() -> None:
        while True:
            await peer.send(peer.frame(wire.BINARY, bytes(1000)), peer.frame(wire.PING, bytes(125)))
            await trio.sleep(0.001)

    with trio.move_on_after(3):
        await flood()
    statistics = connection.statistics()
    assert statistics.bytes_queued == 263_000
    assert statistics.bytes_buffered == 0
    assert statistics.bytes_received <= 263 * 1137 + 64 * 1024
    assert connection.closed is None


@pytest.mark.checklist("LM02")
async def test_many_peers_that_read_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Each connection to a peer that reads nothing keeps at most its mark and one message."""
    async with trio.open_nursery() as nursery:
        connections = [
            (await connect(nursery, streams=trio.testing.lockstep_stream_pair))[0]
            for _ in range(200)
        ]

        async def sender(connection: WebSocketConnection) -> None:
            with pytest.raises(ConnectionClosed):
                while True:
                    await connection.send(bytes(10_000))

        for connection in connections:
            for _ in range(3):
                nursery.start_soon(sender, connection)
        await trio.sleep(25)
        for connection in connections:
            assert connection.statistics().bytes_buffered <= 65_536 + 10_014
        await trio.sleep(25)
        assert {connection.closed for connection in connections} == {CloseReason(1006)}
        nursery.cancel_scope.cancel()


async def test_a_peer_that_leaves_after_any_byte(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A conversation that is cut off after any byte ends with what came before."""
    async with trio.open_nursery() as nursery:
        whole = RawPeer(memory_pair()[0], client=True)
        parts = [
            whole.text("1"),
            whole.frame(wire.PING, b"p"),
            whole.frame(wire.TEXT, b"2", fin=False),
            whole.frame(wire.CONTINUATION, b"3"),
            whole.close(1000, b"bye"),
        ]
        data = b"".join(parts)
        ends = [sum(map(len, parts[:count])) for count in (1, 4, 5)]
        for size in range(len(data) + 1):
            connection, peer = await connect(nursery)
            await peer.send(data[:size])
            await peer.stream.aclose()
            await connection.wait_closed()
            received = []
            with pytest.raises(ConnectionClosed):
                while True:
                    received.append(await connection.receive())
            assert received == ["1", "23"][: sum(size >= end for end in ends[:2])]
            expected = CloseReason(1000, "bye") if size == len(data) else CloseReason(1006)
            assert connection.closed == expected
        nursery.cancel_scope.cancel()
