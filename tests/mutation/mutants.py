"""The mutants of a module, in the order of its source, with names and descriptions."""

from __future__ import annotations

import ast
import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from . import operators

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "trio_ws._protocol"


def _find_package() -> Path:
    """Where the package is, which need not be beside the tests; it is not imported here."""
    spec = find_spec(PACKAGE.partition(".")[0])
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / PACKAGE.rpartition(".")[2]


FOLDER: Final = _find_package()
# What raises, or makes, an error: the words in it are for people, and may be any.
_ERRORS: Final = frozenset({"BadRequest", "Violation", "upgrade_required"})
# Strings that are written so are regular expressions.
_RAW: Final = ("r'", 'r"', "rb'", 'rb"')
_DECLARATIONS: Final = frozenset({"__all__", "__slots__"})
_SEPARATOR: Final = " | "


@dataclass(frozen=True)
class Mutant:
    """One change of one place.

    Args:
        module: the module, without its package.
        scope: the outermost function that the place is in, as ``Class.method``, or "module".
        number: of the mutant in its scope.
        patchable: whether to change the code of the function is enough.
        span: the bytes of the source that are replaced.
        lines: the lines of the statement, of an ``if`` or a loop those of its head.
        before: what stood there, on one line.
        after: what stands there now.
        key: what the list of argued mutants calls it: it outlives changes elsewhere in the file.
    """

    module: str
    scope: str
    number: int
    patchable: bool
    span: tuple[int, int]
    lines: tuple[int, int]
    before: str
    after: str
    key: str

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return f"{self.module}.{self.scope}.{self.number}"

    def source(self) -> str:
        """The module's source with this change."""
        data = path_of(self.module).read_bytes()
        begin, end = self.span
        return (data[:begin] + self.after.encode() + data[end:]).decode()

    def diff(self) -> str:
        """The change, as a unified diff."""
        path = path_of(self.module)
        old, new = path.read_text().splitlines(), self.source().splitlines()
        name = str(path.relative_to(FOLDER.parents[1]))
        return "\n".join(difflib.unified_diff(old, new, name, name, lineterm="", n=2))


def path_of(module: str) -> Path:
    """The file of a module of the sans-I/O floor."""
    return FOLDER / f"{module}.py"


def modules() -> list[str]:
    """All modules that there is something to mutate in."""
    return sorted(path.stem for path in FOLDER.glob("_[a-z]*.py") if mutants_of(path.stem))


def mutants_of(module: str) -> list[Mutant]:
    """All mutants of a module."""
    return find(module, path_of(module).read_text())


def find(module: str, source: str) -> list[Mutant]:
    """The mutants of a module with this source."""
    return _Finder(module, source).find()


class _Finder(ast.NodeVisitor):
    """Walks over a module and collects its mutants."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._tree = ast.parse(source)
        self._text = source.splitlines()
        self._starts = [0]
        for line in source.encode().splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._source = source.encode()
        self._classes: list[str] = []
        self._scope: str | None = None
        self._patchable = False
        self._lines = (0, 0)
        self._found: dict[tuple[int, int, str], Mutant] = {}
        self._numbers: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def find(self) -> list[Mutant]:
        self._block(self._tree.body, last=False)
        return list(self._found.values())

    # Statements

    def _block(self, body: Iterable[ast.stmt], *, last: bool) -> None:
        body = list(body)
        for node in body:
            self._statement(node, last=last and node is body[-1])

    def _statement(self, node: ast.stmt, *, last: bool) -> None:
        self._lines = node.lineno, _head_end(node)
        match node:
            case ast.Assert() | ast.Import() | ast.ImportFrom():
                return
            case ast.Expr(value=ast.Constant()):
                return  # a docstring
            case ast.Assign(targets=[ast.Name(id=name)]) if name in _DECLARATIONS:
                return
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case ast.FunctionDef():
                self._function(node)
                return
            case ast.ClassDef():
                self._class(node)
                return
            case ast.AnnAssign():
                self._annotated(node)
                return
        for other in operators.statements(node, last=last):
            self._add(node, other)
        self._conditions(node)
        for field, value in ast.iter_fields(node):
            if field not in ("body", "orelse", "finalbody", "handlers"):
                self._expressions(value)
        for block in _blocks(node):
            self._block(block, last=last)

    def _function(self, node: ast.FunctionDef) -> None:
        outermost = self._scope is None
        if outermost:
            self._scope = ".".join([*self._classes, node.name])
        self._decorators(node)
        self._expressions([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        if outermost:
            self._patchable = not node.decorator_list or _is_plain(node.decorator_list)
        self._block(node.body, last=True)
        if outermost:
            self._scope, self._patchable = None, False

    def _class(self, node: ast.ClassDef) -> None:
        self._decorators(node)
        self._classes.append(node.name)
        self._block(node.body, last=False)
        self._classes.pop()

    def _annotated(self, node: ast.AnnAssign) -> None:
        if ast.unparse(node.annotation).endswith("TypeAlias"):
            return
        for other in operators.statements(node, last=False):
            self._add(node, other)
        self._expressions(node.value)

    def _decorators(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            if ast.unparse(decorator) not in operators.SILENT_DECORATORS:
                self._expressions(decorator)
                begin, end = self._span(decorator)
                self._add_span((begin - 1, end), f"@{ast.unparse(decorator)}", "")

    # Expressions

    def _expressions(self, value: object) -> None:
        """Mutate an expression, or several, and what is in them."""
        if isinstance(value, list):
            for item in value:
                self._expressions(item)
        elif isinstance(value, ast.AST):
            if isinstance(value, ast.expr):
                self._expression(value)
            self._conditions(value)
            for child in _children(value):
                self._expressions(child)

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.JoinedStr):
            self._add(node, repr("XX"))
            return
        for other in operators.expressions(node):
            self._replace(node, other)
        begin, end = self._span(node)
        literal = self._source[begin:end].decode()
        if isinstance(node, ast.Constant) and literal.startswith(_RAW):
            for first, last, text in operators.patterns(literal):
                self._add_span((begin + first, begin + last), literal[first:last], text)

    def _conditions(self, node: ast.AST) -> None:
        for test, other in operators.conditions(node):
            self._replace(test, other)

    def _replace(self, node: ast.expr, other: ast.expr) -> None:
        text = ast.unparse(other)
        simple = isinstance(
            other, (ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Slice)
        )
        self._add(node, text if simple else f"({text})")

    # What was found

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        begin = self._starts[node.lineno - 1] + node.col_offset
        return begin, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, node: ast.expr | ast.stmt, after: str) -> None:
        begin, end = self._span(node)
        self._add_span((begin, end), self._source[begin:end].decode(), after)

    def _add_span(self, span: tuple[int, int], before: str, after: str) -> None:
        before = " ".join(before.split())
        if (*span, after) in self._found or after == before:
            return
        scope = self._scope or ".".join([*self._classes, "module"])
        line = self._text[self._lines[0] - 1].strip()
        key = _SEPARATOR.join((scope, line, f"{before} -> {after or 'nothing'}"))
        self._keys[key] += 1
        if self._keys[key] > 1:
            key += f" (number {self._keys[key]})"
        self._numbers[scope] += 1
        self._found[*span, after] = Mutant(
            self._module,
            scope,
            self._numbers[scope],
            self._patchable,
            span,
            self._lines,
            before,
            after,
            key,
        )


def _head_end(node: ast.stmt) -> int:
    """The last line of a statement, without the statements in it."""
    match node:
        case ast.If() | ast.While():
            end = node.test.end_lineno
        case ast.For():
            end = node.iter.end_lineno
        case ast.With():
            end = node.items[-1].context_expr.end_lineno
        case ast.Try():
            end = node.lineno
        case _:
            end = node.end_lineno
    return end or node.lineno


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        yield getattr(node, field, [])
    for handler in getattr(node, "handlers", []):
        yield handler.body
    for case in getattr(node, "cases", []):
        yield case.body


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes in an expression that may be changed."""
    skip: set[ast.AST] = set()
    match node:
        case ast.JoinedStr():
            return  # its parts know no place of theirs before Python 3.12
        case ast.Call(func=ast.Name(id=name)) if name in _ERRORS or name.endswith(_SUFFIXES):
            skip = {arg for arg in node.args if isinstance(arg, (ast.Constant, ast.JoinedStr))}
            skip = {arg for arg in skip if isinstance(arg, ast.JoinedStr) or _is_text(arg)}
        case ast.Call(func=ast.Name(id="cast" | "TypeVar" | "NewType")):
            skip = {node.args[0]}
    for child in ast.iter_child_nodes(node):
        if child not in skip:
            yield child


_SUFFIXES: Final = ("Error", "Failure")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_plain(decorators: list[ast.expr]) -> bool:
    """Whether the function below these can be found again."""
    return {ast.unparse(each) for each in decorators} <= {"property", "staticmethod", "classmethod"}
