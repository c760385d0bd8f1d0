"""The model: what each end has sent and received, and what that allows.

It knows nothing of the library. Each message has a number, in the order of the calls that send it,
and a checksum; its state is how its call has ended. An empty one bears neither: it has to be the
next one of its type that may come.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Final

# Bytes of content to cut messages from.
_STOCK: Final = 1 << 18
# The size of a message that has not even a number.
EMPTY: Final = -1


@cache
def _stock() -> tuple[str, bytes]:
    rng = random.Random("stock")
    text = "".join(rng.choices("abcdefgh é€\U0001f600\x00", k=_STOCK))
    return text, rng.randbytes(_STOCK // 2) + bytes(_STOCK // 2)


def compose(key: str, size: int, rng: random.Random) -> str | bytes:
    """A message of about `size` characters or bytes: its key, a checksum, and content."""
    if size == EMPTY:
        return rng.choice(("", b""))
    text, binary = _stock()
    start = rng.randrange(_STOCK - size)
    if rng.random() < 0.5:
        content = text[start : start + size]
        return f"{key}|{zlib.crc32(content.encode()):08x}|{content}"
    data = binary[start : start + size]
    return f"{key}|{zlib.crc32(data):08x}|".encode() + data


def key_of(message: str | bytes) -> str | None:
    """The key of a message; None if it is no whole message of ours."""
    if isinstance(message, str):
        key, _, rest = message.partition("|")
        checksum, _, content = rest.partition("|")
        data = content.encode()
    else:
        start, _, remainder = message.partition(b"|")
        number, _, data = remainder.partition(b"|")
        key, checksum = start.decode("latin-1"), number.decode("latin-1")
    return key if checksum == f"{zlib.crc32(data):08x}" else None


@dataclass
class Sent:
    """A message whose call has begun: "pending", and then "confirmed", "cancelled" or "failed"."""

    key: str
    number: int
    value: str | bytes
    state: str = "pending"

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.value.encode() if isinstance(self.value, str) else self.value)


@dataclass
class Flow:
    """What one end sends and the other receives.

    Args:
        name: the session and a direction.
        violate: takes down a violation: its kind, and a text.
    """

    name: str
    violate: Callable[[str, str], None]
    sent: list[Sent] = field(default_factory=list)
    by_key: dict[str, Sent] = field(default_factory=dict)
    received: list[Sent] = field(default_factory=list)
    largest: int = 0  # bytes of the largest message
    _seen: set[str] = field(default_factory=set)
    _last: dict[str, int] = field(default_factory=dict)

    def begin(self, size: int, rng: random.Random) -> Sent:
        """The call that sends the next message begins."""
        key = f"{self.name}{len(self.sent)}"
        sent = Sent(key, len(self.sent), compose(key, size, rng))
        self.largest = max(self.largest, sent.size)
        self.sent.append(sent)
        self.by_key[key] = sent
        return sent

    def note(self, message: str | bytes, receiver: str) -> Sent | None:
        """A call has received `message`, in the task `receiver`."""
        sent = self._find(message) if message else self._next_empty(message)
        if sent is None:
            self.violate("whole", f"{self.name}: received {message[:60]!r} ({len(message)})")
            return None
        if sent.key in self._seen:
            self.violate("double", f"{sent.key} was received twice")
        if self._last.get(receiver, -1) > sent.number:
            self.violate("order", f"{sent.key} was received after a later one")
        if sent.state == "cancelled":
            self.violate("cancelled", f"{sent.key} was received, though its send was cancelled")
        self._seen.add(sent.key)
        self._last[receiver] = sent.number
        self.received.append(sent)
        return sent

    def _find(self, message: str | bytes) -> Sent | None:
        """What was sent as `message`, by its key; None if it is not the same."""
        key = key_of(message)
        sent = None if key is None else self.by_key.get(key)
        return sent if sent is not None and sent.value == message else None

    def _next_empty(self, message: str | bytes) -> Sent | None:
        """Of all empty messages of a type the first that may come now."""
        for sent in self.sent:
            if sent.value == message and sent.key not in self._seen and sent.state != "cancelled":
                return sent
        return None

    def identify(self, messages: list[str | bytes]) -> list[Sent]:
        """The messages on a wire, as they were sent; those that were not are violations."""
        found: list[Sent] = []
        last = -1
        for message in messages:
            if message:
                sent = self._find(message)
            else:
                later = (one for one in self.sent[last + 1 :] if one.value == message)
                sent = next((one for one in later if one.state != "cancelled"), None)
            if sent is None:
                self.violate("whole", f"on the wire: {message[:60]!r}")
            else:
                last = max(last, sent.number)
                found.append(sent)
        return found

    def cancelled(self, sent: Sent) -> None:
        """The call that sends has raised `trio.Cancelled`."""
        sent.state = "cancelled"
        if sent.key in self._seen and not sent.value:
            self._was_another(sent)
        elif sent.key in self._seen:
            self.violate("cancelled", f"{sent.key} was received before its send was cancelled")

    def _was_another(self, sent: Sent) -> None:
        """One empty message is like another: what was taken for this one is a later one.

        A later send may be under way, and its message received, before the task of the one that
        was cancelled has its turn to say so.
        """
        later = self._next_empty(sent.value)
        if later is None:
            self.violate("cancelled", f"{sent.key} was received before its send was cancelled")
            return
        self._seen.remove(sent.key)
        self._seen.add(later.key)
        self.received[self.received.index(sent)] = later

    @property
    def outstanding(self) -> int:
        """Confirmed messages that were not received."""
        return sum(sent.state == "confirmed" and sent.key not in self._seen for sent in self.sent)

    def has_received(self, key: str) -> bool:
        """Whether a message was received."""
        return key in self._seen
