"""Custom tools for tests on a platform: their sources, their registration, their calls."""

from __future__ import annotations

from typing import Any

from tests.e2e.agents_and_runs import create_agent, execute
from tests.platforms import Client

NAME = "custom_tool"
# What an operator sets who lets tools reach this very machine.
LOOPBACK_ADMITTED = {"TOOL_RUNNER_EGRESS_ALLOWED_CIDRS": '["127.0.0.0/8", "::1/128"]'}
# The documentation's example, but for the package's name in the import.
DOCUMENTED_SOURCE = """\
from agent_executor import ToolBase

class CustomTool(ToolBase):
    def __init__(self):
        super().__init__(
            name="custom_tool",
            description="Custom tool description"
        )

    def _execute_impl(self, arguments: dict) -> Any:
        # Implement tool logic here
        return {"result": "success"}
"""


def source_of(body: str, *, effect: str = "unsafe") -> str:
    """Returns the source of a ``custom_tool`` whose ``_execute_impl`` is this, from line 8 on."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return f"""\
from agent_executor import ToolBase

class CustomTool(ToolBase):
    def __init__(self):
        super().__init__(name="{NAME}", description="Does as it is told.", effect="{effect}")

    def _execute_impl(self, arguments):
{lines}
"""


def register(client: Client, source: str = DOCUMENTED_SOURCE, **fields: Any) -> dict[str, Any]:
    """Registers ``custom_tool`` and returns it."""
    body = {"name": NAME, "class_name": "CustomTool", "source": source, **fields}
    answer = client.post("/api/v1/tools", body)
    assert answer.status == 200, answer.content
    tool: dict[str, Any] = answer.body
    return tool


def create_custom_agent(client: Client, **fields: Any) -> str:
    """Creates an agent with the custom tool alone, as the documentation does it."""
    use = {NAME: {"class": "CustomTool", "enabled": True}}
    return create_agent(client, name="Custom Agent", tools={NAME: True}, custom_tools=use, **fields)


def call(client: Client, agent_id: str, text: str = "Test the custom_tool tool") -> dict[str, Any]:
    """Executes an agent that makes one tool call, and returns the result of that."""
    run = execute(client, agent_id, text)
    assert run["state"] == "completed", run
    (result,) = run["output"]["tool_results"]
    return dict(result)


def call_source(client: Client, source: str, **fields: Any) -> dict[str, Any]:
    """Registers a source as the newest version and returns the result of a call of it."""
    register(client, source, **fields)
    return call(client, create_custom_agent(client))
