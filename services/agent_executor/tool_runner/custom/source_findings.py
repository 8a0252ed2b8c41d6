"""What looks suspicious in the source of a tool. Advice to whoever reviews it, never a gate.

The sandbox is what holds a tool; a source that means ill can hide from any reading of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

# A longer one is not read: the parser, during which nothing else runs, takes up to 5 s for 256 KiB
# that were made for it, and 80 ms for this.
SCREENED_CHARACTERS_MAX: Final = 32_768
FINDINGS_MAX: Final = 100
NAME_CHARACTERS_MAX: Final = 80

# Modules that reach for files, processes, the network, raw memory or the interpreter itself.
_MODULES: Final = frozenset(
    {
        *("os", "posix", "pty", "fcntl", "shutil", "tempfile", "pathlib", "glob", "mmap", "io"),
        *("subprocess", "multiprocessing", "threading", "_thread", "concurrent", "signal"),
        *("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "asyncio", "select"),
        *("ctypes", "cffi", "_ctypes", "gc", "sys", "inspect", "builtins", "importlib", "imp"),
        *("pickle", "marshal", "shelve", "code", "codeop", "resource", "platform", "pwd"),
    }
)
_FUNCTIONS: Final = frozenset(
    {
        *("eval", "exec", "compile", "open", "input", "breakpoint", "__import__"),
        *("globals", "locals", "vars", "setattr", "delattr", "memoryview"),
    }
)
# Double underscores that ordinary classes have.
_USUAL_NAMES: Final = frozenset({"__init__", "__name__", "__doc__", "__file__"})
_CUT: Final = "…"


def findings_of(source: str) -> tuple[str, ...]:
    """Returns one finding a line, as ``line 3: imports os``, in the order of the lines.

    At most 100 are returned, and a source of more than 32,768 characters is not read. It is given
    sources that have been loaded in the sandbox before, so one that breaks the parser has broken it
    there; one that cannot be read is a finding itself.
    """
    if len(source) > SCREENED_CHARACTERS_MAX:
        return ("line 1: the source is too long to be screened",)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ("line 1: the source cannot be screened",)
    found: dict[int, list[str]] = {}
    # Not recursive, however deep the tree is.
    for node in ast.walk(tree):
        for finding in _of_node(node):
            known = found.setdefault(getattr(node, "lineno", 1), [])
            if finding not in known:
                known.append(finding)
    lines = [f"line {line}: {', '.join(found[line])}" for line in sorted(found)]
    if len(lines) > FINDINGS_MAX:
        further = len(lines) - FINDINGS_MAX + 1
        lines[FINDINGS_MAX - 1 :] = [f"and {further} further lines"]
    return tuple(lines)


def _of_node(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _of_module(alias.name)
    elif isinstance(node, ast.ImportFrom):
        yield from _of_module(node.module or "")
    elif isinstance(node, ast.Attribute):
        yield from _of_dunder(node.attr)
    elif isinstance(node, ast.Name):
        if node.id in _FUNCTIONS:
            yield f"uses {node.id}"
        else:
            yield from _of_dunder(node.id)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from _of_dunder(node.value)
    elif isinstance(node, ast.Call) and _is_computed_getattr(node):
        yield "calls getattr with a computed name"


def _of_module(name: str) -> Iterator[str]:
    if name.partition(".")[0] in _MODULES:
        yield f"imports {_shortened(name)}"


def _of_dunder(name: str) -> Iterator[str]:
    if (
        len(name) > len("____")
        and name.startswith("__")
        and name.endswith("__")
        and name.isidentifier()
        and name not in _USUAL_NAMES
        and name not in _FUNCTIONS
    ):
        yield f"names {_shortened(name)}"


def _is_computed_getattr(call: ast.Call) -> bool:
    return (
        isinstance(call.func, ast.Name)
        and call.func.id == "getattr"
        and len(call.args) > 1
        and not isinstance(call.args[1], ast.Constant)
    )


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS_MAX else name[:NAME_CHARACTERS_MAX] + _CUT
