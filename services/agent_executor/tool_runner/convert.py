"""Between the tool-runner's domain and its contracts. Pure; decides nothing."""

from __future__ import annotations

import msgspec
from google.protobuf import json_format, struct_pb2

from agent_executor.api.tool_runner.v1 import (
    audit_service_pb2,
    tool_call_service_pb2,
    tool_pb2,
)
from agent_executor.serving.timestamp_convert import ceil_to_ms, timestamp
from agent_executor.tool_runner.calls.audit import AuditFilter, AuditRecord
from agent_executor.tool_runner.calls.tool_call import ToolCall, ToolResult, unix_ms_of
from agent_executor.tool_runner.custom.catalog import ToolDefinition


def call_from_proto(
    request: tool_call_service_pb2.ExecuteToolCallRequest, timeout_seconds: float | None
) -> ToolCall:
    """Returns the call that a request asks for, within the time that its caller still waits."""
    return ToolCall(
        tool_call_id=request.tool_call_id,
        tool_name=request.tool_name,
        arguments_json=request.arguments_json,
        run_id=request.run_id,
        agent_id=request.agent_id,
        rate_limits=dict(request.rate_limits),
        timeout_seconds=timeout_seconds,
        is_test=request.is_test,
        tool_version=request.tool_version,
    )


def result_to_proto(result: ToolResult) -> tool_call_service_pb2.ExecuteToolCallResponse:
    """Returns the result of a call."""
    return tool_call_service_pb2.ExecuteToolCallResponse(
        tool_call_id=result.tool_call_id,
        tool_name=result.tool_name,
        success=result.success,
        result_json=result.result_json,
        error=result.error,
        code=result.code,
        timestamp=timestamp(unix_ms_of(result.timestamp)),
        duration_ms=result.duration_ms,
    )


def tool_to_proto(tool: ToolDefinition) -> tool_pb2.Tool:
    """Returns a tool as callers see it."""
    input_schema = struct_pb2.Struct()
    json_format.ParseDict(msgspec.json.decode(tool.input_schema_json), input_schema)
    return tool_pb2.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=input_schema,
        effect=tool.effect,
        enabled=tool.enabled,
        built_in=tool.built_in,
        version=tool.version,
        class_name=tool.class_name,
        source=tool.source,
        timeout_seconds=tool.timeout_seconds,
        cache_ttl_seconds=tool.cache_ttl_seconds,
        allowed_origins=tool.allowed_origins,
        findings=tool.findings,
        created_at=timestamp(tool.created_at_ms) if tool.created_at_ms else None,
        requires_approval=tool.requires_approval,
        mcp_server=tool.mcp_server,
    )


def specification_to_proto(tool: ToolDefinition) -> tool_pb2.ToolSpecification:
    """Returns a tool as models see it."""
    return tool_pb2.ToolSpecification(
        name=tool.name,
        description=tool.description,
        input_schema_json=tool.input_schema_json,
        effect=tool.effect,
        enabled=tool.enabled,
        version=tool.version,
        requires_approval=tool.requires_approval,
    )


def audit_event_to_proto(record: AuditRecord) -> audit_service_pb2.AuditEvent:
    """Returns a record of the audit log."""
    return audit_service_pb2.AuditEvent(
        id=str(record.sequence),
        user_id=record.user_id,
        run_id=record.run_id,
        agent_id=record.agent_id,
        tool_call_id=record.tool_call_id,
        tool_name=record.tool_name,
        arguments_sha256=record.arguments_sha256,
        decision=record.decision,
        rule=record.rule,
        outcome=record.outcome,
        code=record.code,
        result_sha256=record.result_sha256,
        duration_ms=record.duration_ms,
        trace_id=record.trace_id,
        created_at=timestamp(record.created_at_ms),
        tool_version=record.tool_version,
        facts=record.facts,
        previous_sha256=record.previous_sha256,
        sha256=record.sha256,
    )


def audit_filter_from_proto(
    request: audit_service_pb2.ListAuditEventsRequest,
) -> AuditFilter:
    """Returns which audit records a request asks for."""
    return AuditFilter(
        run_id=request.run_id,
        tool_name=request.tool_name,
        user_id=request.user_id,
        decision=request.decision,
        created_from_ms=ceil_to_ms(request.created_from)
        if request.HasField("created_from")
        else None,
        created_before_ms=(
            ceil_to_ms(request.created_before) if request.HasField("created_before") else None
        ),
    )
