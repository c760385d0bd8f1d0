"""The strict gate in front of h11: the head of an HTTP/1.1 message, line by line.

h11 is lenient where leniency has let requests be smuggled: bare LF, obs-fold, control characters.
So no byte reaches it before this scan has let the whole head pass. The scan looks at each byte
once, and fails at the first one that proves a violation; what comes out therefore never depends on
how the bytes were split on their way.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from ._headers import TOKEN, HeaderError, show

# VCHAR, obs-text, SP and HTAB: what may stand in a line at all (RFC 9112 section 5).
_text = re.compile(rb"[\t -~\x80-\xff]*+")
# A name directly followed by a colon. This also refuses obs-fold, which begins with a blank.
_header = re.compile(TOKEN + rb":")
# The same for a whole head that came in one piece, as nearly all do.
_whole_head = re.compile(
    _text.pattern + rb"\r\n(?:%b%b\r\n)*+\r\n" % (_header.pattern, _text.pattern)
)


class HandshakeFailure(Exception):
    """The opening handshake failed; the message says why."""


@dataclass(frozen=True)
class HeadLimits:
    """How large an HTTP head may be, in bytes; what is equal to a limit is allowed.

    *max_line_size* counts the start line and each header line without CRLF, *max_header_size* all
    header lines with their CRLF.
    """

    max_line_size: int = 8192
    max_header_count: int = 100
    max_header_size: int = 32768


class HeadReader:
    """Collects one head. *check_start* raises HeaderError for a bad request line or status line."""

    def __init__(self, limits: HeadLimits, check_start: Callable[[bytes], None]) -> None:
        self._limits = limits
        self._check_line = check_start
        self._data = bytearray()
        self._start = 0  # of the line that is being read
        self._scanned = 0  # everything before is known to be text
        self._headers_start: int | None = None
        self._count = 0

    def receive_data(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Feed bytes until this returns (the head with its blank line, the bytes after it).

        Raises HeaderError at the first byte that cannot be part of an acceptable head.
        """
        if not self._data and (end := self._end_of_head(data)):
            self._check_line(data[: data.index(b"\r\n")])
            return data[:end], data[end:]
        self._data += data
        while (line := self._next_line()) is not None:
            if not line and self._headers_start is not None:
                return bytes(self._data[: self._start]), bytes(self._data[self._start :])
            self._check_line(line)
            if self._headers_start is None:
                self._headers_start, self._check_line = self._start, _check_header
            else:
                self._count += 1
        return None

    def _end_of_head(self, data: bytes) -> int:
        """Where the head ends, if `data` has all of it, and no limit is anywhere near; else 0.

        Whatever else is wrong with it, or how, is found line by line.
        """
        match = _whole_head.match(data)
        if match is None:
            return 0
        end, limits = match.end(), self._limits
        small = end <= limits.max_line_size and end <= limits.max_header_size
        few = data.count(b"\n", 0, end) - 2 <= limits.max_header_count
        return end if small and few else 0

    def _next_line(self) -> bytes | None:
        """The next line without its CRLF, or None if it is not complete yet."""
        match = _text.match(self._data, self._scanned)
        assert match is not None  # it matches the empty string
        self._scanned = end = match.end()
        limit, status_code, what = self._room()
        if end - self._start > limit:
            raise HeaderError(f"{what}: send a smaller head", status_code)
        ending = bytes(self._data[end : end + 2])
        if ending in (b"", b"\r"):
            return None
        if ending != b"\r\n":
            raise HeaderError(f"expected text or CRLF, not {show(ending[:1])}")
        line = bytes(self._data[self._start : end])
        self._start = self._scanned = end + 2
        return line

    def _room(self) -> tuple[int, int, str]:
        """How long the current line may become; the status code and the words for a longer one."""
        limits = self._limits
        if self._headers_start is None:
            return limits.max_line_size, 414, f"the start line is over {limits.max_line_size} bytes"
        if self._count == limits.max_header_count:
            return 0, 431, f"more than {limits.max_header_count} headers"
        left = limits.max_header_size - (self._start - self._headers_start) - len(b"\r\n")
        if left < limits.max_line_size:
            return max(left, 0), 431, f"the headers are over {limits.max_header_size} bytes"
        return limits.max_line_size, 431, f"a header line is over {limits.max_line_size} bytes"


def _check_header(line: bytes) -> None:
    if _header.match(line) is None:
        raise HeaderError(f"write each header as 'name: value' on one line, not {show(line)}")


def format_head(start_line: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write a head; the headers have passed ``encode_headers`` or are our own."""
    return start_line.encode() + b"\r\n" + format_headers(headers)


def format_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write header lines, and the blank line behind them."""
    return b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"


def format_response_head(status_code: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The same for a response. The reason phrase is empty for a code without a registered one."""
    phrase = HTTPStatus(status_code).phrase if status_code in _STATUS_CODES else ""
    return format_head(f"HTTP/1.1 {status_code} {phrase}", headers)


_STATUS_CODES = frozenset(HTTPStatus)
