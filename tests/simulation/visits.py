"""Ordinary HTTP requests among the WebSockets: who sends them, what answers, and what must hold."""

from __future__ import annotations

from typing import Final

import trio

from trio_ws import HTTPRequest, HTTPResponse

from .ends import SLACK, AppError
from .network import Refused
from .plan import CONNECT_TIMEOUT, VisitPlan
from .world import Visit, World

_HEAD_END: Final = b"\r\n\r\n"
_SIZES: Final = {"large": 3000}
# What a server may say to a request that comes at the wrong time.
_STATUSES: Final = {200, 405, 408, 426, 500, 503}
# Virtual seconds: what the slow page takes, and any request to its answer's end.
_SLOW: Final = 3.0
_LONGEST: Final = CONNECT_TIMEOUT + _SLOW + SLACK


def _content(name: str, what: str) -> bytes:
    """The body of a page."""
    return f"the {what} of {name}. ".encode().ljust(_SIZES.get(what, 40), b".")


async def page(world: World, request: HTTPRequest) -> HTTPResponse:
    """The server's ``http_handler``."""
    visit = world.visits.get(request.path.removeprefix("/"))
    if visit is None or request.method != visit.plan.method:
        world.violate("whole", f"a request for {request.method} {request.path!r}")
        raise AppError
    plan = visit.plan
    world.trace.add(plan.name, "request", plan.page)
    if plan.page == "slow":
        await trio.sleep(_SLOW)
    if plan.page == "raise":
        raise AppError(plan.name)
    return HTTPResponse(200, [("X-Page", plan.name)], _content(plan.name, plan.page))


# The client


async def visit(world: World, plan: VisitPlan) -> None:
    """Send a request, and read the answer to its end."""
    await trio.sleep(plan.starts_at)
    one = world.new_visit(plan)
    started = trio.current_time()
    with trio.move_on_after(plan.patience) as scope:
        try:
            await _ask(world, one)
        except (trio.BrokenResourceError, Refused) as exc:
            world.trace.add(plan.name, "refused", repr(exc))
    took = trio.current_time() - started
    if not scope.cancelled_caught and _is_undisturbed(world, one) and took > _LONGEST:
        world.violate("time", f"{plan.name}: a {plan.page} took {took:.3f} s")
    one.is_over = True


async def _ask(world: World, one: Visit) -> None:
    plan = one.plan
    with trio.move_on_after(2 * _LONGEST):  # a link may freeze, in the TLS handshake as well
        async with await world.network.stream(one) as stream:
            head = f"{plan.method} /{plan.name} HTTP/1.1\r\nHost: {plan.name}.test"
            await stream.send_all(head.encode() + (b"" if plan.page == "half" else _HEAD_END))
            world.trace.add(plan.name, "asks", plan.page)
            while data := await stream.receive_some():
                one.answer += data
            one.has_ended = True
    world.trace.add(plan.name, "answer", one.answer)


# The judge


def judge_visit(world: World, one: Visit) -> None:
    """The answer is the right one, or a part of it if something was in its way."""
    name, link = one.plan.name, one.link
    if link is not None and link.open_ends:
        world.violate("streams", f"{name}: open ends: {link.open_ends}")
    undisturbed = _is_undisturbed(world, one) and one.plan.patience >= CONNECT_TIMEOUT
    if undisturbed and not one.has_ended:
        world.violate("http", f"{name}: no end of the answer: {one.answer!r}")
    head, found, body = one.answer.partition(_HEAD_END)
    if not found:
        if undisturbed and one.plan.page != "half":
            world.violate("http", f"{name}: no answer: {one.answer!r}")
        return
    status, length = _parse(head)
    expected = _expected(world, one.plan)
    if status not in ({expected} if undisturbed else _STATUSES):
        world.violate("http", f"{name}: {status} instead of {expected}")
    whole = _content(name, one.plan.page)
    if status == 200 and length != len(whole):
        world.violate("http", f"{name}: a body of {length} bytes instead of {len(whole)}")
    if one.plan.method == "HEAD":
        whole, length = b"", 0
    if status == 200 and not whole.startswith(body):
        world.violate("http", f"{name}: {body!r} is not {whole!r}")
    if len(body) > length or (undisturbed and len(body) < length):
        world.violate("http", f"{name}: {len(body)} bytes of {length}: {body!r}")


def _is_undisturbed(world: World, one: Visit) -> bool:
    """Whether nothing but the clients' own plans is in the way of an answer."""
    busy = world.plan.server.options.get("max_connections") is not None
    return not (world.disturbances or one.struck or one.plan.faults or busy)


def _expected(world: World, plan: VisitPlan) -> int:
    server = world.plan.server
    if plan.page == "half":
        return 408
    if server.kind == "wrap" or not server.has_pages:
        return 405 if plan.method == "HEAD" else 426
    return 500 if plan.page == "raise" else 200


def _parse(head: bytes) -> tuple[int, int]:
    """The status and the length of a response."""
    first, *lines = head.lower().split(b"\r\n")
    fields = dict(line.split(b":", 1) for line in lines)
    return int(first.split()[1]), int(fields[b"content-length"])
