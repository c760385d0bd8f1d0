"""Every kind of disagreement with another library, each explained once."""

from __future__ import annotations

from typing import Final, NamedTuple

ANY: Final = ("*",)
BOTH: Final = ("wsproto", "websockets")


class Row(NamedTuple):
    """A kind of disagreement.

    Args:
        name: what it is about.
        libraries: who disagrees with trio_ws.
        ours: what trio_ws makes of it; patterns with a star.
        theirs: what they make of it; the same.
        facts: what a sequence must have; one of these.
        reason: why, with the RFC's section.
        follows: who follows the RFC.
    """

    name: str
    libraries: tuple[str, ...]
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    facts: tuple[str, ...]
    reason: str
    follows: str


# The first row that fits is the explanation.
TABLE: Final = [
    Row(
        "the reason of a Close is not echoed",
        BOTH,
        ("answer: other reason",),
        ("answer: other reason",),
        ANY,
        "RFC 6455 section 5.5.1: an endpoint typically echoes the code; of the reason it says "
        "nothing. Words of a peer need not go out under our name.",
        "all",
    ),
    Row(
        "no pong after the own Close",
        ("websockets",),
        ("answer: nothing",),
        ("answer: pong",),
        ("after own Close",),
        "RFC 6455 section 5.5.2 asks for a pong unless a Close was received; section 1.4 lets a "
        "peer send nothing more after its Close. A Close is the last frame of trio_ws.",
        "each follows one of the sections",
    ),
    Row(
        "a Close inside a fragmented message",
        ("websockets",),
        ("close *",),
        ("failure 1002",),
        ("Close inside a message", "Close inside a compressed message"),
        "RFC 6455 section 5.4: control frames may come between the fragments of a message; it "
        "makes no exception for Close.",
        "trio_ws",
    ),
    Row(
        "close code 1014",
        ("wsproto",),
        ("close 1014", "failure 1007"),
        ("failure 1002",),
        ("frame Close 1014",),
        "RFC 6455 section 7.4.2 leaves codes up to 2999 to registrations; 1014 (bad gateway) was "
        "registered with the IANA later.",
        "trio_ws",
    ),
    Row(
        "a length that is not in its shortest form",
        ("websockets",),
        ("failure 1002",),
        ANY,
        ("frame long length",),
        "RFC 6455 section 5.2: the minimal number of bytes MUST be used to encode the length.",
        "trio_ws",
    ),
    Row(
        "a length over 63 bits",
        ("websockets",),
        ("failure 1002",),
        ("failure 1009",),
        ("frame length over 63 bits",),
        "RFC 6455 section 5.2: the most significant bit MUST be 0. It is a violation, and too big.",
        "trio_ws",
    ),
    Row(
        "a Close whose code and reason are wrong",
        ("websockets",),
        ("failure 1002",),
        ("failure 1007",),
        ("frame Close reason not UTF-8, wrong code",),
        "Two violations in one frame; trio_ws looks at the code first, websockets at the reason.",
        "all",
    ),
    Row(
        "a violation in the header of a frame that is not whole",
        BOTH,
        ("failure 1002",),
        ("nothing",),
        ("frame cut",),
        "trio_ws fails at the byte that proves the violation, websockets when the frame is whole, "
        "and wsproto when its header is, with the masking key and a byte of the payload.",
        "all",
    ),
    Row(
        "a text that cannot become UTF-8 any more",
        ("websockets",),
        ("failure 1007",),
        ANY,
        ("text not UTF-8",),
        "RFC 6455 section 8.1 asks to fail; when, it does not say. trio_ws fails at the first "
        "impossible byte, websockets when the message is whole, or never if it does not end.",
        "all",
    ),
    Row(
        "a surrogate in UTF-8",
        ("wsproto",),
        ("failure 1007",),
        ANY,
        ("text with a surrogate",),
        "RFC 6455 section 8.1, again: trio_ws fails at the second byte, which proves it, and "
        "wsproto at the third.",
        "all",
    ),
    Row(
        "a message inside another, one of them compressed",
        ("wsproto",),
        ("failure 1002",),
        ("failure 1007",),
        ("message inside a compressed message", "compressed message inside a message"),
        "RFC 6455 section 5.4 forbids it. wsproto inflates the frame before it looks at the order "
        "of frames, and finds no DEFLATE.",
        "trio_ws",
    ),
    Row(
        "what does not inflate",
        ("websockets",),
        ("failure 1007",),
        ("failure 1002",),
        ("compressed",),
        "RFC 7692 section 7.2.2 names no close code. 1007 is for payloads that are not consistent "
        "with their type (RFC 6455 section 7.4.1).",
        "all",
    ),
    Row(
        "a compressed message that ends within a block",
        BOTH,
        ("failure 1007",),
        ("text", "binary"),
        ("message ends within a block",),
        "RFC 7692 section 7.2.2: the payload with its tail is a sequence of DEFLATE blocks. The "
        "others take what zlib has returned so far for the message, so a cut one goes unnoticed.",
        "trio_ws",
    ),
    Row(
        "a control frame over the limit of messages",
        ("websockets",),
        ("ping", "pong", "close 1000"),
        ("failure 1009",),
        ("frame control over 50 bytes",),
        "The limit of trio_ws is for messages; a control frame has 125 bytes at the most (RFC 6455 "
        "section 5.5). That of websockets is for every frame.",
        "all",
    ),
    Row(
        "a control frame inside a compressed message",
        ("wsproto",),
        ANY,
        ANY,
        ("ping inside a compressed message",),
        "RFC 7692 section 6: control frames are not compressed. wsproto inflates the fragments "
        "behind one as if they were not part of the message.",
        "trio_ws",
    ),
]
