"""The cores of two other libraries, `websockets` and `wsproto`, driven as our own is.

They are imported when an end is made, so this module needs neither.
"""

from __future__ import annotations

import importlib
import logging
from importlib.util import find_spec
from typing import Any

from tests.support.requirements import require

Event = list[Any]
Agreed = tuple[int, bool, int, bool]

_CODES = {"ProtocolError": 1002, "UnicodeDecodeError": 1007, "PayloadTooBig": 1009}
_SLOW = 2000  # bytes

OPENED = "opened"
"""The kind of event that the end of the opening handshake is."""


def _module(name: str) -> Any:
    package = name.partition(".")[0]
    require(find_spec(package), f"the Python module {package} is missing")
    return importlib.import_module(name)


class ForeignEnd:
    """One end of a connection.

    `events` has lists: "text", "binary", "ping" or "pong" and what they carry, "close", code and
    reason, "failure" and the code.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.out = bytearray()
        self.over = False  # a Close or a violation came

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer in."""
        raise NotImplementedError

    def do(self, name: str, *arguments: Any) -> None:
        """Send "text", "binary", "ping", "pong" or "close"."""
        raise NotImplementedError

    def flush(self) -> bytes:
        """Take what is to be sent."""
        sent = bytes(self.out)
        self.out.clear()
        return sent


class WebsocketsEnd(ForeignEnd):
    """An end of the package `websockets`.

    Args:
        role: "client" or "server".
        opening: begin with the opening handshake.
        deflate: compress, if the peer agrees.
        agreed: without an opening handshake: windows and takeovers for compressing and inflating.
        subprotocols: to propose, or to choose from.
        max_size: bytes of a message.
    """

    def __init__(
        self,
        role: str,
        *,
        opening: bool = False,
        deflate: bool = False,
        agreed: Agreed | None = None,
        subprotocols: tuple[str, ...] = (),
        max_size: int = 2**20,
    ) -> None:
        super().__init__()
        ws = _module("websockets.protocol")
        extension = _module("websockets.extensions.permessage_deflate")
        self._frames = _module("websockets.frames")
        quiet = logging.getLogger("tests.quiet")
        quiet.setLevel(logging.CRITICAL)
        common: dict[str, Any] = {"max_size": max_size, "logger": quiet}
        self._parts: list[bytes] = []
        self._text = False
        self._server = role == "server"
        if opening:
            options: dict[str, Any] = {**common, "subprotocols": subprotocols or None}
            if self._server:
                factory: Any = extension.ServerPerMessageDeflateFactory
                end: Any = _module("websockets.server").ServerProtocol
            else:
                factory = extension.ClientPerMessageDeflateFactory
                uri = _module("websockets.uri").parse_uri("ws://server.example/chat")
                end = _module("websockets.client").ClientProtocol
                options["uri"] = uri
            self.protocol: Any = end(**options, extensions=[factory()] if deflate else None)
            if not self._server:
                self.protocol.send_request(self.protocol.connect())
        else:
            side = ws.SERVER if self._server else ws.CLIENT
            self.protocol = ws.Protocol(side, state=ws.State.OPEN, **common)
            if agreed is not None:
                bits, takeover, their_bits, their_takeover = agreed
                self.protocol.extensions = [
                    extension.PerMessageDeflate(not their_takeover, not takeover, their_bits, bits)
                ]

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer in."""
        # Its parser runs ahead of who looks at the events: an answer to what comes later would be
        # there before UTF-8 is judged. So it gets little at a time, if that does not take long.
        step = 1 if len(data) < _SLOW else _SLOW
        for at in range(0, len(data), step):
            if not self.over:
                self._feed(data[at : at + step])

    def _feed(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if not isinstance(event, self._frames.Frame):
                if self._server:
                    self.protocol.send_response(self.protocol.accept(event))
                self.events.append([OPENED])
                continue
            if not self.over:
                self._frame(event)
        error = self.protocol.parser_exc
        if error is not None and not self.over:
            self.over = True
            # It may have sent a Close before, so it does not send the code.
            code = _CODES.get(type(error).__name__, 1011)
            self.events.append(["failure", code])

    def _frame(self, frame: Any) -> None:
        opcodes = self._frames.Opcode
        data = bytes(frame.data)
        if frame.opcode in (opcodes.PING, opcodes.PONG):
            self.events.append([frame.opcode.name.lower(), data])
        elif frame.opcode is opcodes.CLOSE:
            self.over = True
            close = self.protocol.close_rcvd
            self.events.append(["close", int(close.code), close.reason])
        else:
            if frame.opcode is not opcodes.CONT:
                self._text = frame.opcode is opcodes.TEXT
            self._parts.append(data)
            if frame.fin:
                self._message()

    def _message(self) -> None:
        data = b"".join(self._parts)
        self._parts.clear()
        if not self._text:
            self.events.append(["binary", data])
            return
        try:
            self.events.append(["text", data.decode()])
        except UnicodeDecodeError:  # the package's connections do the same
            self.protocol.fail(self._frames.CloseCode.INVALID_DATA)
            self.over = True
            self.events.append(["failure", 1007])

    def do(self, name: str, *arguments: Any) -> None:
        """Send."""
        match name, *arguments:
            case "text", str(text), *_:
                self.protocol.send_text(text.encode())
            case "close", code, *reason:
                self.protocol.send_close(code, *reason)
            case _, bytes(data), *_:
                getattr(self.protocol, f"send_{name}")(data)
            case _:
                raise AssertionError(name, arguments)

    def fragments(self, name: str, pieces: list[bytes]) -> None:
        """Send a message in several frames."""
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            if number:
                self.protocol.send_continuation(piece, last)
            else:
                getattr(self.protocol, f"send_{name}")(piece, last)

    def flush(self) -> bytes:
        """Take what is to be sent."""
        self.out += b"".join(self.protocol.data_to_send())
        return super().flush()


class WsprotoEnd(ForeignEnd):
    """An end of the package `wsproto`; the arguments are those of `WebsocketsEnd`."""

    def __init__(
        self,
        role: str,
        *,
        opening: bool = False,
        deflate: bool = False,
        agreed: Agreed | None = None,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self._ws = _module("wsproto")
        self._events = _module("wsproto.events")
        self._state = _module("wsproto.connection").ConnectionState
        self._extension = _module("wsproto.extensions").PerMessageDeflate
        self._subprotocols = subprotocols
        self._deflate = deflate
        self._parts: list[Any] = []
        kind = self._ws.ConnectionType[role.upper()]
        if opening:
            self.connection: Any = self._ws.WSConnection(kind)
            if role == "client":
                request = self._events.Request(
                    host="server.example",
                    target="/chat",
                    extensions=[self._extension()] if deflate else [],
                    subprotocols=list(subprotocols),
                )
                self.out += self.connection.send(request)
        else:
            extensions = [] if agreed is None else [self._agreed(role, agreed)]
            self.connection = _module("wsproto.connection").Connection(kind, extensions)

    def _agreed(self, role: str, agreed: Agreed) -> Any:
        bits, takeover, their_bits, their_takeover = agreed
        mine, theirs = (bits, takeover), (their_bits, their_takeover)
        server, client = (mine, theirs) if role == "server" else (theirs, mine)
        extension = self._extension(not client[1], client[0], not server[1], server[0])
        # There is no public way to enable it without a handshake.
        extension._enabled = True
        return extension

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer in."""
        if self.over:
            return
        self.connection.receive_data(data)
        for event in self.connection.events():
            self._event(event)
            if self.over:
                return

    def _event(self, event: Any) -> None:
        kinds = self._events
        match event:
            case kinds.Request():
                chosen = next((s for s in event.subprotocols if s in self._subprotocols), None)
                extensions = [self._extension()] if self._deflate else []
                answer = kinds.AcceptConnection(subprotocol=chosen, extensions=extensions)
                self.out += self.connection.send(answer)
                self.events.append([OPENED])
            case kinds.AcceptConnection():
                self.events.append([OPENED])
            case kinds.Ping():
                self.events.append(["ping", bytes(event.payload)])
                if self.connection.state is self._state.OPEN:
                    self.out += self.connection.send(event.response())
            case kinds.Pong():
                self.events.append(["pong", bytes(event.payload)])
            case kinds.CloseConnection():
                self._closed(event)
            case kinds.Message():
                self._message(event)

    def _closed(self, event: Any) -> None:
        self.over = True
        state = self.connection.state
        if state in (self._state.REMOTE_CLOSING, self._state.CLOSED):
            self.events.append(["close", int(event.code), event.reason or ""])
        else:
            self.events.append(["failure", int(event.code)])
        if state in (self._state.REMOTE_CLOSING, self._state.OPEN):
            self.out += self.connection.send(event.response())

    def _message(self, event: Any) -> None:
        self._parts.append(event.data)
        if event.message_finished:
            if isinstance(event.data, str):
                self.events.append(["text", "".join(self._parts)])
            else:
                self.events.append(["binary", b"".join(self._parts)])
            self._parts.clear()

    def do(self, name: str, *arguments: Any) -> None:
        """Send."""
        kinds = {
            "text": self._events.TextMessage,
            "binary": self._events.BytesMessage,
            "ping": self._events.Ping,
            "pong": self._events.Pong,
        }
        if name == "close":
            code, reason = (*arguments, "")[:2]
            event = self._events.CloseConnection(1005 if code is None else code, reason or None)
        else:
            event = kinds[name](arguments[0])
        self.out += self.connection.send(event)

    def fragments(self, name: str, pieces: list[bytes]) -> None:
        """Send a message in several frames; of a text each piece is UTF-8 by itself."""
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            if name == "text":
                event = self._events.TextMessage(piece.decode(), message_finished=last)
            else:
                event = self._events.BytesMessage(piece, message_finished=last)
            self.out += self.connection.send(event)
