"""What an attack is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .arena import Arena

KIB: Final = 1024
# Bytes of a message that the attacked sides accept: the arithmetic of the attacks is about it.
MAX_MESSAGE: Final = 64 * KIB
# Bytes of traced memory that an attack may cost, unless its row says more. Each side reads 64 KiB
# at a time and keeps 64 KiB to be sent; a message of 64 KiB is there masked and unmasked, as bytes
# and as text, waiting and echoed; the raw peer has its own.
MEMORY: Final = 1024 * KIB

Script = Callable[["Arena"], Awaitable[str]]


@dataclass(frozen=True)
class Attack:
    """One attack.

    Args:
        name: ``server/...`` or ``client/...``, after what is attacked.
        outcome: what must come of it, as its script tells it.
        script: does it, and tells what came of it.
        options: those of the attacked side.
        tls: whether the attacked server speaks TLS.
        memory: bytes that it may cost the process at its peak, the attacker's own included.
    """

    name: str
    outcome: str
    script: Script
    options: Mapping[str, Any] = field(default_factory=dict)
    tls: bool = False
    memory: int = MEMORY


ATTACKS: dict[str, Attack] = {}
"""All attacks by their names, in the order of the files."""

KNOWN: dict[str, str] = {}
"""Attacks that still get through, and why; the tests expect exactly these to fail."""


def add(attack: Attack) -> None:
    """Put an attack into the table."""
    assert attack.name not in ATTACKS, attack.name
    ATTACKS[attack.name] = attack


def attack(
    name: str, outcome: str, *, tls: bool = False, memory: int = MEMORY, **options: Any
) -> Callable[[Script], Script]:
    """Put a script into the table, with the options of the attacked side."""

    def decorate(script: Script) -> Script:
        add(Attack(name, outcome, script, options, tls, memory))
        return script

    return decorate
