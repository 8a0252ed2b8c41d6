"""Between the ledger's reports and their contracts. Pure; decides nothing."""

from __future__ import annotations

from typing import Any, Final, TypeAlias, cast

from agent_executor.api.ledger.v1 import usage_service_pb2
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import to_usd
from agent_executor.ledger.reports.exports import ExportFormat
from agent_executor.ledger.reports.reports import EntryPage, SummaryPage
from agent_executor.ledger.reports.usage_query import (
    Dimension,
    EntryFilter,
    RunCost,
    SummaryOrder,
    SummaryQuery,
    UsageSummary,
)
from agent_executor.ledger.usage.convert import entry_to_proto, reservation_to_proto
from agent_executor.serving.timestamp_convert import ceil_to_ms

_TOKEN_CLASSES: Final = TokenCounts.__struct_fields__

_Filtered: TypeAlias = (
    usage_service_pb2.ListUsageEntriesRequest
    | usage_service_pb2.SummarizeUsageRequest
    | usage_service_pb2.ExportUsageRequest
)


def entry_filter(request: _Filtered) -> EntryFilter:
    """Returns which entries a request means."""
    return EntryFilter(
        run_id=request.run_id,
        agent_id=request.agent_id,
        user_id=request.user_id,
        model=request.model,
        tool_name=request.tool_name,
        kind="" if isinstance(request, usage_service_pb2.ExportUsageRequest) else request.kind,
        start_ms=ceil_to_ms(request.start_time) if request.HasField("start_time") else None,
        end_ms=ceil_to_ms(request.end_time) if request.HasField("end_time") else None,
    )


def summary_query(request: usage_service_pb2.SummarizeUsageRequest) -> SummaryQuery:
    """Returns what sums a request asks for."""
    return SummaryQuery(
        entry_filter=entry_filter(request),
        # The contract's rules let no other words pass.
        group_by=cast("tuple[Dimension, ...]", tuple(request.group_by)),
        time_zone=request.time_zone or "UTC",
        order_by=cast("SummaryOrder", request.order_by or "cost"),
    )


def export_format(request: usage_service_pb2.ExportUsageRequest) -> ExportFormat:
    """Returns what a file is to look like."""
    return cast("ExportFormat", request.format or "csv")


def entries_to_proto(page: EntryPage) -> usage_service_pb2.ListUsageEntriesResponse:
    """Returns a page of entries as the API shows it."""
    return usage_service_pb2.ListUsageEntriesResponse(
        entries=map(entry_to_proto, page.entries), next_page_token=page.next_page_token
    )


def summaries_to_proto(page: SummaryPage) -> usage_service_pb2.SummarizeUsageResponse:
    """Returns a page of sums as the API shows it."""
    return usage_service_pb2.SummarizeUsageResponse(
        summaries=map(summary_to_proto, page.rows),
        total=summary_to_proto(page.total),
        next_page_token=page.next_page_token,
    )


def summary_to_proto(summary: UsageSummary) -> usage_service_pb2.UsageSummary:
    """Returns sums as the API shows them."""
    tokens: dict[str, Any] = {name: getattr(summary, name) for name in _TOKEN_CLASSES}
    return usage_service_pb2.UsageSummary(
        user_id=summary.user,
        agent_id=summary.agent,
        model=summary.model,
        tool_name=summary.tool,
        run_id=summary.run,
        kind=summary.kind,
        hour=summary.hour,
        day=summary.day,
        month=summary.month,
        entry_count=summary.entry_count,
        tokens_used=summary.tokens_used,
        cost_nano_usd=summary.cost_nano_usd,
        cost_usd=to_usd(summary.cost_nano_usd),
        **tokens,
    )


def run_cost_to_proto(cost: RunCost) -> usage_service_pb2.RunCost:
    """Returns what a run cost as the API shows it."""
    return usage_service_pb2.RunCost(
        run_id=cost.run_id,
        entries=map(entry_to_proto, cost.entries),
        reservations=map(reservation_to_proto, cost.reservations),
        total=summary_to_proto(cost.total),
        estimated_nano_usd=cost.estimated_nano_usd,
        reserved_nano_usd=cost.reserved_nano_usd,
    )
