"""What a model request says, as mock Claude sees it: the task, and what tools answered to it.

Refuses what the Messages API refuses, so that a caller which breaks its rules is found out
without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from agent_executor.errors import ModelError
from agent_executor.executor.models.mock_goals import Outcome, call_key
from agent_executor.executor.models.mock_tokens import tokenize
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)

_NUMBER_CHARACTERS = 400
_ERROR_CHARACTERS = 300


class Conversation(NamedTuple):
    """A request, read.

    Attributes:
        task: The last thing a person wrote.
        task_index: Where it stands among the messages.
        turns: How many times the model has answered since.
        outcomes: What the tools answered since, by ``call_key``.
    """

    task: str
    task_index: int
    turns: int
    outcomes: dict[bytes, Outcome]


def read_conversation(request: ModelRequest) -> Conversation:
    """Finds the task and the outcomes of its tool calls.

    Raises:
        ModelError: The Messages API would refuse the request as invalid.
    """
    _validate(request)
    task, task_index, turns = "", 0, 0
    calls: dict[str, bytes] = {}
    outcomes: dict[bytes, Outcome] = {}
    for index, message in enumerate(request.messages):
        texts: list[str] = []
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                calls[block.id] = call_key(block.name, block.input)
            elif isinstance(block, ToolResultBlock):
                outcomes[calls[block.tool_use_id]] = _read_outcome(block)
            elif isinstance(block, TextBlock):
                texts.append(block.text)
        if message.role == "assistant":
            turns += 1
        elif texts:
            task, task_index, turns = "\n".join(texts), index, 0
            outcomes.clear()
    return Conversation(task, task_index, turns, outcomes)


def last_number(messages: Sequence[Message]) -> Decimal | None:
    """The number that the model named last, which "that" may mean."""
    for message in reversed(messages):
        if message.role != "assistant":
            continue
        for block in reversed(message.content):
            if isinstance(block, TextBlock):
                tokens = tokenize(block.text[-_NUMBER_CHARACTERS:])
                numbers = [token for token in tokens if isinstance(token, Decimal)]
                return numbers[-1] if numbers else None
    return None


def _read_outcome(block: ToolResultBlock) -> Outcome:
    try:
        value = msgspec.json.decode(block.content)
    except (ValueError, RecursionError):
        value = block.content
    error = ""
    if block.is_error or (isinstance(value, dict) and value.get("success") is False):
        reason = value.get("error") if isinstance(value, dict) else value
        error = str(reason or "the tool gave no reason")[:_ERROR_CHARACTERS]
    return Outcome(block.content, value, error)


def _validate(request: ModelRequest) -> None:
    messages = request.messages
    if not messages or messages[0].role != "user":
        raise _invalid("messages: the first message must be a user's")
    if request.max_tokens < 1:
        raise _invalid("max_tokens: must be at least 1")
    unanswered: set[str] = set()
    for message in messages:
        is_user = message.role == "user"
        if unanswered and not is_user:
            break
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                if is_user:
                    raise _invalid("messages: tool_use in a user's message")
                unanswered.add(block.id)
            elif isinstance(block, ToolResultBlock):
                if block.tool_use_id not in unanswered or not is_user:
                    raise _invalid("messages: tool_result without its tool_use right before it")
                unanswered.discard(block.tool_use_id)
        if unanswered and is_user:
            break
    if unanswered:
        raise _invalid("messages: tool_use without a tool_result right after it")


def _invalid(message: str) -> ModelError:
    return ModelError(
        f"The model refused the request: {message}.",
        metadata={
            "provider": "mock",
            "error_type": "invalid_request_error",
            "status_code": "400",
        },
    )
