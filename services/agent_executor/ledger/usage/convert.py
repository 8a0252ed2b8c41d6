"""Between usage and its contracts. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2
from agent_executor.ledger.accounting.entry import UNKNOWN_PURPOSE, Purpose, UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.money import NanoUsd, to_usd
from agent_executor.ledger.usage.correcting import CorrectRequest
from agent_executor.ledger.usage.holding import RenewRequest
from agent_executor.ledger.usage.recording import RecordedBatch
from agent_executor.ledger.usage.rerating import Rerated, RerateRequest
from agent_executor.ledger.usage.reserving import AmountRequest, ReserveRequest
from agent_executor.ledger.usage.rows import UsageRow
from agent_executor.ledger.usage.settling import Settled, SettleRequest, ToolUse
from agent_executor.serving.timestamp_convert import ceil_to_ms, set_timestamp

# What an entry and its message call the same, and most entries do not have.
_RARE_ENTRY_FIELDS: Final = (
    "estimated",
    "is_test",
    "corrects_entry_id",
    "tool_name",
    "processing",
    "speed",
    "description",
)


def reserve_request(request: usage_service_pb2.ReserveUsageRequest) -> ReserveRequest:
    """Returns what is asked to be held for a model call."""
    return ReserveRequest(
        request.reservation_id,
        request.agent_id,
        request.run_id,
        request.model,
        request.max_input_tokens,
        request.max_output_tokens,
        request.writes_cache,
        request.ttl_seconds,
        request.parent_reservation_id,
        request.min_output_tokens,
        request.processing,
        request.speed,
    )


def amount_request(request: usage_service_pb2.ReserveAmountRequest) -> AmountRequest:
    """Returns what amount is asked to be held."""
    return AmountRequest(
        reservation_id=request.reservation_id,
        agent_id=request.agent_id,
        run_id=request.run_id,
        amount_nano_usd=NanoUsd(request.amount_nano_usd),
        ttl_seconds=request.ttl_seconds,
        parent_reservation_id=request.parent_reservation_id,
    )


def renew_request(request: usage_service_pb2.RenewReservationRequest) -> RenewRequest:
    """Returns what is asked to be held for longer."""
    return RenewRequest(request.reservation_id, request.ttl_seconds)


def reservation_id(
    request: usage_service_pb2.VoidReservationRequest | usage_service_pb2.GetReservationRequest,
) -> str:
    """Returns which reservation is meant."""
    return request.reservation_id


def settle_request(request: usage_service_pb2.SettleUsageRequest) -> SettleRequest:
    """Returns what is asked to be recorded."""
    purpose = UNKNOWN_PURPOSE
    tool_uses: tuple[ToolUse, ...] = ()
    if request.HasField("purpose"):
        asked = request.purpose
        purpose = Purpose(
            asked.prefix_digest, asked.prefix_tokens, asked.history_tokens, asked.is_background
        )
    if request.tool_uses:
        tool_uses = tuple(
            ToolUse(use.tool_call_id, use.tool_name, use.arguments_digest)
            for use in request.tool_uses
        )
    return SettleRequest(
        request.entry_id,
        request.agent_id,
        request.run_id,
        request.model,
        token_usage(request.usage),
        request.reservation_id,
        request.estimated,
        request.is_test,
        request.attempt or 1,
        request.processing,
        request.speed,
        purpose,
        tool_uses,
    )


def correct_request(request: usage_service_pb2.CorrectUsageRequest) -> CorrectRequest:
    """Returns what is asked to be corrected."""
    return CorrectRequest(
        entry_id=request.entry_id,
        corrects_entry_id=request.corrects_entry_id,
        usage=token_usage(request.usage),
        description=request.description,
    )


def rerate_request(request: usage_service_pb2.RerateUsageRequest) -> RerateRequest:
    """Returns what is asked to be priced again."""
    return RerateRequest(
        start_ms=ceil_to_ms(request.start_time),
        end_ms=ceil_to_ms(request.end_time) if request.HasField("end_time") else None,
        model=request.model,
        dry_run=request.dry_run,
        description=request.description,
    )


def rerated_to_proto(rerated: Rerated) -> usage_service_pb2.RerateUsageResponse:
    """Returns what rating again has changed as the API shows it."""
    return usage_service_pb2.RerateUsageResponse(
        examined_count=rerated.examined_count,
        changed_count=rerated.changed_count,
        difference_nano_usd=rerated.difference_nano_usd,
    )


def recorded_to_proto(recorded: RecordedBatch) -> usage_service_pb2.RecordUsageResponse:
    """Returns what recording a batch came to as the API shows it."""
    return usage_service_pb2.RecordUsageResponse(
        recorded_count=recorded.recorded_count,
        repeated_count=recorded.repeated_count,
        cost_nano_usd=recorded.cost_nano_usd,
    )


def usage_rows(request: usage_service_pb2.RecordUsageRequest) -> Iterator[UsageRow]:
    """Yields the rows of a batch, each when it is looked at: a batch may be large."""
    return map(_usage_row, request.entries)


def _usage_row(record: usage_service_pb2.UsageRecord) -> UsageRow:
    usage = None
    if record.HasField("usage"):
        usage = _token_counts(record.usage)
    return UsageRow(
        id=record.id,
        user_id=record.user_id,
        agent_id=record.agent_id,
        run_id=record.run_id,
        model=record.model,
        usage=usage,
        tool_name=record.tool_name,
        cost_nano_usd=record.cost_nano_usd if record.HasField("cost_nano_usd") else None,
        currency=record.currency,
        occurred_at_ms=ceil_to_ms(record.occurred_at) if record.HasField("occurred_at") else None,
        processing=record.processing,
        speed=record.speed,
        estimated=record.estimated,
        is_test=record.is_test,
        description=record.description,
    )


def _token_counts(usage: usage_pb2.TokenUsage) -> TokenCounts:
    return TokenCounts(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens_5m,
        usage.cache_creation_input_tokens_1h,
    )


def token_usage(usage: usage_pb2.TokenUsage) -> TokenUsage:
    """Returns the tokens of a call.

    Raises:
        InvalidArgumentError: A count is negative.
    """
    return TokenUsage(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens_5m,
        usage.cache_creation_input_tokens_1h,
    )


def reservation_to_proto(reservation: Reservation) -> usage_pb2.Reservation:
    """Returns a reservation as the API shows it."""
    # Set one by one, and only what is there: it is done for every call, and takes half as long.
    shown = usage_pb2.Reservation()
    shown.id = reservation.id
    shown.state = reservation.state
    shown.held_nano_usd = reservation.held_nano_usd
    shown.max_output_tokens = reservation.max_output_tokens
    set_timestamp(shown.expires_at, reservation.expires_at_ms)
    if reservation.parent_id:
        shown.parent_reservation_id = reservation.parent_id
    if reservation.spent_nano_usd:
        shown.spent_nano_usd = reservation.spent_nano_usd
    return shown


def entry_to_proto(entry: UsageEntry) -> usage_pb2.UsageEntry:
    """Returns an entry as the API shows it."""
    # As above.
    shown = usage_pb2.UsageEntry()
    shown.id = entry.id
    shown.kind = entry.kind
    shown.user_id = entry.user_id
    shown.agent_id = entry.agent_id
    shown.run_id = entry.run_id
    shown.model = entry.model
    shown.cost_nano_usd = entry.cost_nano_usd
    shown.cost_usd = to_usd(entry.cost_nano_usd)
    shown.rate_card_id = entry.rate_card_id
    shown.reservation_id = entry.reservation_id
    shown.reservation_outcome = entry.reservation_outcome
    shown.attempt = entry.attempt
    _set_tokens(shown.usage, entry.usage)
    set_timestamp(shown.created_at, entry.created_at_ms)
    set_timestamp(shown.occurred_at, entry.occurred_at_ms)
    for field in _RARE_ENTRY_FIELDS:
        value = getattr(entry, field)
        if value:
            setattr(shown, field, value)
    purpose = entry.purpose
    if purpose is not UNKNOWN_PURPOSE and purpose != UNKNOWN_PURPOSE:
        shown.purpose.prefix_digest = purpose.content_digest
        shown.purpose.prefix_tokens = purpose.prefix_tokens
        shown.purpose.history_tokens = purpose.history_tokens
        shown.purpose.is_background = purpose.is_background
    return shown


def settled_to_proto(settled: Settled) -> usage_pb2.UsageEntry:
    """Returns what settling recorded as the API shows it."""
    shown = entry_to_proto(settled.entry)
    if settled.tool_cost_nano_usd:
        shown.tool_cost_nano_usd = settled.tool_cost_nano_usd
    return shown


def _set_tokens(shown: usage_pb2.TokenUsage, usage: TokenCounts) -> None:
    shown.input_tokens = usage.input_tokens
    shown.output_tokens = usage.output_tokens
    shown.cache_read_input_tokens = usage.cache_read_input_tokens
    shown.cache_creation_input_tokens_5m = usage.cache_creation_input_tokens_5m
    shown.cache_creation_input_tokens_1h = usage.cache_creation_input_tokens_1h
