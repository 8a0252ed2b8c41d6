"""The ledger as a service: every answer and refusal, unary and on the multiplexed stream."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_executor.api.ledger.v1 import (
    budget_service_pb2,
    rate_card_service_pb2,
    suggestion_service_pb2,
    usage_pb2,
    usage_service_pb2,
)
from agent_executor.errors import (
    AgentExecutorError,
    BudgetExceededError,
    BudgetNotFoundError,
    EntryConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    ReservationNotFoundError,
    UnauthenticatedError,
    UnknownModelError,
    UsageEntryNotFoundError,
)
from agent_executor.ledger.bootstrap import SERVED
from tests.integration.ledger.running_ledger import MODEL, RunningLedger, running_ledger

EPOCH = timestamp_pb2.Timestamp(seconds=0)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[RunningLedger]:
    async with running_ledger(tmp_path) as ledger:
        yield ledger


@pytest.fixture(params=["unary", "stream"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reserving(reservation_id: str = "call-1", **changes: Any) -> Message:
    """Returns a request for 1,000 x $3 + 500 x $15 of a million = $0.0105."""
    fields = {
        "reservation_id": reservation_id,
        "agent_id": "agent",
        "run_id": "run",
        "model": MODEL,
        "max_input_tokens": 1_000,
        "max_output_tokens": 500,
    }
    return usage_service_pb2.ReserveUsageRequest(**{**fields, **changes})


def settling(entry_id: str = "call-1", **changes: Any) -> Message:
    """Returns a request that costs 100 x $3 + 50 x $15 of a million = $0.00105."""
    fields = {
        "entry_id": entry_id,
        "reservation_id": entry_id,
        "agent_id": "agent",
        "run_id": "run",
        "model": MODEL,
        "usage": usage_pb2.TokenUsage(input_tokens=100, output_tokens=50),
    }
    return usage_service_pb2.SettleUsageRequest(**{**fields, **changes})


def voiding(reservation_id: str = "call-1") -> Message:
    return usage_service_pb2.VoidReservationRequest(reservation_id=reservation_id)


def renewing(reservation_id: str = "call-1", ttl_seconds: int = 3_600) -> Message:
    return usage_service_pb2.RenewReservationRequest(
        reservation_id=reservation_id, ttl_seconds=ttl_seconds
    )


def holding(reservation_id: str = "run", **changes: Any) -> Message:
    """Returns a request for $0.02."""
    fields = {"agent_id": "agent", "run_id": "run", "amount_nano_usd": 20_000_000, **changes}
    return usage_service_pb2.ReserveAmountRequest(reservation_id=reservation_id, **fields)


def correcting(entry_id: str = "fix", corrects_entry_id: str = "call-1", **tokens: int) -> Message:
    """Returns a correction to 100 input and 60 output tokens, which is $0.00015 more."""
    usage = usage_pb2.TokenUsage(**({"input_tokens": 100, "output_tokens": 60} | tokens))
    return usage_service_pb2.CorrectUsageRequest(
        entry_id=entry_id, corrects_entry_id=corrects_entry_id, usage=usage
    )


def getting(reservation_id: str = "call-1") -> Message:
    return usage_service_pb2.GetReservationRequest(reservation_id=reservation_id)


def budgeting(budget_id: str = "team", limit_usd: float = 0.02, **changes: Any) -> Message:
    return budget_service_pb2.PutBudgetRequest(budget_id=budget_id, limit_usd=limit_usd, **changes)


async def test_a_call_is_held_recorded_and_reported(ledger: RunningLedger, path: str) -> None:
    grant = ledger.grant("ledger:write")
    reservation = await ledger.write(path, "reserve", reserving(), grant)
    assert (reservation.id, reservation.state) == ("call-1", "open")
    assert reservation.held_nano_usd == 10_500_000
    assert reservation.max_output_tokens == 500
    assert await ledger.write(path, "get", getting(), grant) == reservation
    entry = await ledger.write(path, "settle", settling(is_test=True), grant)
    assert (entry.cost_nano_usd, entry.cost_usd) == (1_050_000, 0.00105)
    assert (entry.user_id, entry.kind, entry.is_test) == ("ada", "model_call", True)
    assert entry.rate_card_id.startswith("anthropic/claude-sonnet-4-0@")
    assert 0 < reservation.expires_at.seconds - entry.created_at.seconds <= 900
    assert await ledger.write(path, "settle", settling(is_test=True), grant) == entry
    settled = await ledger.write(path, "get", getting(), grant)
    assert settled.state == "settled"
    listed = await ledger.ask(
        "ListUsageEntries", usage_service_pb2.ListUsageEntriesRequest(), "ledger:read"
    )
    assert list(listed.entries) == [entry]
    sums = await ledger.ask(
        "SummarizeUsage",
        usage_service_pb2.SummarizeUsageRequest(group_by=["agent", "model"]),
        "ledger:read",
    )
    assert sums.total.tokens_used == 150
    assert (sums.total.cost_nano_usd, sums.total.cost_usd) == (1_050_000, 0.00105)
    assert [(row.agent_id, row.model, row.run_id) for row in sums.summaries] == [
        ("agent", MODEL, "")
    ]


async def test_a_budget_refuses_what_does_not_fit(ledger: RunningLedger, path: str) -> None:
    grant = ledger.grant("ledger:write")
    await ledger.ask("PutBudget", budgeting(window="day"), "ledger:admin")
    await ledger.write(path, "reserve", reserving(), grant)
    with pytest.raises(BudgetExceededError) as refused:
        await ledger.write(path, "reserve", reserving("call-2"), grant)
    assert refused.value.metadata["budget_id"] == "team"
    assert refused.value.metadata["left_nano_usd"] == "9500000"
    assert refused.value.retry_after_seconds is not None
    assert 0 < refused.value.retry_after_seconds <= 86_400
    voided = await ledger.write(path, "void", voiding(), grant)
    assert voided.state == "voided"
    await ledger.write(path, "reserve", reserving("call-2"), grant)
    budget = await ledger.ask(
        "GetBudget", budget_service_pb2.GetBudgetRequest(budget_id="team"), "ledger:read"
    )
    assert (budget.limit_nano_usd, budget.limit_usd) == (20_000_000, 0.02)
    assert (budget.settled_nano_usd, budget.reserved_nano_usd) == (0, 10_500_000)
    assert budget.HasField("resets_at")


async def test_a_run_draws_from_its_amount_and_is_corrected(
    ledger: RunningLedger, path: str
) -> None:
    grant = ledger.grant("ledger:write")
    await ledger.ask("PutBudget", budgeting(limit_usd=0.02), "ledger:admin")
    amount = await ledger.write(path, "reserve_amount", holding(), grant)
    assert (amount.held_nano_usd, amount.max_output_tokens) == (20_000_000, 0)
    asked = reserving(max_output_tokens=10_000, min_output_tokens=100, parent_reservation_id="run")
    reserved = await ledger.write(path, "reserve", asked, grant)
    assert reserved.parent_reservation_id == "run"
    assert reserved.max_output_tokens == (20_000_000 - 3_000_000) // 15_000
    renewed = await ledger.write(path, "renew", renewing(), grant)
    assert renewed.expires_at.seconds > reserved.expires_at.seconds
    await ledger.write(path, "settle", settling(estimated=True), grant)
    correction = await ledger.write(path, "correct", correcting(), grant)
    assert (correction.kind, correction.cost_nano_usd) == ("correction", 150_000)
    assert (correction.corrects_entry_id, correction.usage.output_tokens) == ("call-1", 10)
    assert await ledger.write(path, "correct", correcting(), grant) == correction
    run = await ledger.write(
        path, "void", usage_service_pb2.VoidReservationRequest(reservation_id="run"), grant
    )
    assert (run.state, run.spent_nano_usd) == ("voided", 1_050_000)


async def test_a_settlement_says_what_it_was_for_and_which_tools_it_used(
    ledger: RunningLedger, path: str
) -> None:
    grant = ledger.grant("ledger:write")
    card = rate_card_service_pb2.CreateRateCardRequest(tool_name="search", fee_usd=0.005)
    created = await ledger.ask("CreateRateCard", card, "ledger:admin")
    request = settling(
        attempt=3,
        # Only models that are sold have batch prices.
        model="claude-sonnet-5",
        processing="batch",
        purpose=usage_pb2.CallPurpose(prefix_digest="abc", prefix_tokens=7, is_background=True),
        tool_uses=[
            usage_pb2.ToolUse(tool_call_id="tool-1", tool_name="search", arguments_digest="xyz")
        ],
    )
    entry = await ledger.write(path, "settle", request, grant)
    assert (entry.attempt, entry.processing, entry.reservation_outcome) == (3, "batch", "unknown")
    assert (entry.purpose.prefix_digest, entry.purpose.is_background) == ("abc", True)
    assert entry.occurred_at == entry.created_at
    listing = usage_service_pb2.ListUsageEntriesRequest(tool_name="search")
    (used,) = (await ledger.ask("ListUsageEntries", listing, "ledger:read")).entries
    assert (used.id, used.kind, used.cost_usd) == ("tool-1", "tool_call", 0.005)
    assert (used.rate_card_id, used.purpose.prefix_digest) == (created.id, "xyz")
    assert (used.run_id, used.agent_id, used.user_id) == ("run", "agent", "ada")


@pytest.mark.parametrize(
    ("method", "request_", "error"),
    [
        ("reserve", reserving("call-2", parent_reservation_id="none"), ReservationNotFoundError),
        ("reserve", reserving("call-2", min_output_tokens=-1), InvalidArgumentError),
        ("reserve", reserving("call-2", processing="flex"), InvalidArgumentError),
        ("reserve", reserving("a\0b"), InvalidArgumentError),
        ("reserve_amount", holding(amount_nano_usd=0), InvalidArgumentError),
        ("reserve_amount", holding(amount_nano_usd=2**63 - 1), InvalidArgumentError),
        ("reserve_amount", holding("call-1"), EntryConflictError),
        ("renew", renewing(), FailedPreconditionError),
        ("renew", renewing("unknown"), ReservationNotFoundError),
        ("renew", renewing(ttl_seconds=0), InvalidArgumentError),
        ("correct", correcting(corrects_entry_id="unknown"), UsageEntryNotFoundError),
        ("correct", correcting(entry_id="call-1"), EntryConflictError),
        ("correct", correcting(input_tokens=-1), InvalidArgumentError),
        ("settle", settling("call-2", attempt=1_001), InvalidArgumentError),
        ("settle", settling("call-2", tool_uses=[{"tool_call_id": "t"}]), InvalidArgumentError),
        ("reserve", reserving(model="gpt-unheard-of"), UnknownModelError),
        ("settle", settling(model="gpt-unheard-of"), UnknownModelError),
        ("reserve", reserving(run_id="another"), EntryConflictError),
        ("settle", settling(estimated=True), EntryConflictError),
        ("void", voiding(), FailedPreconditionError),
        ("void", voiding("unknown"), ReservationNotFoundError),
        ("get", getting("unknown"), ReservationNotFoundError),
        ("reserve", reserving(""), InvalidArgumentError),
        ("reserve", reserving(max_input_tokens=-1), InvalidArgumentError),
        ("reserve", reserving(max_output_tokens=0), InvalidArgumentError),
        ("reserve", reserving(ttl_seconds=86_401), InvalidArgumentError),
        ("settle", settling(usage=None), InvalidArgumentError),
        ("settle", settling(usage=usage_pb2.TokenUsage(input_tokens=-1)), InvalidArgumentError),
    ],
)
async def test_a_refusal_is_the_same_on_both_paths(
    ledger: RunningLedger,
    path: str,
    method: str,
    request_: Message,
    error: type[AgentExecutorError],
) -> None:
    grant = ledger.grant("ledger:write")
    await ledger.write("unary", "reserve", reserving(), grant)
    await ledger.write("unary", "settle", settling(), grant)
    with pytest.raises(error) as refused:
        await ledger.write(path, method, request_, grant)
    assert refused.value.reason == error.reason


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("reserve", reserving()),
        ("settle", settling()),
        ("void", voiding()),
        ("get", getting()),
        ("reserve_amount", holding()),
        ("renew", renewing()),
        ("correct", correcting()),
    ],
)
async def test_each_caller_must_be_known_and_allowed(
    ledger: RunningLedger, path: str, method: str, request_: Message
) -> None:
    with pytest.raises(UnauthenticatedError):
        await ledger.write(path, method, request_, None)
    for wrong in (
        ledger.grant("ledger:write", audience="tool-runner"),
        ledger.grant("ledger:write", lifetime_seconds=-1),
    ):
        with pytest.raises(UnauthenticatedError):
            await ledger.write(path, method, request_, wrong)
    with pytest.raises(PermissionDeniedError):
        await ledger.write(path, method, request_, ledger.grant("ledger:read", "ledger:admin"))


async def test_organizations_do_not_see_each_other(ledger: RunningLedger, path: str) -> None:
    ours = ledger.grant("ledger:write")
    theirs = ledger.grant("ledger:write", organization_id="other")
    await ledger.write(path, "reserve", reserving(), ours)
    await ledger.write(path, "settle", settling(), ours)
    for method, request in (("get", getting()), ("void", voiding()), ("renew", renewing())):
        with pytest.raises(ReservationNotFoundError):
            await ledger.write(path, method, request, theirs)
    with pytest.raises(UsageEntryNotFoundError):
        await ledger.write(path, "correct", correcting(), theirs)
    foreign = await ledger.write(path, "settle", settling(run_id="theirs"), theirs)
    assert foreign.run_id == "theirs"
    for organization, run_id in (("acme", "run"), ("other", "theirs")):
        listed = await ledger.ask(
            "ListUsageEntries",
            usage_service_pb2.ListUsageEntriesRequest(),
            "ledger:read",
            org=organization,
        )
        assert [entry.run_id for entry in listed.entries] == [run_id]
        sums = await ledger.ask(
            "SummarizeUsage",
            usage_service_pb2.SummarizeUsageRequest(),
            "ledger:read",
            org=organization,
        )
        assert sums.total.entry_count == 1


async def test_entries_are_filtered_and_paged(ledger: RunningLedger) -> None:
    grant = ledger.grant("ledger:write")
    entries = [
        await ledger.write("unary", "settle", settling(f"call-{n}", run_id=f"run-{n % 2}"), grant)
        for n in range(5)
    ]

    async def page(**fields: Any) -> usage_service_pb2.ListUsageEntriesResponse:
        request = usage_service_pb2.ListUsageEntriesRequest(**fields)
        response: usage_service_pb2.ListUsageEntriesResponse = await ledger.ask(
            "ListUsageEntries", request, "ledger:read"
        )
        return response

    first = await page(page_size=3)
    second = await page(page_size=3, page_token=first.next_page_token)
    assert [*first.entries, *second.entries] == entries[::-1]
    assert second.next_page_token == ""
    assert list((await page(run_id="run-1")).entries) == [entries[3], entries[1]]
    # A time within a millisecond excludes that millisecond's entries from what is after it.
    after = timestamp_pb2.Timestamp()
    after.FromNanoseconds(entries[4].created_at.ToNanoseconds() + 1)
    assert list((await page(start_time=after)).entries) == []
    before = await page(end_time=after)
    assert list(before.entries) == entries[::-1]
    with pytest.raises(InvalidArgumentError):
        await page(page_token="never-given-out")
    with pytest.raises(InvalidArgumentError):
        await page(page_size=3, run_id="run-1", page_token=first.next_page_token)


async def test_budgets_over_the_wire(ledger: RunningLedger) -> None:
    for name in ("b", "a"):
        put = await ledger.ask("PutBudget", budgeting(name, user_id="ada"), "ledger:admin")
        assert (put.id, put.window, put.user_id) == (name, "total", "ada")
        assert not put.HasField("resets_at")
    listing = budget_service_pb2.ListBudgetsRequest(page_size=1)
    first = await ledger.ask("ListBudgets", listing, "ledger:read")
    listing.page_token = first.next_page_token
    second = await ledger.ask("ListBudgets", listing, "ledger:read")
    assert [one.id for one in (*first.budgets, *second.budgets)] == ["a", "b"]
    assert second.next_page_token == ""
    with pytest.raises(FailedPreconditionError):
        await ledger.ask("PutBudget", budgeting("a", window="day"), "ledger:admin")
    deleting = budget_service_pb2.DeleteBudgetRequest(budget_id="a")
    with pytest.raises(BudgetNotFoundError):
        await ledger.ask("DeleteBudget", deleting, "ledger:admin", org="other")
    await ledger.ask("DeleteBudget", deleting, "ledger:admin")
    with pytest.raises(BudgetNotFoundError):
        await ledger.ask("DeleteBudget", deleting, "ledger:admin")
    asking = budget_service_pb2.GetBudgetRequest(budget_id="a")
    with pytest.raises(BudgetNotFoundError):
        await ledger.ask("GetBudget", asking, "ledger:read")


@pytest.mark.parametrize(
    "request_",
    [
        budgeting("Team"),
        budgeting(limit_usd=-0.01),
        budgeting(limit_usd=float("nan")),
        budgeting(limit_usd=9_000_001),
        budgeting(window="week"),
        budgeting(time_zone="Mars/Olympus"),
        budgeting(alert_percents=[0]),
        budgeting(alert_percents=[101]),
        budgeting(alert_percents=[50, 50]),
    ],
)
async def test_a_budget_that_cannot_be_is_refused(ledger: RunningLedger, request_: Message) -> None:
    with pytest.raises(InvalidArgumentError):
        await ledger.ask("PutBudget", request_, "ledger:admin")


@pytest.mark.parametrize(
    ("method", "request_", "lacking"),
    [
        ("ListBudgetEvents", budget_service_pb2.ListBudgetEventsRequest(), "ledger:read"),
        ("RecordUsage", usage_service_pb2.RecordUsageRequest(), "ledger:write"),
        ("RerateUsage", usage_service_pb2.RerateUsageRequest(start_time=EPOCH), "ledger:admin"),
        ("PutBudget", budgeting(), "ledger:admin"),
        ("DeleteBudget", budget_service_pb2.DeleteBudgetRequest(budget_id="a"), "ledger:admin"),
        ("GetBudget", budget_service_pb2.GetBudgetRequest(budget_id="a"), "ledger:read"),
        ("ListBudgets", budget_service_pb2.ListBudgetsRequest(), "ledger:read"),
        ("ListUsageEntries", usage_service_pb2.ListUsageEntriesRequest(), "ledger:read"),
        ("SummarizeUsage", usage_service_pb2.SummarizeUsageRequest(), "ledger:read"),
    ],
)
async def test_a_person_needs_the_permission(
    ledger: RunningLedger, method: str, request_: Message, lacking: str
) -> None:
    others = {"ledger:read", "ledger:admin", "ledger:write"} - {lacking}
    with pytest.raises(PermissionDeniedError) as denied:
        await ledger.ask(method, request_, *others)
    assert denied.value.metadata["permission"] == lacking


async def test_a_budget_of_a_time_zone_tells_what_happens_to_it(ledger: RunningLedger) -> None:
    put = budgeting(
        "team", 0.002, window="day", time_zone="Asia/Kathmandu", alert_percents=[100, 50]
    )
    budget = await ledger.ask("PutBudget", put, "ledger:admin")
    assert (budget.time_zone, list(budget.alert_percents)) == ("Asia/Kathmandu", [50, 100])
    # Midnight is at 18:15 UTC there.
    assert budget.resets_at.seconds % 86_400 == 18 * 3_600 + 15 * 60
    grant = ledger.grant("ledger:write")
    for number in range(2):
        await ledger.write("unary", "settle", settling(f"call-{number}"), grant)
    listing = budget_service_pb2.ListBudgetEventsRequest(page_size=2)
    first = await ledger.ask("ListBudgetEvents", listing, "ledger:read")
    listing.page_token = first.next_page_token
    second = await ledger.ask("ListBudgetEvents", listing, "ledger:read")
    events = [*first.events, *second.events]
    assert second.next_page_token == ""
    assert {(event.kind, event.percent, event.entry_id) for event in events} == {
        ("threshold_reached", 50, "call-0"),
        ("threshold_reached", 100, "call-1"),
        ("overrun", 0, "call-1"),
    }
    assert len({event.id for event in events}) == 3
    asked = await ledger.ask(
        "GetBudget", budget_service_pb2.GetBudgetRequest(budget_id="team"), "ledger:read"
    )
    assert asked.left_nano_usd == 2_000_000 - 2 * 1_050_000
    for other in ({"org": "other"}, {}):
        listing = budget_service_pb2.ListBudgetEventsRequest(budget_id="none")
        answer = await ledger.ask("ListBudgetEvents", listing, "ledger:read", **other)
        assert not answer.events
    listing.page_token = first.next_page_token
    with pytest.raises(InvalidArgumentError):
        await ledger.ask("ListBudgetEvents", listing, "ledger:read")


async def test_suggestions_are_served(ledger: RunningLedger) -> None:
    answer = await ledger.ask(
        "ListSuggestions", suggestion_service_pb2.ListSuggestionsRequest(), "ledger:read"
    )
    assert not answer.suggestions


async def test_a_model_without_a_price_is_recorded_at_zero_if_the_operator_says_so(
    tmp_path: Path, path: str
) -> None:
    async with running_ledger(tmp_path, unknown_model="record_at_zero") as ledger:
        grant = ledger.grant("ledger:write")
        await ledger.write(path, "reserve", reserving(model="home-grown"), grant)
        entry = await ledger.write(path, "settle", settling(model="home-grown"), grant)
    assert (entry.cost_nano_usd, entry.usage.input_tokens) == (0, 100)
    assert entry.rate_card_id.startswith("unpriced/home-grown@")


async def test_many_calls_at_once_never_overshoot(ledger: RunningLedger) -> None:
    await ledger.ask("PutBudget", budgeting(limit_usd=0.105), "ledger:admin")
    grant = ledger.grant("ledger:write")
    answers = await asyncio.gather(
        *(ledger.write("stream", "reserve", reserving(f"call-{n}"), grant) for n in range(200)),
        return_exceptions=True,
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 10
    assert sum(isinstance(answer, BudgetExceededError) for answer in answers) == 190


async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running_ledger(tmp_path) as ledger:
        grant = ledger.grant("ledger:write")
        entry = await ledger.write("stream", "settle", settling(), grant)
    async with running_ledger(tmp_path) as ledger:
        grant = ledger.grant("ledger:write")
        assert await ledger.write("stream", "settle", settling(), grant) == entry


async def test_health_and_metrics_are_served(ledger: RunningLedger) -> None:
    grant = ledger.grant("ledger:write")
    await ledger.write("unary", "reserve", reserving(), grant)
    await ledger.write("unary", "settle", settling(), grant)
    health = health_pb2_grpc.HealthStub(ledger.channel)
    for name in ("", *SERVED):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    def read() -> str:
        url = f"http://127.0.0.1:{ledger.running.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as response:
            text: str = response.read().decode()
            return text

    page = await asyncio.to_thread(read)
    model = 'model="anthropic/claude-sonnet-4-0"'
    assert f"agent_executor_usage_cost_nano_usd_total{{{model}}} 1.05e+06" in page
    assert f'agent_executor_usage_tokens_total{{kind="input_tokens",{model}}} 100.0' in page
    assert 'agent_executor_reservations_total{outcome="admitted"} 1.0' in page
