"""Pages of other sites that try to connect with a user's cookies (RFC 6455 section 10.2)."""

from __future__ import annotations

from tests.support.servers import upgrade

from .arena import Arena
from .table import Attack, add, attack

_LIST = {"origins": ["https://good.example"]}

# The Origin lines of a page at another place than http://127.0.0.1:PORT, and the server's options.
FOREIGN: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    "of another site": (["https://evil.example"], {}),
    "null": (["null"], {}),
    "NULL": (["NULL"], _LIST),
    "with our host as a prefix": (["http://127.0.0.1.evil.example:{port}"], {}),
    "with our host as a suffix": (["http://evil127.0.0.1:{port}"], {}),
    "with our host as a user": (["http://127.0.0.1:{port}@evil.example"], {}),
    "with another port": (["http://127.0.0.1:1"], {}),
    "without our port": (["http://127.0.0.1"], {}),
    "with our port as text": (["http://127.0.0.1:{port}x"], {}),
    "with another scheme": (["ftp://127.0.0.1:{port}"], {}),
    "of a file": (["file://"], {}),
    "of an extension": (["chrome-extension://127.0.0.1:{port}"], {}),
    "without a scheme": (["127.0.0.1:{port}"], {}),
    "with a path": (["http://127.0.0.1:{port}/"], {}),
    "with a path and our host in it": (["http://evil.example/http://127.0.0.1:{port}"], {}),
    "with a blank": (["http://127.0.0.1:{port} http://evil.example"], {}),
    "as a list": (["http://127.0.0.1:{port}, http://evil.example"], {}),
    "in two lines, ours first": (["http://127.0.0.1:{port}", "http://evil.example"], {}),
    "in two lines, ours last": (["http://evil.example", "http://127.0.0.1:{port}"], {}),
    "empty": ([""], {}),
    "with full-width digits": (["http://\uff11\uff12\uff17.0.0.1:{port}"], {}),
    "with a number for an address": (["http://2130706433:{port}"], {}),
    "off the list, a subdomain": (["https://www.good.example"], _LIST),
    "off the list, a suffix": (["https://good.example.evil.example"], _LIST),
    "off the list, a prefix": (["https://notgood.example"], _LIST),
    "off the list, no TLS": (["http://good.example"], _LIST),
    "off the list, a port": (["https://good.example:444"], _LIST),
    "off the list, a dot": (["https://good.example."], _LIST),
    "off the list, in Cyrillic": (["https://g\u043eod.example"], _LIST),
    "off the list, the own host": (["http://127.0.0.1:{port}"], _LIST),
}


def _origin(name: str, values: list[str], options: dict[str, list[str]]) -> Attack:
    async def script(arena: Arena) -> str:
        port = arena.server.port
        peer = await arena.dial()
        lines = [f"Origin: {value.format(port=port)}".encode() for value in values]
        await arena.beside()
        await peer.throw(_request(port, lines))
        answer = await peer.answer()
        await peer.aclose()
        return answer

    return Attack(f"server/Origin {name}", "HTTP 403", script, options)


def _request(port: int, lines: list[bytes]) -> bytes:
    return upgrade(b"Cookie: session=1", *lines, host=b"127.0.0.1:%d" % port)


for _name, (_values, _options) in FOREIGN.items():
    add(_origin(_name, _values, _options))


@attack(
    "server/DNS rebinding, with a list of origins", "HTTP 403", origins=["https://good.example"]
)
async def _rebinding(arena: Arena) -> str:
    """A name of the attacker's that leads to this machine: Host and Origin are both his."""
    peer = await arena.dial()
    host = b"evil.example:%d" % arena.server.port
    await arena.beside()
    await peer.throw(upgrade(b"Origin: http://" + host, host=host))
    answer = await peer.answer()
    await peer.aclose()
    return answer


@attack("server/Origin of its own, to compare", "HTTP 101")
async def _own(arena: Arena) -> str:
    """What lets in an honest page lets in nobody above."""
    peer = await arena.dial()
    await arena.beside()
    port = arena.server.port
    await peer.throw(_request(port, [b"Origin: http://127.0.0.1:%d" % port]))
    head = await peer.receive_head()
    await peer.aclose()
    return f"HTTP {head[9:12].decode()}"
