"""The questions of UsageService over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.api import httpbody_pb2

from agent_executor.api.ledger.v1 import usage_service_pb2, usage_service_pb2_grpc
from agent_executor.ledger.reports.convert import (
    entries_to_proto,
    entry_filter,
    export_format,
    run_cost_to_proto,
    summaries_to_proto,
    summary_query,
)
from agent_executor.ledger.reports.exports import CONTENT_TYPE, UsageExports
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context


class ReportsServicer(usage_service_pb2_grpc.UsageServiceServicer):
    """The part of UsageService that asks; ``UsageServicer`` has the rest.

    See ``protos/agent_executor/api/ledger/v1/usage_service.proto``.
    """

    def __init__(self, reports: UsageReports, exports: UsageExports) -> None:
        self._reports = reports
        self._exports = exports

    async def ListUsageEntries(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.ListUsageEntriesRequest, context: Context
    ) -> usage_service_pb2.ListUsageEntriesResponse:
        """Lists entries."""
        del context
        page = await self._reports.entries(
            current_security_context.get(),
            entry_filter(request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return entries_to_proto(page)

    async def SummarizeUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.SummarizeUsageRequest, context: Context
    ) -> usage_service_pb2.SummarizeUsageResponse:
        """Sums usage."""
        del context
        page = await self._reports.summarize(
            current_security_context.get(),
            summary_query(request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return summaries_to_proto(page)

    async def GetRunCost(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.GetRunCostRequest, context: Context
    ) -> usage_service_pb2.RunCost:
        """Returns what a run cost."""
        del context
        cost = await self._reports.run_cost(current_security_context.get(), request.run_id)
        return run_cost_to_proto(cost)

    async def ExportUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.ExportUsageRequest, context: Context
    ) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
        """Sends entries as a file."""
        file_format = export_format(request)
        pieces = self._exports.export(
            current_security_context.get(), entry_filter(request), file_format
        )
        is_first = True
        async with aclosing(pieces):
            async for piece in pieces:
                if is_first:
                    # Only now, for a refusal has no file.
                    name = "usage.csv" if file_format == "csv" else f"usage-{file_format}.csv"
                    await context.send_initial_metadata(
                        (("content-disposition", f'attachment; filename="{name}"'),)
                    )
                    is_first = False
                yield httpbody_pb2.HttpBody(content_type=CONTENT_TYPE, data=piece)
