"""What must hold once a world has ended: the model, the wire and the library's word agree.

The wire is read by the cancellation harness's parser, which shares no code with the library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, takewhile

import trio

from tests.harness.deflated import DeflateError
from tests.harness.wire import HEAD_END, Wire, WireError, parse

from .ends import End
from .model import Sent
from .visits import judge_visit
from .world import Session, World

# Messages of up to this size, and a link that is not struck: nobody waits for room for long.
_SMALL = 1500
_WIDE = 1 << 16


_LOST = 1006
# Said by ends that look at nothing more.
_FAILED = (1003, 1008, 1009)

# Handlers that do not read, or for which others wait.
_SLOW = ("deaf", "broadcast")


@dataclass
class _Heard:
    """What one end has said: all of it, and as much of it as the other end has read."""

    wire: Wire
    read: Wire


def judge(world: World) -> None:
    """Look at all sessions of a world that has ended."""
    for session in world.sessions.values():
        if session.link is not None:
            _judge_session(world, session)
        elif world.is_calm(session) and not session.struck:
            world.violate("calm", f"{session.plan.name}: never connected: {session.refused!r}")
    for visit in world.visits.values():
        judge_visit(world, visit)
    for sockets in world.network.sockets:
        if sockets.open_ends:
            world.violate("streams", f"open sockets: {sockets.open_ends}")


def _judge_session(world: World, session: Session) -> None:
    link = session.link
    assert link is not None
    if link.open_ends:
        world.violate("streams", f"{link.name}: open ends: {link.open_ends}")
    logs = {role: bytes(pipe.log) for role, pipe in link.pipes.items()}
    heard: dict[str, _Heard] = {}
    try:
        for role in logs:
            heard[role] = _hear(session, role, logs)
    except (WireError, DeflateError) as exc:
        world.violate("wire", f"{link.name}: {exc!r}")
        return
    for sender, receiver in session.flows:
        if sender.conn is None:
            continue
        on_wire = _judge_wire(world, sender, receiver, heard[sender.role].wire)
        if receiver.conn is not None:
            read = heard[sender.role].read
            _judge_received(world, sender, receiver, read, on_wire)
            _judge_close(receiver, heard[receiver.role].wire, read)
    if not world.disturbances:
        _judge_quiet(session)
        _judge_goodbye(session, heard)
    if world.is_calm(session):
        _judge_calm(world, session)


def _hear(session: Session, role: str, logs: dict[str, bytes]) -> _Heard:
    client = role == "client"
    log, answer = logs[role], logs["server"]
    wire = parse(log, client=client, answer=answer)
    receiver = (session.server if client else session.client).conn
    if receiver is None:
        return _Heard(wire, Wire())
    end = len(wire.head) + len(HEAD_END) + receiver.statistics().bytes_received
    if end == len(log):
        return _Heard(wire, wire)
    if end > len(log):
        session.client.violate("statistics", f"{role}'s peer has read {end} bytes of {len(log)}")
    return _Heard(wire, parse(log[:end], client=client, answer=answer))


def _judge_wire(world: World, sender: End, receiver: End, wire: Wire) -> list[Sent]:
    """What was sent is what `send` says: in order, once, and nothing that was cancelled."""
    flow = sender.out
    found = flow.identify(wire.messages)
    numbers = [sent.number for sent in found]
    if any(second <= first for first, second in pairwise(numbers)):
        sender.violate("order", f"on the wire: {numbers}")
    for sent in found:
        if sent.state == "cancelled":
            sender.violate("cancelled", f"{sent.key} is on the wire")
    missing = {sent.key for sent in flow.sent if sent.state == "confirmed"}
    missing -= {sent.key for sent in found}
    # A Close frame is the last, so all that was confirmed is before it, whatever has happened.
    if missing and (wire.close is not None or not _may_lose(sender, receiver)):
        sender.violate("lost", f"confirmed, and not on the wire: {sorted(missing)}")
    conn = sender.connection
    stats = conn.statistics()
    if stats.messages_sent < len(found):
        sender.violate("statistics", f"{len(found)} messages on the wire: {stats}")
    if wire.rest and not (_may_lose(sender, receiver) or receiver.plan.link.transport == "tls"):
        sender.violate("wire", f"torn at the end: {wire.rest[:20]!r}")
    return found


def _may_lose(sender: End, receiver: End) -> bool:
    """Whether messages that were confirmed may never have left."""
    if receiver.conn is None:
        return True
    codes = {end.closed.code for end in (sender.connection, receiver.conn) if end.closed}
    return bool(
        sender.forced
        or receiver.left_open
        or receiver.shut_down
        or sender.shut_down
        or codes & {_LOST, *_FAILED}
    )


def _judge_received(
    world: World, sender: End, receiver: End, read: Wire, on_wire: list[Sent]
) -> None:
    """No gap, and nothing of what has arrived is lost."""
    received = sorted(sent.number for sent in receiver.into.received)
    limit = receiver.plan.options.get("max_message_size", math.inf)
    fitting = takewhile(
        lambda sent: receiver.role == "server" or sent.size <= limit,
        sender.out.identify(read.messages),
    )
    arrived = [sent.number for sent in fitting]
    if received != arrived[: len(received)]:
        receiver.violate("gap", f"received {received} of {arrived}")
    end = receiver.drained
    if end is None or isinstance(end, trio.ClosedResourceError):
        return
    closed = receiver.connection.closed
    if closed is not None and closed.code in _FAILED:
        return
    if len(received) < len(arrived):
        receiver.violate("lost", f"received {received} of {arrived}, then {end!r}")
    if isinstance(end, trio.EndOfChannel):
        lost = [
            sent.key
            for sent in sender.out.sent
            if sent.state == "confirmed" and not sender.out.has_received(sent.key)
        ]
        if lost:
            receiver.violate("lost", f"{lost}, and then a clean end: {end!r}")
    stats = receiver.connection.statistics()
    if stats.messages_queued:
        receiver.violate("statistics", f"queued after the end: {stats}")


def _judge_close(end: End, own: Wire, read: Wire) -> None:
    """What an end says of its close is what one of both has said."""
    closed = end.connection.closed
    if closed is None:
        end.violate("close", "still open")
        return
    codes = end.codes | {code for code, _ in filter(None, (own.close, read.close))}
    if closed.code not in codes:
        end.violate("close", f"{closed!r} instead of one of {sorted(codes)}")
    for exc in end.ends:
        if not isinstance(exc, trio.EndOfChannel):
            continue
        if read.close is None or exc.reason is None or exc.reason.code != read.close[0]:
            end.violate("close", f"{exc!r}, and {read.close} was read")
    if own.close is not None and own.close[0] == 1002:
        end.violate("close", f"the peer broke the protocol: {own.close}")


def _judge_quiet(session: Session) -> None:
    """Where nothing cuts a connection off, both ends close it."""
    plan, link, client, server = session.plan, session.link, session.client, session.server
    late = {plan.receiving, plan.server_receiving} & {"slow", "busy"}
    slow = late or plan.handler in _SLOW
    if link is None or link.struck or client.conn is None or slow:
        return
    if client.forced or server.forced:
        return
    for end in (client, server):
        if end.conn is not None and end.conn.closed is not None and end.conn.closed.code == _LOST:
            end.violate("close", f"{end.conn.closed}, and nothing had cut it off")


def _judge_goodbye(session: Session, heard: dict[str, _Heard]) -> None:
    """A client that is cancelled says Close, if its link takes it (invariant 10)."""
    plan, link, client = session.plan, session.link, session.client
    cancelled = plan.ending in {"cancel", "deadline", "nursery"} and client.forced
    if not cancelled or link is None or client.conn is None or session.server.conn is None:
        return
    # Of TLS the log is what was read; a socket's end does not wait for room, and its buffer is full
    # after some ten writes, however small.
    few = len(client.out.sent) <= 5 and not link.plan.grain
    fine = {"mem": True, "sock": few, "tls": False}[link.plan.transport]
    roomy = fine and link.plan.window >= _WIDE and plan.largest <= _SMALL and not link.struck
    ended = session.server.forced or any(
        isinstance(exc, trio.BrokenResourceError) for exc in client.ends
    )
    says_nothing = all(one.wire.close is None for one in heard.values())
    if roomy and not ended and says_nothing:
        client.violate("goodbye", "cancelled, and no Close frame")


def _judge_calm(world: World, session: Session) -> None:
    """Nothing has befallen it: so all has to be well."""
    if session.refused is not None:
        if world.plan.server.options.get("max_connections") is None:
            world.violate("calm", f"{session.plan.name}: {session.refused!r}")
        return
    for sender, receiver in session.flows:
        if sender.conn is None:
            sender.violate("calm", "no connection")
            continue
        closed = sender.conn.closed
        if closed is None or closed.code != 1000:
            sender.violate("calm", f"closed with {closed}")
        if sender.out.outstanding:
            sender.violate("calm", f"{sender.out.outstanding} messages never arrived")
        _judge_counts(sender, receiver)


def _judge_counts(sender: End, receiver: End) -> None:
    """Without trouble the counts of both ends agree exactly."""
    if receiver.conn is None:
        return
    ours, theirs = sender.connection.statistics(), receiver.conn.statistics()
    confirmed = sum(sent.state == "confirmed" for sent in sender.out.sent)
    if not ours.messages_sent == theirs.messages_received == confirmed:
        sender.violate("statistics", f"{confirmed} confirmed, {ours}, {theirs}")
    if ours.compressed_bytes_sent != theirs.compressed_bytes_received:
        sender.violate("statistics", f"compressed: {ours}, {theirs}")
    if ours.bytes_buffered:
        sender.violate("statistics", f"buffered after the end: {ours}")
