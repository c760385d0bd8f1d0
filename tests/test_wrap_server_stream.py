"""`wrap_server_stream`: requests that are no good, and streams that break."""

import pytest
import trio
import trio.testing

import trio_ws
from tests.support.servers import (
    CLOSE,
    TEXT,
    WholeStream,
    frame,
    pair,
    status,
    upgrade,
)


@pytest.fixture(params=["whole", "torn"])
def torn(request: pytest.FixtureRequest) -> bool:
    """Whether the library receives one byte at a time."""
    return bool(request.param == "torn")


# --- wrap_server_stream


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (upgrade().replace(b"GET", b"POST"), 405),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (upgrade().replace(b"Version: 13", b"Version: 8"), 426),
        (upgrade(b"Origin: https://evil.example"), 403),
        (b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n", 426),
        (b"HEAD / HTTP/1.1\r\nHost: server.example\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /" + b"x" * 10_000, 414),
        (upgrade(b"X: " + b"x" * 10_000), 431),
    ],
)
async def test_a_bad_request(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    torn: bool,
    data: bytes,
    expected: int,
) -> None:
    """It is answered, the stream is closed, and the caller gets a `HandshakeError`."""
    stream, peer = pair(torn=torn)
    await peer.send(data)
    with pytest.raises(trio_ws.HandshakeError, match="refused a request") as caught:
        await trio_ws.wrap_server_stream(nursery, stream)
    assert "\r" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert status(await peer.receive_head()) == expected
    await peer.receive_all()
    with pytest.raises(trio.BrokenResourceError):
        await peer.send(b"x")


async def test_a_client_that_leaves_while_it_is_answered(nursery: trio.Nursery) -> None:
    """An answer that cannot be sent is no error of its own."""

    class Deaf(WholeStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError

    stream, peer = pair()
    await peer.send(b"nonsense\r\n\r\n")
    with pytest.raises(trio_ws.HandshakeError, match="refused"):
        await trio_ws.wrap_server_stream(nursery, deaf := Deaf(stream))
    assert deaf.closed


async def test_a_client_that_does_not_read_its_answer(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """The wait for it is bounded."""

    class Stuck(WholeStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

    stream, peer = pair()
    await peer.send(b"nonsense\r\n\r\n")
    began = trio.current_time()
    with pytest.raises(trio_ws.HandshakeError, match="refused"):
        await trio_ws.wrap_server_stream(nursery, stuck := Stuck(stream))
    assert trio.current_time() - began <= 30
    assert stuck.closed


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_a_client_that_hangs_up(nursery: trio.Nursery, sent: bytes) -> None:
    """It is a `HandshakeError` with the cause."""
    stream, peer = pair()
    await peer.send(sent)
    await peer.aclose()
    with pytest.raises(trio_ws.HandshakeError, match="hung up") as caught:
        await trio_ws.wrap_server_stream(nursery, stream)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "error",
    [trio.BrokenResourceError("broken"), trio.ClosedResourceError("closed"), OSError("os")],
    ids=lambda error: type(error).__name__,
)
async def test_a_stream_that_breaks(nursery: trio.Nursery, error: Exception) -> None:
    """So is what the stream raises."""

    class Broken(WholeStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.lowlevel.checkpoint()
            raise error

    stream, _ = pair()
    with pytest.raises(trio_ws.HandshakeError, match=str(error)) as caught:
        await trio_ws.wrap_server_stream(nursery, broken := Broken(stream))
    assert caught.value.__cause__ is error
    assert broken.closed


async def test_the_deadline(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """No request within `connect_timeout` is a `ConnectionTimeout`; the stream is closed."""
    stream, peer = pair()
    began = trio.current_time()
    with pytest.raises(trio_ws.ConnectionTimeout, match="7 s"):
        await trio_ws.wrap_server_stream(nursery, stream, connect_timeout=7)
    assert trio.current_time() - began == 7
    assert await peer.receive_all() == b""


async def test_cancelling_the_wait_for_a_request(nursery: trio.Nursery) -> None:
    """The stream is closed."""
    stream, peer = pair()
    with trio.CancelScope() as scope:
        nursery.start_soon(trio.testing.wait_all_tasks_blocked)
        scope.cancel()
        await trio_ws.wrap_server_stream(nursery, stream)
    assert scope.cancelled_caught
    assert await peer.receive_all() == b""


async def test_the_options_of_a_wrapped_stream(nursery: trio.Nursery) -> None:
    """The sizes may be given by position; a wrong one is an error before any I/O."""
    stream, peer = pair()
    with pytest.raises(ValueError, match="max_message_size"):
        await trio_ws.wrap_server_stream(nursery, stream, 1, -1)
    with pytest.raises(TypeError, match="origins"):
        await trio_ws.wrap_server_stream(nursery, stream, origins="https://a.example")
    await peer.send(upgrade())
    request = await trio_ws.wrap_server_stream(nursery, stream, 1, 10, 100)
    await request.accept()
    assert status(await peer.receive_head()) == 101
    await peer.send(frame(TEXT, b"x" * 11, mask=True))
    opcode, payload = await peer.receive_frame()
    assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
    await peer.aclose()
