import copy
import pickle

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
)
from trio_ws._errors import ClosedByPeer, ClosedByPeerOnSend, ClosedHere, ConnectionLost

FLAVOURS = [ConnectionClosed, ClosedHere, ClosedByPeer, ClosedByPeerOnSend, ConnectionLost]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1000, "NORMAL_CLOSURE"),
        (1001, "GOING_AWAY"),
        (1002, "PROTOCOL_ERROR"),
        (1003, "UNSUPPORTED_DATA"),
        (1004, "RFC_RESERVED"),
        (1005, "NO_STATUS_RCVD"),
        (1006, "ABNORMAL_CLOSURE"),
        (1007, "INVALID_FRAME_PAYLOAD_DATA"),
        (1008, "POLICY_VIOLATION"),
        (1009, "MESSAGE_TOO_BIG"),
        (1010, "MANDATORY_EXT"),
        (1011, "INTERNAL_ERROR"),
        (1012, "SERVICE_RESTART"),
        (1013, "TRY_AGAIN_LATER"),
        (1014, "BAD_GATEWAY"),
        (1015, "TLS_HANDSHAKE_FAILED"),
        (1016, "RFC_RESERVED"),
        (2999, "RFC_RESERVED"),
        (3000, "IANA_RESERVED"),
        (3999, "IANA_RESERVED"),
        (4000, "PRIVATE_RESERVED"),
        (4999, "PRIVATE_RESERVED"),
        (999, "INVALID_CODE"),
        (5000, "INVALID_CODE"),
        (0, "INVALID_CODE"),
    ],
)
def test_each_code_has_a_name(code: int, name: str) -> None:
    """A close reason names its code, or the range that it lies in."""
    assert CloseReason(code).name == name


def test_close_reasons_compare_by_value() -> None:
    """Two reasons of the same code and text are equal, and usable as keys."""
    assert CloseReason(1000, "bye") == CloseReason(1000, "bye")
    assert len({CloseReason(1000), CloseReason(1000, None), CloseReason(1001)}) == 2
    assert CloseReason(1000) != CloseReason(1000, "bye")


@pytest.mark.parametrize(
    ("flavour", "base", "others"),
    [
        (ClosedHere, trio.ClosedResourceError, (trio.EndOfChannel, trio.BrokenResourceError)),
        (ClosedByPeer, trio.EndOfChannel, (trio.ClosedResourceError, trio.BrokenResourceError)),
        (
            ClosedByPeerOnSend,
            trio.BrokenResourceError,
            (trio.ClosedResourceError, trio.EndOfChannel),
        ),
        (ConnectionLost, trio.BrokenResourceError, (trio.ClosedResourceError, trio.EndOfChannel)),
    ],
)
def test_each_flavour_is_one_of_trios_exceptions(
    flavour: type[ConnectionClosed],
    base: type[Exception],
    others: tuple[type[Exception], ...],
) -> None:
    """Generic Trio code catches each way to end as what it is, and as nothing else."""
    assert issubclass(flavour, base)
    assert not issubclass(flavour, others)


def test_handshake_errors_have_one_base() -> None:
    """What can go wrong with a handshake is a `HandshakeError`; a closed connection is none."""
    for kind in (ConnectionTimeout, DisconnectionTimeout, ConnectionRejected):
        assert issubclass(kind, HandshakeError)
    assert not issubclass(ConnectionClosed, HandshakeError)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("reason", [CloseReason(1001, "going"), CloseReason(1005), None], ids=str)
def test_closed_can_be_copied_and_pickled(
    flavour: type[ConnectionClosed], reason: CloseReason | None
) -> None:
    """Copies of the exception have its type, its reason and its text."""
    error = flavour(reason)
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is flavour
        assert twin.reason == reason
        assert (str(twin), repr(twin)) == (str(error), repr(error))


def test_rejected_can_be_copied_and_pickled() -> None:
    """Copies of a rejection have its status, headers and body."""
    error = ConnectionRejected(403, ((b"server", b"x"),), b"no")
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert (twin.status_code, twin.headers, twin.body) == (403, ((b"server", b"x"),), b"no")
        assert str(twin) == "the server answered 403 instead of 101"
        assert repr(twin) == "ConnectionRejected(status_code=403)"


def test_subclasses_need_not_call_our_init() -> None:
    """A subclass with an ``__init__`` of its own has all attributes, and can set them."""

    class OwnClosed(ConnectionClosed):
        def __init__(self) -> None:
            pass

    class OwnRejected(ConnectionRejected):
        def __init__(self) -> None:
            pass

    closed, rejected = OwnClosed(), OwnRejected()
    assert closed.reason is None
    assert (str(closed), repr(closed)) == ("the connection is closed", "OwnClosed(None)")
    closed.reason = CloseReason(4000)
    assert "4000" in str(closed)
    assert (rejected.status_code, rejected.headers, rejected.body) == (0, None, None)
    assert repr(rejected) == "OwnRejected(status_code=0)"
    rejected.note = "any attribute"  # type: ignore[attr-defined]


def test_closed_says_why() -> None:
    """Text and repr of the exception tell the code, its name and the reason."""
    error = ConnectionLost(CloseReason(1002, "unmasked"))
    assert str(error) == "the connection is closed: 1002 PROTOCOL_ERROR: 'unmasked'"
    assert repr(error) == "ConnectionLost(CloseReason(code=1002, reason='unmasked'))"
    assert str(ClosedHere(CloseReason(1000))) == "the connection is closed: 1000 NORMAL_CLOSURE"


@pytest.mark.checklist("LM09")
@settings(deadline=None)
@given(st.text(max_size=123))
def test_a_peers_text_is_escaped(reason: str) -> None:
    """A reason from the wire cannot put line breaks or controls into a log."""
    error = ClosedByPeer(CloseReason(1000, reason))
    for text in (str(error), repr(error)):
        assert text.isprintable()
        assert len(text) < 100 + 10 * 123
