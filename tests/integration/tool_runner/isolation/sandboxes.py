"""Sandboxes in other environments, and the tools that the tests run in them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from tests.integration.tool_runner.isolation.sandbox_process import ENVIRONMENTS, REPOSITORY

TOOL_NAME = "probe"
CLASS_NAME = "Probe"


def tool(body: str, before: str = "") -> str:
    """Returns the source of a tool whose method has the body; ``before`` is the module's start."""
    return (
        f"{textwrap.dedent(before)}\n"
        "from agent_executor import ToolBase\n\n"
        f"class {CLASS_NAME}(ToolBase):\n"
        "    def __init__(self):\n"
        f"        super().__init__(name={TOOL_NAME!r}, description='A probe.')\n\n"
        "    def _execute_impl(self, arguments):\n"
        f"{textwrap.indent(textwrap.dedent(body).strip(), ' ' * 8)}\n"
    )


# What the attacks have in common: raw system calls, and a look at what came of an attempt.
ATTACKER = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def raw(number, *values):
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
    result = libc.syscall(ctypes.c_long(number), *values)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else result

def attempt(function, *values):
    try:
        return repr(function(*values))
    except BaseException as error:
        return type(error).__name__
"""


class Sandbox:
    """A pool in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        assert process.stdout is not None
        self.status: dict[str, Any] = json.loads(process.stdout.readline())

    def call(
        self,
        source: str,
        *,
        timeout_seconds: float = 20,
        broker: bool = False,
        arguments_json: str = "{}",
        operation: str = "call",
        class_name: str = CLASS_NAME,
    ) -> dict[str, Any]:
        """Returns the answer: its ``result``, or its ``error`` with a ``message``."""
        return self._ask(
            {
                "operation": operation,
                "tool_name": TOOL_NAME,
                "class_name": class_name,
                "source": source,
                "arguments_json": arguments_json,
                "timeout_seconds": timeout_seconds,
                "broker": broker,
            }
        )

    def result(self, source: str, **options: Any) -> Any:
        """Returns the result of a call that succeeds."""
        answer = self.call(source, **options)
        assert "result" in answer, answer
        return answer["result"]

    def check(self) -> dict[str, Any]:
        """Returns the status after a new self-test."""
        status: dict[str, Any] = self._ask({"operation": "check"})["result"]
        return status

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextlib.contextmanager
def sandbox_in(name: str) -> Iterator[Sandbox]:
    """Starts a pool in an environment."""
    process = subprocess.Popen(
        (sys.executable, "-m", "tests.integration.tool_runner.isolation.sandbox_process", name),
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield Sandbox(process)
    finally:
        process.communicate()
        assert process.returncode == 0


def runnable_environments() -> list[str]:
    """Returns the environments with a sandbox that this user can make."""
    return [
        name
        for name, environment in ENVIRONMENTS.items()
        if environment.expected_tier != "none" and (os.geteuid() == 0 or not environment.as_root)
    ]
