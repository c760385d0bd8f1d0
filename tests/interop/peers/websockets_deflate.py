"""How the two sides of `websockets` are told to compress, and what they tell of it."""

from __future__ import annotations

from typing import Any

from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

from tests.interop.compression import NAME, Deflate


def options(deflate: Deflate | None, *, client: bool) -> dict[str, Any]:
    """The keyword arguments of `connect` or `serve`."""
    if deflate is None:
        return {"compression": None}
    wishes: dict[str, Any] = dict(deflate.wishes())
    if not wishes:
        return {"compression": "deflate"}
    factory = ClientPerMessageDeflateFactory if client else ServerPerMessageDeflateFactory
    return {"extensions": [factory(**wishes)]}


def extensions(websocket: Any, *, client: bool) -> str:
    """What is in force, as an answer would say it."""
    parts = []
    for extension in websocket.protocol.extensions:
        assert extension.name == NAME
        local, remote = ("client", "server") if client else ("server", "client")
        parts.append(NAME)
        for side, prefix in (local, "local"), (remote, "remote"):
            if getattr(extension, f"{prefix}_no_context_takeover"):
                parts.append(f"{side}_no_context_takeover")
            bits = getattr(extension, f"{prefix}_max_window_bits")
            parts.append(f"{side}_max_window_bits={bits}")
    return "; ".join(parts)
