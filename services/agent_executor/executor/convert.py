"""Between the executor's domain and its contracts. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from google.protobuf import struct_pb2, timestamp_pb2

from agent_executor.api.executor.v1 import (
    agent_pb2,
    agent_service_pb2,
    run_event_pb2,
    run_pb2,
    run_service_pb2,
)
from agent_executor.executor.agent import AgentVersion, CustomTool
from agent_executor.executor.approvals.convert import (
    policy_from_proto,
    policy_to_proto,
    requested_to_proto,
)
from agent_executor.executor.cancel_receipt import CancelReceipt
from agent_executor.executor.journal import RunRecord
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
from agent_executor.executor.money import nano_usd_of, usd_of
from agent_executor.executor.result import is_success
from agent_executor.executor.run import RunState, response_text, results_of
from agent_executor.executor.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    CancelRequested,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    ModelCallStarted,
    Payload,
    RunContinued,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
    payload_type,
)
from agent_executor.executor.runs import RunView

INT32_MAX: Final = 2**31 - 1
EXACT_INTEGER_MAX: Final = 2**53

# Fields of CreateAgentRequest and UpdateAgentRequest that are fields of AgentVersion as they are.
_PLAIN_FIELDS: Final = (
    "name",
    "description",
    "model",
    "is_active",
    "role",
    "instructions",
    "max_model_turns",
    "max_output_tokens",
    "on_budget_exceeded",
    "min_output_tokens",
    "run_timeout_seconds",
)
_MAP_FIELDS: Final = ("tools", "custom_tools")
# What a field becomes that a mask names and the request leaves out. A name has no default.
_DEFAULTS: Final = {
    field.name: field.default
    for field in msgspec.structs.fields(AgentVersion)
    if field.name in _PLAIN_FIELDS and not field.required
}
UPDATABLE_FIELDS: Final = frozenset(
    {*_PLAIN_FIELDS, *_MAP_FIELDS, "max_cost_usd", "api_key", "approval_policy"}
)


def created_fields(request: agent_service_pb2.CreateAgentRequest) -> dict[str, Any]:
    """Returns the fields of ``AgentVersion`` that a request sets; the others have defaults."""
    fields = {name: getattr(request, name) for name in _PLAIN_FIELDS if name != "is_active"}
    fields = {name: value for name, value in fields.items() if value}
    if request.HasField("is_active"):
        fields["is_active"] = request.is_active
    if request.agent_type:
        fields["agent_type"] = request.agent_type
    if request.max_cost_usd:
        fields["max_cost_nano_usd"] = nano_usd_of(request.max_cost_usd, "max_cost_usd")
    if request.HasField("approval_policy"):
        fields["approval_policy"] = policy_from_proto(request.approval_policy)
    return fields | _maps_of(request, _MAP_FIELDS)


def updated_fields(
    request: agent_service_pb2.UpdateAgentRequest,
) -> tuple[dict[str, Any], str | None]:
    """Returns the fields of ``AgentVersion`` to change, and the new key or None to leave it."""
    if request.HasField("update_mask"):
        named = set(request.update_mask.paths)
    else:
        optional = (*_PLAIN_FIELDS, "max_cost_usd", "api_key", "approval_policy")
        named = {name for name in optional if request.HasField(name)}
        named |= {name for name in _MAP_FIELDS if getattr(request, name)}
    fields: dict[str, Any] = {
        name: getattr(request, name) if request.HasField(name) else _DEFAULTS[name]
        for name in _PLAIN_FIELDS
        if name in named
    }
    if "max_cost_usd" in named:
        fields["max_cost_nano_usd"] = nano_usd_of(request.max_cost_usd, "max_cost_usd")
    if "approval_policy" in named:
        fields["approval_policy"] = policy_from_proto(request.approval_policy)
    fields |= _maps_of(request, [name for name in _MAP_FIELDS if name in named])
    return fields, request.api_key if "api_key" in named else None


def agent_to_proto(agent: AgentVersion) -> agent_pb2.Agent:
    """Returns an agent as the API shows it: without its key."""
    return agent_pb2.Agent(
        id=agent.agent_id,
        name=agent.name,
        description=agent.description,
        agent_type=agent.agent_type,
        model=agent.model,
        role=agent.role,
        instructions=agent.instructions,
        tools=agent.tools,
        custom_tools={
            name: _custom_tool_to_proto(custom) for name, custom in agent.custom_tools.items()
        },
        is_active=agent.is_active,
        has_api_key=bool(agent.api_key_ciphertext),
        max_model_turns=agent.max_model_turns,
        max_output_tokens=agent.max_output_tokens,
        on_budget_exceeded=agent.on_budget_exceeded,
        max_cost_usd=usd_of(agent.max_cost_nano_usd),
        max_cost_nano_usd=agent.max_cost_nano_usd,
        min_output_tokens=agent.min_output_tokens,
        run_timeout_seconds=agent.run_timeout_seconds,
        version=agent.version,
        created_at=timestamp(agent.created_at_ms),
        updated_at=timestamp(agent.updated_at_ms),
        approval_policy=policy_to_proto(agent.approval_policy),
    )


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
        conversation_history=[_message_to_proto(message) for message in state.messages],
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
        **{name: _payload_to_proto(event.payload)},
    )


def timestamp(milliseconds: int) -> timestamp_pb2.Timestamp:
    """Returns a timestamp from milliseconds since 1970-01-01 UTC."""
    seconds, rest = divmod(milliseconds, 1000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def _payload_to_proto(payload: Any) -> Any:
    match payload:
        case (
            RunStarted()
            | RunResumed()
            | RunPaused()
            | RunContinued()
            | CancelRequested()
            | ModelCallStarted()
            | ToolCallStarted()
            | ApprovalResolved()
        ):
            return _same_fields(payload)
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
    raise AssertionError(f"no message for {payload!r}")


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


def _message_to_proto(message: Message) -> run_pb2.ConversationMessage:
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


def _custom_tool_to_proto(custom: CustomTool) -> agent_pb2.CustomTool:
    # The field is a word, which Python cannot take as a keyword argument.
    fields: dict[str, Any] = {"class": custom.class_name, "enabled": custom.enabled}
    return agent_pb2.CustomTool(version=custom.version, **fields)


def _maps_of(
    request: agent_service_pb2.CreateAgentRequest | agent_service_pb2.UpdateAgentRequest,
    names: Iterable[str],
) -> dict[str, Any]:
    maps: dict[str, Any] = {}
    for name in names:
        if name == "tools":
            maps[name] = dict(request.tools)
        else:
            maps[name] = {
                tool: CustomTool(getattr(custom, "class"), custom.enabled, custom.version)
                for tool, custom in request.custom_tools.items()
            }
    return maps


def _int32(value: int) -> int:
    """Returns a count as the contract's int32; a sum beyond it is shown as the largest."""
    return min(value, INT32_MAX)
