from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agent_executor.errors import (
    EntryConflictError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnknownModelError,
)
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenCounts, TokenUsage
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD
from agent_executor.ledger.usage.recording import MAX_ROWS
from agent_executor.ledger.usage.rows import UsageRow
from tests.unit.ledger.usage_ledger import (
    ADA,
    BOB,
    DAY_MS,
    EVE,
    MODEL,
    NOW_MS,
    READER,
    TOOL,
    UsageLedger,
    row,
    settling,
)

# 2020-01-01 UTC.
EARLIEST_MS = 1_577_836_800_000


@pytest.fixture
def ledger() -> UsageLedger:
    return UsageLedger()


def adjusting(entry_id: str = "row-1", cost_nano_usd: Any = -50, **changes: Any) -> UsageRow:
    fields = {"description": "a credit", **changes}
    return UsageRow(entry_id, cost_nano_usd=cost_nano_usd, **fields)


def calling_tool(entry_id: str = "row-1", **changes: Any) -> UsageRow:
    return UsageRow(entry_id, tool_name=TOOL, **changes)


async def test_models_tools_and_adjustments_are_recorded(ledger: UsageLedger) -> None:
    await ledger.charge_for_tool()
    recorded = await ledger.recording.record(
        [
            row("model", run_id="run", estimated=True, occurred_at_ms=NOW_MS - DAY_MS),
            row("batch", processing="batch"),
            calling_tool("tool"),
            calling_tool("dear tool", cost_nano_usd=77),
            adjusting("credit"),
        ],
        ADA,
    )
    assert (recorded.recorded_count, recorded.repeated_count) == (5, 0)
    assert recorded.cost_nano_usd == ledger.cost() == 200 + 100 + 30 + 77 - 50
    entries = ledger.books.organizations["acme"].entries_by_id
    assert [entries[name].kind for name in ("model", "tool", "credit")] == [
        "model_call",
        "tool_call",
        "adjustment",
    ]
    model = entries["model"]
    assert (model.user_id, model.run_id, model.estimated) == ("ada", "run", True)
    assert (model.occurred_at_ms, model.created_at_ms) == (NOW_MS - DAY_MS, NOW_MS)
    assert model.rate_card_id.startswith("test/model-1@")
    assert (entries["dear tool"].rate_card_id, entries["credit"].rate_card_id) == ("", "")
    assert ledger.count("usage_credit_nano_usd", model="") == 50


async def test_a_budget_counts_what_was_recorded_in_its_window(ledger: UsageLedger) -> None:
    await ledger.limit(1_000, window="day")
    await ledger.recording.record([row("today"), row("old", occurred_at_ms=NOW_MS - DAY_MS)], ADA)
    assert await ledger.left() == 800


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (row(""), "id"),
        (row("r" * 257), "id"),
        (row("ü" * 129), "id"),
        (row("a\0b"), "id"),
        (row("\udc80"), "id"),
        (row(user_id="u" * 129), "user_id"),
        (row(agent_id="a" * 129), "agent_id"),
        (row(run_id="r" * 129), "run_id"),
        (row(model="m" * 201), "model"),
        (row(usage=None), "usage"),
        (row(usage=TokenCounts(input_tokens=-1)), "usage.input_tokens"),
        (row(usage=TokenCounts(output_tokens=MAX_TOKENS + 1)), "usage.output_tokens"),
        (
            row(usage=TokenCounts(cache_creation_input_tokens_1h=-7)),
            "usage.cache_creation_input_tokens_1h",
        ),
        (row(cost_nano_usd=1), "cost_nano_usd"),
        (row(tool_name=TOOL), "tool_name"),
        (row(processing="flex"), "processing"),
        (row(speed="slow"), "speed"),
        (row(currency="EUR"), "currency"),
        (row(currency="usd"), "currency"),
        (row(occurred_at_ms=EARLIEST_MS - 1), "occurred_at"),
        (row(occurred_at_ms=0), "occurred_at"),
        (row(occurred_at_ms=NOW_MS + 300_001), "occurred_at"),
        (row(occurred_at_ms=2**63), "occurred_at"),
        (row(description="d" * 1_001), "description"),
        (calling_tool(usage=TokenUsage(1)), "usage"),
        (calling_tool(cost_nano_usd=-1), "cost_nano_usd"),
        (calling_tool(cost_nano_usd=MAX_LIMIT_NANO_USD + 1), "cost_nano_usd"),
        (calling_tool(processing="batch"), "processing"),
        (calling_tool(speed="fast"), "speed"),
        (adjusting(cost_nano_usd=None), "cost_nano_usd"),
        (adjusting(cost_nano_usd=-MAX_LIMIT_NANO_USD - 1), "cost_nano_usd"),
        (adjusting(cost_nano_usd=0.5), "cost_nano_usd"),
        (adjusting(description=""), "description"),
        (adjusting(usage=TokenUsage(1)), "usage"),
        (UsageRow("row-1", usage=TokenUsage(1)), "model"),
    ],
)
async def test_a_bad_row_is_named_and_none_is_recorded(
    ledger: UsageLedger, bad: UsageRow, field: str
) -> None:
    rows = [row(f"good-{number}") for number in range(3)]
    with pytest.raises(InvalidArgumentError) as refused:
        await ledger.recording.record([*rows, bad, row("last")], ADA)
    assert refused.value.field_violations[0][0] == f"entries[3].{field}"
    assert f"entries[3].{field} " in refused.value.message
    assert not ledger.books.organizations["acme"].entries


@pytest.mark.parametrize("occurred_at_ms", [EARLIEST_MS, NOW_MS, NOW_MS + 300_000])
async def test_the_first_and_the_last_time_that_can_be(
    ledger: UsageLedger, occurred_at_ms: int
) -> None:
    await ledger.recording.record([row(occurred_at_ms=occurred_at_ms)], ADA)
    (entry,) = ledger.books.organizations["acme"].entries
    assert entry.occurred_at_ms == occurred_at_ms


async def test_a_model_without_a_price_is_named(ledger: UsageLedger) -> None:
    with pytest.raises(UnknownModelError) as refused:
        await ledger.recording.record([row(), row("row-2", model="unheard-of")], ADA)
    assert refused.value.field_violations[0][0] == "entries[1].model"
    assert refused.value.message == (
        "entries[1].model: The model 'unheard-of' has no price. Nothing was recorded."
    )
    assert ledger.cost() == 0


async def test_a_cost_beyond_what_can_be_added_up_is_named(ledger: UsageLedger) -> None:
    ledger.prices.nano_usd_per_token["dear"] = 10**9
    usage = TokenUsage(MAX_TOKENS)
    with pytest.raises(InvalidArgumentError) as refused:
        await ledger.recording.record([row(), row("row-2", model="dear", usage=usage)], ADA)
    assert refused.value.field_violations[0][0].startswith("entries[1].")
    assert ledger.cost() == 0


async def test_a_batch_that_is_sent_again_counts_once(ledger: UsageLedger) -> None:
    batch = [row("row-1"), row("row-2"), row("row-1"), adjusting("row-3")]
    first = await ledger.recording.record(batch, ADA)
    assert (first.recorded_count, first.repeated_count, first.cost_nano_usd) == (3, 1, 350)
    ledger.clock.now_ms += DAY_MS
    again = await ledger.recording.record([*batch, row("row-4")], ADA)
    assert (again.recorded_count, again.repeated_count, again.cost_nano_usd) == (1, 4, 200)
    assert ledger.cost() == 550


@pytest.mark.parametrize(
    "other",
    [
        row(usage=TokenUsage(51, 10)),
        row(agent_id="agent"),
        row(estimated=True),
        row(is_test=True),
        row(processing="batch"),
        row(description="why"),
        row(occurred_at_ms=NOW_MS - 1),
        calling_tool(),
        adjusting(),
    ],
)
async def test_an_id_that_records_something_else_is_a_conflict(
    ledger: UsageLedger, other: UsageRow
) -> None:
    with pytest.raises(EntryConflictError):
        await ledger.recording.record([row(), row("row-2"), other], ADA)
    assert not ledger.books.organizations["acme"].entries
    await ledger.recording.record([row()], ADA)
    with pytest.raises(EntryConflictError) as refused:
        await ledger.recording.record([*map(row, "abcdefg"), other], ADA)
    assert refused.value.metadata["row"] == "entries[7]"
    assert len(ledger.books.organizations["acme"].entries) == 1


async def test_amounts_are_part_of_what_a_row_says(ledger: UsageLedger) -> None:
    await ledger.recording.record([adjusting(), calling_tool("tool", cost_nano_usd=5)], ADA)
    for other in (adjusting(cost_nano_usd=-51), calling_tool("tool", cost_nano_usd=6)):
        with pytest.raises(EntryConflictError):
            await ledger.recording.record([other], ADA)


async def test_a_call_that_was_settled_is_not_recorded_again(ledger: UsageLedger) -> None:
    await ledger.usage.settle(settling("call-1"), ADA)
    same = row("call-1", agent_id="agent", run_id="run")
    with pytest.raises(EntryConflictError):
        await ledger.recording.record([same], ADA)


@pytest.mark.parametrize("rows", [[row(user_id="ada")], [adjusting()]])
async def test_other_users_and_adjustments_need_another_permission(
    ledger: UsageLedger, rows: list[UsageRow]
) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        await ledger.recording.record(rows, BOB)
    assert refused.value.metadata["permission"] == "ledger:admin"
    with pytest.raises(PermissionDeniedError):
        await ledger.recording.record([row()], READER)
    await ledger.recording.record([row(user_id="bob")], BOB)


async def test_organizations_have_ids_of_their_own(ledger: UsageLedger) -> None:
    await ledger.recording.record([row()], ADA)
    recorded = await ledger.recording.record([row(agent_id="other")], EVE)
    assert recorded.recorded_count == 1


@pytest.mark.parametrize("rows", [[], [row(f"row-{number}") for number in range(MAX_ROWS + 1)]])
async def test_a_batch_has_a_row_and_not_too_many(
    ledger: UsageLedger, rows: list[UsageRow]
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await ledger.recording.record(rows, ADA)
    assert refused.value.field_violations[0][0] == "entries"
    assert ledger.cost() == 0


async def test_one_bad_row_of_a_hundred_thousand_is_named_and_others_go_on(
    ledger: UsageLedger,
) -> None:
    def rows() -> Iterator[UsageRow]:
        for number in range(MAX_ROWS):
            bad = TokenCounts(input_tokens=-1) if number == 57_123 else TokenUsage(50, 10)
            yield UsageRow(f"row-{number}", model=MODEL, usage=bad)

    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    with pytest.raises(InvalidArgumentError) as refused:
        await ledger.recording.record(rows(), ADA)
    other.cancel()
    assert refused.value.field_violations[0][0] == "entries[57123].usage.input_tokens"
    assert not ledger.books.organizations["acme"].entries
    # Once for each 500 rows.
    assert turns >= 57_123 // 500


async def test_a_model_is_priced_as_of_its_day(ledger: UsageLedger) -> None:
    asked: list[str] = []
    resolve = ledger.prices.resolve

    def note(model: str, day: Any, context: Any) -> Any:
        asked.append(str(day))
        return resolve(model, day, context)

    ledger.prices.resolve = note  # type: ignore[method-assign]  # a test double
    ledger.reprice()
    await ledger.recording.record([row("a"), row("b", occurred_at_ms=EARLIEST_MS)], ADA)
    assert asked == ["2026-02-23", "2020-01-01"]
