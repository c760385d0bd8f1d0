"""permessage-deflate as RFC 7692 has it, for the parser of the wire: no code of the library.

`Agreed` is what the server's answer says, `Inflating` inflates one direction with a zlib context of
its own, and `Expected` compresses what has arrived once more, to see whether the compressor still
had the window that it may have: a context that was thrown away is legal, and yet a loss (I7).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

_TAIL = b"\x00\x00\xff\xff"  # section 7.2.1
_FINAL_BLOCK = b"\x01\x00\x00\xff\xff"


class DeflateError(Exception):
    """Compressed data that does not fit what came before it in the same direction."""


@dataclass
class Agreed:
    """What the server's answer says (section 7.1), by the role of who compresses.

    Args:
        bits: the base-2 logarithm of the window.
        takeover: whether a message may refer to those before it.
    """

    bits: dict[str, int] = field(default_factory=lambda: {"client": 15, "server": 15})
    takeover: dict[str, bool] = field(default_factory=lambda: {"client": True, "server": True})

    @classmethod
    def by(cls, head: bytes) -> Agreed | None:
        """What the head of an answer says; None if it has no permessage-deflate.

        Raises:
            DeflateError: this is no legal answer.
        """
        values = [
            value.strip()
            for name, _, value in (line.partition(":") for line in head.decode().split("\r\n"))
            if name.lower() == "sec-websocket-extensions"
        ]
        if not values:
            return None
        extension, *parameters = [part.strip() for part in ",".join(values).split(";")]
        if extension != "permessage-deflate":
            raise DeflateError(f"an answer with {values}")
        agreed = cls()
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            role, _, what = name.partition("_")
            if role not in agreed.bits or what not in {"no_context_takeover", "max_window_bits"}:
                raise DeflateError(f"an answer with {parameter}")
            if what == "no_context_takeover":
                agreed.takeover[role] = False
            else:
                agreed.bits[role] = int(value)
        return agreed


class Inflating:
    """One direction: inflates message after message.

    Args:
        bits: of the window; what refers to more is an error.
        takeover: whether it is kept from one message to the next.
    """

    def __init__(self, bits: int, *, takeover: bool) -> None:
        self._bits = bits
        self._takeover = takeover
        self._context = zlib.decompressobj(-bits)

    def message(self, payload: bytes) -> bytes:
        """The next message (section 7.2.2).

        Raises:
            DeflateError: the payload does not go on where the last one has ended.
        """
        try:
            data = self._context.decompress(payload + _TAIL)
            end = self._context.copy()
            end.decompress(_FINAL_BLOCK)
        except zlib.error as exc:
            raise DeflateError(f"{exc}: {payload[:30]!r}") from exc
        if self._context.eof or not end.eof:
            raise DeflateError(f"it does not end with a block: {payload[-30:]!r}")
        if not self._takeover:
            self._context = zlib.decompressobj(-self._bits)
        return data


class Expected:
    """One direction: how small a compressor that has its whole window makes each message.

    Args:
        bits: of the window.
        level: of the library's compressor.
        mem_level: likewise.
    """

    def __init__(self, bits: int, *, level: int, mem_level: int) -> None:
        self._context = zlib.compressobj(level, zlib.DEFLATED, -bits, mem_level)

    def most(self, message: bytes) -> int:
        """The most bytes that the next message may take.

        A little more than here, since it may be compressed in pieces.
        """
        payload = self._context.compress(message) + self._context.flush(zlib.Z_SYNC_FLUSH)
        return int(1.05 * len(payload)) + 16
