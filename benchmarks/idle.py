"""Memory of connections that do nothing."""

from __future__ import annotations

from .links import Address, close_links, open_links
from .processes import resident_bytes, settle


def idle_bytes(address: Address, pid: int, count: int) -> float:
    """Bytes of the server's memory per idle connection, over `count` of them.

    A few connections come before, so that what all share is there already.
    """
    before = open_links(address, 20)
    settle(pid, 0.1)
    start = resident_bytes(pid)
    links = open_links(address, count)
    settle(pid, 0.1)
    grown = resident_bytes(pid) - start
    close_links(address, before + links)
    return grown / count
