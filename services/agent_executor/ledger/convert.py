"""Between the ledger's domain and its contracts. Pure; decides nothing."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import timestamp_pb2

from agent_executor.api.ledger.v1 import budget_service_pb2, usage_pb2, usage_service_pb2
from agent_executor.ledger.accounting.budget import BudgetStatus
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import to_usd
from agent_executor.ledger.reports.usage_query import EntryFilter, UsageSummary
from agent_executor.ledger.usage.reservations import ReserveRequest, SettleRequest

_TOKEN_CLASSES: Final = TokenUsage.__struct_fields__


def reserve_request(request: usage_service_pb2.ReserveUsageRequest) -> ReserveRequest:
    """Returns what is asked to be held."""
    return ReserveRequest(
        reservation_id=request.reservation_id,
        agent_id=request.agent_id,
        run_id=request.run_id,
        model=request.model,
        max_input_tokens=request.max_input_tokens,
        max_output_tokens=request.max_output_tokens,
        writes_cache=request.writes_cache,
        ttl_seconds=request.ttl_seconds,
    )


def settle_request(request: usage_service_pb2.SettleUsageRequest) -> SettleRequest:
    """Returns what is asked to be recorded."""
    usage = request.usage
    return SettleRequest(
        entry_id=request.entry_id,
        agent_id=request.agent_id,
        run_id=request.run_id,
        model=request.model,
        usage=TokenUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_input_tokens=usage.cache_read_input_tokens,
            cache_creation_input_tokens_5m=usage.cache_creation_input_tokens_5m,
            cache_creation_input_tokens_1h=usage.cache_creation_input_tokens_1h,
        ),
        reservation_id=request.reservation_id,
        estimated=request.estimated,
        is_test=request.is_test,
    )


def reservation_to_proto(reservation: Reservation) -> usage_pb2.Reservation:
    """Returns a reservation as the API shows it."""
    return usage_pb2.Reservation(
        id=reservation.id,
        state=reservation.state,
        held_nano_usd=reservation.held_nano_usd,
        max_output_tokens=reservation.max_output_tokens,
        expires_at=timestamp(reservation.expires_at_ms),
    )


def entry_to_proto(entry: UsageEntry) -> usage_pb2.UsageEntry:
    """Returns an entry as the API shows it."""
    usage = entry.usage
    return usage_pb2.UsageEntry(
        id=entry.id,
        kind=entry.kind,
        user_id=entry.user_id,
        agent_id=entry.agent_id,
        run_id=entry.run_id,
        model=entry.model,
        usage=usage_pb2.TokenUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_input_tokens=usage.cache_read_input_tokens,
            cache_creation_input_tokens_5m=usage.cache_creation_input_tokens_5m,
            cache_creation_input_tokens_1h=usage.cache_creation_input_tokens_1h,
        ),
        cost_nano_usd=entry.cost_nano_usd,
        cost_usd=to_usd(entry.cost_nano_usd),
        rate_card_id=entry.rate_card_id,
        estimated=entry.estimated,
        is_test=entry.is_test,
        reservation_id=entry.reservation_id,
        created_at=timestamp(entry.created_at_ms),
    )


def entry_filter(
    request: usage_service_pb2.ListUsageEntriesRequest | usage_service_pb2.SummarizeUsageRequest,
) -> EntryFilter:
    """Returns which entries a request means."""
    return EntryFilter(
        run_id=request.run_id,
        agent_id=request.agent_id,
        user_id=request.user_id,
        model=request.model,
        start_ms=_ceil_to_ms(request.start_time) if request.HasField("start_time") else None,
        end_ms=_ceil_to_ms(request.end_time) if request.HasField("end_time") else None,
    )


def summary_to_proto(summary: UsageSummary) -> usage_service_pb2.UsageSummary:
    """Returns sums as the API shows them."""
    tokens: dict[str, Any] = {name: getattr(summary, name) for name in _TOKEN_CLASSES}
    return usage_service_pb2.UsageSummary(
        user_id=summary.user,
        agent_id=summary.agent,
        model=summary.model,
        run_id=summary.run,
        day=summary.day,
        entry_count=summary.entry_count,
        tokens_used=summary.tokens_used,
        cost_nano_usd=summary.cost_nano_usd,
        cost_usd=to_usd(summary.cost_nano_usd),
        **tokens,
    )


def budget_to_proto(status: BudgetStatus) -> budget_service_pb2.Budget:
    """Returns a budget as the API shows it."""
    budget = status.budget
    return budget_service_pb2.Budget(
        id=budget.id,
        user_id=budget.user_id,
        agent_id=budget.agent_id,
        run_id=budget.run_id,
        window=budget.window,
        limit_nano_usd=budget.limit_nano_usd,
        limit_usd=to_usd(budget.limit_nano_usd),
        settled_nano_usd=status.settled_nano_usd,
        reserved_nano_usd=status.reserved_nano_usd,
        resets_at=None if status.resets_at_ms is None else timestamp(status.resets_at_ms),
    )


def timestamp(time_ms: int) -> timestamp_pb2.Timestamp:
    """Returns milliseconds since 1970-01-01 UTC as the API shows a time."""
    seconds, milliseconds = divmod(time_ms, 1_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=milliseconds * 1_000_000)


def _ceil_to_ms(moment: timestamp_pb2.Timestamp) -> int:
    """Returns the first millisecond that is not before a time; entries have whole ones."""
    return moment.seconds * 1_000 - (-moment.nanos // 1_000_000)
