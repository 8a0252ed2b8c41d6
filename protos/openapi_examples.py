"""Examples of the document: what the routes are asked and answer, in the words of the manual.

A test holds each against the schema that it is an example of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TIMESTAMP: Final = "2026-02-23T10:00:00Z"

_AGENT_ID: Final = "01a2226a-a7f5-7279-bfa4-7f893ce43f70"
_RUN_ID: Final = "01a2226a-a804-74d9-bea4-9fecdff3c676"
_MODEL: Final = "claude-sonnet-4-20250514"

PARAMETERS: Final[Mapping[str, Any]] = {
    "agent_id": _AGENT_ID,
    "run_id": _RUN_ID,
    "tool_name": "calculator",
}
"""Examples of what stands in paths, by name."""


@dataclass(frozen=True, slots=True)
class Example:
    """What a call may look like.

    Attributes:
        request: The body; None for none.
        answer: The body of the answer, or one event of a stream; None for none.
    """

    request: Any = None
    answer: Any = None


def _conversation(question: str, answer: str) -> list[Any]:
    return [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in (("user", question), ("assistant", answer))
    ]


def _output(question: str, answer: str) -> dict[str, Any]:
    return {
        "response": answer,
        "tool_results": [],
        "conversation_history": _conversation(question, answer),
        "tokens_used": 123,
        "cost_usd": 0.0001,
        "state": "completed",
        "cost_nano_usd": "100000",
        "left_out": [],
    }


_EXECUTED: Final = {
    "task_id": _RUN_ID,
    "agent_id": _AGENT_ID,
    "model": _MODEL,
    "input": "What is 2 + 2?",
    "output": _output("What is 2 + 2?", "The answer is 4"),
    "tokens_used": 123,
    "cost_usd": 0.0001,
    "cost_nano_usd": "100000",
    "state": "completed",
    "created_at": TIMESTAMP,
}

_AGENT: Final = {
    "id": _AGENT_ID,
    "name": "Test Agent",
    "description": "Test agent",
    "agent_type": "llm",
    "model": _MODEL,
    "role": "test assistant",
    "instructions": "Help the user with their request.",
    "tools": {"calculator": True},
    "custom_tools": {},
    "is_active": True,
    "has_api_key": False,
    "max_model_turns": 20,
    "max_output_tokens": 4096,
    "version": 1,
    "created_at": TIMESTAMP,
    "updated_at": TIMESTAMP,
    "on_budget_exceeded": "end",
    "max_cost_usd": 0,
    "min_output_tokens": 0,
    "provider": "",
    "base_url": "",
    "thinking_budget_tokens": 0,
    "response_cache_ttl_seconds": 0,
    "run_timeout_seconds": 0,
    "warnings": [],
    "max_cost_nano_usd": "0",
}

_SOURCE: Final = """\
from typing import Any

from agent_executor import ToolBase


class CustomTool(ToolBase):
    def __init__(self):
        super().__init__(name="custom_tool", description="Custom tool description")

    def _execute_impl(self, arguments: dict) -> Any:
        return {"result": "success"}
"""

EXAMPLES: Final[Mapping[str, Example]] = {
    "CreateAgent": Example(
        request={
            "name": "Test Agent",
            "description": "Test agent",
            "agent_type": "llm",
            "model": _MODEL,
            "role": "test assistant",
            "instructions": "Help the user with their request.",
            "tools": {"calculator": True},
            "is_active": True,
        },
        answer=_AGENT,
    ),
    "GetAgent": Example(answer=_AGENT),
    "UpdateAgent": Example(
        request={"instructions": "Answer in one sentence."},
        answer={**_AGENT, "instructions": "Answer in one sentence.", "version": 2},
    ),
    "ListAgents": Example(answer={"agents": [_AGENT], "next_page_token": ""}),
    "ListAgentTools": Example(
        answer={
            "agent_id": _AGENT_ID,
            "tools": [
                {
                    "name": "calculator",
                    "description": "Performs arithmetic operations",
                    "enabled": True,
                }
            ],
            "total_tools": 1,
        },
    ),
    "ExecuteAgent": Example(request={"input": "What is 2 + 2?"}, answer=_EXECUTED),
    "StreamAgent": Example(
        request={"input": "What is 2 + 2?"},
        answer={"run_id": _RUN_ID, "type": "done", "sequence": 10, "done": _EXECUTED},
    ),
    "TestAgent": Example(
        request={"input": "Test the calculator tool"},
        answer={
            "agent_id": _AGENT_ID,
            "model": _MODEL,
            "test_input": "Test the calculator tool",
            "test_output": _output("Test the calculator tool", "Test successful"),
            "success": True,
            "timestamp": TIMESTAMP,
            "tokens_used": 123,
            "cost_usd": 0.0001,
            "conversation_history": _conversation("Test the calculator tool", "Test successful"),
            "task_id": _RUN_ID,
            "cost_nano_usd": "100000",
        },
    ),
    "CreateTool": Example(
        request={"name": "custom_tool", "source": _SOURCE, "class_name": "CustomTool"}
    ),
    "SetRateLimit": Example(request={"max_calls": 100, "window_seconds": 60}),
    "AddAllowedDomain": Example(request={"domain": "api.example.com"}),
}
"""By the name of the RPC."""
