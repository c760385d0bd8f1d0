"""The floors of the package: imports point down, and the sans-I/O floor does no I/O."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_ws

PACKAGE = Path(trio_ws.__file__).parent
ROOT = PACKAGE.parent

# Each module, lowest first. A module imports from lower layers only; in the layers of FRIENDLY
# also from its neighbours, without a cycle. A new file needs a place here.
PROTOCOL = "_protocol"
LAYERS: list[tuple[str, set[str]]] = [
    ("protocol", {PROTOCOL}),
    ("checks", {"_arguments"}),
    ("leaves", {"_errors", "_facts", "_options", "_transport", "_version"}),
    ("ends", {"_endpoint"}),
    (
        "connection",
        {"_connection", "_inbox", "_reader", "_services", "_timing", "_turns", "_writer"},
    ),
    ("roles", {"_client", "_request", "_server", "_unix"}),
    ("package", {"__init__"}),
    ("users of the package", {"_cli", "testing"}),
    ("program", {"__main__"}),
]
FRIENDLY = {"connection", "roles"}
OUTSIDE = {"trio", "h11"}
NO_IO = {"asyncio", "logging", "select", "selectors", "socket", "ssl", "threading", "time", "trio"}


def modules() -> list[Path]:
    """Return the source files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """Return a source file's module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute name of everything that a file imports, anywhere in it."""
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *(node.module or "").split(".")] if node.module else above
            for alias in node.names:
                inner = ROOT.joinpath(*base, alias.name)
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield node.lineno, ".".join([*base, alias.name] if is_module else base)


def unit(name: str) -> str:
    """Return the name in LAYERS of a module of the package; the protocol is one unit."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def layer(name: str) -> int:
    """Return the number of the layer that a unit is in."""
    found = [number for number, (_, units) in enumerate(LAYERS) if name in units]
    assert found, f"trio_ws/{name}.py has no place in LAYERS"
    return found[0]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_point_down(path: Path) -> None:
    """A module imports from lower layers only, and never from the package's own top."""
    importer = unit(dotted(path))
    for line, name in imports(path):
        if not name.startswith("trio_ws"):
            continue
        imported = unit(name)
        if imported == importer == PROTOCOL:
            continue
        mine, other = layer(importer), layer(imported)
        beside = mine == other and importer != imported and LAYERS[mine][0] in FRIENDLY
        assert other < mine or beside, f"{path.name}:{line} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_dependencies_are_trio_and_h11(path: Path) -> None:
    """A module imports the standard library, trio, h11 and this package, nothing else."""
    for line, name in imports(path):
        top = name.split(".")[0]
        known = top in sys.stdlib_module_names or top in OUTSIDE or top == PACKAGE.name
        assert known, f"{path.name}:{line} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / PROTOCOL).glob("*.py")), ids=dotted)
def test_the_protocol_does_no_io(path: Path) -> None:
    """The protocol imports no trio, socket, clock or log, and nothing above itself."""
    for line, name in imports(path):
        assert name.split(".")[0] not in NO_IO, f"{path.name}:{line} imports {name}"
        if name.startswith(PACKAGE.name):
            assert unit(name) == PROTOCOL, f"{path.name}:{line} imports {name}"


def test_no_private_names_of_trio_are_used() -> None:
    """Nothing of trio, or of its submodules, whose name starts with an underscore is used."""
    for path in modules():
        for line, name in imports(path):
            if name.startswith("trio."):
                assert "._" not in name, f"{path.name}:{line} imports {name}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("trio._"):
                pytest.fail(f"{path.name}:{node.lineno} uses {ast.unparse(node)}")


def test_there_is_no_cycle() -> None:
    """No module imports itself through others."""
    graph = {dotted(path): {name for _, name in imports(path)} for path in modules()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
