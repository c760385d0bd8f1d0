"""The worst known inputs of each parser cost work in proportion to their size."""

import pytest

from tests.fuzz.complexity import MOST, count_ratio, counted
from tests.fuzz.patterns import PATTERNS, Pattern
from trio_ws._protocol._frames import FrameReader


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_work_grows_as_the_input_does(pattern: Pattern) -> None:
    """Twice the input is at most 2.5 times the lines executed and bytes copied."""
    assert count_ratio(pattern) < MOST


def test_what_is_quadratic_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that copies all that it has for each byte that comes is found."""
    (pattern,) = (each for each in PATTERNS if each.name == "a message, byte by byte")
    fair = counted(pattern.make(pattern.size))
    feed, seen = FrameReader.feed, []

    def hoard(self: FrameReader, data: bytes) -> None:
        seen.append(data)
        self._key = b"".join(seen)
        feed(self, data)

    monkeypatch.setattr(FrameReader, "feed", hoard)
    assert count_ratio(pattern) >= MOST or counted(pattern.make(pattern.size)) > 10 * fair
