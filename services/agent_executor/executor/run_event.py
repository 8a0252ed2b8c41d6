"""The events of a run. The log of them is the run; everything else is derived from it.

Events are stored as JSON by ``encode_event`` and outlive every version of the code: a field may
be added with a default, none may change its meaning. Money is integer nano-US-dollars.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from agent_executor.executor.models.model import ModelUsage, ResponseBlock
from agent_executor.executor.purpose import CallPurpose


class HistoryRange(msgspec.Struct, frozen=True):
    """What a conversation held when a run of it was started; it is what the run was given.

    Attributes:
        after_run_id: The conversation's run before this one; empty if this one began it.
        part_count: How many runs have added messages.
        message_count: How many messages they have added.
    """

    after_run_id: str = ""
    part_count: int = 0
    message_count: int = 0


class RunStarted(msgspec.Struct, frozen=True, tag="run_started"):
    """The run began: it is bound to one version of one agent, and of each custom tool.

    Attributes:
        tool_versions: The custom tools by name; logs of before there were any have none.
        parent_run_id: The run that started this one; empty if none did.
        max_cost_nano_usd: What the run may cost at most; 0 if only budgets limit it.
        parent_amount_id: The amount that was held for the nearest ancestor with a limit, from which
            this run draws, directly or by an amount of its own; empty if there is none.
        is_background: Nobody waits for the run.
        conversation_id: The conversation that it continues; empty if it stands alone.
        history: What of that it was given; None if it stands alone.
        max_tool_result_bytes: Above which length of a tool's result the model is given its beginning
            only; 0, as in logs of before: it is given every result as it is.
    """

    agent_id: str
    agent_version: int
    model: str
    input: str
    is_test: bool = False
    tool_versions: dict[str, str] = {}
    parent_run_id: str = ""
    max_cost_nano_usd: int = 0
    parent_amount_id: str = ""
    is_background: bool = False
    conversation_id: str = ""
    history: HistoryRange | None = None
    max_tool_result_bytes: int = 0


class RunResumed(msgspec.Struct, frozen=True, tag="run_resumed"):
    """Another owner took the run over; ``attempt`` counts from 2."""

    attempt: int


class RunPaused(msgspec.Struct, frozen=True, tag="run_paused"):
    """A budget does not cover the next model call, and the run waits until one does.

    Attributes:
        turn: Which model call is waited for, from 1.
        error: What the ledger said.
        code: ``BUDGET_EXCEEDED``.
        budget_id: The budget that refuses.
        resets_at_ms: When its window ends, if the next one would cover the call; 0 if only somebody
            who raises the limit can help.
    """

    turn: int
    error: str
    code: str
    budget_id: str
    resets_at_ms: int = 0


class RunContinued(msgspec.Struct, frozen=True, tag="run_continued"):
    """The money for the model call that was waited for is held; ``turn`` says which one."""

    turn: int


class ModelCallStarted(msgspec.Struct, frozen=True, tag="model_call_started"):
    """A model call is about to be made; ``model_call_id`` is its reservation's id too.

    Attributes:
        purpose: What it is made for; None in logs of before this was recorded, and if the call
            failed before its request was known.
        is_unheld: It is made without a hold, since the ledger is away and the operator wants it so.
        is_summary: It sums up what is to be left out of the history; its answer is no message of the
            run, and the turn's own call follows it.
    """

    model_call_id: str
    turn: int
    purpose: CallPurpose | None = None
    is_unheld: bool = False
    is_summary: bool = False


class ModelCallCompleted(msgspec.Struct, frozen=True, tag="model_call_completed"):
    """The model answered.

    ``reduced_max_tokens`` is the output that the budget covered, if that was less than the agent's
    ``max_output_tokens``; else 0.
    """

    model_call_id: str
    content: tuple[ResponseBlock, ...]
    stop_reason: str
    usage: ModelUsage
    reduced_max_tokens: int = 0


class ModelCallFailed(msgspec.Struct, frozen=True, tag="model_call_failed"):
    """The model call gave no answer that can be used; ``usage`` is what it is taken to have cost.

    ``usage`` is None when nothing can have been spent. It is an estimate in every other case.
    ``is_refused`` says that no money was held for it, so that no model was asked.
    """

    model_call_id: str
    error: str
    code: str
    will_retry: bool
    usage: ModelUsage | None = None
    is_refused: bool = False


class ModelCallSettled(msgspec.Struct, frozen=True, tag="model_call_settled"):
    """The ledger recorded what a model call cost."""

    model_call_id: str
    usage_entry_id: str
    cost_nano_usd: int
    estimated: bool = False


class ToolCallStarted(msgspec.Struct, frozen=True, tag="tool_call_started"):
    """A tool call is about to be sent. ``tool_use_id`` is the model's own id for it."""

    tool_call_id: str
    tool_use_id: str
    tool_name: str
    arguments_json: str


class ToolCallCompleted(msgspec.Struct, frozen=True, tag="tool_call_completed"):
    """A tool call has its result; ``result_json`` is ``null`` unless ``success``."""

    tool_call_id: str
    tool_name: str
    success: bool
    result_json: str
    error: str
    code: str
    timestamp_ms: int


class HistoryTrimmed(msgspec.Struct, frozen=True, tag="history_trimmed"):
    """From here on the model is not given all that was said; this one replaces the one before it.

    Messages are counted from the conversation's first, which is 0 and is always given.

    Attributes:
        message_count: How many messages are left out, in all.
        estimated_tokens: About how many tokens they are.
        summary: What is given in their place; empty if nothing.
        first_index: The first message after the left out ones that is given.
        emptied_before_index: Of messages before it, the model is not given the results of tools, but
            their lengths; they are of the newest turn, of which no message is left out.
    """

    message_count: int
    estimated_tokens: int
    summary: str = ""
    first_index: int = 1
    emptied_before_index: int = 0


class RunFinished(msgspec.Struct, frozen=True, tag="run_finished"):
    """The run ended. No event follows."""

    state: str
    response: str = ""
    error: str = ""
    code: str = ""


Payload: TypeAlias = (
    RunStarted
    | RunResumed
    | RunPaused
    | RunContinued
    | ModelCallStarted
    | ModelCallCompleted
    | ModelCallFailed
    | ModelCallSettled
    | ToolCallStarted
    | ToolCallCompleted
    | HistoryTrimmed
    | RunFinished
)


class RunEvent(msgspec.Struct, frozen=True):
    """One event at its place in the log.

    Attributes:
        sequence: From 1, without a gap.
        created_at_ms: Milliseconds since 1970-01-01 UTC.
        payload: What happened.
    """

    sequence: int
    created_at_ms: int
    payload: Payload


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Payload]] = msgspec.json.Decoder(Payload)


def encode_payload(payload: Payload) -> bytes:
    """Returns the payload as JSON, with its name under ``type``."""
    return _ENCODER.encode(payload)


def decode_payload(data: bytes | str) -> Payload:
    """Returns the payload of ``encode_payload``.

    Raises:
        msgspec.DecodeError: The text is not such a payload; the journal is damaged.
    """
    return _DECODER.decode(data)


def payload_type(payload: Payload) -> str:
    """Returns the payload's name, for example ``tool_call_completed``."""
    return str(payload.__struct_config__.tag)
