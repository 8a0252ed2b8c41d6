"""Between the executor's domain and its contracts. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from google.protobuf import struct_pb2, timestamp_pb2

from agent_executor.api.executor.v1 import (
    run_event_pb2,
    run_pb2,
    run_service_pb2,
)
from agent_executor.executor.approvals.convert import requested_to_proto
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import RunState, response_text, results_of
from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    Payload,
    RunEvent,
    RunFinished,
    ToolCallCompleted,
    payload_type,
)
from agent_executor.executor.models.model import (
    ContentBlock,
    Message,
    ProviderBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from agent_executor.executor.money import usd_of
from agent_executor.executor.runs.cancel_receipt import CancelReceipt
from agent_executor.executor.runs.result import is_success
from agent_executor.executor.runs.run_view import RunView

INT32_MAX: Final = 2**31 - 1
EXACT_INTEGER_MAX: Final = 2**53


def execution_to_proto(view: RunView) -> run_service_pb2.ExecuteAgentResponse:
    """Returns a run in the shape of the answer of the execute route."""
    run, state = view.run, view.state
    finished = state.finished or RunFinished(state=state.state)
    return run_service_pb2.ExecuteAgentResponse(
        task_id=run.run_id,
        agent_id=run.agent_id,
        model=run.model,
        input=run.input,
        output=output_to_proto(state),
        tokens_used=_int32(state.tokens_used),
        cost_usd=usd_of(state.cost_nano_usd),
        cost_nano_usd=state.cost_nano_usd,
        state=state.state,
        created_at=timestamp(run.created_at_ms),
        error=finished.error or None,
        code=finished.code or None,
    )


def agent_test_to_proto(view: RunView) -> run_service_pb2.TestAgentResponse:
    """Returns a test run in the shape of the answer of the test route."""
    run, state = view.run, view.state
    finished = state.finished or RunFinished(state=state.state)
    output = output_to_proto(state)
    return run_service_pb2.TestAgentResponse(
        agent_id=run.agent_id,
        model=run.model,
        test_input=run.input,
        test_output=output,
        success=is_success(state),
        timestamp=timestamp(run.ended_at_ms),
        tokens_used=_int32(state.tokens_used),
        cost_usd=usd_of(state.cost_nano_usd),
        cost_nano_usd=state.cost_nano_usd,
        conversation_history=output.conversation_history,
        task_id=run.run_id,
        error=finished.error or None,
        code=finished.code or None,
    )


def run_to_proto(run: RunRecord, state: RunState | None = None) -> run_pb2.Run:
    """Returns a run; its output has a conversation only if ``state`` is given."""
    output = (
        output_to_proto(state)
        if state is not None
        else run_pb2.RunOutput(
            response=run.response,
            tokens_used=_int32(run.tokens_used),
            cost_usd=usd_of(run.cost_nano_usd),
            cost_nano_usd=run.cost_nano_usd,
            state=run.state,
        )
    )
    return run_pb2.Run(
        id=run.run_id,
        agent_id=run.agent_id,
        agent_version=run.agent_version,
        model=run.model,
        input=run.input,
        state=run.state,
        output=output,
        error=run.error or None,
        code=run.code or None,
        tokens_used=_int32(run.tokens_used),
        cost_usd=usd_of(run.cost_nano_usd),
        cost_nano_usd=run.cost_nano_usd,
        is_test=run.is_test,
        created_at=timestamp(run.created_at_ms),
        ended_at=timestamp(run.ended_at_ms) if run.ended_at_ms else None,
        user_id=run.user_id,
        last_sequence=run.last_sequence,
        parent_run_id=run.parent_run_id,
        conversation_id=run.conversation_id,
    )


def output_to_proto(state: RunState) -> run_pb2.RunOutput:
    """Returns what a run has produced so far."""
    return run_pb2.RunOutput(
        response=state.finished.response if state.finished else response_text(state.messages),
        tool_results=[_tool_result_to_proto(result) for result in results_of(state)],
        conversation_history=[message_to_proto(message) for message in state.messages],
        tokens_used=_int32(state.tokens_used),
        cost_usd=usd_of(state.cost_nano_usd),
        cost_nano_usd=state.cost_nano_usd,
        state=state.state,
    )


def receipt_to_proto(receipt: CancelReceipt) -> run_service_pb2.CancelReceipt:
    """Returns what a cancellation did."""
    return run_service_pb2.CancelReceipt(**msgspec.structs.asdict(receipt))


def event_to_proto(run_id: str, event: RunEvent) -> run_event_pb2.RunEvent:
    """Returns an event of a run's log."""
    name = payload_type(event.payload)
    return run_event_pb2.RunEvent(
        run_id=run_id,
        sequence=event.sequence,
        type=name,
        created_at=timestamp(event.created_at_ms),
        **{name: payload_to_proto(event.payload)},
    )


def timestamp(milliseconds: int) -> timestamp_pb2.Timestamp:
    """Returns a timestamp from milliseconds since 1970-01-01 UTC."""
    seconds, rest = divmod(milliseconds, 1000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def payload_to_proto(payload: Any) -> Any:
    """Returns the message of an event's payload."""
    match payload:
        case ModelCallCompleted(usage=usage):
            return run_event_pb2.ModelCallCompleted(
                model_call_id=payload.model_call_id,
                content=_shown_blocks(payload.content),
                stop_reason=payload.stop_reason,
                input_tokens=_int32(usage.input_tokens),
                output_tokens=_int32(usage.output_tokens),
                cache_read_input_tokens=_int32(usage.cache_read_input_tokens),
                cache_creation_input_tokens=_int32(
                    usage.cache_creation_input_tokens_5m + usage.cache_creation_input_tokens_1h
                ),
                from_cache=payload.from_cache,
            )
        case ModelCallFailed():
            return run_event_pb2.ModelCallFailed(
                model_call_id=payload.model_call_id,
                error=payload.error,
                code=payload.code,
                will_retry=payload.will_retry,
            )
        case ModelCallSettled():
            return run_event_pb2.ModelCallSettled(
                model_call_id=payload.model_call_id,
                usage_entry_id=payload.usage_entry_id,
                cost_usd=usd_of(payload.cost_nano_usd),
                cost_nano_usd=payload.cost_nano_usd,
                estimated=payload.estimated,
            )
        case ApprovalRequested():
            return requested_to_proto(payload)
        case ToolCallCompleted():
            return run_event_pb2.ToolCallCompleted(tool_result=_tool_result_to_proto(payload))
        case RunFinished():
            return run_event_pb2.RunFinished(
                state=payload.state,
                response=payload.response,
                error=payload.error or None,
                code=payload.code or None,
            )
    # What is left has the same fields in its message.
    return _same_fields(payload)


def _same_fields(payload: Payload) -> Any:
    """Returns the message of the payload's own name, for payloads that share its fields."""
    message_type = getattr(run_event_pb2, type(payload).__name__)
    names = message_type.DESCRIPTOR.fields_by_name
    return message_type(**{name: getattr(payload, name) for name in names})


def _tool_result_to_proto(result: ToolCallCompleted) -> run_pb2.ToolResult:
    return run_pb2.ToolResult(
        tool_call_id=result.tool_call_id,
        tool_name=result.tool_name,
        success=result.success,
        result=json_value(msgspec.json.decode(result.result_json)),
        error=result.error,
        code=result.code,
        timestamp=timestamp(result.timestamp_ms),
    )


def message_to_proto(message: Message) -> run_pb2.ConversationMessage:
    """Returns a message of a conversation."""
    return run_pb2.ConversationMessage(role=message.role, content=_shown_blocks(message.content))


def _shown_blocks(content: Iterable[ContentBlock]) -> list[run_pb2.ContentBlock]:
    """Returns what callers see of a message: nothing of what only the provider reads."""
    blocks = (_block_to_proto(block) for block in content)
    return [block for block in blocks if block is not None]


def _block_to_proto(block: ContentBlock) -> run_pb2.ContentBlock | None:
    match block:
        case TextBlock():
            return run_pb2.ContentBlock(type="text", text=block.text)
        case ToolUseBlock():
            return run_pb2.ContentBlock(
                type="tool_use", id=block.id, name=block.name, input=json_struct(block.input)
            )
        case ToolResultBlock():
            return run_pb2.ContentBlock(
                type="tool_result",
                tool_use_id=block.tool_use_id,
                content=block.content,
                is_error=block.is_error,
            )
        case ThinkingBlock() | RedactedThinkingBlock() | ProviderBlock():
            return None


def json_value(value: Any) -> struct_pb2.Value:
    """Returns a JSON value as a message; an integer that no double holds becomes its digits."""
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int) and abs(value) > EXACT_INTEGER_MAX:
        return struct_pb2.Value(string_value=str(value))
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, dict):
        return struct_pb2.Value(struct_value=json_struct(value))
    return struct_pb2.Value(
        list_value=struct_pb2.ListValue(values=[json_value(item) for item in value])
    )


def json_struct(value: dict[str, Any]) -> struct_pb2.Struct:
    """Returns a JSON object as a message."""
    return struct_pb2.Struct(fields={name: json_value(item) for name, item in value.items()})


def _int32(value: int) -> int:
    """Returns a count as the contract's int32; a sum beyond it is shown as the largest."""
    return min(value, INT32_MAX)
