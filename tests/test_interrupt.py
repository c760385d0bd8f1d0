"""Ctrl-C: `KeyboardInterrupt` comes out of clients and servers, in no group of ours."""

import signal

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    CLOSE,
    GOING_AWAY,
    MemoryListener,
    Peer,
    Served,
    frame,
    pair,
    status,
    upgrade,
)
from trio_ws._services import ServiceNursery

pytestmark = pytest.mark.checklist("CA07")


@trio.lowlevel.enable_ki_protection
async def interrupt() -> None:
    """Press Ctrl-C once the others wait. Trio gives it to the main task."""
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)
        for _ in range(5):
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("phase", ["connecting", "open", "leaving"])
def test_interrupting_a_client(monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    """In each phase the exception comes out bare, and the peer is told if it can be."""
    stream, peer = pair()

    async def connect(host: str, port: int) -> trio.abc.Stream:
        return stream

    async def serve() -> None:
        if phase == "connecting":
            assert await peer.receive_all()
            return
        await peer.accept()
        if phase == "leaving":
            await peer.receive_all()
            return
        assert await peer.receive_frame() == (CLOSE, GOING_AWAY)
        await peer.aclose()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(interrupt)
            with pytest.raises(KeyboardInterrupt):
                async with trio_ws.open_websocket_url("ws://server.example/") as connection:
                    if phase == "open":
                        await connection.receive()
            assert not trio.lowlevel.current_task().child_nurseries[1:]

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_interrupting_the_wait_for_the_services() -> None:
    """The last wait of all, for the connection's tasks, leaves it to the next checkpoint."""

    async def main() -> None:
        services = ServiceNursery()
        nursery = await services.__aenter__()
        nursery.start_soon(interrupt)
        await services.__aexit__(None, None, None)
        with pytest.raises(KeyboardInterrupt):
            await trio.lowlevel.checkpoint()

    trio.run(main)


def test_interrupting_a_server() -> None:
    """The server ends as by any cancellation: its peers see 1001."""
    listener = MemoryListener()
    peers: list[Peer] = []

    async def handler(request: trio_ws.WebSocketRequest) -> None:
        await (await request.accept()).receive()

    async def main() -> None:
        server = trio_ws.WebSocketServer(handler, [listener])
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            peers.append(await Served(server, listener).open())
            nursery.start_soon(interrupt)
            await trio.sleep_forever()

    async def look() -> None:
        assert await peers[0].receive_frame() == (CLOSE, GOING_AWAY)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    (error,) = caught.value.exceptions
    assert type(error) is KeyboardInterrupt
    trio.run(look)


def test_interrupting_accept() -> None:
    """A handler that is interrupted while it accepts leaves no connection behind."""
    stream, peer = pair()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await peer.send(upgrade())
            request = await trio_ws.wrap_server_stream(nursery, stream)
            nursery.start_soon(interrupt)
            connection = await request.accept()
            with pytest.raises(KeyboardInterrupt):
                await connection.receive()
            assert status(await peer.receive_head()) == 101
            await peer.send(frame(CLOSE, b"", mask=True))
            await connection.wait_closed()

    trio.run(main)
