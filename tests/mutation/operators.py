"""What is changed in a node of the syntax tree: each operator gives the node's possible mutants.

An expression is replaced by another one, a statement by ``pass`` or another statement. Left alone
are annotations, assertions (for people and type checkers), docstrings, and the words of errors.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from typing import Any, Final

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
# Names of functions and methods that people mistake for each other.
NAMES: Final = {
    "all": "any",
    "any": "all",
    "append": "appendleft",
    "endswith": "startswith",
    "find": "rfind",
    "fullmatch": "match",
    "index": "rindex",
    "lower": "upper",
    "lstrip": "strip",
    "match": "fullmatch",
    "max": "min",
    "min": "max",
    "partition": "rpartition",
    "pop": "popleft",
    "popleft": "pop",
    "rstrip": "strip",
    "search": "match",
    "startswith": "endswith",
    "strip": "lstrip",
    "upper": "lower",
}
# Decorators that only tell type checkers something.
SILENT_DECORATORS: Final = frozenset({"final", "overload", "override"})


def expressions(node: ast.expr) -> Iterator[ast.expr]:
    """Other expressions to stand in the place of `node`; the operands are not looked at."""
    match node:
        case ast.Constant():
            yield from _constants(node.value)
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BoolOp():
            yield _changed(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
            for index in range(len(node.values)):
                left = [*node.values[:index], *node.values[index + 1 :]]
                yield left[0] if len(left) == 1 else _changed(node, values=left)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node.operand
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            yield _changed(node, op=ARITHMETIC[type(node.op)]())
        case ast.Call():
            yield from _calls(node)
        case ast.Slice():
            if node.lower is not None:
                yield _changed(node, lower=None)
            if node.upper is not None:
                yield _changed(node, upper=None)


def _changed(node: Any, **fields: Any) -> Any:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _constants(value: object) -> Iterator[ast.expr]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int() | float():
            yield ast.Constant(value + 1)
            if value >= 1:
                yield ast.Constant(value - 1)
        case str():
            yield ast.Constant("XX" + value)
        case bytes():
            yield ast.Constant(b"XX" + value)


def _comparisons(node: ast.Compare) -> Iterator[ast.expr]:
    for index, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            yield _changed(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    """Leave out a keyword argument; call what has a similar name."""
    for keyword in node.keywords:
        if keyword.arg is not None:
            others = [other for other in node.keywords if other is not keyword]
            yield _changed(node, keywords=others)
    match node.func:
        case ast.Attribute(attr=name) if name in NAMES:
            yield _changed(node, func=_changed(node.func, attr=NAMES[name]))
        case ast.Name(id=name) if name in NAMES:
            yield _changed(node, func=ast.Name(NAMES[name]))


def conditions(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The conditions of a statement or expression, each with a constant in its place."""
    tests: list[ast.expr]
    values: tuple[bool, ...]
    match node:
        case ast.If() | ast.IfExp():
            tests, values = [node.test], (True, False)
        case ast.While():
            tests, values = [node.test], (False,)
        case ast.comprehension():
            tests, values = node.ifs, (True, False)
        case _:
            return
    for test in tests:
        if not isinstance(test, ast.Constant):
            yield from ((test, ast.Constant(value)) for value in values)


def statements(node: ast.stmt, *, last: bool) -> Iterator[str]:
    """Other statements to stand in the place of `node`, the `last` of its function or not."""
    match node:
        case ast.Return(value=None | ast.Constant(value=None)):
            if not last:
                yield "pass"
        case ast.Return(value=ast.Constant()):
            pass  # the constant itself is changed
        case ast.Return():
            yield "return None"
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Delete():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript() | ast.Tuple()]):
            if not _binds_a_name(node.targets[0]):
                yield "pass"
        case ast.AnnAssign(target=ast.Attribute(), value=ast.expr()):
            yield "pass"
        case ast.AugAssign():
            yield "pass"
            yield f"{ast.unparse(node.target)} = {ast.unparse(node.value)}"
            yield ast.unparse(_changed(node, op=ARITHMETIC[type(node.op)]()))
        case ast.Break():
            yield "pass"
        case ast.Continue():
            yield from ("pass", "break")


def _binds_a_name(target: ast.expr) -> bool:
    names = (node for node in ast.walk(target) if isinstance(node, ast.Name))
    return any(isinstance(name.ctx, ast.Store) for name in names)


# An escape; a class's beginning; a quantifier; what may stand behind one or behind a parenthesis.
_REGEX_PARTS = re.compile(
    r"\\.|(?P<class>\[)(?P<not>\^?)\]?(?P<members>(?:\\.|[^\]\\])*)\]"
    r"|(?P<group>\(\?(?:P?<[^>]*>|[:=!aimsx]+\)?))"
    r"|(?P<quantifier>[*+?]|\{[0-9,]+\})(?P<mode>[+?]?)",
    re.DOTALL,
)


def patterns(text: str) -> Iterator[tuple[int, int, str]]:
    """Changes of a regular expression: where each begins and ends, and what stands there then.

    A quantifier is changed or left out, a class negated, a member of a class left out.
    """
    for part in _REGEX_PARTS.finditer(text):
        for other in _regex_part(part):
            yield part.start(), part.end(), other


def _regex_part(part: re.Match[str]) -> Iterator[str]:
    if quantifier := part["quantifier"]:
        yield {"*": "+", "+": "*", "?": ""}.get(quantifier, "*") + (
            part["mode"] if quantifier in "*+" else ""
        )
        if quantifier in "*+":
            yield ""
    elif part["class"]:
        negation, members = part["not"], part["members"]
        yield f"[{'' if negation else '^'}{members}]"
        if len(members) > 1 and members[1] != "-" and members[0] != "\\":
            yield f"[{negation}{members[1:]}]"
        if len(members) > 1 and members[-2:-1] not in ("-", "\\"):
            yield f"[{negation}{members[:-1]}]"
