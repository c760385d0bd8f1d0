"""Recorded conversations: what is in the files, and how it is written there.

A file holds conversations, each a JSON object: how the end is set up, the steps (what came "in",
and what was done here), and what came of it: the events, what was sent, and the state at the end.
Bytes are a list of pieces: "=text" as it is, or hexadecimal numbers, "00*9" for nine times 00.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.protocol import wire
from tests.torn.engine import Engine, Event, Setup, Step, restart

RECORDINGS = Path(__file__).parent / "recordings"
_STEPS_WITH_BYTES = {"in", "binary", "ping", "pong"}
_text = re.compile(rb"[\r\n -~]{4,}")
_run = re.compile(rb"(.{4}|.)\1{15,}", re.DOTALL)
_TAIL = b"\x00\x00\xff\xff"
_NAMES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


@dataclass(frozen=True)
class Conversation:
    """One end's side of a conversation.

    Args:
        name: its file and, behind a slash, its name there.
        setup: how the end was set up.
        steps: what was done to it.
        expected: what was recorded, in its JSON form: the keys "events", "out" and "state".
    """

    name: str
    setup: Setup
    steps: list[Step]
    expected: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes that come in."""
        return sum(len(step[1]) for step in self.steps if step[0] == "in")


def pack(data: bytes) -> list[str]:
    """Bytes in their JSON form: a head as lines of text, runs short, anything else hexadecimal."""
    pieces: list[str] = []
    if data.startswith((b"GET ", b"HTTP/1.1 ")) and (head := _text.match(data)):
        pieces += ["=" + line for line in head[0].decode().splitlines(keepends=True)]
        data = data[head.end() :]
    pos = 0
    for run in _run.finditer(data):
        if run.start() > pos:
            pieces.append(data[pos : run.start()].hex())
        pieces.append(f"{run[1].hex()}*{len(run[0]) // len(run[1])}")
        pos = run.end()
    if pos < len(data):
        pieces.append(data[pos:].hex())
    return pieces


def unpack(pieces: list[str]) -> bytes:
    """The inverse of `pack`."""
    data = bytearray()
    for piece in pieces:
        if piece.startswith("="):
            data += piece[1:].encode()
        else:
            digits, _, count = piece.partition("*")
            data += bytes.fromhex(digits) * int(count or 1)
    return bytes(data)


def show(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, bytes):
        return pack(value)
    if isinstance(value, list):
        return [show(item) for item in value]
    return value


def readable(out: bytes, setup: Setup) -> list[Any]:
    """What was sent as one reads it: lines of HTTP, frames with their payload, inflated.

    So a recording does not depend on the version of zlib.
    """
    shown: list[Any] = []
    if setup.opening and out:
        head, blank, out = out.partition(b"\r\n\r\n")
        shown.append([f"={line}" for line in (head + blank).decode("latin-1").splitlines()])
        if not head.startswith((b"GET", b"HTTP/1.1 101")):
            version, code, *_ = shown[0][0].split(" ")
            return [[f"{version} {code}"]]  # how a refusal is worded may change
    context = zlib.decompressobj(-15)
    for frame in wire.parse(out):
        name, payload = _NAMES[frame.opcode], frame.payload
        if frame.rsv:
            name, payload = f"deflated {name}", context.decompress(payload + _TAIL)
        shown.append([name, *pack(payload)])
    return shown


def record(name: str, setup: Setup, steps: list[Step]) -> Conversation:
    """What the library makes of these steps, whole."""
    restart()
    engine = Engine(setup)
    out = bytearray(engine.flush())
    for what, *arguments in steps:
        if what == "in":
            engine.feed(*arguments)
        else:
            engine.do(what, *arguments)
        out += engine.flush()
    return Conversation(name, setup, steps, summary(engine.events, bytes(out), engine))


def summary(events: list[Event], out: bytes, engine: Engine) -> dict[str, Any]:
    """What came of a conversation, in its JSON form."""
    state = engine.state()
    shown = {key: state[key] for key in ("stage", "closed", "messages") if key in state}
    unworded = [event[:-1] if event[0] in ("refused", "failed") else event for event in events]
    return {"events": show(unworded), "out": readable(out, engine.setup), "state": shown}


def save(file: str, conversations: list[Conversation]) -> None:
    """Write a file of recordings."""
    blocks = []
    for conversation in conversations:
        defaults = asdict(Setup(""))
        setup = {k: v for k, v in asdict(conversation.setup).items() if v != defaults[k]}
        steps = [
            [step[0], *map(show, step[1:])] if step[0] in _STEPS_WITH_BYTES else step
            for step in conversation.steps
        ]
        fields = {"name": conversation.name.partition("/")[2], "setup": setup, "steps": steps}
        fields |= conversation.expected
        lines = []
        for key, value in fields.items():
            if isinstance(value, list) and value:
                inner = ",\n".join(f"   {json.dumps(item)}" for item in value)
                lines.append(f'  "{key}": [\n{inner}\n  ]')
            else:
                lines.append(f'  "{key}": {json.dumps(value)}')
        blocks.append(" {\n" + ",\n".join(lines) + "\n }")
    text = "[\n" + ",\n".join(blocks) + "\n]\n"
    (RECORDINGS / f"{file}.json").write_text(text, encoding="ascii")


def load(path: Path) -> Iterator[Conversation]:
    """Read a file of recordings."""
    for fields in json.loads(path.read_text(encoding="ascii")):
        setup = fields.pop("setup")
        for key in ("subprotocols", "agreement"):
            if setup.get(key) is not None:
                setup[key] = tuple(setup[key])
        steps = []
        for what, *arguments in fields.pop("steps"):
            if what in _STEPS_WITH_BYTES:
                arguments[0] = unpack(arguments[0])
            steps.append([what, *arguments])
        name = f"{path.stem}/{fields.pop('name')}"
        yield Conversation(name, Setup(**setup), steps, fields)


def load_all() -> dict[str, Conversation]:
    """All recordings by name."""
    found = (item for path in sorted(RECORDINGS.glob("*.json")) for item in load(path))
    return {item.name: item for item in found}
