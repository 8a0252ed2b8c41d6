"""What a custom tool can do, how it fails, and what comes of one that breaks the protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.tool_runner.isolation.sandboxes import (
    Sandbox,
    runnable_environments,
    sandbox_in,
    tool,
)

# The start of a tool that writes frames of its own making.
FORGER = """
import os, struct, time

def send(kind, payload=b"", length=None):
    data = struct.pack(">IB", len(payload) if length is None else length, kind) + payload
    while data:
        data = data[os.write(3, data):]

def wait():
    time.sleep(60)
"""


@pytest.fixture(scope="module", params=runnable_environments()[:1])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with sandbox_in(request.param) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("None", None),
        ("[True, 1, -2.5, 'é', {'a': []}]", [True, 1, -2.5, "é", {"a": []}]),
        ("10 ** 30", 10**30),
        ("arguments", {"text": "ü", "number": 1.5, "list": [1, None]}),
        ("'x' * 1_000_000", "x" * 1_000_000),
    ],
)
def test_a_result_is_what_the_tool_returned(
    sandbox: Sandbox, expression: str, expected: Any
) -> None:
    arguments = json.dumps({"text": "ü", "number": 1.5, "list": [1, None]})
    assert sandbox.result(tool(f"return {expression}"), arguments_json=arguments) == expected


def test_a_tool_may_use_the_standard_library(sandbox: Sandbox) -> None:
    source = tool(
        """
        import colorsys, difflib, email.message, html.parser, uuid, zipfile
        import decimal, hashlib, xml.etree.ElementTree, zoneinfo
        return [hashlib.sha256(b"").hexdigest()[:8], str(decimal.Decimal("0.1") * 3), Point(2).x,
                len(str(uuid.uuid4())), hashlib.pbkdf2_hmac("sha256", b"p", b"s", 2).hex()[:8]]
        """,
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: int
        """,
    )
    assert sandbox.result(source)[:4] == ["e3b0c442", "0.3", 2, 36]


def test_a_tool_may_ask_for_exact_numbers(sandbox: Sandbox) -> None:
    source = tool("return str(arguments['price'])").replace(
        "    def __init__", "    decimal_numbers = True\n\n    def __init__"
    )
    exact = "0.1000000000000000000000000001"
    assert sandbox.result(source, arguments_json=f'{{"price": {exact}}}') == exact


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from agent_executor import ToolBase, ToolExecutionError, RateLimitExceededError", ""),
        ("from agent_executor import AgentExecutorError, ToolNotFoundError", ""),
        ("from agent_executor import ContextLengthExceededError", ""),
        ("from agent_executor.errors import InvalidArgumentError", ""),
        (
            "from agent_executor import AgentExecutor",
            "AgentExecutor is not available in the sandbox",
        ),
        ("from agent_executor import nonsense", "cannot import name 'nonsense'"),
        ("import agent_executor.executor", "No module named 'agent_executor.executor'"),
        ("import agent_executor.tool_runner.calls", "No module named"),
        ("import grpc", "No module named 'grpc'"),
    ],
)
def test_what_a_tool_may_import_of_the_platform(sandbox: Sandbox, line: str, message: str) -> None:
    answer = sandbox.call(tool(f"{line}\nreturn 1"))
    if not message:
        assert answer == {"result": 1}
    else:
        assert message in answer["message"]
        assert "(line 9)" in answer["message"]


@pytest.mark.parametrize(
    ("body", "message", "line"),
    [
        ("raise ValueError('no such article')", "ValueError: no such article (line 9)", "9"),
        ("x = 1\nreturn {}['key']", "KeyError: 'key' (line 10)", "10"),
        ("import json\njson.loads('{')", "JSONDecodeError: ", "10"),
        ("raise SystemExit(3)", "SystemExit: 3 (line 9)", "9"),
        ("def f(): return f()\nf()", "RecursionError: ", "9"),
        ("assert False", "AssertionError (line 9)", "9"),
        ("raise ValueError('x' * 100_000)", "ValueError: xxx", "9"),
        ("raise ValueError('\\ud800')", "ValueError: ? (line 9)", "9"),
    ],
)
def test_an_error_of_a_tool_says_what_and_where(
    sandbox: Sandbox, body: str, message: str, line: str
) -> None:
    answer = sandbox.call(tool(body))
    assert answer["error"] == "ToolExecutionError"
    assert answer["message"].startswith(message)
    assert len(answer["message"]) < 2_100
    assert answer["metadata"]["line"] == line
    assert answer["tool_name"] == "probe"


def test_an_error_of_the_platform_keeps_its_reason(sandbox: Sandbox) -> None:
    source = tool(
        "raise RateLimitExceededError('Later.', metadata={'a': 1}, retry_after_seconds=2.5)",
        "from agent_executor import RateLimitExceededError",
    )
    answer = sandbox.call(source)
    assert (answer["error"], answer["message"]) == ("RateLimitExceededError", "Later.")
    assert answer["metadata"]["a"] == "1"


@pytest.mark.parametrize(
    "name", ["OutcomeUnknownError", "SandboxUnavailableError", "UnauthenticatedError"]
)
def test_a_tool_cannot_speak_for_the_platform(sandbox: Sandbox, name: str) -> None:
    source = tool(f"raise {name}('Trust me.')", f"from agent_executor.errors import {name}")
    answer = sandbox.call(source)
    assert (answer["error"], answer["message"]) == ("ToolExecutionError", "Trust me.")


@pytest.mark.parametrize(
    "expression",
    ["object()", "{1, 2}", "float('nan')", "float('inf')", "{(1, 2): 3}", "'\\ud800'", "b'x'"],
)
def test_a_result_that_is_not_json_is_refused(sandbox: Sandbox, expression: str) -> None:
    answer = sandbox.call(tool(f"return {expression}"))
    assert answer["error"] == "ToolExecutionError"
    assert answer["message"] == "The tool's result is not a JSON value."


def test_a_result_that_is_nested_too_deeply_is_refused(sandbox: Sandbox) -> None:
    answer = sandbox.call(tool("v = []\nfor _ in range(100): v = [v]\nreturn v"))
    assert answer["error"] == "ToolExecutionError"
    assert "64 levels" in answer["message"]


@pytest.mark.parametrize(
    ("arguments_json", "error"),
    [
        ("[]", "InvalidArgumentError"),
        ("{", "InvalidArgumentError"),
        ('{"a": NaN}', "InvalidArgumentError"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "LimitExceededError"),
        ('{"a": "' + "x" * 1_048_576 + '"}', "LimitExceededError"),
    ],
)
def test_arguments_have_caps_inside_the_sandbox_too(
    sandbox: Sandbox, arguments_json: str, error: str
) -> None:
    answer = sandbox.call(tool("return 1"), arguments_json=arguments_json)
    assert answer["error"] == error


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        pytest.param("send(99)\nwait()", "ToolExecutionError", "protocol", id="unknown type"),
        pytest.param("send(1)\nwait()", "ToolExecutionError", "protocol", id="ready again"),
        pytest.param(
            "send(5, b'{}')\nwait()", "ToolExecutionError", "protocol", id="not asked for"
        ),
        pytest.param("send(16)\nwait()", "ToolExecutionError", "protocol", id="the host's type"),
        pytest.param(
            "send(2, b'', 1 << 31)\nwait()", "LimitExceededError", "larger", id="huge length"
        ),
        pytest.param(
            "send(3, b'', 1 << 31)\nwait()", "ToolExecutionError", "protocol", id="huge error"
        ),
        pytest.param("send(3, b'[]')\nwait()", "ToolExecutionError", "protocol", id="bad error"),
        pytest.param(
            'send(3, b\'{"reason": [], "metadata": 3, "retry_after_seconds": "x"}\')\nwait()',
            "ToolExecutionError",
            "None",
            id="error of other types",
        ),
        pytest.param("send(2, b'{')\nwait()", "ToolExecutionError", "not JSON", id="not JSON"),
        pytest.param("send(2, b'\\xff')\nwait()", "ToolExecutionError", "Unicode", id="not UTF-8"),
        pytest.param(
            "send(2, b'\"\\\\ud800\"')\nwait()",
            "ToolExecutionError",
            "Unicode",
            id="half a character",
        ),
        pytest.param("send(2, b'NaN')\nwait()", "ToolExecutionError", "NaN", id="NaN"),
        pytest.param("send(2, b'1e999')\nwait()", "ToolExecutionError", "large", id="infinity"),
        pytest.param("send(2, b'9' * 5000)\nwait()", "ToolExecutionError", "digits", id="digits"),
        pytest.param(
            "send(2, b'[' * 100_000)\nwait()", "ToolExecutionError", "64 levels", id="deep"
        ),
        pytest.param("send(4, b'{}')\nwait()", "ToolExecutionError", "protocol", id="bad request"),
        pytest.param(
            "send(4, b'{\"url\": 3}')\nwait()", "ToolExecutionError", "protocol", id="no url"
        ),
        pytest.param("os.close(3)\nwait()", "ToolExecutionError", "protocol", id="hangs up"),
        pytest.param(
            "while True: os.write(3, b'\\0' * 65536)",
            "ToolExecutionError",
            "protocol",
            id="endless",
        ),
    ],
)
def test_a_worker_that_breaks_the_protocol_fails_its_call_only(
    sandbox: Sandbox, body: str, error: str, message: str
) -> None:
    answer = sandbox.call(tool(body, FORGER), broker=True)
    assert (answer.get("error"), message in str(answer.get("message"))) == (error, True), answer
    assert sandbox.result(tool("return 'well'")) == "well"


def test_a_forged_result_is_the_tools_own(sandbox: Sandbox) -> None:
    source = tool("send(2, b' { \"a\" : 1 } ')\nwait()", FORGER)
    assert sandbox.result(source) == {"a": 1}


def test_a_tool_asks_the_broker_for_a_request(sandbox: Sandbox) -> None:
    source = tool(
        """
        first = self.http.request("GET", "https://api.test/", params={"q": 1}, credential="crm")
        second = self.http.request("POST", "https://api.test/", json={"a": [1]}, timeout=60)
        return [first["status_code"], first["body"], second["body"]["json"]]
        """
    )
    code, request, body = sandbox.result(source, broker=True)
    assert (code, body) == (200, {"a": [1]})
    assert request == {
        "method": "GET",
        "url": "https://api.test/",
        "headers": None,
        "params": {"q": 1},
        "data": None,
        "json": None,
        "timeout": 30,
        "credential": "crm",
    }


def test_a_refusal_of_the_broker_reaches_the_tool_as_the_error_that_it_is(
    sandbox: Sandbox,
) -> None:
    source = tool(
        """
        try:
            self.http.request("GET", "https://forbidden/")
        except PermissionDeniedError as error:
            return [error.message, error.metadata, error.reason]
        """,
        "from agent_executor.errors import PermissionDeniedError",
    )
    expected = ["The host forbidden is not allowed.", {"host": "x"}, "PERMISSION_DENIED"]
    assert sandbox.result(source, broker=True) == expected
    answer = sandbox.call(tool("self.http.request('GET', 'https://forbidden/')"), broker=True)
    assert answer["error"] == "PermissionDeniedError"


def test_a_tool_without_a_broker_has_no_network(sandbox: Sandbox) -> None:
    answer = sandbox.call(tool("return self.http.request('GET', 'https://api.test/')"))
    assert answer["message"] == "This tool has no network here."


def test_a_tool_makes_a_limited_number_of_requests(sandbox: Sandbox) -> None:
    source = tool("while True: self.http.request('GET', 'https://api.test/')")
    answer = sandbox.call(source, broker=True)
    assert answer["metadata"]["limit"] == "http_requests"


def test_a_tool_that_is_inspected_says_what_it_is(sandbox: Sandbox) -> None:
    source = """
from agent_executor import ToolBase

class Probe(ToolBase):
    def __init__(self):
        super().__init__("lookup", "Looks it up.", input_schema={"type": "object", "required": ["q"]},
                         effect="read_only", cache_ttl_seconds=60)

    def _execute_impl(self, arguments):
        raise AssertionError
"""
    assert sandbox.call(source, operation="inspect") == {
        "result": {
            "name": "lookup",
            "description": "Looks it up.",
            "input_schema": {"type": "object", "required": ["q"]},
            "effect": "read_only",
            "cache_ttl_seconds": 60,
            "requires_approval": False,
        }
    }


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax (line 2)", "2"),
        ("\n\nimport grpc\n", "ModuleNotFoundError: No module named 'grpc' (line 3)", "3"),
        ("x = 1", "The source defines no class Probe.", None),
        ("class Probe: pass", "Probe is not a subclass of ToolBase.", None),
        ("Probe = 3", "Probe is not a subclass of ToolBase.", None),
        (
            "from agent_executor import ToolBase\nclass Probe(ToolBase): pass",
            "TypeError: Can't instantiate abstract class Probe",
            None,
        ),
        (tool("return 1").replace("name='probe'", "name=1/0"), "ZeroDivisionError: ", "6"),
        (tool("return 1").replace("name='probe'", "name='a b'"), "A tool's name is", "6"),
        (tool("return 1").replace("super().__init__", "dict"), "Probe.__init__ must call", None),
        (
            tool("return 1").replace("def _exec", "async def _exec"),
            "Probe._execute_impl is a cor",
            None,
        ),
        (
            tool("return 1").replace("A probe.'", "A probe.', input_schema={1j: 2}"),
            "The tool's des",
            None,
        ),
        ("while True: x = 1", "The tool did not end within", None),
    ],
)
def test_a_broken_tool_says_why_and_where(
    sandbox: Sandbox, source: str, message: str, line: str | None
) -> None:
    answer = sandbox.call(source, operation="inspect", timeout_seconds=1)
    assert answer["message"].startswith(message), answer
    assert answer["metadata"].get("line") == line
    expected = "DeadlineExceededError" if "while True" in source else "InvalidArgumentError"
    assert answer["error"] == expected


def test_a_source_that_is_too_large_is_refused(sandbox: Sandbox) -> None:
    answer = sandbox.call("#" * 300_000)
    assert answer["metadata"]["limit"] == "source_bytes"
