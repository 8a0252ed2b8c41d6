"""Agents as tools, with the schemas of what goes in and what comes out."""

from __future__ import annotations

from typing import Any, Final

from mcp.types import Tool, ToolAnnotations

from agent_executor.api.executor.v1 import agent_pb2
from agent_executor.web.mcp.tool_names import tool_name

GET_RUN: Final = "get_run"
CANCEL_RUN: Final = "cancel_run"

_RUN_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "task_id": {"type": "string", "description": "The run's id."},
        "state": {
            "type": "string",
            "description": (
                "completed, failed, cancelled or budget_exceeded; or, of a run that is still under "
                "way: pending, running, waiting (for a person's decision) or paused (for money)."
            ),
        },
        "response": {"type": "string", "description": "The agent's answer."},
        "tokens_used": {"type": "integer", "description": "Tokens of all classes."},
        "cost_usd": {"type": "number", "description": "What the run cost, in US dollars."},
        "conversation_id": {"type": "string", "description": "The conversation it continues."},
        "waits_for": {"type": "string", "description": "What the run waits for."},
        "error": {"type": "string", "description": "Why the run did not complete."},
        "code": {"type": "string", "description": "The error's name, for programs."},
    },
    "required": ["task_id", "state", "tokens_used", "cost_usd"],
}

_CALL_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "minLength": 1, "description": "What the agent is asked."},
        "conversation_id": {
            "type": "string",
            "maxLength": 128,
            "description": (
                "A name of your choice for a conversation. Calls with the same one continue it; "
                "without one the agent remembers nothing of earlier calls."
            ),
        },
    },
    "required": ["input"],
    "additionalProperties": False,
}

_RUN_ID_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "task_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "description": "The run's id, as the call of an agent has answered it.",
        }
    },
    "required": ["task_id"],
    "additionalProperties": False,
}

RUN_TOOLS: Final = (
    Tool(
        name=GET_RUN,
        title="Get a run",
        description="Tells the state and the answer of a run that an agent's call has started.",
        input_schema=_RUN_ID_SCHEMA,
        output_schema=_RUN_SCHEMA,
        annotations=ToolAnnotations(
            read_only_hint=True, idempotent_hint=True, open_world_hint=False
        ),
    ),
    Tool(
        name=CANCEL_RUN,
        title="Cancel a run",
        description="Stops a run that an agent's call has started, and tells what became of it.",
        input_schema=_RUN_ID_SCHEMA,
        output_schema=_RUN_SCHEMA,
        annotations=ToolAnnotations(
            destructive_hint=True, idempotent_hint=True, open_world_hint=False
        ),
    ),
)
"""The tools beside the agents: for runs that go on after their call was answered."""


def agent_to_tool(agent: agent_pb2.Agent) -> Tool:
    """Returns the tool that an agent is."""
    return Tool(
        name=tool_name(agent.name, agent.id),
        title=agent.name,
        description=agent.description or agent.role or f"Asks the agent {agent.name}.",
        input_schema=_CALL_SCHEMA,
        output_schema=_RUN_SCHEMA,
        annotations=ToolAnnotations(title=agent.name, open_world_hint=True),
    )
