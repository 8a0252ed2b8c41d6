"""A conversation, and what each of its runs adds to it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agent_executor.errors import ConflictError, InvalidArgumentError
from agent_executor.executor.context.history import NO_HISTORY, History, for_any_model
from agent_executor.executor.context.result_block import result_block
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import HistoryTrimmed, ToolCallCompleted, ToolCallStarted
from agent_executor.executor.models.model import Message, ToolUseBlock

CONVERSATION_ID_BYTES_MAX: Final = 128
# What was asked, and something that answers it.
MESSAGES_MIN: Final = 2


class AppliedTrim(msgspec.Struct, frozen=True):
    """What was left out of a conversation last, and for whom."""

    agent_id: str
    agent_version: int
    trimmed: HistoryTrimmed


class Conversation(msgspec.Struct, frozen=True):
    """A conversation without its messages.

    Attributes:
        conversation_id: Chosen by the caller, unique in the organization.
        agent_id: The agent of its last run.
        user_id: Who began it.
        last_run_id: Its last run; while that has not ended, there can be no other one.
        run_count: How many runs it has.
        part_count: How many of them have added messages.
        message_count: How many messages they have added.
        size_bytes: The length of these as JSON.
        created_at_ms: When it began.
        updated_at_ms: When its last run ended or began.
        applied_trim: What was left out of it when a run ended that was given less than all.
    """

    organization_id: str
    conversation_id: str
    agent_id: str
    user_id: str
    last_run_id: str
    created_at_ms: int
    updated_at_ms: int
    run_count: int = 1
    part_count: int = 0
    message_count: int = 0
    size_bytes: int = 0
    applied_trim: AppliedTrim | None = None


class ConversationPart(msgspec.Struct, frozen=True):
    """What one run added.

    Attributes:
        number: From 1, in the order in which the runs ended.
        model: Who answered.
        first_index: Of its first message, counted from the conversation's first, which is 0.
        messages: At least one.
    """

    number: int
    run_id: str
    model: str
    first_index: int
    messages: tuple[Message, ...]

    @property
    def end_index(self) -> int:
        """The index after that of its last message."""
        return self.first_index + len(self.messages)


class RunEnd(msgspec.Struct, frozen=True):
    """What becomes of a conversation when a run of it ends.

    Attributes:
        part: What the run adds; its messages are none if it has got no answer.
        applied_trim: What was left out of the conversation for it; None if nothing was.
        ended_at_ms: When.
    """

    organization_id: str
    conversation_id: str
    part: ConversationPart
    applied_trim: AppliedTrim | None
    ended_at_ms: int


def check_conversation_id(conversation_id: str) -> None:
    """Checks an id that a caller has chosen.

    Raises:
        InvalidArgumentError: It is empty or longer than 128 bytes, holds a control character, or
            is "." or "..", which are no part of a path.
    """
    message = ""
    try:
        size_bytes = len(conversation_id.encode())
    except UnicodeEncodeError:
        message = "conversation_id holds half of a surrogate pair, which is no text."
    else:
        if not 0 < size_bytes <= CONVERSATION_ID_BYTES_MAX:
            message = (
                f"conversation_id must have 1 to {CONVERSATION_ID_BYTES_MAX} bytes of UTF-8; "
                f"it has {size_bytes}."
            )
        elif any(ord(character) < ord(" ") or character == "\x7f" for character in conversation_id):
            message = "conversation_id must not hold control characters."
        elif conversation_id in {".", ".."}:
            message = "conversation_id must not be . or .., which no path can name."
    if message:
        raise InvalidArgumentError(message, field_violations=(("conversation_id", message),))


def busy_error(conversation_id: str, run_id: str) -> ConflictError:
    """Returns why a run cannot begin in a conversation, or that it may at another try."""
    return ConflictError(
        f"Conversation {conversation_id} has one run at a time; run {run_id} of it is under way, or "
        "has just been.",
        metadata={"runId": run_id, "conversationId": conversation_id},
    )


def kept_messages(state: RunState) -> tuple[Message, ...]:
    """Returns what a run that has ended leaves to the runs after it.

    That is all it has said, in a form that a model takes: each tool call has a result; one that had
    none when the run was stopped, or failed, gets an error that says so. A run whose input was never
    answered leaves nothing: whoever asks again asks once.
    """
    messages = tuple(state.messages)
    if len(messages) < MESSAGES_MIN:
        return ()
    last = messages[-1]
    asked = [block for block in last.content if isinstance(block, ToolUseBlock)]
    if last.role == "user" or not asked:
        return messages
    calls = {call.tool_use_id: call for call in state.turn_calls}
    results = {done.tool_call_id: done for done in state.turn_results}
    blocks = []
    for block in asked:
        call = calls.get(block.id) or ToolCallStarted("", block.id, block.name, "{}")
        done = results.get(call.tool_call_id) or _no_result(call)
        blocks.append(result_block(call, done, state.max_tool_result_bytes))
    return (*messages, Message(role="user", content=tuple(blocks)))


def _no_result(call: ToolCallStarted) -> ToolCallCompleted:
    if call.tool_call_id:
        error, code = "The run ended before this call's result was known.", "OUTCOME_UNKNOWN"
    else:
        error, code = "The run ended before this call was made.", "RUN_CANCELLED"
    return ToolCallCompleted(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        success=False,
        result_json="null",
        error=error,
        code=code,
        timestamp_ms=0,
    )


def history_of(
    parts: Sequence[ConversationPart], first_index: int, end_index: int, model: str
) -> History:
    """Returns the messages that a run is given.

    Args:
        parts: The first part of the conversation, and those that hold what is wanted, in order.
        first_index: The first message that is wanted after the conversation's first.
        end_index: The index after that of the last one.
        model: Who is given them; what only another model can read is not in them.
    """
    if not parts or not end_index:
        return NO_HISTORY
    messages: list[Message] = []
    first = None
    for part in parts:
        shown = part.messages
        if part.model != model:
            shown = tuple(map(for_any_model, shown))
        if part.first_index == 0:
            first = shown[0]
        skipped = max(0, first_index - part.first_index)
        messages.extend(shown[skipped : max(0, end_index - part.first_index)])
    return History(first, tuple(messages), first_index)
