from __future__ import annotations

import subprocess
import sys

import pytest


def loaded_by(module: str) -> set[str]:
    """Returns the modules that an import loads, but for those that a new process has anyway."""
    program = f"""
import sys
before = set(sys.modules)
import {module}
print(*set(sys.modules) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "agent_executor.tool_runner.tool_base",
        "agent_executor.tool_runner.builtin.calculator",
        "agent_executor.tool_runner.builtin.email",
        "agent_executor.tool_runner.builtin.slack",
        "agent_executor.tool_runner.policy.sandbox",
        "agent_executor.tool_runner.policy.screening",
    ],
)
def test_what_a_sandbox_loads_is_light(module: str) -> None:
    loaded = loaded_by(module)
    third_party = {
        "grpc",
        "google",
        "sqlalchemy",
        "opentelemetry",
        "msgspec",
        "pydantic",
        "aiosmtplib",
        "slack_sdk",
    }
    assert not loaded & (third_party | {"asyncio", "logging", "socket", "sqlite3"})


def test_calls_need_neither_grpc_nor_a_database() -> None:
    loaded = loaded_by("agent_executor.tool_runner.calls.tool_calls")
    assert not loaded & {"grpc", "google.protobuf", "sqlalchemy", "alembic", "sqlite3", "pydantic"}
