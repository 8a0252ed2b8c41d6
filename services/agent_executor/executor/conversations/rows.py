"""Rows of conversations and of their parts, as both databases keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agent_executor.executor.conversations.conversation import (
    AppliedTrim,
    Conversation,
    ConversationPart,
    RunEnd,
)
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.models.model import Message

_ENCODER: Final = msgspec.json.Encoder()
_MESSAGES: Final = msgspec.json.Decoder(tuple[Message, ...])
_TRIM: Final = msgspec.json.Decoder(AppliedTrim)

CONVERSATION_NAMES: Final = Conversation.__struct_fields__
PART_NAMES: Final = (
    "organization_id",
    "conversation_id",
    "number",
    "run_id",
    "model",
    "first_index",
    "end_index",
    "size_bytes",
    "messages",
)


def new_row(run: RunRecord) -> tuple[Any, ...]:
    """Returns the values of ``CONVERSATION_NAMES`` for a conversation that begins with a run."""
    conversation = Conversation(
        run.organization_id,
        run.conversation_id,
        run.agent_id,
        run.user_id,
        run.run_id,
        created_at_ms=run.created_at_ms,
        updated_at_ms=run.created_at_ms,
    )
    return (*msgspec.structs.astuple(conversation)[:-1], "")


def part_row(end: RunEnd) -> tuple[Any, ...]:
    """Returns the values of ``PART_NAMES``."""
    part, messages = end.part, _ENCODER.encode(end.part.messages)
    return (
        end.organization_id,
        end.conversation_id,
        part.number,
        part.run_id,
        part.model,
        part.first_index,
        part.end_index,
        len(messages),
        messages,
    )


def trim_text(end: RunEnd) -> str:
    """Returns what was left out as a row holds it; empty if nothing was."""
    return _ENCODER.encode(end.applied_trim).decode() if end.applied_trim is not None else ""


def conversation_of(row: Mapping[str, Any]) -> Conversation:
    """Returns the conversation of a row."""
    trim = row["applied_trim"]
    values = {name: row[name] for name in CONVERSATION_NAMES}
    return Conversation(**values | {"applied_trim": _TRIM.decode(trim) if trim else None})


def part_of(row: Mapping[str, Any]) -> ConversationPart:
    """Returns the part of a row."""
    return ConversationPart(
        number=row["number"],
        run_id=row["run_id"],
        model=row["model"],
        first_index=row["first_index"],
        messages=_MESSAGES.decode(row["messages"]),
    )
