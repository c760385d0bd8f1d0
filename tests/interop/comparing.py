"""What a client and a server report of a case, beside what they must have seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.interop.cases import Case, Message, encode, fingerprint
from tests.interop.compression import Parameters, agreed, parse, shrinks, told

# aiohttp answers a Close with 1000, whatever its code; RFC 6455 5.5.1: "typically" it is echoed.
ECHOED_CODE = {"aiohttp": 1000}
# Bytes below which headers, masks and commands count for too much.
_ENOUGH = 10_000
Report = dict[str, Any]


def expected(case: Case, client: str, server: str) -> Report:
    """What `seen` must return for this case."""
    if case.status != 101:
        return {"status": case.status}
    other = server if case.closer == "client" else client
    code = 1005 if case.code is None else case.code
    agreement = agreed(client, server, case.compression)
    view: Report = {
        "status": 101,
        "received": [fingerprint(message.data) for message in case.receive],
        "client subprotocol": case.subprotocol,
        "server subprotocol": case.subprotocol,
        "client compression": told(client, "client", agreement),
        "server compression": told(server, "server", agreement),
        "close": [code, case.reason],
        "echo": code if case.code is None else ECHOED_CODE.get(other, code),
    }
    for sender, data, _ in _directions(case):
        view[f"{sender} shrinks"] = shrinks(data, client, server, case.compression, sender=sender)
    return _without_chance(view, case)


def seen(
    case: Case, client: str, server: str, outcome: Report, record: Report | None
) -> dict[str, Any]:
    """What the client reports (`outcome`) and what the server does (`record`), to be compared.

    `close` is the Close frame as the other side of the closer received it, `echo` the code of
    the answer. The reason of an echo is anybody's choice, and so is the code that answers an
    empty Close: empty or 1000 (RFC 6455 5.5.1).
    """
    if outcome.get("error"):
        return {"error": outcome["error"]}
    if record is None:
        return {"status": outcome["status"]}
    closes = {"client": outcome["closed"], "server": record["closed"]}
    echo = closes[case.closer]
    close = closes["server" if case.closer == "client" else "client"]
    view = {
        "status": outcome["status"],
        "received": outcome["received"],
        "client subprotocol": outcome["subprotocol"],
        "server subprotocol": record["subprotocol"],
        "client compression": told(client, "client", parse(outcome["extensions"])),
        "server compression": told(server, "server", parse(record["extensions"])),
        "close": list(close),
        "echo": 1005 if case.code is None and echo[0] == 1000 else echo[0],
    }
    for sender, _, messages in _directions(case):
        payload = sum(len(encode(message.data)) for message in messages)
        view[f"{sender} shrinks"] = traffic(client, outcome, record)[sender] < payload / 2
    return _without_chance(view, case)


def _without_chance(view: Report, case: Case) -> Report:
    """Without what may be one or the other, as the connection was not closed in peace."""
    if case.how != "close":
        del view["echo"]
    if case.how == "limit":
        view["close"][1] = ""
    return view


def _directions(case: Case) -> list[tuple[str, str, Sequence[Message]]]:
    """Sender, kind of data and messages where the bytes on the wire are looked at."""
    if case.how != "close":
        return []
    every = ("client", case.up, case.send), ("server", case.down, case.receive)
    return [
        (sender, data, messages)
        for sender, data, messages in every
        if data and sum(len(encode(message.data)) for message in messages) >= _ENOUGH
    ]


def traffic(client: str, outcome: Report, record: Report) -> dict[str, int]:
    """The bytes on the wire after the opening handshake, by sender; trio_ws counts them."""
    if client == "trio_ws":
        sent, received = outcome["traffic"]
    else:
        received, sent = record["traffic"]
    return {"client": sent, "server": received}


def negotiated(client: str, outcome: Report, record: Report | None) -> Parameters | None:
    """What trio_ws says that was agreed on; None is no compression."""
    report = outcome if client == "trio_ws" else record
    return parse(report["extensions"]) if report else None
