"""What crosses the wire arrives as it was, to the token and the nano-dollar."""

from __future__ import annotations

import msgspec
from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.api.ledger.v1 import budget_service_pb2, usage_pb2, usage_service_pb2
from agent_executor.ledger.accounting.budget import Budget, BudgetStatus
from agent_executor.ledger.accounting.entry import UNKNOWN_PURPOSE, Purpose, UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenCounts, TokenUsage
from agent_executor.ledger.budgets.convert import budget_to_proto
from agent_executor.ledger.money import NANO_USD_PER_USD, NanoUsd
from agent_executor.ledger.reports.convert import entry_filter, summary_to_proto
from agent_executor.ledger.reports.usage_query import UsageSummary
from agent_executor.ledger.usage import convert
from agent_executor.ledger.usage.reserving import AmountRequest, ReserveRequest
from agent_executor.ledger.usage.rows import UsageRow
from agent_executor.ledger.usage.settling import SettleRequest, ToolUse

texts = st.text(st.characters(codec="utf-8"), max_size=20)
tokens = st.integers(0, MAX_TOKENS)
usages = st.builds(TokenUsage, tokens, tokens, tokens, tokens, tokens)
nano_usd = st.integers(0, 2**23 * NANO_USD_PER_USD).map(NanoUsd)
# To the end of the year 9999, which is what a Timestamp can hold.
times_ms = st.integers(0, 253_402_300_799_999)
sums = st.integers(0, 2**60)

signed = st.integers(-MAX_TOKENS, MAX_TOKENS)
differences = st.builds(TokenCounts, signed, signed, signed, signed, signed)
purposes = st.builds(Purpose, texts, tokens, tokens, st.booleans())
reservations = st.builds(
    Reservation,
    id=texts,
    max_output_tokens=tokens,
    held_nano_usd=nano_usd,
    parent_id=texts,
    spent_nano_usd=nano_usd,
    expires_at_ms=times_ms,
)
entries = st.builds(
    UsageEntry,
    **dict.fromkeys(
        (
            *("id", "user_id", "agent_id", "run_id", "model", "rate_card_id", "reservation_id"),
            *("corrects_entry_id", "tool_name", "processing", "speed", "description"),
        ),
        texts,
    ),
    usage=usages | differences,
    cost_nano_usd=nano_usd | nano_usd.map(lambda amount: NanoUsd(-amount)),
    purpose=purposes,
    estimated=st.booleans(),
    is_test=st.booleans(),
    attempt=st.integers(1, 1000),
    occurred_at_ms=times_ms,
    created_at_ms=times_ms,
)
statuses = st.builds(
    BudgetStatus,
    budget=st.builds(
        Budget,
        **dict.fromkeys(("id", "user_id", "agent_id", "run_id"), texts),
        limit_nano_usd=nano_usd,
    ),
    settled_nano_usd=nano_usd,
    reserved_nano_usd=nano_usd,
    resets_at_ms=st.none() | times_ms,
)
summaries = st.builds(
    UsageSummary, *[sums] * 6, nano_usd, user=texts, agent=texts, model=texts, run=texts, day=texts
)


def sent(message: Message) -> Message:
    """Returns the message as the other side reads it."""
    return type(message).FromString(message.SerializeToString())


def ms(moment: timestamp_pb2.Timestamp) -> int:
    return moment.ToNanoseconds() // 1_000_000


def fields(message: Message, *names: str) -> tuple[object, ...]:
    return tuple(getattr(message, name) for name in names)


@given(
    st.builds(
        ReserveRequest,
        *[texts] * 4,
        tokens,
        tokens,
        writes_cache=st.booleans(),
        ttl_seconds=st.integers(0, 86_400),
        parent_reservation_id=texts,
        min_output_tokens=tokens,
        processing=texts,
        speed=texts,
    )
)
def test_a_reserve_request(request: ReserveRequest) -> None:
    message = usage_service_pb2.ReserveUsageRequest(**msgspec.structs.asdict(request))
    assert convert.reserve_request(message) == request


@given(st.builds(AmountRequest, texts, texts, texts, nano_usd, st.integers(0, 86_400), texts))
def test_an_amount_request(request: AmountRequest) -> None:
    message = usage_service_pb2.ReserveAmountRequest(**msgspec.structs.asdict(request))
    assert convert.amount_request(message) == request


@given(
    st.builds(
        UsageRow,
        **dict.fromkeys(
            (
                *("id", "user_id", "agent_id", "run_id", "model", "tool_name"),
                *("currency", "processing", "speed", "description"),
            ),
            texts,
        ),
        usage=st.none() | differences,
        cost_nano_usd=st.none() | st.integers(-(2**63), 2**63 - 1),
        occurred_at_ms=st.none() | times_ms,
        estimated=st.booleans(),
        is_test=st.booleans(),
    )
)
def test_a_row_of_a_batch(row: UsageRow) -> None:
    values = msgspec.structs.asdict(row)
    occurred_at_ms = values.pop("occurred_at_ms")
    if row.usage is not None:
        values["usage"] = usage_pb2.TokenUsage(**msgspec.structs.asdict(row.usage))
    record = usage_service_pb2.UsageRecord(**values)
    if occurred_at_ms is not None:
        record.occurred_at.FromMilliseconds(occurred_at_ms)
    request = usage_service_pb2.RecordUsageRequest(entries=[record])
    assert list(convert.usage_rows(request)) == [row]


@given(
    st.builds(
        SettleRequest,
        *[texts] * 4,
        usages,
        reservation_id=texts,
        estimated=st.booleans(),
        is_test=st.booleans(),
        attempt=st.integers(1, 1_000),
        processing=texts,
        speed=texts,
        purpose=purposes,
        tool_uses=st.lists(st.builds(ToolUse, texts, texts, texts), max_size=3).map(tuple),
    )
)
def test_a_settle_request(request: SettleRequest) -> None:
    values = msgspec.structs.asdict(request)
    values["tool_uses"] = [msgspec.structs.asdict(use) for use in request.tool_uses]
    values["purpose"] = purpose_message(request.purpose)
    values["usage"] = usage_pb2.TokenUsage(**msgspec.structs.asdict(request.usage))
    message = usage_service_pb2.SettleUsageRequest(**values)
    assert convert.settle_request(message) == request


def test_a_first_attempt_need_not_be_counted() -> None:
    assert convert.settle_request(usage_service_pb2.SettleUsageRequest()).attempt == 1


def purpose_message(purpose: Purpose) -> usage_pb2.CallPurpose:
    return usage_pb2.CallPurpose(
        prefix_digest=purpose.content_digest,
        prefix_tokens=purpose.prefix_tokens,
        history_tokens=purpose.history_tokens,
        is_background=purpose.is_background,
    )


@given(reservations)
def test_a_reservation(reservation: Reservation) -> None:
    message = sent(convert.reservation_to_proto(reservation))
    names = ("id", "state", "held_nano_usd", "max_output_tokens", "spent_nano_usd")
    assert isinstance(message, usage_pb2.Reservation)
    assert fields(message, *names) == tuple(getattr(reservation, name) for name in names)
    assert message.parent_reservation_id == reservation.parent_id
    assert ms(message.expires_at) == reservation.expires_at_ms
    assert message.HasField("expires_at")


@given(entries)
def test_an_entry(entry: UsageEntry) -> None:
    message = sent(convert.entry_to_proto(entry))
    assert isinstance(message, usage_pb2.UsageEntry)
    plain = {field.name for field in message.DESCRIPTOR.fields} - {
        "usage",
        "cost_usd",
        "created_at",
        "occurred_at",
        "purpose",
        "tool_cost_nano_usd",
    }
    for name in plain:
        assert getattr(message, name) == getattr(entry, name)
    for name in TokenUsage.__struct_fields__:
        assert getattr(message.usage, name) == getattr(entry.usage, name)
    assert round(message.cost_usd * NANO_USD_PER_USD) == entry.cost_nano_usd
    assert message.HasField("usage")
    assert (ms(message.created_at), ms(message.occurred_at)) == (
        entry.created_at_ms,
        entry.occurred_at_ms,
    )
    assert message.HasField("purpose") == (entry.purpose != UNKNOWN_PURPOSE)
    assert message.purpose == purpose_message(entry.purpose)


@given(statuses)
def test_a_budget(status: BudgetStatus) -> None:
    message = sent(budget_to_proto(status))
    assert isinstance(message, budget_service_pb2.Budget)
    names = ("id", "user_id", "agent_id", "run_id", "window", "limit_nano_usd")
    assert fields(message, *names) == tuple(getattr(status.budget, name) for name in names)
    assert round(message.limit_usd * NANO_USD_PER_USD) == status.budget.limit_nano_usd
    assert message.settled_nano_usd == status.settled_nano_usd
    assert message.reserved_nano_usd == status.reserved_nano_usd
    resets_at_ms = ms(message.resets_at) if message.HasField("resets_at") else None
    assert resets_at_ms == status.resets_at_ms


@given(summaries)
def test_a_summary(summary: UsageSummary) -> None:
    message = sent(summary_to_proto(summary))
    names = ("user_id", "agent_id", "run_id", "model", "day")
    assert fields(message, *names) == (
        summary.user,
        summary.agent,
        summary.run,
        summary.model,
        summary.day,
    )
    for name in ("entry_count", "tokens_used", "cost_nano_usd", *TokenUsage.__struct_fields__):
        assert getattr(message, name) == getattr(summary, name)


@given(times_ms, st.integers(0, 999_999))
def test_a_time_between_two_milliseconds_is_before_the_second(time_ms: int, nanos: int) -> None:
    moment = timestamp_pb2.Timestamp()
    moment.FromNanoseconds(time_ms * 1_000_000 + nanos)
    request = usage_service_pb2.ListUsageEntriesRequest(start_time=moment)
    found = entry_filter(request)
    assert found.start_ms == time_ms + (1 if nanos else 0)
    assert found.end_ms is None
