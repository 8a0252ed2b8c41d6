"""The tool-runner over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from google.protobuf.message import Message

from agent_executor.api.tool_runner.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    tool_call_service_pb2,
    tool_call_service_pb2_grpc,
)
from agent_executor.serving.interceptors import Context
from agent_executor.serving.multiplex_server import MultiplexedServer
from agent_executor.serving.pipeline import CallPipeline, remaining_seconds
from agent_executor.serving.security import current_security_context
from agent_executor.tool_runner.calls.audit import AuditReports
from agent_executor.tool_runner.calls.tool_call import ToolCall
from agent_executor.tool_runner.calls.tool_calls import ToolCalls
from agent_executor.tool_runner.convert import (
    audit_event_to_proto,
    audit_filter_from_proto,
    call_from_proto,
    result_to_proto,
)


class ToolCallServicer(tool_call_service_pb2_grpc.ToolCallServiceServicer):
    """See ``protos/agent_executor/api/tool_runner/v1/tool_call_service.proto``.

    Attributes:
        streams: Serves the frames of ``StreamToolCalls``; to be drained before the server stops.
    """

    def __init__(self, calls: ToolCalls, pipeline: CallPipeline) -> None:
        self._calls = calls
        self.streams = MultiplexedServer(
            tool_call_service_pb2.StreamToolCallsRequest,
            tool_call_service_pb2.StreamToolCallsResponse,
            {"execute": self._execute},
            pipeline,
        )

    async def ExecuteToolCall(  # noqa: N802 -- the contract's name
        self, request: tool_call_service_pb2.ExecuteToolCallRequest, context: Context
    ) -> tool_call_service_pb2.ExecuteToolCallResponse:
        """Runs one tool call."""
        del context
        return await self._execute(request)

    async def StopToolCall(  # noqa: N802 -- the contract's name
        self, request: tool_call_service_pb2.StopToolCallRequest, context: Context
    ) -> tool_call_service_pb2.StopToolCallResponse:
        """Stops one tool call, whoever asked for it."""
        del context
        call = ToolCall(
            tool_call_id=request.tool_call_id,
            tool_name=request.tool_name,
            arguments_json=request.arguments_json,
        )
        result = await self._calls.stop(call, current_security_context.get())
        return tool_call_service_pb2.StopToolCallResponse(
            outcome=None if result is None else result_to_proto(result)
        )

    def StreamToolCalls(  # type: ignore[override]  # noqa: N802 -- its messages are the contract's, as is its name
        self,
        request_iterator: AsyncIterator[tool_call_service_pb2.StreamToolCallsRequest],
        context: Context,
    ) -> AsyncGenerator[Message, None]:
        """Runs the tool calls of one executor."""
        del context
        return self.streams.serve(request_iterator)

    async def _execute(
        self, request: tool_call_service_pb2.ExecuteToolCallRequest
    ) -> tool_call_service_pb2.ExecuteToolCallResponse:
        call = call_from_proto(request, remaining_seconds())
        return result_to_proto(await self._calls.execute(call, current_security_context.get()))


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """See ``protos/agent_executor/api/tool_runner/v1/audit_service.proto``."""

    def __init__(self, reports: AuditReports) -> None:
        self._reports = reports

    async def ListAuditEvents(  # noqa: N802 -- the contract's name
        self, request: audit_service_pb2.ListAuditEventsRequest, context: Context
    ) -> audit_service_pb2.ListAuditEventsResponse:
        """Lists audit events."""
        del context
        page = await self._reports.list(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
            matching=audit_filter_from_proto(request),
        )
        return audit_service_pb2.ListAuditEventsResponse(
            audit_events=[audit_event_to_proto(record) for record in page.records],
            next_page_token=page.next_page_token,
        )
