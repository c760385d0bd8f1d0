"""Bugs to put in: each is an edit of one function of the library, or another public method."""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple
from unittest import mock

import trio

import trio_ws


class Defect(NamedTuple):
    """A bug, and the target that has to find it."""

    name: str
    target: str
    broken: Callable[[], AbstractContextManager[object]]


def _edit(target: str, name: str, where: str, old: str, new: str) -> Defect:
    """Put `new` in the place of `old` in the function `where`, which is ``module:name``.

    It stays the same object, with other code, so the bug is there wherever it is used.
    """

    @contextmanager
    def broken() -> Generator[None, None, None]:
        function = _function(where)
        source = inspect.getsource(function)
        if source.count(old) != 1:
            raise LookupError(f"tests/fuzz/defects.py: {where} does not have {old!r} once any more")
        code = function.__code__
        function.__code__ = _compiled(function, textwrap.dedent(source.replace(old, new)))
        try:
            yield
        finally:
            function.__code__ = code

    return Defect(name, target, broken)


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(f"trio_ws.{module}")
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    found = getattr(found, "fget", getattr(found, "__func__", found))
    assert isinstance(found, FunctionType)
    return found


def _compiled(function: FunctionType, source: str) -> CodeType:
    flags = __future__.annotations.compiler_flag
    source = source[source.index("def ") :]  # without decorators
    names: dict[str, Any] = {}
    exec(compile(source, "<sabotage>", "exec", flags), dict(function.__globals__), names)
    code: CodeType = names[function.__name__].__code__
    return code


def _method(name: str, method: str, body: Callable[..., Any]) -> Defect:
    """Another method of the connection."""
    owner = trio_ws.WebSocketConnection
    return Defect(name, "connection", lambda: mock.patch.object(owner, method, body))


_receive = trio_ws.WebSocketConnection.receive
_send = trio_ws.WebSocketConnection.send
_aclose = trio_ws.WebSocketConnection.aclose


async def _bare_end(self: trio_ws.WebSocketConnection) -> str | bytes:
    try:
        return await _receive(self)
    except trio_ws.ConnectionClosed:
        raise trio.EndOfChannel from None


async def _losing_receive(self: trio_ws.WebSocketConnection) -> str | bytes:
    message = await _receive(self)
    return message if len(message) != 5 else await _receive(self)


async def _losing_send(
    self: trio_ws.WebSocketConnection, value: str | bytes, *, compress: bool | None = None
) -> None:
    if len(value) < 100:
        await _send(self, value, compress=compress)


async def _waiting_aclose(
    self: trio_ws.WebSocketConnection, code: int = 1000, reason: str | None = None
) -> None:
    if self.closed is not None and self.closed.code == 1002:
        await trio.sleep_forever()
    await _aclose(self, code, reason)


_SERVER: Final = "_protocol._handshake_server"
_CLIENT: Final = "_protocol._handshake_client"
_HEAD: Final = "_protocol._head"
_HEADERS: Final = "_protocol._headers"
_NEGOTIATION: Final = "_protocol._negotiation"
_URL: Final = "_protocol._url"
_FRAMES: Final = "_protocol._frames"
_MESSAGES: Final = "_protocol._messages"
_MACHINE: Final = "_protocol._machine"
_DEFLATE: Final = "_protocol._deflate"

_TABLE: Final = (
    _edit("request", "a bare CR ends a line", f"{_HEAD}:HeadReader._next_line",
          'if ending != b"\\r\\n":', 'if ending[:1] != b"\\r":'),
    _edit("request", "one header too many is taken", f"{_HEAD}:HeadReader._room",
          "self._count == limits.max_header_count", "self._count > limits.max_header_count"),
    _edit("request", "any key of 24 characters is taken", f"{_SERVER}:_parse_upgrade",
          "not is_key(key)", "len(key) != 24"),
    _edit("request", "a body is let through", f"{_SERVER}:_refuse_body",
          'fields in ([], [(b"content-length", b"0")])', "len(fields) == 1"),
    _edit("request", "early frames are lost", f"{_SERVER}:ServerHandshake.receive_data",
          "head, self.trailing = done", "head, _ = done"),
    _edit("response", "Sec-WebSocket-Accept without case", f"{_CLIENT}:ClientHandshake._verify",
          "accept != accept_key(self._key)", "accept.lower() != accept_key(self._key).lower()"),
    _edit("response", "the body of a rejection is not cut", f"{_CLIENT}:_Rejection.response",
          "self._body[: self._max_size]", "self._body"),
    _edit("response", "a subprotocol that was not offered", f"{_NEGOTIATION}:verify_subprotocol",
          "name.encode() == value", "value.startswith(name.encode())"),
    _edit("response", "an extension twice", f"{_NEGOTIATION}:verify_extensions",
          "left.remove(name)", "pass"),
    _edit("grammar", "a quoted value that is no token", f"{_HEADERS}:_parameter_value",
          "_token.fullmatch(value) is None", "not value"),
    _edit("grammar", "a token within another", f"{_HEADERS}:has_token",
          "token in (element.lower() for element in elements)",
          "any(token in element.lower() for element in elements)"),
    _edit("grammar", "a port over 65535", f"{_HEADERS}:parse_host", "> 65535", "> 99999"),
    _edit("grammar", "a line break in a header of the user", f"{_HEADERS}:_encode_header",
          "_field_value.fullmatch(value)", "_field_value.match(value)"),
    _edit("grammar", "the port of an origin is ignored", f"{_NEGOTIATION}:_authority",
          "None if port == DEFAULT_PORTS.get(scheme) else port", "None"),
    _edit("grammar", "client_max_window_bits unasked", f"{_DEFLATE}:_answer",
          "if _CLIENT_BITS in offered:", "if offered.setdefault(_CLIENT_BITS, 15):"),
    _edit("grammar", "a wider window than offered", f"{_DEFLATE}:_answer",
          "min(compress_bits, offered[_SERVER_BITS])", "compress_bits"),
    _edit("url", "a fragment is dropped", f"{_URL}:parse_url",
          'match["fragment"] is not None', "False"),
    _edit("url", "port 0", f"{_URL}:check_port", "1 <= port", "0 <= port"),
    _edit("url", "a query without a slash before it", f"{_URL}:encode_resource",
          'if encoded.startswith("/")', 'if encoded.startswith(("/", "?"))'),
    _edit("url", "a host of which IDNA loses a part", f"{_URL}:_encode_idna",
          'encoded.decode("idna") == unicodedata.normalize("NFC", host.lower())', "True"),
    _edit("frames", "RSV1 in a control frame", f"{_FRAMES}:FrameReader._check_first",
          "if first & _RSV:", "if first & _RSV & ~_RSV1:"),
    _edit("frames", "a length that is not minimal", f"{_FRAMES}:_read_whole",
          "if size < shortest:", "if size < 0:"),
    _edit("frames", "a length of 64 bits", f"{_FRAMES}:_least_size",
          "if least >> 63:", "if least >> 64:"),
    _edit("frames", "one byte over the limit", f"{_FRAMES}:FrameReader._read_header",
          "size > budget", "size > budget + 1"),
    _edit("frames", "the mask of a torn payload", f"{_FRAMES}:FrameReader.next_part",
          "mask(view, self._key, self._read)", "mask(view, self._key)"),
    _edit("frames", "a torn header is forgotten", f"{_FRAMES}:FrameReader.feed",
          "self.buffer[self._pos :] + data if self.buffer else data", "data"),
    _edit("frames", "half of a surrogate, too late", f"{_MESSAGES}:Message.add",
          'if pending[:1] == b"\\xed"', 'if pending[:1] == b"\\xff"'),
    _edit("frames", "empty fragments that are not in a row", f"{_MESSAGES}:Assembler._count_empty",
          "if part.payload:\n            message.empty = 0", "if part.payload:\n            pass"),
    _edit("frames", "the oldest pong instead of the newest", f"{_MACHINE}:Protocol._reply_pong",
          "self._late_pong = payload", "self._late_pong = self._late_pong or payload"),
    _edit("frames", "frames after a Close", f"{_MACHINE}:Protocol.handshake_done",
          "self.close_received is not None or ", ""),
    _edit("inflating", "context takeover that was not agreed on", f"{_DEFLATE}:Inflater.finish",
          "if self._takeover:", "if True:"),
    _edit("inflating", "a message that ends within a block", f"{_DEFLATE}:Inflater.finish",
          "if rest or not context.eof:", "if False:"),
    _edit("inflating", "the tail is not added", f"{_DEFLATE}:Inflater.feed",
          "[data + _TAIL if last else data]", "[data]"),
    _edit("inflating", "the tail is not taken off", f"{_DEFLATE}:Compressor.compress",
          "payload[: -len(_TAIL)]", "payload"),
    _edit("inflating", "one inflated byte over the limit", f"{_MESSAGES}:Message.add",
          "payload.size > self._max_size", "payload.size > self._max_size + 1"),
    _edit("inflating", "RSV1 in a continuation", f"{_FRAMES}:FrameReader._check_first",
          "(first & _RSV1 and opcode == CONTINUATION)", "False"),
    _edit("close", "1015 goes over the wire", f"{_FRAMES}:is_sendable", "<= 1014", "<= 1015"),
    _edit("close", "a payload of one byte", f"{_FRAMES}:decode_close",
          "if not payload:", "if len(payload) < 2:"),
    _edit("close", "a reason that is not UTF-8", f"{_FRAMES}:decode_close",
          "payload[2:].decode()", 'payload[2:].decode(errors="replace")'),
    _edit("close", "a second Close", f"{_MACHINE}:Protocol.send_close",
          "if self.is_open:", "if True:"),
    _edit("close", "a reason of 124 bytes", f"{_FRAMES}:encode_close",
          "len(payload) > MAX_CONTROL_PAYLOAD", "len(payload) > MAX_CONTROL_PAYLOAD + 1"),
    _method("an exception that is not documented", "receive", _bare_end),
    _method("a received message is lost", "receive", _losing_receive),
    _method("a message that send took is lost", "send", _losing_send),
    _method("aclose waits for ever", "aclose", _waiting_aclose),
    _edit("connection", "a pong that nobody asked for", f"{_MACHINE}:Protocol._reply_pong",
          "self._append(PONG, payload)", "self._append(PONG, payload + b'!')"),
    _edit("connection", "a frame without a mask", f"{_MACHINE}:Protocol._append",
          "encode_frame(opcode, payload, masked=self.client",
          "encode_frame(opcode, payload, masked=False"),
)  # fmt: skip

DEFECTS: Final = {defect.name: defect for defect in _TABLE}
