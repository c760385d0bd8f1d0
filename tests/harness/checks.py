"""What must hold after a run.

I1 the wire is a prefix of well-formed frames. I2 each message that was sent arrived whole, once
or not at all, in order, and each whose send returned arrived unless the connection was lost. I3
what was received has no gap and no double. I4 the connection is usable or closed. I5 tasks,
streams and descriptors are what they were. I6 at most one Close, and nothing behind it. I7 the
contexts of compressor and inflater agree, in both directions: what is on the wire inflates to what
was sent, is as small as all that went before it allows, and the library receives the same. I8 only
documented exceptions, and Cancelled neither swallowed nor leaked. I9 all in time. I10 no warning.
And the goodbye: a peer of a cancelled connection sees 1001.
"""

from __future__ import annotations

import trio

import trio_ws

from .content import LARGE
from .deflated import DeflateError, Expected
from .faults import ERRORS, INJECTED
from .injection import CALL_KINDS
from .internals import has_broken
from .links import ON_SOCKETS
from .side import Side
from .tls import arrived
from .wire import Wire, WireError, parse
from .world import CONNECT_TIMEOUT, DISCONNECT_TIMEOUT, PROBE_TIMEOUT, WRITE_TIMEOUT, World

# Virtual seconds that a cancelled call may take: a Close frame and a close_notify on a stream that
# takes neither, half a second each.
_CANCELLED_WITHIN = 1.01
# Close code of an end without a Close frame.
_LOST = 1006
# Close codes of an end that got what no peer may send.
_REFUSALS = {1002, 1007}
# Close code of an end that could not inflate a message.
_CORRUPT = 1007
# That any call of a scenario may take: all deadlines in a row, and the scenario's own sleeps.
_ENDED_WITHIN = CONNECT_TIMEOUT + WRITE_TIMEOUT + DISCONNECT_TIMEOUT + 4
# When the peer falls silent, it takes keepalive to see it: the defaults of both options.
_SILENCE = 20 + 20


async def probe(world: World, side: Side) -> None:
    """I4: is a connection that says it is open usable? A ping and some messages each way."""
    ends = (side, side.peer)
    if any(end.connection.closed is not None for end in ends):
        world.usable = False
        return

    async def use(end: Side) -> None:
        try:
            await end.connection.ping()
            for _ in range(3):
                await end.send(end.text())
            if world.deflate is not None:  # I7, in steps as well
                for size in (LARGE, 20, 300):
                    await end.send(end.binary(size))
        except trio_ws.ConnectionClosed:
            pass  # `closed` tells

    patience = PROBE_TIMEOUT + (_longest(world) if world.fault.way else 0)
    with trio.move_on_after(patience) as scope:
        await world.wait_idle()
        async with trio.open_nursery() as nursery:
            for end in ends:
                nursery.start_soon(use, end)
        for end in ends:
            count = sum(entry.state == "confirmed" for entry in end.sent)
            await end.peer.wait_received(count)
    world.usable = all(end.connection.closed is None for end in ends)
    if scope.cancelled_caught and world.usable:
        world.violate("I4", f"open and unusable: {[end.connection for end in ends]}")


async def finish(world: World, *, use: bool) -> None:
    """Use each connection if asked to, or see that it ends; then close it."""
    for sides in world.sides.values():
        ends = [side for side in sides.values() if side.conn is not None]
        if use:
            for end in ends:
                world.read(end)
        if use and len(ends) == 2:
            await probe(world, ends[0])
        for end in ends:
            if end.connection.closed is None:
                end.has_closed = True
            with trio.move_on_after(2 * DISCONNECT_TIMEOUT) as scope:
                if end.has_closed and not end.goodbye_due:  # else it has to end by itself
                    await end.connection.aclose()
                await end.connection.wait_closed()
            if scope.cancelled_caught:
                world.violate("I9", f"not closed in time: {end.connection}")


def check_victim(world: World) -> None:
    """I8, I9: how the call has ended, and when."""
    victim, injector = world.victim, world.injector
    outcome = victim.outcome
    if victim.watched:
        return
    if victim.ended_at is None:
        world.violate("I9", "the call has not ended")
        return
    fired = injector.fired_at is not None
    may_cancel = fired and not injector.breaks and (not injector.targets_nursery or victim.enclosed)
    if world.must_raise is not None:
        if not isinstance(outcome, world.must_raise):
            world.violate("I8", f"the block's exception was masked: {outcome!r}")
    elif victim.cancelled:
        if not (may_cancel or world.may_be_cancelled):
            world.violate("I8", f"Cancelled has leaked: {outcome!r}")
    elif injector.delivered and may_cancel:
        world.violate("I8", f"Cancelled was swallowed: {outcome!r}")
    elif outcome is not None and not _is_documented(world, outcome):
        world.violate("I8", f"undocumented: {outcome!r} from {outcome.__cause__!r}")
    _check_cause(world, outcome)
    if injector.fired_at is not None and may_cancel:
        took = victim.ended_at - injector.fired_at
        if took > _CANCELLED_WITHIN:
            world.violate("I9", f"took {took} s to be cancelled")
    if victim.ended_at - victim.started_at > _longest(world):
        world.violate("I9", f"took {victim.ended_at - victim.started_at} s")


def _longest(world: World) -> float:
    """Virtual seconds after which a call has ended, whatever happens.

    A stalled write is seen sooner than silence, unless the kernel has taken what was written. And
    with the length of a TLS record garbled the peer waits for more.
    """
    fault = world.fault
    kernel = world.transport in ON_SOCKETS and fault.way
    unseen = fault.way == "receive" or fault.what == "garbage" or kernel
    return _ENDED_WITHIN + (_SILENCE if unseen else 0)


def _check_cause(world: World, outcome: BaseException | None) -> None:
    """I8: who hears that the connection was lost hears why (invariant 7)."""
    if not world.fault.struck or not isinstance(outcome, trio_ws.ConnectionClosed):
        return
    lost = outcome.reason is not None and outcome.reason.code == _LOST
    if not lost or not isinstance(outcome, trio.BrokenResourceError):
        return
    cause = outcome.__cause__
    # A socket has errors of its own.
    injected = world.fault.what in ERRORS and world.transport not in ON_SOCKETS
    if cause is None or (injected and INJECTED not in str(cause)):
        world.violate("I8", f"lost, and it does not say why: {outcome!r} from {cause!r}")


def _is_documented(world: World, exc: BaseException) -> bool:
    # A nursery that was cancelled may have closed before the connection's tasks got there.
    closed = isinstance(exc, RuntimeError) and "ursery is closed" in str(exc)
    return isinstance(exc, world.allowed) or (closed and world.injector.targets_nursery)


def check_wires(world: World, *, survives: bool) -> None:
    """I1, I2, I3, I6 and the goodbye."""
    for sides in world.sides.values():
        wires: dict[str, Wire] = {}
        answer = sides["server"].link.log("server")
        for side in sides.values():
            log = side.link.log(side.role)
            try:
                wires[side.role] = parse(log, client=side.role == "client", answer=answer)
            except WireError as exc:
                world.violate("I1", f"{side.role}: {exc}")
            except DeflateError as exc:
                world.violate("I7", f"{side.role}: {exc}")
        for role in sides["server"].link.resets:
            if sides[role].conn is not None:
                world.violate("goodbye", f"{role}: a reset, which may overtake the Close frame")
        for role, wire in wires.items():
            _check_sent(world, sides[role], wire)
            _check_received(world, sides[role], wire)
            _check_contexts(world, sides[role], wire)
            _check_goodbye(world, sides[role], wire, wires.get(sides[role].peer.role))
    kind = "" if world.injection is None else world.injection.kind
    if survives and world.usable is False and kind in CALL_KINDS:
        world.violate("I4", "the connection has not survived the cancellation of a call")


def _check_sent(world: World, side: Side, wire: Wire) -> None:
    """I1, I2: each message 0 or 1 times, whole, in the order of the calls."""
    alive = world.usable or wire.close is not None
    if wire.close is not None and wire.close[0] in _REFUSALS and wire.agreed is None:
        world.violate("I1", f"{side.role} has refused what came: {wire.close}")
    if alive and wire.rest:
        world.violate(
            "I1", f"{side.role}: a torn frame, though it was not lost: {wire.rest[:30]!r}"
        )
    if side.conn is None:
        return
    if _is_corrupt(world, side, wire):
        return
    waiting = list(wire.messages)
    for entry in side.sent:
        arrived = bool(waiting) and waiting[0] == entry.message
        if arrived:
            waiting.pop(0)
        if arrived and entry.state == "cancelled":
            world.violate("I2", f"{side.role}: cancelled, and yet sent: {entry.message[:30]!r}")
        if not arrived and entry.state == "confirmed" and alive:
            world.violate("I2", f"{side.role}: confirmed, and not sent: {entry.message[:30]!r}")
    if waiting:
        world.violate("I2", f"{side.role}: sent twice, or out of order: {waiting[0][:30]!r}")


def _is_corrupt(world: World, side: Side, wire: Wire) -> bool:
    """I7: does a message inflate to what was never sent?"""
    sent = {entry.message for entry in side.sent}
    for number in wire.compressed:
        if wire.messages[number] not in sent:
            world.violate("I7", f"{side.role}: never sent: {wire.messages[number][:40]!r}")
            return True
    return False


def _check_received(world: World, side: Side, wire: Wire) -> None:
    """I3: what the peer has received is what is on the wire, without a gap."""
    peer = side.peer
    if peer.conn is None:
        return
    received = peer.received
    if received != wire.messages[: len(received)]:
        known = all(message in wire.messages for message in received)
        invariant = "I7" if wire.compressed and not known else "I3"
        world.violate(invariant, f"{peer.role}: a gap or a double in {received!r:.200}")
    elif world.fault.struck and not peer.has_closed:
        _check_before_the_fault(world, side)
    elif len(received) < len(wire.messages) and (
        world.usable or (wire.close is not None and not peer.has_closed)
    ):
        missing = wire.messages[len(received)]
        world.violate("I3", f"{peer.role}: has not received {missing[:30]!r}")


def _check_before_the_fault(world: World, side: Side) -> None:
    """I3: what the peer's stream has yielded before it failed can be received (CL18)."""
    answer = side.link.log("server") if side.role == "client" else b""
    log = arrived(side.link, side.role)
    before = parse(log, client=side.role == "client", answer=answer).messages
    if len(side.peer.received) < len(before):
        missing = before[len(side.peer.received)]
        world.violate("I3", f"{side.peer.role}: arrived before the fault: {missing[:30]!r}")


def _check_contexts(world: World, side: Side, wire: Wire) -> None:
    """I7: the compressor has its whole window, and the peer's inflater understands it."""
    wish = world.deflate
    if wish is None or not wire.head:
        return
    if wire.agreed is None:
        if side.role == "server" and side.conn is not None:
            world.violate("I7", "no compression was agreed on")
        return
    world.inflated += len(wire.compressed)
    peer = side.peer.conn
    if peer is not None and peer.closed is not None and peer.closed.code == _CORRUPT:
        world.violate("I7", f"{side.peer.role}: {peer.closed}, of data that inflates")
    if not wire.agreed.takeover[side.role]:
        return
    bits = wire.agreed.bits[side.role]
    expected = Expected(bits, level=wish.level, mem_level=wish.mem_level)
    for number, size in wire.compressed.items():
        message = wire.messages[number]
        most = expected.most(message.encode() if isinstance(message, str) else message)
        if size > most:
            world.violate("I7", f"{side.role}: {size} bytes of {most}: {message[:30]!r}")
            return


def _check_goodbye(world: World, side: Side, wire: Wire, answer: Wire | None) -> None:
    """Invariant 10: the peer of a cancelled connection sees 1001.

    Another Close frame may have come first: of this end's own `aclose`, or the echo of the peer's.
    """
    if not side.goodbye_due or side.conn is None:
        return
    codes = {1001, 1000} if side.says_close else {1001}
    if answer is not None and answer.close is not None:
        codes.add(answer.close[0])
    if wire.close is None:
        # Under TLS in memory nobody knows what the peer has not decrypted, and an `SSLStream` one
        # of whose writes has failed, since this end has closed, decrypts nothing more.
        peer = side.peer.conn
        if world.transport != "tls" or peer is None or not has_broken(peer):
            world.violate("goodbye", f"{side.role}: no Close frame")
        return
    if wire.close[0] not in codes:
        world.violate("goodbye", f"{side.role}: {wire.close} instead of 1001")
    closed = None if side.peer.conn is None else side.peer.conn.closed
    if closed is not None and closed.code == 1006:
        world.violate("goodbye", f"{side.peer.role}: has seen {closed}, not 1001")


def check_left_over(world: World) -> None:
    """I5: streams. Tasks and descriptors are counted by whoever runs Trio."""
    for link in world.links:
        if link.open_ends:
            world.violate("I5", f"open streams: {len(link.open_ends)}")
    for sides in world.sides.values():
        for side in sides.values():
            if side.conn is not None and side.conn.closed is None:
                world.violate("I4", f"still open at the end: {side.conn}")
