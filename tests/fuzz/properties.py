"""How a target says that a property does not hold."""

from __future__ import annotations


class Broken(AssertionError):
    """A property does not hold for these bytes."""


def expect(condition: object, what: str, *details: object) -> None:
    """Go on if `condition` is true; else say what is broken, and with which values."""
    if not condition:
        raise Broken(": ".join([what, *map(_short, details)]))


def same(actual: object, expected: object, what: str) -> None:
    """Go on if both are equal."""
    if actual != expected:
        raise Broken(f"{what}: got {_short(actual)}, expected {_short(expected)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"
