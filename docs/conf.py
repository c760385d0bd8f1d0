"""How the documentation is built: ``sphinx-build -n -W docs docs/_build/html``."""

import inspect
import os
import re
from typing import is_typeddict

from sphinx.application import Sphinx

from trio_ws._version import __version__

project = "trio_ws"
copyright = "the trio_ws authors"
author = "the trio_ws authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"trio_ws {release}"
# Docstrings name things in single backquotes, and -n reports the names that do not exist.
default_role = "py:obj"
nitpicky = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

# Foreign names become links where the network is at hand; elsewhere they are just text, so that a
# build needs nothing from outside.
if "READTHEDOCS" in os.environ:
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "trio": ("https://trio.readthedocs.io/en/stable", None),
    }
nitpick_ignore_regex = [
    (r"py:.*", r"(trio|ssl|collections|contextlib|typing|os|ipaddress|types|enum|math|h11)(\..*)?"),
    (r"py:.*", r"(Exception|ValueError|TypeError|RuntimeError|OSError|ResourceWarning|None)"),
    (r"py:.*", r"(KeyboardInterrupt|StopAsyncIteration|UnicodeDecodeError)"),
    (r"py:.*", r"(int|str|bytes|float|bool|object|list|tuple|dict|set|frozenset|type|bytearray)"),
    (r"py:.*", r"(optional|Unpack\[.*)"),
]


def parameters(obj: object) -> set[str]:
    """Return the names of what a function, or a class's constructor, takes."""
    try:
        return set(inspect.signature(obj).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return set()


def prepare_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Make of the docstrings what napoleon understands, in place."""
    if is_typeddict(obj):
        # Each option is a line "name: text": sections of their own show them as parameters.
        lines[1:] = ["", "Keyword Args:", *(f"    {line}".rstrip() for line in lines[2:])]
    own = parameters(obj)
    for index, line in enumerate(lines):
        # A function's own parameters have nothing to link to.
        lines[index] = re.sub(
            r"(?<![`:])`(\w+)`(?!`)",
            lambda match: f"*{match[1]}*" if match[1] in own else match[0],
            line,
        )


def setup(app: Sphinx) -> None:
    """Register the hook; before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
