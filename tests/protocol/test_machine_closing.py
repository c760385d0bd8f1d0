"""The closing handshake, the end without one, and failures (RFC 6455 sections 5.5.1 and 7)."""

from __future__ import annotations

import pytest

from tests.protocol import wire
from tests.protocol.harness import ROLES, events, failure, feed, outcomes, protocol, sent
from trio_ws._protocol._machine import Close, Event, Failure, Ping

EMPTY_CLOSE = (wire.CLOSE, b"")


@pytest.mark.checklist("CL01", "CL05")
@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
@ROLES
def test_a_close_is_echoed_once(client: bool, key: bytes | None, code: int) -> None:
    """A Close with a code that may be received is answered with this code, once."""
    data = wire.close(code, b"na\xc3\xafve", mask=key)
    outcome = outcomes(data * 2, client=client)
    assert outcome == ([Close(code, "naïve")], [(wire.CLOSE, code.to_bytes(2, "big"))])
    proto = protocol(client=client)
    feed(proto, data)
    assert proto.closed == proto.close_received == Close(code, "naïve")
    assert proto.close_sent == Close(code, "")
    assert (proto.failure, proto.handshake_done, proto.is_open) == (None, True, False)
    proto.receive_eof()
    assert proto.closed == Close(code, "naïve")


@pytest.mark.checklist("CL02")
@ROLES
def test_an_empty_close(client: bool, key: bytes | None) -> None:
    """An empty Close is answered with an empty one and reported as 1005."""
    data = wire.close(mask=key)
    assert outcomes(data, client=client) == ([Close(1005, "")], [EMPTY_CLOSE])
    proto = protocol(client=client)
    feed(proto, data)
    assert proto.closed == proto.close_sent == Close(1005, "")


@pytest.mark.checklist("CL03", "CL04", "CL06", "CL07")
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param(b"\x03", 1002, id="one-byte"),
        *(
            pytest.param(bad.to_bytes(2, "big"), 1002, id=str(bad))
            for bad in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)
        ),
        *(
            pytest.param(bad.to_bytes(2, "big") + b"why", 1002, id=f"{bad}-and-reason")
            for bad in (999, 1005, 5000, 5001, 65535)
        ),
        pytest.param(b"\x03\xe8\xff", 1007, id="not-utf-8"),
        pytest.param(b"\x03\xe8ok\xc3", 1007, id="cut-utf-8"),
        pytest.param(b"\x03\xe8\xed\xa0\x80", 1007, id="surrogate"),
        pytest.param(b"\x03\xe8\xc0\xaf", 1007, id="overlong"),
        pytest.param(b"\x03\xe8" + b"x" * 122 + b"\xc3", 1007, id="cut-by-the-frame"),
    ],
)
@ROLES
def test_a_bad_close(client: bool, key: bytes | None, payload: bytes, code: int) -> None:
    """A Close with a bad code or reason is no Close: it fails the connection."""
    data = wire.build(wire.CLOSE, payload, mask=key)
    assert failure(data, client=client) == (code, len(data))
    proto = protocol(client=client)
    [event] = feed(proto, data)
    assert proto.close_received is None
    assert isinstance(event, Failure)
    assert proto.failure == event
    assert proto.closed == Close(*event)


@pytest.mark.checklist("CL07")
@pytest.mark.parametrize("size", [122, 123])
@ROLES
def test_a_long_reason_is_received(client: bool, key: bytes | None, size: int) -> None:
    """A reason may have up to 123 bytes; a byte more is a control frame that is too long."""
    data = wire.close(1000, b"x" * size, mask=key)
    assert outcomes(data, client=client).events == [Close(1000, "x" * size)]
    assert failure(wire.close(1000, b"x" * 124, mask=key), client=client) == (1002, 2)


@pytest.mark.checklist("CL08")
@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="between-frames"),
        pytest.param(wire.build(wire.TEXT, b"x")[:1], id="in-a-header"),
        pytest.param(wire.build(wire.TEXT, b"xyz")[:-1], id="in-a-payload"),
        pytest.param(wire.build(wire.TEXT, b"xyz", fin=False), id="in-a-message"),
        pytest.param(wire.close(1000)[:-1], id="in-a-close"),
    ],
)
def test_an_end_without_close(begun: bytes) -> None:
    """The end of the stream without a Close frame is 1006, and nothing is sent any more."""
    for ours in (False, True):
        proto = protocol(client=True)
        if ours:
            proto.send_close(1000)
        assert feed(proto, begun) == []
        proto.receive_eof()
        assert events(proto) == []
        assert proto.closed == Close(1006, "")
        assert not proto.is_open
        proto.send_close(1001)
        assert [opcode for opcode, _ in sent(proto)] == [wire.CLOSE] * ours


@pytest.mark.checklist("CL09", "CL10")
@ROLES
def test_only_one_close_is_sent(client: bool, key: bytes | None) -> None:
    """After our Close there is no other one, no pong, and no answer to the peer's."""
    proto = protocol(client=client)
    proto.send_close(4000, "né")
    proto.send_close(1001)
    assert not proto.is_open
    assert not proto.handshake_done
    assert proto.closed == proto.close_sent == Close(4000, "né")
    assert feed(proto, wire.build(wire.PING, b"p", mask=key)) == [Ping(b"p")]
    for send in (
        proto.send_ping,
        proto.send_pong,
        lambda data: proto.send_message(data, text=True),
    ):
        with pytest.raises(AssertionError):
            send(b"")
    assert feed(proto, wire.close(1000, mask=key)) == [Close(1000, "")]
    proto.send_close(1001)
    assert sent(proto) == [(wire.CLOSE, b"\x0f\xa0n\xc3\xa9")]
    assert proto.closed == Close(1000, "")
    assert proto.handshake_done


@pytest.mark.checklist("CL09")
def test_a_close_without_a_code() -> None:
    """Our own Close may be empty as well."""
    proto = protocol()
    proto.send_close(None)
    assert proto.close_sent == Close(1005, "")
    assert sent(proto) == [EMPTY_CLOSE]


@pytest.mark.checklist("CL11")
@ROLES
def test_data_after_the_own_close(client: bool, key: bytes | None) -> None:
    """Until the peer's Close its messages are delivered, within the limits."""
    for size in (10, 11):
        proto = protocol(client=client, max_message_size=10)
        proto.send_close(1000)
        data = wire.build(wire.TEXT, b"x" * size, mask=key)
        [event] = feed(proto, data)
        assert event == ("x" * 10 if size == 10 else Failure(1009, "message too big"))
        assert sent(proto) == [(wire.CLOSE, b"\x03\xe8")]


@pytest.mark.checklist("CL13", "LM09")
@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
def test_after_a_failure_nothing_is_processed(client: bool) -> None:
    """After a failure no frame is looked at, or answered; messages before it came first."""
    key = None if client else wire.KEY
    good = wire.build(wire.TEXT, b"good", mask=key)
    ping = wire.build(wire.PING, b"p", mask=key)
    bad = wire.build(0xB, b"bad", mask=key)
    data = good + ping + bad + good + ping + wire.close(1000, mask=key)
    reason = "reserved opcode 0xb"
    outcome = outcomes(data, client=client)
    assert outcome.events == ["good", Ping(b"p"), Failure(1002, reason)]
    assert outcome.sent == [(wire.PONG, b"p"), (wire.CLOSE, b"\x03\xea" + reason.encode())]
    proto = protocol(client=client)
    feed(proto, data)
    assert (proto.handshake_done, proto.is_open, proto.receiving) == (True, False, False)
    assert feed(proto, good) == []
    proto.receive_eof()
    assert proto.closed == Close(1002, reason)


@pytest.mark.checklist("CL10", "CL13")
def test_a_failure_after_the_own_close() -> None:
    """A violation after our Close is reported, and no second Close says so."""
    proto = protocol()
    proto.send_close(1000)
    assert feed(proto, b"\xff") == [Failure(1002, "reserved opcode 0xf")]
    assert sent(proto) == [(wire.CLOSE, b"\x03\xe8")]
    assert proto.closed == Close(1002, "reserved opcode 0xf")


@pytest.mark.checklist("CL13")
@ROLES
def test_the_first_end_counts(client: bool, key: bytes | None) -> None:
    """To fail a connection that the peer has closed, or that has failed, changes nothing."""
    for data, closed in [
        (wire.close(4000, b"bye", mask=key), Close(4000, "bye")),
        (b"\xff", Close(1002, "reserved opcode 0xf")),
    ]:
        proto = protocol(client=client)
        feed(proto, data)
        said = sent(proto)
        assert proto.fail(1003, "expected text") == Failure(1003, "expected text")
        assert proto.closed == closed
        assert sent(proto) == []
        assert [opcode for opcode, _ in said] == [wire.CLOSE]


@pytest.mark.checklist("CL13", "CL18")
@ROLES
def test_a_violation_can_be_held_back(client: bool, key: bytes | None) -> None:
    """With `hold` a violation waits, so that the messages before it can still be answered."""
    proto = protocol(client=client)
    proto.receive_data(wire.build(wire.TEXT, b"question", mask=key) + b"\xff")
    assert proto.next_event(hold=True) == "question"
    assert not proto.holding
    for _ in range(2):
        assert proto.next_event(hold=True) is None
        assert proto.holding
        assert proto.is_open
    proto.send_message(b"answer", text=True)
    assert proto.next_event() == Failure(1002, "reserved opcode 0xf")
    assert not proto.holding
    assert [opcode for opcode, _ in sent(proto)] == [wire.TEXT, wire.CLOSE]
    assert proto.next_event() is None


@pytest.mark.checklist("CL13")
@pytest.mark.parametrize("begun", [False, True], ids=["between", "inside"])
@ROLES
def test_a_failure_overtakes_a_violation(client: bool, key: bytes | None, begun: bool) -> None:
    """While a violation waits no message arrives, and if we fail first, nothing comes of it."""
    proto = protocol(client=client)
    proto.receive_data(wire.build(wire.TEXT, b"x", fin=False, mask=key) * begun + b"\xff")
    assert proto.next_event(hold=True) is None
    assert proto.holding
    assert not proto.receiving
    failed = proto.fail(1011, "handler failed")
    assert not proto.holding
    assert proto.drained()
    assert proto.next_event() is None
    assert proto.failure == failed
    assert [opcode for opcode, _ in sent(proto)] == [wire.CLOSE]


@pytest.mark.checklist("CL15")
@pytest.mark.parametrize("code", [1000, 1001, 4000])
@ROLES
def test_a_close_inside_a_message(client: bool, key: bytes | None, code: int) -> None:
    """A Close between fragments is legal and echoed; the rest of the message is dropped."""
    data = (
        wire.build(wire.TEXT, b"begun", fin=False, mask=key)
        + wire.close(code, mask=key)
        + wire.build(wire.CONTINUATION, b"end", mask=key)
    )
    assert outcomes(data, client=client) == (
        [Close(code, "")],
        [(wire.CLOSE, code.to_bytes(2, "big"))],
    )
    proto = protocol(client=client)
    feed(proto, data)
    assert not proto.receiving


@pytest.mark.checklist("CL18")
@pytest.mark.parametrize("end", ["close", "eof", "close and eof", "failure", "failure and eof"])
@ROLES
def test_messages_before_the_end_are_kept(client: bool, key: bytes | None, end: str) -> None:
    """What came before a Close, a failure or the end of the stream is there to be had after it."""
    proto = protocol(client=client)
    data = b"".join(wire.build(wire.TEXT, b"%d" % n, mask=key) for n in range(100))
    last: list[Event] = []
    if "close" in end:
        data += wire.close(1001, mask=key)
        last = [Close(1001, "")]
    if "failure" in end:
        data += b"\xff"
        last = [Failure(1002, "reserved opcode 0xf")]
    proto.receive_data(data)
    if "eof" in end:
        proto.receive_eof()
    assert events(proto) == [*map(str, range(100)), *last]
    assert proto.closed == (Close(*last[0]) if last else Close(1006, ""))
    assert [opcode for opcode, _ in sent(proto)] == [wire.CLOSE] * (bool(last) and "eof" not in end)
