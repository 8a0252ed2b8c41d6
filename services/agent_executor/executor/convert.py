"""Between the executor's domain and its contracts. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf import struct_pb2

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
from agent_executor.serving.timestamp_convert import timestamp

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

INT32_MAX: Final = 2**31 - 1
EXACT_INTEGER_MAX: Final = 2**53
# Parsers of messages, the gateway's among them, take 100 levels; one of JSON is up to three of these.
SHOWN_DEPTH_MAX: Final = 24
# A test's answer shows the conversation twice, and a message has 8 MiB unless an operator says otherwise.
OUTPUT_BYTES_MAX: Final = 3 * 1024 * 1024


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
    output = run_pb2.RunOutput(
        response=state.finished.response if state.finished else response_text(state.messages),
        tokens_used=_int32(state.tokens_used),
        cost_usd=usd_of(state.cost_nano_usd),
        cost_nano_usd=state.cost_nano_usd,
        state=state.state,
    )
    # Written in place: a message that is handed to another one's constructor is copied, at each level.
    for result in results_of(state):
        _write_tool_result(result, output.tool_results.add())
    for message in state.messages:
        _write_message(message, output.conversation_history.add())
    # What is long before it is shown again elsewhere is left out first.
    for name in ("conversation_history", "tool_results"):
        if output.ByteSize() > OUTPUT_BYTES_MAX:
            output.ClearField(name)
            output.left_out.append(name)
    return output


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


def payload_to_proto(payload: Any) -> Any:
    """Returns the message of an event's payload."""
    match payload:
        case ModelCallCompleted(usage=usage):
            completed = run_event_pb2.ModelCallCompleted(
                model_call_id=payload.model_call_id,
                stop_reason=payload.stop_reason,
                input_tokens=_int32(usage.input_tokens),
                output_tokens=_int32(usage.output_tokens),
                cache_read_input_tokens=_int32(usage.cache_read_input_tokens),
                cache_creation_input_tokens=_int32(
                    usage.cache_creation_input_tokens_5m + usage.cache_creation_input_tokens_1h
                ),
                from_cache=payload.from_cache,
            )
            _write_blocks(payload.content, completed.content)
            return completed
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
            answered = run_event_pb2.ToolCallCompleted()
            _write_tool_result(payload, answered.tool_result)
            return answered
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


def _write_tool_result(result: ToolCallCompleted, target: run_pb2.ToolResult) -> None:
    target.tool_call_id = result.tool_call_id
    target.tool_name = result.tool_name
    target.success = result.success
    write_json(msgspec.json.decode(result.result_json), target.result)
    target.error = result.error
    target.code = result.code
    target.timestamp.CopyFrom(timestamp(result.timestamp_ms))


def message_to_proto(message: Message) -> run_pb2.ConversationMessage:
    """Returns a message of a conversation."""
    shown = run_pb2.ConversationMessage()
    _write_message(message, shown)
    return shown


def _write_message(message: Message, target: run_pb2.ConversationMessage) -> None:
    target.role = message.role
    _write_blocks(message.content, target.content)


def _write_blocks(
    content: Iterable[ContentBlock], target: RepeatedCompositeFieldContainer[run_pb2.ContentBlock]
) -> None:
    """Adds what callers see of a message: nothing of what only the provider reads."""
    for block in content:
        match block:
            case TextBlock():
                target.add(type="text", text=block.text)
            case ToolUseBlock():
                shown = target.add(type="tool_use", id=block.id, name=block.name)
                write_json_object(block.input, shown.input)
            case ToolResultBlock():
                target.add(
                    type="tool_result",
                    tool_use_id=block.tool_use_id,
                    content=block.content,
                    is_error=block.is_error,
                )
            case ThinkingBlock() | RedactedThinkingBlock() | ProviderBlock():
                pass


def write_json(value: Any, target: struct_pb2.Value, depth: int = 1) -> None:
    """Writes a JSON value into a message.

    An integer that no double holds becomes its digits, and what is nested more than
    ``SHOWN_DEPTH_MAX`` levels deep its JSON text.
    """
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int) and abs(value) > EXACT_INTEGER_MAX:
        target.string_value = str(value)
    elif isinstance(value, int | float):
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif depth > SHOWN_DEPTH_MAX:
        target.string_value = msgspec.json.encode(value).decode()
    elif isinstance(value, dict):
        write_json_object(value, target.struct_value, depth)
    else:
        target.list_value.SetInParent()
        for item in value:
            write_json(item, target.list_value.values.add(), depth + 1)


def write_json_object(value: dict[str, Any], target: struct_pb2.Struct, depth: int = 1) -> None:
    """Writes a JSON object into a message, as deep as one is shown; an empty one is there as well."""
    target.SetInParent()
    for name, item in value.items():
        write_json(item, target.fields[name], depth + 1)


def _int32(value: int) -> int:
    """Returns a count as the contract's int32; a sum beyond it is shown as the largest."""
    return min(value, INT32_MAX)
