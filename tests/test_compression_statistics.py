"""What a connection tells of its compression."""

import pytest
import trio
import trio.testing

import trio_ws
from tests.protocol import wire
from tests.support.compression import HELLO, LARGE, RSV1, connected, exchange, raw_connection
from tests.support.connections import both_roles
from tests.support.servers import cancelled_after


def sizes(statistics: trio_ws.ConnectionStatistics) -> tuple[int, int, int, int]:
    """What the statistics tell of compression."""
    return (
        statistics.uncompressed_bytes_sent,
        statistics.compressed_bytes_sent,
        statistics.uncompressed_bytes_received,
        statistics.compressed_bytes_received,
    )


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@both_roles
async def test_what_compression_has_saved_on_receiving(
    client: bool, torn: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """The bytes of whole compressed messages are counted, as they come and as they are received."""
    async with raw_connection(client=client, torn=torn) as (connection, peer):
        assert sizes(connection.statistics()) == (0, 0, 0, 0)
        assert connection.statistics().compression_ratio_received is None
        await peer.send(peer.text("plain" * 100))
        assert await connection.receive() == "plain" * 100
        assert connection.statistics().compression_ratio_received is None
        wire_size = 0
        for text in ("é" * 200, "x" * 100_000):
            frame = peer.compressed(wire.TEXT, text.encode())
            (parsed,) = wire.parse(frame)
            wire_size += len(parsed.payload)
            await peer.send(frame)
            assert await connection.receive() == text
        # Of a message that has not ended nothing is counted yet.
        hello = wire.build(wire.TEXT, HELLO, fin=False, rsv=RSV1, mask=peer.key)
        await peer.send(hello, peer.frame(wire.PING))
        assert (await peer.receive()).opcode == wire.PONG
        statistics = connection.statistics()
        assert sizes(statistics) == (0, 0, 100_400, wire_size)
        assert statistics.compression_ratio_received == 100_400 / wire_size
        assert statistics.compression_ratio_sent is None
        await peer.send(peer.frame(wire.CONTINUATION))
        assert await connection.receive() == "Hello"
        assert sizes(connection.statistics())[2:] == (100_405, wire_size + len(HELLO))


@both_roles
async def test_what_compression_has_saved_on_sending(
    client: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """The bytes of messages sent compressed are counted, in one step or many, empty or not."""
    async with raw_connection(client=client) as (connection, peer):
        for size, compress in ((500, False), (500, True), (0, True), (63, None), (500_000, None)):
            before = sizes(connection.statistics())
            sent = connection.statistics().bytes_sent
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: connection.send(b"x" * size, compress=compress))  # noqa: B023
                await peer.receive()
            await trio.testing.wait_all_tasks_blocked()
            frame = connection.statistics().bytes_sent - sent
            header = (4 if frame > 127 + 2 else 2) + (4 if client else 0)
            after = sizes(connection.statistics())
            if compress is False or size == 63:
                assert after == before
            else:
                assert after == (before[0] + size, before[1] + frame - header, 0, 0)
        statistics = connection.statistics()
        assert statistics.compression_ratio_sent is not None
        assert 500 < statistics.compression_ratio_sent < 1000
        assert statistics.compression_ratio_received is None


async def test_what_was_not_sent_is_not_counted(autojump_clock: trio.testing.MockClock) -> None:
    """A large send that is cancelled between its steps has saved nothing."""
    async with raw_connection() as (connection, _):
        with cancelled_after(3) as scope:
            await connection.send(LARGE)
        assert scope.cancelled_caught
        assert sizes(connection.statistics()) == (0, 0, 0, 0)


async def test_both_ends_count_the_same(autojump_clock: trio.testing.MockClock) -> None:
    """What one end has sent is what the other has received; without compression it is nothing."""
    async with connected() as (ours, theirs):
        await exchange(ours, theirs)
        assert (
            sizes(theirs.statistics())
            == sizes(ours.statistics())[2:] + sizes(ours.statistics())[:2]
        )
        ratio = ours.statistics().compression_ratio_sent
        assert ratio is not None and ratio > 2
        assert theirs.statistics().compression_ratio_received == ratio
    async with connected(None, None) as (ours, theirs):
        await exchange(ours, theirs)
        assert sizes(ours.statistics()) == sizes(theirs.statistics()) == (0, 0, 0, 0)
        assert ours.statistics().compression_ratio_sent is None
        assert theirs.statistics().compression_ratio_received is None
