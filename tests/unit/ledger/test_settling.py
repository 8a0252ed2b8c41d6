from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import (
    EntryConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnknownModelError,
    UsageEntryNotFoundError,
)
from agent_executor.ledger.accounting.entry import Purpose
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenUsage
from agent_executor.ledger.usage.correcting import CorrectRequest
from agent_executor.ledger.usage.settling import ToolUse
from tests.unit.ledger.usage_ledger import (
    ADA,
    BOB,
    DEARER_MODEL,
    EVE,
    MODEL,
    NOW_MS,
    READER,
    TOOL,
    UsageLedger,
    reserving,
    settling,
)


@pytest.fixture
def ledger() -> UsageLedger:
    return UsageLedger()


async def test_what_was_used_is_recorded_and_the_rest_freed(ledger: UsageLedger) -> None:
    await ledger.limit(1_000)
    await ledger.usage.reserve(reserving(), ADA)
    purpose = Purpose("digest", 40, 30, is_background=True)
    entry = (
        await ledger.usage.settle(settling(attempt=2, is_test=True, purpose=purpose), ADA)
    ).entry
    assert (entry.cost_nano_usd, entry.reservation_outcome) == (200, "open")
    assert (entry.attempt, entry.is_test, entry.purpose) == (2, True, purpose)
    assert entry.occurred_at_ms == NOW_MS
    assert await ledger.left() == 800
    model = "test/model-1"
    assert ledger.count("usage_entries", model=model, reservation="open") == 1
    assert ledger.count("usage_cost_nano_usd", model=model) == 200
    assert ledger.count("usage_tokens", model=model, kind="output_tokens") == 10


async def test_a_repeat_counts_once_and_gets_the_first_entry(ledger: UsageLedger) -> None:
    await ledger.usage.reserve(reserving(), ADA)
    first = (await ledger.usage.settle(settling(), ADA)).entry
    ledger.clock.now_ms += 60_000
    assert (await ledger.usage.settle(settling(), ADA)).entry == first
    assert ledger.cost() == 200
    assert ledger.count("usage_entries", model="test/model-1", reservation="open") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": TokenUsage(50, 11)},
        {"model": DEARER_MODEL},
        {"run_id": "another"},
        {"estimated": True},
        {"attempt": 2},
        {"reservation_id": ""},
        {"processing": "batch"},
        {"purpose": Purpose(prefix_tokens=1)},
    ],
)
async def test_another_call_under_the_same_id_is_a_conflict(
    ledger: UsageLedger, changes: dict[str, Any]
) -> None:
    await ledger.usage.settle(settling(), ADA)
    with pytest.raises(EntryConflictError):
        await ledger.usage.settle(settling(**changes), ADA)
    with pytest.raises(EntryConflictError):
        await ledger.usage.settle(settling(), BOB)
    assert ledger.cost() == 200


async def test_a_late_settle_counts_and_is_reported(ledger: UsageLedger) -> None:
    await ledger.limit(400)
    await ledger.usage.reserve(reserving(ttl_seconds=1), ADA)
    ledger.clock.now_ms += 1_000
    await ledger.usage.reserve(reserving("call-2"), ADA)
    entry = (await ledger.usage.settle(settling(), ADA)).entry
    assert entry.reservation_outcome == "expired"
    assert await ledger.left() == -200
    assert ledger.count("usage_entries", model="test/model-1", reservation="expired") == 1
    assert ledger.count("budget_overruns") == 1


async def test_a_threshold_is_counted_and_logged(
    ledger: UsageLedger, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.limit(400, alert_percents=(50,))
    await ledger.usage.settle(settling(), ADA)
    await ledger.usage.settle(settling("call-2"), ADA)
    assert ledger.count("budget_thresholds") == 1
    assert "The budget all has reached 50 percent of its limit." in caplog.text


async def test_tool_calls_become_entries_of_their_own(ledger: UsageLedger) -> None:
    await ledger.charge_for_tool()
    uses = (ToolUse("tool-1", TOOL, "digest"), ToolUse("tool-2", "free"))
    settled = await ledger.usage.settle(settling(tool_uses=uses, is_test=True), ADA)
    assert (settled.tool_cost_nano_usd, settled.cost_nano_usd) == (30, 230)
    first, second = ledger.books.organizations["acme"].entries[-2:]
    by_tool = {entry.tool_name: entry for entry in (first, second)}
    paid, free = by_tool[TOOL], by_tool["free"]
    assert (paid.kind, paid.id, paid.cost_nano_usd) == ("tool_call", "tool-1", 30)
    assert (paid.user_id, paid.agent_id, paid.run_id, paid.is_test) == (
        "ada",
        "agent",
        "run",
        True,
    )
    assert paid.purpose.content_digest == "digest"
    assert paid.rate_card_id
    assert (free.cost_nano_usd, free.rate_card_id) == (0, "")
    # The results are given to the next try as well; their tools were called once.
    again = await ledger.usage.settle(
        settling("call-2", reservation_id="call-2", tool_uses=uses), ADA
    )
    assert (again.tool_cost_nano_usd, ledger.cost()) == (0, 200 + 30 + 200)


async def test_a_repeated_settlement_tells_its_tool_fees_again(ledger: UsageLedger) -> None:
    await ledger.charge_for_tool()
    request = settling(tool_uses=(ToolUse("tool-1", TOOL, "digest"),))
    first = await ledger.usage.settle(request, ADA)
    retried = settling("call-2", reservation_id="call-2", tool_uses=request.tool_uses)
    await ledger.usage.settle(retried, ADA)
    assert await ledger.usage.settle(request, ADA) == first
    assert (await ledger.usage.settle(retried, ADA)).tool_cost_nano_usd == 0
    assert first.tool_cost_nano_usd == 30


async def test_a_call_whose_price_was_withdrawn_meanwhile_counts(ledger: UsageLedger) -> None:
    await ledger.usage.reserve(reserving(), ADA)
    del ledger.prices.nano_usd_per_token[MODEL]
    ledger.reprice()
    entry = (await ledger.usage.settle(settling(), ADA)).entry
    assert entry.cost_nano_usd == 200
    for changes in ({"reservation_id": ""}, {"processing": "batch"}):
        with pytest.raises(UnknownModelError):
            await ledger.usage.settle(settling("call-2", **changes), ADA)


@pytest.mark.parametrize(
    "changes",
    [
        {"entry_id": ""},
        {"entry_id": "e" * 257},
        {"entry_id": "e\0"},
        {"reservation_id": "r" * 257},
        {"agent_id": "a" * 129},
        {"attempt": 0},
        {"processing": "flex"},
        {"speed": "Fast"},
        {"tool_uses": (ToolUse("", TOOL),)},
        {"tool_uses": (ToolUse("tool-1", ""),)},
    ],
)
async def test_a_call_that_cannot_be_is_refused(
    ledger: UsageLedger, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        await ledger.usage.settle(settling(**changes), ADA)
    assert ledger.cost() == 0


async def test_a_cost_beyond_what_can_be_added_up_is_refused(ledger: UsageLedger) -> None:
    # A dollar for an input token is the highest rate that can be.
    ledger.prices.nano_usd_per_token["dear"] = 10**9
    most = TokenUsage(9_000_000)
    assert (await ledger.usage.settle(settling(model="dear", usage=most), ADA)).cost_nano_usd == (
        9_000_000 * 10**9
    )
    with pytest.raises(InvalidArgumentError):
        await ledger.usage.settle(
            settling("call-2", model="dear", usage=TokenUsage(9_000_001)), ADA
        )


@pytest.mark.parametrize("tokens", [-1, MAX_TOKENS + 1, 1.0, True])
def test_tokens_that_cannot_be_are_refused(tokens: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        TokenUsage(tokens, 0)


async def test_an_estimate_is_trued_up(ledger: UsageLedger) -> None:
    await ledger.limit(1_000)
    await ledger.usage.settle(settling(estimated=True), ADA)
    request = CorrectRequest("true-up", "call-1", TokenUsage(60, 8), "the provider's count")
    with pytest.raises(PermissionDeniedError):
        await ledger.usage.correct(request, BOB)
    correction = await ledger.usage.correct(request, ADA)
    assert (correction.kind, correction.corrects_entry_id) == ("correction", "call-1")
    assert (correction.user_id, correction.run_id, correction.model) == ("ada", "run", MODEL)
    assert (correction.usage.input_tokens, correction.usage.output_tokens) == (10, -2)
    assert correction.cost_nano_usd == 0
    lower = CorrectRequest("lower", "call-1", TokenUsage(10, 8))
    assert (await ledger.usage.correct(lower, ADA)).cost_nano_usd == -100
    assert await ledger.left() == 1_000 - 100
    assert ledger.count("usage_credit_nano_usd", model="test/model-1") == 100
    assert await ledger.usage.correct(lower, ADA) == await ledger.usage.correct(lower, ADA)
    assert ledger.cost() == 100


async def test_another_correction_under_the_same_id_is_a_conflict(ledger: UsageLedger) -> None:
    await ledger.usage.settle(settling(), ADA)
    await ledger.usage.settle(settling("call-2"), ADA)
    await ledger.usage.correct(CorrectRequest("fix", "call-1", TokenUsage(1, 1)), ADA)
    for request in (
        CorrectRequest("fix", "call-2", TokenUsage(1, 1)),
        CorrectRequest("fix", "call-1", TokenUsage(1, 2)),
        CorrectRequest("fix", "call-1", TokenUsage(1, 1), "why"),
        CorrectRequest("call-2", "call-1", TokenUsage(1, 1)),
    ):
        with pytest.raises(EntryConflictError):
            await ledger.usage.correct(request, ADA)


async def test_only_a_model_call_of_the_organization_can_be_corrected(
    ledger: UsageLedger,
) -> None:
    await ledger.usage.settle(settling(tool_uses=(ToolUse("tool-1", TOOL),)), ADA)
    with pytest.raises(FailedPreconditionError):
        await ledger.usage.correct(CorrectRequest("fix", "tool-1", TokenUsage(1)), ADA)
    for corrected, asker in (("none", ADA), ("call-1", EVE)):
        with pytest.raises(UsageEntryNotFoundError):
            await ledger.usage.correct(CorrectRequest("fix", corrected, TokenUsage(1)), asker)
    with pytest.raises(InvalidArgumentError):
        await ledger.usage.correct(CorrectRequest("", "call-1", TokenUsage(1)), ADA)
    with pytest.raises(Exception, match="ledger:write"):
        await ledger.usage.correct(CorrectRequest("fix", "call-1", TokenUsage(1)), READER)
