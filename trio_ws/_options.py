"""What can be set: keywords for type checkers and readers, settings with defaults and checks.

Each keyword is in a ``TypedDict``, which is what ``**options`` can be typed with, and in the
dataclass that these are made into. Those of a server alone are in `_server`, for they name its
requests.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any, Literal, TypeAlias, TypedDict

from ._arguments import check_type
from ._protocol._deflate import PerMessageDeflate
from ._protocol._handshake import HeadLimits
from ._protocol._negotiation import AnyOrigin, check_origins

ExtraHeaders: TypeAlias = Iterable[tuple[bytes | str, bytes | str]]


def _check_numbers(value: Any) -> None:
    """Check that each field that is a number is one, and not negative."""
    kind: Any = type(value)
    for name, accepted, optional in _numbers(kind):
        number = getattr(value, name)
        if number is None and optional:
            continue
        if isinstance(number, bool) or not isinstance(number, accepted):
            raise TypeError(f"{name} must be a number, not {number!r}")
        if not number >= 0:
            raise ValueError(f"{name} must not be negative, and is {number!r}")


@cache
def _numbers(settings: type[Any]) -> list[tuple[str, tuple[type[float], ...], bool]]:
    """The fields of a class of settings that are numbers: name, types, whether None is one, too."""
    kinds = {item.name: str(item.type) for item in fields(settings)}
    return [
        (name, (int, float) if "float" in kind else (int,), "None" in kind)
        for name, kind in kinds.items()
        if kind.startswith(("int", "float"))
    ]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a peer may ask for (RFC 6455 section 10.4), beside the options of a connection.

    Args:
        max_line_size: bytes of the request line, and of each header line.
        max_header_count: header lines of an opening handshake.
        max_header_size: bytes of all its header lines.
        max_rejection_size: bytes of a rejection's body that a client keeps.
        max_empty_fragments: empty fragments in a row within a message.
        message_queue_bytes: bytes of received messages that wait for ``receive``; None is twice
            ``max_message_size``, and 256 KiB at least. A full queue stops reading.
        send_buffer_size: bytes waiting to be sent above which ``send`` waits.
        write_timeout: seconds without any progress after which a stalled write ends the connection.
        message_timeout: seconds from a message's first byte to its last; off by default, since a
            slow link may take long over a large message.
    """

    max_line_size: int = 8 * 1024
    max_header_count: int = 100
    max_header_size: int = 32 * 1024
    max_rejection_size: int = 64 * 1024
    max_empty_fragments: int = 1024
    message_queue_bytes: int | None = None
    send_buffer_size: int = 64 * 1024
    write_timeout: float = 30
    message_timeout: float = math.inf

    def __post_init__(self) -> None:
        _check_numbers(self)

    @cached_property
    def _head(self) -> HeadLimits:
        """The limits of an opening handshake's head."""
        return HeadLimits(
            max_line_size=self.max_line_size,
            max_header_count=self.max_header_count,
            max_header_size=self.max_header_size,
        )


_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of one connection, in either role; see `ConnectionOptions`."""

    message_queue_size: float = 16
    max_message_size: int = 2**20
    receive_buffer_size: int | None = None
    connect_timeout: float = 60
    disconnect_timeout: float = 60
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    compression: PerMessageDeflate | Literal["deflate"] | None = None
    limits: Limits = _LIMITS

    def __post_init__(self) -> None:
        _check_numbers(self)
        if not isinstance(self.message_queue_size, int) and self.message_queue_size != math.inf:
            raise TypeError(
                f"message_queue_size must be an int or math.inf, not {self.message_queue_size!r}"
            )
        self.deflate  # noqa: B018 - checked, and made once for all connections
        if not isinstance(self.limits, Limits):
            raise TypeError(f"limits must be a trio_ws.Limits, not {self.limits!r}")
        for name in ("receive_buffer_size", "ping_interval"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be over 0 or None")

    @cached_property
    def deflate(self) -> PerMessageDeflate | None:
        """The compression that is wanted."""
        if self.compression is None or isinstance(self.compression, PerMessageDeflate):
            return self.compression
        if self.compression == "deflate":
            return PerMessageDeflate()
        raise ValueError(
            f"compression must be 'deflate', a PerMessageDeflate or None, not {self.compression!r}"
        )

    @cached_property
    def message_queue_bytes(self) -> int:
        """Bytes of received messages that may wait."""
        if self.limits.message_queue_bytes is not None:
            return self.limits.message_queue_bytes
        return max(2 * self.max_message_size, 256 * 1024)


class CommonOptions(TypedDict, total=False):
    """The keywords of every connection: times, compression and `Limits`.

    connect_timeout: seconds for the whole opening handshake, 60 by default.
    disconnect_timeout: seconds for the closing handshake, 60 by default.
    ping_interval: seconds between keepalive pings, 20 by default; None for none.
    ping_timeout: seconds after a ping within which anything must arrive, 20 by default; None for
        any time.
    compression: ``"deflate"`` or a `PerMessageDeflate` to compress messages if the peer does, too
        (RFC 7692); None, the default, not to: it costs time and memory.
    limits: a `Limits` value.
    """

    connect_timeout: float
    disconnect_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    compression: PerMessageDeflate | Literal["deflate"] | None
    limits: Limits


class ConnectionOptions(CommonOptions, total=False):
    """The keywords that every way to a connection takes.

    message_queue_size: complete messages that wait for ``receive``, 16 by default. A full queue
        stops reading, so everything behind it waits as well, a Close frame included.
    max_message_size: bytes of a received message (a text's UTF-8), 1 MiB by default; a larger one
        closes the connection with 1009.
    receive_buffer_size: bytes of one read; None leaves it to the library.
    """

    message_queue_size: float
    max_message_size: int
    receive_buffer_size: int | None


class ClientOptions(ConnectionOptions, total=False):
    """The keywords of a client.

    subprotocols: subprotocols to propose, the preferred first (RFC 6455 section 1.9).
    extra_headers: headers to add to the request, as (name, value) of bytes or str.
    server_hostname: the name to verify the server's certificate against, instead of the host's;
        an error without TLS, and where a stream is given.
    unix_socket: the path of a unix socket to connect to, instead of the host and the port; an error
        where a stream is given.
    """

    subprotocols: Iterable[str] | None
    extra_headers: ExtraHeaders | None
    server_hostname: str | None
    unix_socket: str | bytes | os.PathLike[str] | None


@dataclass(frozen=True, kw_only=True)
class ClientSettings(Settings):
    """The options of a client; see `ClientOptions`."""

    subprotocols: Iterable[str] | None = None
    extra_headers: ExtraHeaders | None = None
    server_hostname: str | None = None
    unix_socket: str | bytes | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("subprotocols", self.subprotocols, Iterable, None)
        check_type("extra_headers", self.extra_headers, Iterable, None)
        check_type("server_hostname", self.server_hostname, str, None)
        check_type("unix_socket", self.unix_socket, str, bytes, os.PathLike, None)


class OriginOptions(CommonOptions, total=False):
    """The keywords of a server's side of a connection that a browser may open.

    origins: the origins whose pages may connect, as ``scheme://host[:port]``; None is the server's
        own host (RFC 6455 section 10.2), `any_origin` is everybody: unsafe where a cookie or the
        network says who the user is.
    require_origin: refuse clients that send no Origin, which only browsers must.
    """

    origins: Iterable[str] | AnyOrigin | None
    require_origin: bool


@dataclass(frozen=True, kw_only=True)
class OriginSettings(Settings):
    """The options of a server's side of a connection; see `OriginOptions`."""

    origins: Iterable[str] | AnyOrigin | None = None
    require_origin: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("require_origin", self.require_origin, bool)
        check_type("origins", self.origins, Iterable, AnyOrigin, None)
        self.allowed_origins  # noqa: B018 - checked, and normalised once for all connections

    @cached_property
    def allowed_origins(self) -> frozenset[str] | AnyOrigin | None:
        """The allow-list in its normal form."""
        return check_origins(self.origins)
