"""Plays a whole conversation with mock Claude, with the real calculator and sham other tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import (
    Message,
    ModelProvider,
    ModelRequest,
    ModelResponse,
    TextBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
)
from agent_executor.tool_runner.builtin.calculator import CalculatorTool

MODEL = "claude-sonnet-4-20250514"
SYSTEM = "You are Ada, a math expert.\n\nUse the calculator tool for arithmetic operations."
TURNS_MAX = 150

_calculator = CalculatorTool()

CALCULATOR = ToolSpecification(
    "calculator", "Performs arithmetic operations", dict(_calculator.input_schema)
)
HTTP_REQUEST = ToolSpecification(
    "http_request",
    "Makes an HTTP request",
    {
        "type": "object",
        "properties": {
            "method": {"type": "string", "enum": ["GET", "POST", "PUT", "DELETE"]},
            "url": {"type": "string", "format": "uri"},
            "json": {"type": "object"},
        },
        "required": ["method", "url"],
    },
)
EMAIL = ToolSpecification(
    "email",
    "Sends an e-mail",
    {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("to", "subject", "body")},
        "required": ["to", "subject", "body"],
    },
)
SLACK = ToolSpecification(
    "slack",
    "Posts a message to a Slack channel",
    {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("channel", "text", "thread_ts")},
        "required": ["channel", "text"],
    },
)
WEATHER = ToolSpecification(
    "weather_report",
    "Tells the weather",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 2},
            "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
            "comment": {"type": "string"},
        },
        "required": ["city", "days", "unit"],
    },
)


@dataclass
class Dialogue:
    """What came of a conversation."""

    messages: list[Message]
    responses: list[ModelResponse]

    @property
    def answer(self) -> str:
        return text_of(self.responses[-1])

    @property
    def calls(self) -> list[list[tuple[str, dict[str, Any]]]]:
        """The tool calls, turn by turn, without the last turn, which has none."""
        return [
            [(block.name, block.input) for block in tool_uses(response)]
            for response in self.responses
            if tool_uses(response)
        ]


def text_of(response: ModelResponse) -> str:
    return "".join(block.text for block in response.content if isinstance(block, TextBlock))


def tool_uses(response: ModelResponse) -> list[ToolUseBlock]:
    return [block for block in response.content if isinstance(block, ToolUseBlock)]


def user(text: str) -> Message:
    return Message("user", (TextBlock(text),))


def request_of(
    *messages: Message,
    tools: Sequence[ToolSpecification] = (CALCULATOR,),
    system: str = SYSTEM,
    model: str = MODEL,
    max_tokens: int = 4_096,
) -> ModelRequest:
    return ModelRequest(model, system, messages, tuple(tools), max_tokens)


def run_tool(call: ToolUseBlock, results: Mapping[str, Any]) -> ToolResultBlock:
    """Answers a call as the engine does: with the result, or with the documented error shape."""
    if call.name in results:
        result = results[call.name]
        is_error = isinstance(result, dict) and result.get("success") is False
        return ToolResultBlock(call.id, json.dumps(result), is_error)
    outcome = _calculator.execute(call.input)
    content = outcome["result"] if outcome["success"] else outcome
    return ToolResultBlock(call.id, json.dumps(content), not outcome["success"])


async def converse(
    text: str,
    tools: Sequence[ToolSpecification] = (CALCULATOR,),
    *,
    results: Mapping[str, Any] | None = None,
    history: Sequence[Message] = (),
    provider: ModelProvider | None = None,
    system: str = SYSTEM,
    model: str = MODEL,
) -> Dialogue:
    """Lets the model work until it answers; ``results`` are what the other tools give."""
    provider = provider or MockClaude()
    dialogue = Dialogue([*history, user(text)], [])
    for _ in range(TURNS_MAX):
        request = request_of(*dialogue.messages, tools=tools, system=system, model=model)
        response = await provider.generate(request)
        dialogue.responses.append(response)
        dialogue.messages.append(Message("assistant", response.content))
        if response.stop_reason != "tool_use":
            return dialogue
        blocks = tuple(run_tool(call, results or {}) for call in tool_uses(response))
        dialogue.messages.append(Message("user", blocks))
    raise AssertionError(f"mock Claude did not come to an end with {text!r}")
