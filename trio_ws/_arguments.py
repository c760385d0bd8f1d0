"""Checks of the user's arguments, all before any byte is sent."""

from __future__ import annotations


def check_type(name: str, value: object, *kinds: type | None) -> None:
    """Check that `value` is of one of `kinds`; None among them allows None, and a bool is no int.

    Raises:
        TypeError: it is not; the message says which argument.
    """
    if type(value) in kinds:  # nearly always
        return
    types = tuple(kind for kind in kinds if kind is not None)
    if (value is None and None in kinds) or (
        isinstance(value, types) and (not isinstance(value, bool) or bool in types)
    ):
        return
    wanted = " or ".join("None" if kind is None else kind.__name__ for kind in kinds)
    raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def check_close(code: object, reason: object) -> None:
    """Check the types of a close code and reason.

    Raises:
        TypeError: not an int, or not a str or None.
    """
    check_type("code", code, int)
    check_type("reason", reason, str, None)
