from __future__ import annotations

import time

import pytest

from agent_executor.tool_runner.custom.source_findings import findings_of
from tests.unit.tool_runner.resources_of_tests import GREETER


def test_an_ordinary_tool_has_none() -> None:
    assert findings_of(GREETER) == ()
    assert findings_of("import json, re, math\nimport datetime as d\ngetattr(x, 'name')") == ()


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("import os", "imports os"),
        ("import json, subprocess as s", "imports subprocess"),
        ("from os.path import join", "imports os.path"),
        ("import urllib.request", "imports urllib.request"),
        ("from ctypes import *", "imports ctypes"),
        ("def f():\n    import socket", "imports socket"),
        ("eval('1')", "uses eval"),
        ("run = exec", "uses exec"),
        ("__import__('os')", "uses __import__"),
        ("().__class__.__mro__[1].__subclasses__()", "names __subclasses__"),
        ("__builtins__", "names __builtins__"),
        ("getattr(x, '__globals__')", "names __globals__"),
        ("getattr(x, '_' + '_globals_' + '_')", "calls getattr with a computed name"),
        ("x['__builtins__']", "names __builtins__"),
        ("match x:\n    case 1: open('f')", "uses open"),
    ],
)
def test_what_looks_suspicious_is_found_with_its_line(source: str, finding: str) -> None:
    (found,) = findings_of(f"\n\n{source}\n")
    line = 3 + source.count("\n")
    assert found.startswith(f"line {line}: ")
    assert finding in found


def test_a_line_is_one_finding() -> None:
    source = "import os; import os, sys; eval(exec)\nx = 1\nopen\n"
    assert findings_of(source) == (
        "line 1: imports os, imports sys, uses eval, uses exec",
        "line 3: uses open",
    )


def test_there_are_not_too_many() -> None:
    found = findings_of("eval\n" * 1_000)
    assert len(found) == 100
    assert found[-1] == "and 901 further lines"
    (found_name,) = findings_of(f"x.__{'y' * 10_000}__")
    assert len(found_name) < 200


@pytest.mark.parametrize(
    "source",
    [
        "(" * 30_000,
        "[" * 30_000 + "]" * 30_000,
        "-" * 30_000 + "1",
        "not " * 8_000 + "1",
        "1" + "+1" * 15_000,
        "a" + ".b" * 15_000,
        "a" + "()" * 15_000,
        "lambda:" * 4_000 + "1",
        "if a: pass\n" + "elif a: pass\n" * 2_000,
        "9" * 30_000,
        "f'''" + "{a}" * 10_000 + "'''",
        "class",
        "a\0b",
        "'\ud800'",
        "",
        "\x0c",
        "#" * 300_000,
    ],
    ids=lambda source: repr(source[:12]),
)
def test_no_source_breaks_it(source: str) -> None:
    started = time.thread_time()
    assert len(findings_of(source)) <= 1
    # Far more than it takes, so that it fails for a source without an end only.
    assert time.thread_time() - started < 5
