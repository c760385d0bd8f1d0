import gc
import ipaddress
import ssl
import tracemalloc
from typing import Any

import pytest
import trio
import trio.testing

from tests.protocol import wire
from tests.support.connections import (
    StreamPair,
    all_streams,
    both_roles,
    connect,
    connect_pair,
    lockstep_pair,
    make_connection,
    memory_and_socket,
    memory_pair,
    socket_pair,
    whole_and_torn,
)
from trio_ws import (
    CloseReason,
    ConnectionClosed,
    ConnectionStatistics,
    Endpoint,
    WebSocketConnection,
)
from trio_ws._facts import Opening
from trio_ws._options import Settings

Clock = trio.testing.MockClock

# Bytes of an idle connection with its two tasks, without its stream; the documentation tells it.
IDLE_MEMORY = 9_000


@both_roles
async def test_what_a_connection_is(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool
) -> None:
    """A connection knows its role and what the opening handshake has settled."""
    ours, _ = memory_pair()
    headers = ((b"host", b"example.org"),)
    opening = Opening("/chat?room=1", "soap", headers)
    connection = WebSocketConnection(ours, opening, Settings(), client=client)
    await connection._start(nursery)
    assert isinstance(connection, trio.abc.Channel)
    assert (connection.is_client, connection.is_server) == (client, not client)
    assert connection.path == "/chat?room=1"
    assert connection.subprotocol == "soap"
    assert connection.handshake_headers == headers
    assert connection.closed is None and connection.latency is None
    assert connection.extensions == ()
    role = "client" if client else "server"
    assert repr(connection) == f"<WebSocketConnection: {role}, /chat?room=1, open>"
    connection._begin_close(1001, "bye")
    assert "CloseReason(code=1001, reason='bye')" in repr(connection)


@all_streams
async def test_ends_never_raise(
    nursery: trio.Nursery, autojump_clock: Clock, streams: StreamPair
) -> None:
    """`local` and `remote` of what is no TCP are descriptions, also once it is closed."""
    connection, peer = await connect(nursery, streams=streams)
    for _ in range(2):
        assert isinstance(connection.local, str) and isinstance(connection.remote, str)
        await peer.stream.aclose()
        await connection.wait_closed()


async def test_ends_of_tcp(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """`local` and `remote` of TCP are endpoints, with TLS too, and once closed descriptions."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    accepted = await listener.accept()
    connection, _ = await connect(nursery, client=True, streams=lambda: (stream, accepted))
    address = ipaddress.ip_address("127.0.0.1")
    assert connection.remote == Endpoint(address, port, is_ssl=False)
    local = connection.local
    assert isinstance(local, Endpoint) and local.address == address
    tls = trio.SSLStream(stream, ssl.create_default_context(), server_hostname="x")
    over_tls = make_connection(tls, client=True)
    assert over_tls.remote == Endpoint(address, port, is_ssl=True)
    over_tls._closed.set()
    await accepted.aclose()
    await connection.wait_closed()
    assert isinstance(connection.local, str) and isinstance(connection.remote, str)
    await listener.aclose()


@both_roles
@whole_and_torn
async def test_statistics(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """`statistics` counts bytes and messages both ways, and tells what waits; it is a snapshot."""
    connection, peer = await connect(
        nursery, client=client, torn=torn, streams=lockstep_pair, ping_interval=None
    )
    empty = connection.statistics()
    assert empty == ConnectionStatistics(0, 0, 0, 0, 0, 0, 0, None)
    incoming = peer.text("Grüße") + peer.frame(wire.BINARY, bytes(200)) + peer.frame(wire.PONG)
    await peer.send(incoming)
    await trio.testing.wait_all_tasks_blocked()
    masking = 4 if client else 0
    await connection.send(bytes(10))
    full = connection.statistics()
    assert full.bytes_received == len(incoming)
    assert (full.messages_received, full.messages_queued, full.bytes_queued) == (2, 2, 207)
    assert (full.messages_sent, full.bytes_sent, full.bytes_buffered) == (1, 0, 12 + masking)
    assert await connection.receive() == "Grüße"
    await peer.receive()
    await trio.testing.wait_all_tasks_blocked()
    later = connection.statistics()
    assert (later.messages_queued, later.bytes_queued) == (1, 200)
    assert (later.bytes_sent, later.bytes_buffered) == (12 + masking, 0)
    assert full.messages_queued == 2
    with pytest.raises(AttributeError):
        full.messages_sent = 5  # type: ignore[misc]


@both_roles
@all_streams
async def test_bytes_of_the_handshake_come_first(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, streams: StreamPair
) -> None:
    """Frames that came with the opening handshake are received; its last bytes leave first."""
    other = make_connection(memory_pair()[0], client=not client)
    other._closed.set()
    mask = None if client else wire.KEY
    early = wire.build(wire.TEXT, b"early", mask=mask) + wire.build(wire.PING, mask=mask)
    connection, peer = await connect(
        nursery, client=client, streams=streams, first_in=early, first_out=b"HTTP/1.1 101\r\n\r\n"
    )
    assert await connection.receive() == "early"
    data = b""
    while len(data) < 18:
        data += await peer.stream.receive_some()
    assert data[:16] == b"HTTP/1.1 101\r\n\r\n"
    assert next(wire.parse(data[16:])).opcode == wire.PONG


@memory_and_socket
async def test_a_closed_nursery_is_refused(autojump_clock: Clock, streams: StreamPair) -> None:
    """A connection that cannot be served, since its nursery is closed, is closed itself."""
    ours, theirs = streams()
    connection = make_connection(ours, client=True)
    async with trio.open_nursery() as nursery:
        pass
    with pytest.raises(RuntimeError):
        await connection._start(nursery)
    await connection.wait_closed()
    assert await theirs.receive_some() == b""
    await theirs.aclose()
    del connection
    gc.collect()


@both_roles
async def test_a_connection_left_open_warns(autojump_clock: Clock, client: bool) -> None:
    """A connection that is dropped without having been closed is a ResourceWarning."""

    def open_and_drop() -> None:
        make_connection(memory_pair()[0], client=client)
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"unclosed connection <WebSocketConnection: .*/path"):
        open_and_drop()


async def test_a_connection_that_was_never_made_does_not_warn(autojump_clock: Clock) -> None:
    """Wrong arguments of the constructor are told by their own exception alone."""
    with pytest.raises(AttributeError):
        WebSocketConnection(memory_pair()[0], None, None, client=True)  # type: ignore[arg-type]
    gc.collect()


@both_roles
@all_streams
@pytest.mark.parametrize("end", ["close", "closed", "lost", "cancelled"])
async def test_a_closed_connection_is_garbage(
    autojump_clock: Clock, client: bool, streams: StreamPair, end: str
) -> None:
    """However it ends, a connection leaves no task, and closing it again warns of nothing."""
    before = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        connection, peer = await connect(nursery, client=client, streams=streams)
        if end == "close":
            nursery.start_soon(peer.answer)
            await connection.aclose()
        elif end == "closed":
            nursery.start_soon(peer.send, peer.close(1000))
            assert (await peer.receive()).opcode == wire.CLOSE
            await connection.wait_closed()
        elif end == "lost":
            await peer.stream.aclose()
            await connection.wait_closed()
        nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == before
    await connection.wait_closed()
    del connection
    gc.collect()


@pytest.mark.checklist("LM06")
@both_roles
async def test_the_memory_of_an_idle_connection(client: bool, autojump_clock: Clock) -> None:
    """An idle connection takes the documented memory, also after a large message."""

    class IdleStream(trio.abc.Stream):
        __slots__ = ("data",)

        def __init__(self, data: list[bytes]) -> None:
            self.data = data

        async def send_all(self, data: object) -> None:
            await trio.lowlevel.checkpoint()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            if self.data:
                await trio.lowlevel.checkpoint()
                return self.data.pop()
            return await trio.sleep_forever()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    mask = None if client else wire.KEY

    async def serve(nursery: trio.Nursery, count: int) -> list[WebSocketConnection]:
        made = []
        for _ in range(count):
            # The stream holds on to nothing, so that what is left is the connection's.
            stream = IdleStream([wire.build(wire.BINARY, bytes(60_000), mask=mask)])
            connection = make_connection(stream, client=client)
            await connection._start(nursery)
            await connection.receive()
            await connection.send(bytes(60_000))
            made.append(connection)
        await trio.testing.wait_all_tasks_blocked()
        return made

    async with trio.open_nursery() as nursery:
        await serve(nursery, 5)  # what is allocated once
        gc.collect()
        tracemalloc.start()
        connections = await serve(nursery, 50)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / len(connections)
        tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert taken == pytest.approx(IDLE_MEMORY, rel=0.2)


@pytest.mark.checklist("LM09")
@both_roles
@whole_and_torn
async def test_a_peers_reason_is_escaped(
    nursery: trio.Nursery, autojump_clock: Clock, client: bool, torn: bool
) -> None:
    """Line breaks and controls in a reason stay out of texts, and its length is bounded."""
    reason = "\r\n\x1b[31m\u202e\0" * 12
    connection, peer = await connect(nursery, client=client, torn=torn)
    await peer.send(peer.close(4000, reason.encode()[:123]))
    with pytest.raises(ConnectionClosed) as caught:
        await connection.receive()
    for text in (str(caught.value), repr(caught.value), repr(connection)):
        assert text.isprintable() and len(text) < 1000


async def test_iteration_over_two_connections(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    """The channel protocol of Trio is enough to relay messages from one connection to another."""

    async def relay(source: trio.abc.ReceiveChannel[Any], sink: trio.abc.SendChannel[Any]) -> None:
        async with sink:
            async for message in source:
                await sink.send(message)

    first, middle_in = await connect_pair(nursery, streams=socket_pair)
    middle_out, last = await connect_pair(nursery, streams=socket_pair)
    nursery.start_soon(relay, middle_in, middle_out)
    async with first:
        for number in range(100):
            await first.send(str(number))
    assert [message async for message in last] == [str(number) for number in range(100)]
    assert last.closed == CloseReason(1000)
