"""What a reader may rely on: sizes, names, and nothing of the place where it was written."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "services" / "agent_executor"

MODULE_LINES_MAX = 500
MODULE_LINES_USUAL_MAX = 400
MODULE_LINES_MEDIAN_MAX = 120
FUNCTION_LINES_MAX = 50

BANNED_NAMES = {"base", "common", "helper", "helpers", "misc", "shared", "util", "utils"}

FOREIGN = re.compile(
    r"""
    /(home|root|Users|work|workspace)/      # somebody's folder
    | \bpypi\.org | pythonhosted\.org | npmjs\.(org|com) | \bcrates\.io   # a registry's host
    """,
    re.VERBOSE,
)


def source_files() -> list[Path]:
    generated = PACKAGE / "api"
    return [path for path in sorted(PACKAGE.rglob("*.py")) if generated not in path.parents]


def repository_files() -> list[Path]:
    """Returns every file that a clone has, or would have once what is new is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Counts the lines of a function without its docstring."""
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    else:
        docstring = 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def test_modules_are_small() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in source_files()}
    assert [path for path, count in lines.items() if count > MODULE_LINES_MAX] == []
    large = [path for path, count in lines.items() if count > MODULE_LINES_USUAL_MAX]
    assert len(large) <= len(lines) / 50, large
    assert statistics.median(lines.values()) <= MODULE_LINES_MEDIAN_MAX


def test_functions_fit_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {body_lines(node)} lines"
        for path in source_files()
        if "migrations" not in path.parts  # A schema is one long list.
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and body_lines(node) > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_modules_are_named_for_what_they_do() -> None:
    banned = [
        path.relative_to(ROOT)
        for folder in ("services", "protos", "tests", "gateway")
        for path in (ROOT / folder).rglob("*")
        if path.stem in BANNED_NAMES
    ]
    assert banned == []


def test_every_module_says_what_it_owns() -> None:
    silent = [
        path.relative_to(ROOT)
        for path in source_files()
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_nothing_names_the_place_where_it_was_written() -> None:
    files = repository_files()
    assert Path(__file__) in files
    found: list[str] = []
    for path in files:
        text = path.read_bytes().decode(errors="replace")
        found += [
            f"{path.relative_to(ROOT)}: {match[0].strip()}" for match in FOREIGN.finditer(text)
        ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "see /ho" + "me/somebody/notes",
        "https://py" + "pi.org/simple",
        "files.python" + "hosted.org",
    ],
)
def test_a_foreign_name_would_be_found(text: str) -> None:
    assert FOREIGN.search(text)
