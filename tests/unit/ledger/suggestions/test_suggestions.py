"""What holds for suggestions of every kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError, PermissionDeniedError
from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.suggestions.convert import page_to_proto
from agent_executor.ledger.suggestions.evidence import Period, Spending
from agent_executor.ledger.suggestions.store_memory import MemoryEvidenceStore
from agent_executor.ledger.suggestions.suggestions import SuggestionPage, Suggestions
from agent_executor.ledger.suggestions.wording import counted, dollars
from agent_executor.serving.security import SecurityContext
from tests.unit.ledger.suggestions.recorded_usage import (
    ADA,
    DAY_MS,
    EVE,
    LARGE,
    LARGE_BATCH,
    NOW_MS,
    SMALL,
    START_MS,
    FixedPrices,
    change,
    in_dollars,
    model_call,
    suggest,
    suggest_one,
)

BACKGROUND = Purpose(is_background=True)


def waiting(count: int = 10, at_ms: int = START_MS, **changes: Any) -> list[UsageEntry]:
    """Returns calls for $0.03 each, of which half is saved in a batch."""
    return [
        model_call(TokenUsage(10_000), at_ms, purpose=BACKGROUND, **changes) for _ in range(count)
    ]


async def test_nothing_recorded_nothing_suggested() -> None:
    page = await suggest([])
    assert page.suggestions == ()
    assert page.cost_nano_usd == 0
    assert (page.start_ms, page.end_ms) == (NOW_MS - 30 * DAY_MS, NOW_MS)


async def test_the_saving_is_that_of_30_days() -> None:
    history = waiting(at_ms=NOW_MS - DAY_MS)
    (month,) = (await suggest(history, days=30)).suggestions
    (day,) = (await suggest(history, days=1)).suggestions
    assert in_dollars(month)[2] == 0.15
    assert in_dollars(day)[2] == 4.5
    assert month.id == day.id


async def test_the_period_begins_at_its_first_instant_and_ends_before_now() -> None:
    history = [*waiting(5, at_ms=NOW_MS - DAY_MS), *waiting(3, at_ms=NOW_MS - 1)]
    outside = [*waiting(1, at_ms=NOW_MS - DAY_MS - 1), *waiting(1, at_ms=NOW_MS)]
    page = await suggest([*history, *outside], days=1)
    assert page.cost_nano_usd == 8 * 30_000_000
    assert page.suggestions[0].figures["call_count"] == 8


async def test_of_too_many_entries_the_newest_are_looked_at() -> None:
    history = [call for day in range(10) for call in waiting(10, at_ms=NOW_MS - day * DAY_MS - 1)]

    async def found(max_entries: int) -> SuggestionPage:
        suggestions = Suggestions(
            MemoryEvidenceStore(lambda: history),
            FixedPrices(),
            lambda: NOW_MS / 1000,
            max_entries=max_entries,
        )
        return await suggestions.list(ADA, agent_id="agent")

    # 30 entries are those of the last 2 days and a millisecond, of which each saves $0.15 at best.
    page = await found(30)
    assert page.start_ms == NOW_MS - 2 * DAY_MS - 1
    assert page.cost_nano_usd == 30 * 30_000_000
    assert in_dollars(page.suggestions[0])[2] == pytest.approx(0.45 * 15, rel=1e-6)
    # What is spent in less than a day says nothing of a month.
    assert (await found(3)).start_ms == NOW_MS - DAY_MS
    assert (await found(101)).start_ms == NOW_MS - 30 * DAY_MS


async def test_one_organization_sees_nothing_of_another() -> None:
    assert (await suggest(waiting(), security=EVE)).suggestions == ()
    theirs = waiting(organization_id="other")
    page = await suggest([*waiting(), *theirs])
    assert page.cost_nano_usd == 10 * 30_000_000
    assert page.suggestions[0].figures["call_count"] == 10


async def test_only_the_agent_that_is_asked_about() -> None:
    history = [*waiting(), *waiting(agent_id="other")]
    page = await suggest(history, agent_id="other")
    assert [one.subject.agent_id for one in page.suggestions] == ["other"]
    assert page.cost_nano_usd == 10 * 30_000_000


async def test_the_largest_saving_comes_first_and_100_are_told() -> None:
    history = [
        call for agent in range(101) for call in waiting(1 + agent, agent_id=f"agent-{agent:03d}")
    ]
    page = await suggest(history)
    agents = [one.subject.agent_id for one in page.suggestions]
    assert agents == [f"agent-{agent:03d}" for agent in range(100, 0, -1)]


async def test_less_than_a_cent_a_month_is_not_told() -> None:
    # Expected is three quarters of the half of what the calls cost: $0.01 of $0.0266667.
    cheap = [model_call(TokenUsage(8_889), purpose=BACKGROUND)]
    cheaper = [model_call(TokenUsage(8_888), purpose=BACKGROUND)]
    assert await suggest_one(cheap, "batch")
    assert await suggest_one(cheaper, "batch") is None


async def test_ten_runs_of_highest_cost_are_the_evidence() -> None:
    history = [
        model_call(TokenUsage(10_000 * (1 + run)), run_id=f"run-{run:02d}", purpose=BACKGROUND)
        for run in range(12)
    ]
    found = await suggest_one(history, "batch")
    assert found is not None
    assert found.evidence.run_count == 12
    assert found.evidence.run_ids == tuple(f"run-{run:02d}" for run in range(11, 1, -1))


async def test_a_corrected_call_counts_as_it_stands() -> None:
    (call,) = waiting(1)
    # It really used a tenth.
    corrected = change(call, "correction", {"input_tokens": -9_000}, -27_000_000)
    history = [*waiting(), call, corrected]
    found = await suggest_one(history, "batch")
    assert in_dollars(found)[2] == (0.3 + 0.003) / 2
    page = await suggest(history)
    assert page.cost_nano_usd == 303_000_000


async def test_a_call_that_was_rated_again_counts_at_its_new_card() -> None:
    calls = waiting()
    # The model has no batch price by the new card, so that there is nothing to suggest.
    rerated = [change(call, "rerating", {}, -20_000_000, SMALL.id) for call in calls]
    assert await suggest_one([*calls, *rerated], "batch") is None
    half = [*calls, *rerated[:5]]
    found = await suggest_one(half, "batch")
    assert in_dollars(found)[2] == 0.075


async def test_a_call_that_was_rated_by_two_cards_is_left_out() -> None:
    (call,) = waiting(1)
    twice = [
        change(call, "rerating", {}, -1, SMALL.id),
        change(call, "rerating", {}, -1, LARGE_BATCH.id),
    ]
    found = await suggest_one([*waiting(), call, *twice], "batch")
    assert found is not None
    assert found.figures["call_count"] == 10


async def test_an_unknown_card_is_no_evidence() -> None:
    page = await suggest(waiting(), prices=FixedPrices({}))
    assert page.suggestions == ()
    assert page.cost_nano_usd == 300_000_000


async def test_alternatives_are_asked_for_as_they_hold_now() -> None:
    prices = FixedPrices()
    await suggest(waiting(at_ms=START_MS), prices=prices)
    assert prices.asked == [("acme", LARGE.id, 13_000, NOW_MS)]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"days": -1}, "days"), ({"days": 91}, "days"), ({"agent_id": "ä" * 65}, "agent_id")],
)
async def test_what_cannot_be_is_refused(arguments: dict[str, object], field: str) -> None:
    suggestions = Suggestions(MemoryEvidenceStore(list), FixedPrices(), lambda: 0)
    with pytest.raises(InvalidArgumentError) as refused:
        await suggestions.list(ADA, **arguments)  # type: ignore[arg-type]  # what cannot be
    assert refused.value.field_violations[0][0] == field


async def test_a_permission_is_needed() -> None:
    caller = SecurityContext("acme", "ada", frozenset({"ledger:write"}))
    with pytest.raises(PermissionDeniedError):
        await suggest([], security=caller)


class OneAtATime(MemoryEvidenceStore):
    """A store that notices if it is asked two questions at once."""

    def __init__(self) -> None:
        super().__init__(list)
        self.asking = 0
        self.most = 0

    async def spending(self, period: Period) -> Spending:
        """See ``EvidenceStore``."""
        self.asking += 1
        self.most = max(self.most, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        return await super().spending(period)


async def test_two_callers_do_not_take_all_readers() -> None:
    store = OneAtATime()
    suggestions = Suggestions(store, FixedPrices(), lambda: NOW_MS / 1000)
    await asyncio.gather(*(suggestions.list(ADA) for _ in range(5)))
    assert store.most == 1


async def test_the_contract_has_it_all() -> None:
    page = await suggest(waiting(run_id="run"))
    response = page_to_proto(page)
    (one,) = response.suggestions
    assert one.id == page.suggestions[0].id
    assert one.id.startswith("batch-")
    assert (one.kind, one.agent_id, one.model) == ("batch", "agent", "claude-large")
    assert (one.saving.low_nano_usd, one.saving.high_nano_usd) == (75_000_000, 150_000_000)
    assert one.saving.expected_usd == 0.1125
    assert (list(one.evidence_run_ids), one.evidence_run_count) == (["run"], 1)
    assert one.figures["call_count"] == 10
    assert response.cost_nano_usd == 300_000_000
    assert response.end_time.ToMilliseconds() == NOW_MS


async def test_the_id_is_made_from_what_is_suggested() -> None:
    async def found(**changes: Any) -> str:
        (one,) = (await suggest(waiting(**changes))).suggestions
        return one.id

    first = await found()
    assert await found(run_id="other", at_ms=START_MS + 1) == first
    assert await found(agent_id="other") != first


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "$0.0000"),
        (12_349_999, "$0.0123"),
        (12_350_000, "$0.0124"),
        (99_999_999, "$0.1000"),
        (100_000_000, "$0.10"),
        (1_234_567_005_000_000, "$1,234,567.01"),
    ],
)
def test_amounts_in_sentences(nano_usd: int, text: str) -> None:
    assert dollars(nano_usd) == text


def test_one_is_not_several() -> None:
    assert (counted(1, "call"), counted(1_200, "call")) == ("1 call", "1,200 calls")
