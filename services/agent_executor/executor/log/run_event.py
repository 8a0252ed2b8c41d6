"""The events of a run. The log of them is the run; everything else is derived from it.

Events are stored as JSON by ``encode_event`` and outlive every version of the code: a field may
be added with a default, none may change its meaning. Money is integer nano-US-dollars.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from agent_executor.executor.model_calls.purpose import CallPurpose
from agent_executor.executor.models.model import ModelUsage, ResponseBlock


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


class HistoryRange(msgspec.Struct, frozen=True):
    """What a conversation held when a run of it was started; it is what the run was given.

    Attributes:
        after_run_id: The conversation's run before this one; empty if this one began it.
        part_count: How many runs have added messages.
        message_count: How many messages they have added.
        trimmed: What of these is left out from the start; None if nothing is.
    """

    after_run_id: str = ""
    part_count: int = 0
    message_count: int = 0
    trimmed: HistoryTrimmed | None = None


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
        timeout_seconds: How long it may take; 0: as the executor is set.
        is_queued: It waits for its turn, which the next event but ``ModelSelected`` says to have come.
        processing: ``batch``: its model calls go through the provider's batches; empty: they do not.
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
    timeout_seconds: int = 0
    is_queued: bool = False
    processing: str = ""


class ModelSelected(msgspec.Struct, frozen=True, tag="model_selected"):
    """The agent's model is ``auto``, and this one was chosen, for ``reason``; the run keeps it."""

    model: str
    reason: str


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


class CancelRequested(msgspec.Struct, frozen=True, tag="cancel_requested"):
    """Somebody asked for the run's end, and there was something left of it to stop.

    Nothing is begun after it; what was under way has its outcome between it and the run's end.

    Attributes:
        user_id: Who; empty if the caller went away from a run that is bound to it.
        reason: Why, as they put it.
        child_run_ids: The runs that it had started, also indirectly, and that were under way: they
            were asked to end with it.
    """

    user_id: str = ""
    reason: str = ""
    child_run_ids: tuple[str, ...] = ()


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


class ModelCallBatched(msgspec.Struct, frozen=True, tag="model_call_batched"):
    """A model call was given to its provider in a batch, which the run waits for.

    Attributes:
        batch_id: The batch, as the provider names it.
    """

    model_call_id: str
    batch_id: str


class ModelCallCompleted(msgspec.Struct, frozen=True, tag="model_call_completed"):
    """The model answered.

    Attributes:
        reduced_max_tokens: The output that the budget covered, if that was less than the agent's
            ``max_output_tokens``; else 0.
        stop_detail: Why the model refused, in the provider's words; empty if it did not say.
        from_cache: The answer is that of an equal request of before: no model was asked, nothing was
            held, and ``usage`` is zero.
        is_estimated: The provider does not count what it bills, so that ``usage`` is an estimate.
    """

    model_call_id: str
    content: tuple[ResponseBlock, ...]
    stop_reason: str
    usage: ModelUsage
    reduced_max_tokens: int = 0
    stop_detail: str = ""
    from_cache: bool = False
    is_estimated: bool = False


class ModelCallFailed(msgspec.Struct, frozen=True, tag="model_call_failed"):
    """The model call gave no answer that can be used; ``usage`` is what it is taken to have cost.

    ``usage`` is None when nothing can have been spent. It is an estimate in every other case.
    ``is_refused`` says that no model was asked: no money was held for it, or the run was to end.
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
    """A tool call is about to be sent.

    Attributes:
        tool_use_id: The model's own id for it.
        arguments_json: What is sent: the model's arguments, or a person's in their place.
        approval: ``approved`` if a person let it pass, ``edited`` if that one changed the arguments;
            empty if nobody was asked.
    """

    tool_call_id: str
    tool_use_id: str
    tool_name: str
    arguments_json: str
    approval: Literal["", "approved", "edited"] = ""


class ToolCallCompleted(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_call_completed"):
    """A tool call has its result; ``result_json`` is ``null`` unless ``success``.

    ``was_begun`` is False only for a call that was never sent, since the run was to end, or nobody
    let it pass.
    """

    tool_call_id: str
    tool_name: str
    success: bool
    result_json: str
    error: str
    code: str
    timestamp_ms: int
    was_begun: bool = True


class ApprovalRequested(msgspec.Struct, frozen=True, tag="approval_requested"):
    """A tool call waits for a person's decision. It is started only if that is to approve.

    Attributes:
        tool_use_id: The model's own id for it.
        arguments_json: The model's.
        reason: Why a decision is needed.
        expires_at_ms: From when on it is denied if nobody has decided.
    """

    tool_call_id: str
    tool_use_id: str
    tool_name: str
    arguments_json: str
    reason: str
    expires_at_ms: int


class ApprovalResolved(msgspec.Struct, frozen=True, tag="approval_resolved"):
    """A person has decided, or nobody has in time.

    In the same commit follows the call's beginning, or its result if it was not let pass.

    Attributes:
        decision: ``approved``, ``denied`` or ``expired``.
        user_id: Who decided; empty if nobody has.
        reason: What the decider said.
        edited_arguments_json: The arguments in place of the model's; empty if they are unchanged.
    """

    tool_call_id: str
    decision: str
    user_id: str = ""
    reason: str = ""
    edited_arguments_json: str = ""


class RunFinished(msgspec.Struct, frozen=True, omit_defaults=True, tag="run_finished"):
    """The run ended. No event follows.

    ``released_nano_usd`` is what was held for a run that was cancelled, and is free again.
    """

    state: str
    response: str = ""
    error: str = ""
    code: str = ""
    released_nano_usd: int = 0


Payload: TypeAlias = (
    RunStarted
    | ModelSelected
    | RunResumed
    | RunPaused
    | RunContinued
    | CancelRequested
    | ModelCallStarted
    | ModelCallBatched
    | ModelCallCompleted
    | ModelCallFailed
    | ModelCallSettled
    | ToolCallStarted
    | ToolCallCompleted
    | HistoryTrimmed
    | ApprovalRequested
    | ApprovalResolved
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
