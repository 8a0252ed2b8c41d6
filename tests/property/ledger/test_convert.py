"""What crosses the wire arrives as it was, to the token and the nano-dollar."""

from __future__ import annotations

import msgspec
from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.api.ledger.v1 import budget_service_pb2, usage_pb2, usage_service_pb2
from agent_executor.ledger import convert
from agent_executor.ledger.accounting.budget import Budget, BudgetStatus
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenUsage
from agent_executor.ledger.money import NANO_USD_PER_USD, NanoUsd
from agent_executor.ledger.reports.usage_query import UsageSummary
from agent_executor.ledger.usage.reservations import ReserveRequest, SettleRequest

texts = st.text(st.characters(codec="utf-8"), max_size=20)
tokens = st.integers(0, MAX_TOKENS)
usages = st.builds(TokenUsage, tokens, tokens, tokens, tokens, tokens)
nano_usd = st.integers(0, 2**23 * NANO_USD_PER_USD).map(NanoUsd)
# To the end of the year 9999, which is what a Timestamp can hold.
times_ms = st.integers(0, 253_402_300_799_999)
sums = st.integers(0, 2**60)

reservations = st.builds(
    Reservation,
    id=texts,
    max_output_tokens=tokens,
    held_nano_usd=nano_usd,
    expires_at_ms=times_ms,
)
entries = st.builds(
    UsageEntry,
    **dict.fromkeys(("id", "user_id", "agent_id", "run_id", "model", "rate_card_id"), texts),
    usage=usages,
    cost_nano_usd=nano_usd,
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
    )
)
def test_a_reserve_request(request: ReserveRequest) -> None:
    message = usage_service_pb2.ReserveUsageRequest(**msgspec.structs.asdict(request))
    assert convert.reserve_request(message) == request


@given(
    st.builds(
        SettleRequest,
        *[texts] * 4,
        usages,
        reservation_id=texts,
        estimated=st.booleans(),
        is_test=st.booleans(),
    )
)
def test_a_settle_request(request: SettleRequest) -> None:
    values = msgspec.structs.asdict(request)
    del values["attempt"]
    values["usage"] = usage_pb2.TokenUsage(**msgspec.structs.asdict(request.usage))
    message = usage_service_pb2.SettleUsageRequest(**values)
    assert convert.settle_request(message) == request


@given(reservations)
def test_a_reservation(reservation: Reservation) -> None:
    message = sent(convert.reservation_to_proto(reservation))
    names = ("id", "state", "held_nano_usd", "max_output_tokens")
    assert isinstance(message, usage_pb2.Reservation)
    assert fields(message, *names) == tuple(getattr(reservation, name) for name in names)
    assert ms(message.expires_at) == reservation.expires_at_ms


@given(entries)
def test_an_entry(entry: UsageEntry) -> None:
    message = sent(convert.entry_to_proto(entry))
    assert isinstance(message, usage_pb2.UsageEntry)
    plain = {field.name for field in message.DESCRIPTOR.fields} - {
        "usage",
        "cost_usd",
        "created_at",
    }
    for name in plain:
        assert getattr(message, name) == getattr(entry, name)
    for name in TokenUsage.__struct_fields__:
        assert getattr(message.usage, name) == getattr(entry.usage, name)
    assert round(message.cost_usd * NANO_USD_PER_USD) == entry.cost_nano_usd
    assert ms(message.created_at) == entry.created_at_ms


@given(statuses)
def test_a_budget(status: BudgetStatus) -> None:
    message = sent(convert.budget_to_proto(status))
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
    message = sent(convert.summary_to_proto(summary))
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
    found = convert.entry_filter(request)
    assert found.start_ms == time_ms + (1 if nanos else 0)
    assert found.end_ms is None
