"""The attacks of `tests.hostile`, and the library without its defences."""

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import trio_ws
from tests.hostile import ATTACKS, run
from tests.hostile.sabotage import SABOTAGES, noticed
from tests.hostile.table import KNOWN


def _attack(name: str) -> Any:
    """A parameter; an attack that is known to get through has to go on doing so, or be deleted."""
    marks = [pytest.mark.xfail(reason=KNOWN[name], strict=True)] if name in KNOWN else []
    return pytest.param(name, marks=marks)


@pytest.mark.checklist("LM04", "LM10")
@pytest.mark.parametrize("name", [_attack(name) for name in ATTACKS])
def test_an_attack(name: str) -> None:
    """It ends as its row says, in bounded memory, and the honest connection beside it is served."""
    assert run(ATTACKS[name]).faults == []


def test_there_are_attacks_on_both_sides() -> None:
    """Servers and clients are attacked; the names of the known failures are those of attacks."""
    sides = [name.partition("/")[0] for name in ATTACKS]
    assert sides.count("server") >= 60
    assert sides.count("client") >= 60
    assert len(sides) == sides.count("server") + sides.count("client")
    assert KNOWN.keys() <= ATTACKS.keys()


@pytest.mark.parametrize("name", list(SABOTAGES))
def test_a_defence_taken_away(name: str) -> None:
    """An attack turns red when the defence against it is gone."""
    assert noticed(SABOTAGES[name])


# Text that the public API takes: where an attack puts CR and LF into it, or why none does.
ARGUMENTS = {
    "options.server_hostname": "client/CR and LF in the name for TLS",
    "options.subprotocols": "client/CR and LF in a subprotocol",
    "options.extra_headers": "client/CR and LF in a header's value",
    "options.unix_socket": "client/CR and LF in the path of a unix socket",
    "options.origins": "server/CR and LF in the list of origins",
    "WebSocketConnection.aclose.reason": "client/CR and LF in a close reason",
    "WebSocketServer.aclose.reason": "server/CR and LF in a close reason",
    "WebSocketRequest.accept.subprotocol": "server/CR and LF in accept's subprotocol",
    "WebSocketRequest.accept.extra_headers": "server/CR and LF in accept's header value",
    "WebSocketRequest.reject.extra_headers": "server/CR and LF in reject's header value",
    "HTTPResponse.headers": "server/CR and LF in HTTPResponse's header value",
    "open_websocket.host": "client/CR and LF in the host",
    "open_websocket.resource": "client/CR and LF in the resource",
    "open_websocket_url.url": "client/CR and LF in the URL's path",
    "connect_websocket.host": "client/CR and LF in the host",
    "connect_websocket.resource": "client/CR and LF in the resource",
    "connect_websocket_url.url": "client/CR and LF in the URL's path",
    "wrap_client_stream.host": "client/CR and LF in the host of a stream",
    "wrap_client_stream.resource": "client/CR and LF in the resource of a stream",
    "WebSocketConnection.send.value": "any text is a message",
    "WebSocketConnection.send_message.message": "any text is a message",
    "check_basic_auth.username": "it is compared, and not sent",
    "check_basic_auth.password": "it is compared, and not sent",
    "open_unix_listener.path": "the name of a file",
    "serve_websocket.host": "an address to listen on",
}
# Made by the library, which has looked at what is in them.
GIVEN = ("CloseReason", "Endpoint", "HTTPRequest", "WebSocketConnection", "WebSocketRequest")


def is_text(name: str, annotation: object) -> bool:
    """Whether a parameter takes text, or headers."""
    words = re.findall(r"\w+", getattr(annotation, "__forward_arg__", str(annotation)))
    return "Literal" not in words and (name == "url" or bool({"str", "ExtraHeaders"} & {*words}))


def text_arguments() -> Iterator[str]:
    """Parameters and options of the public API that take text, or headers."""
    for name, public in ((name, getattr(trio_ws, name)) for name in trio_ws.__all__):
        if typing.is_typeddict(public):
            options = public.__annotations__.items()
            yield from (f"options.{key}" for key, kind in options if is_text(key, kind))
            continue
        raised = inspect.isclass(public) and issubclass(public, Exception)
        calls = {name: public} if callable(public) and name not in GIVEN and not raised else {}
        if inspect.isclass(public):
            methods = {key: each for key, each in vars(public).items() if not key.startswith("_")}
            calls |= {f"{name}.{key}": each for key, each in methods.items() if callable(each)}
        for call_name, call in calls.items():
            parameters = inspect.signature(call).parameters.values()
            found = [each.name for each in parameters if is_text(each.name, each.annotation)]
            yield from (f"{call_name}.{each}" for each in found)


def test_cr_and_lf_are_tried_in_each_text() -> None:
    """Whatever text the public API takes, an attack puts line breaks into it, or needs not."""
    assert {*text_arguments()} == ARGUMENTS.keys()
    reasons = [reason for reason in ARGUMENTS.values() if reason not in ATTACKS]
    assert not [reason for reason in reasons if reason.startswith(("server/", "client/"))]
