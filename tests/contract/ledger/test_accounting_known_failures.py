"""What has gone wrong in other ledgers of this kind, and must not go wrong in any store of this one.

Each test is named for the failure that it would show.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.commands import Recorded, Renew, Reserve, Settle, Void
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.money import PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import RateCard, Rates, Tier
from tests.contract.ledger.accounting_steps import (
    ask,
    correct,
    gone,
    kinds,
    put,
    record,
    refused,
    renew,
    reserve,
    reserve_amount,
    settle,
    status,
    stored,
    sums,
    void,
)
from tests.unit.ledger.accounting_samples import (
    CARD,
    DAY_MS,
    FREE,
    HOUR_MS,
    MIDNIGHT_MS,
    NOW_MS,
    budget,
    entry,
    hold,
    tool_entry,
)

LATER_MS = NOW_MS + HOUR_MS

# Overshoot


async def test_concurrent_calls_are_all_checked_before_any_is_counted(
    store: AccountingStore,
) -> None:
    await put(store, budget(limit_nano_usd=1_000))
    outcomes = await asyncio.gather(*(ask(store, hold(f"call-{n}")) for n in range(20)))
    assert sum(isinstance(one, Reservation) for one in outcomes) == 5
    assert await gone(store) == (0, 1_000)


async def test_a_batch_of_calls_is_checked_against_the_same_balance(
    store: AccountingStore,
) -> None:
    await put(store, budget(limit_nano_usd=1_000))
    batch = [Reserve(hold(f"call-{n}"), CARD) for n in range(20)]
    outcomes = await store.apply(batch, NOW_MS)
    assert [isinstance(one, Reservation) for one in outcomes] == [True] * 5 + [False] * 15


async def test_a_first_request_of_an_unknown_user_passes_the_default_budget(
    store: AccountingStore,
) -> None:
    await put(store, budget(limit_nano_usd=399))
    calls = (ask(store, hold(f"call-{n}", user_id=f"new-{n}")) for n in range(4))
    outcomes = await asyncio.gather(*calls)
    assert sum(isinstance(one, Reservation) for one in outcomes) == 1


async def test_a_long_context_is_held_at_the_rate_of_a_short_one(store: AccountingStore) -> None:
    short, long = (Rates(*[PicoUsdPerToken(rate)] * 5) for rate in (1_000, 2_000))
    tiered = RateCard.of(provider="test", model="tiered", base=short, tiers=(Tier(100, long),))
    await store.put_rate_card(tiered, "test")
    await put(store, budget(limit_nano_usd=450))
    outcomes = []
    for number in range(5):
        held = tiered.worst_case(101, 0, writes_cache=False)
        asked = hold(
            f"call-{number}",
            max_input_tokens=101,
            max_output_tokens=1,
            held_nano_usd=held,
            rate_card_id=tiered.id,
        )
        outcomes.append(await ask(store, asked, card=tiered))
    assert sum(isinstance(one, Reservation) for one in outcomes) == 2


async def test_a_cache_write_costs_more_than_was_held(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=400))
    held = CARD.worst_case(100, 20, writes_cache=True)
    await reserve(store, writes_cache=True, held_nano_usd=held)
    usage = TokenCounts(0, 20, 0, 0, 100)
    assert (await settle(store, usage=usage)).events == ()
    assert await gone(store) == (held, 0)


async def test_each_child_of_a_run_gets_the_full_budget(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store, nano_usd=1_000)
    await reserve_amount(store, "child-1", 600, parent_id="run", run_id="child-1")
    refusal = await ask(store, hold("child-2", parent_id="run", held_nano_usd=401))
    assert isinstance(refusal, Refusal)
    await reserve(store, "child-2", parent_id="run", held_nano_usd=400)
    assert await gone(store) == (0, 1_000)


async def test_a_resumed_run_gets_its_full_budget_again(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store, nano_usd=500)
    await reserve(store, parent_id="run")
    await settle(store)
    resumed = await reserve_amount(store, nano_usd=500)
    assert (resumed.remaining_nano_usd, resumed.spent_nano_usd) == (400, 100)
    await refused(store, parent_id="run", held_nano_usd=401)
    assert await gone(store) == (100, 400)


async def test_a_renewed_hold_is_freed_while_its_call_runs(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=200))
    await reserve(store)
    for minutes in range(10, 130, 10):
        now_ms = NOW_MS + minutes * 60_000
        await renew(store, "call-1", now_ms + HOUR_MS, now_ms)
        await refused(store, now_ms=now_ms)


# Holds that leak, and limits that refuse without cause


async def test_a_call_that_never_settles_blocks_the_budget_for_ever(
    store: AccountingStore,
) -> None:
    await put(store, budget(limit_nano_usd=200))
    await reserve(store)
    await refused(store, now_ms=LATER_MS - 1)
    await reserve(store, "next", LATER_MS)


async def test_a_phantom_hold_stays_when_a_call_is_settled_for_less(
    store: AccountingStore,
) -> None:
    await put(store, budget(limit_nano_usd=300))
    for number in range(10):
        await reserve(store, f"call-{number}")
        await settle(store, f"call-{number}", usage=TokenCounts(10))
    assert await gone(store) == (100, 0)
    assert (await status(store)).left_nano_usd == 200


async def test_voiding_after_settling_gives_the_money_back(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await settle(store)
    await void(store, "call-1")
    assert await gone(store) == (100, 0)


async def test_voiding_before_settling_frees_twice(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store, "other")
    await reserve(store)
    await void(store, "call-1")
    await settle(store)
    await void(store, "call-1")
    assert await gone(store) == (100, 200)


async def test_expiring_and_settling_free_twice(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store, "other", ttl_ms=DAY_MS)
    await reserve(store)
    outcomes = await store.apply(
        [Void("acme", "call-1"), Settle(entry(), CARD), Renew("acme", "call-1", MIDNIGHT_MS)],
        LATER_MS,
    )
    assert isinstance(outcomes[1], Recorded)
    assert outcomes[1].entry.reservation_outcome == "expired"
    assert await gone(store, now_ms=LATER_MS) == (100, 200)


async def test_the_whole_headroom_is_held_without_a_cap_on_output(
    store: AccountingStore,
) -> None:
    await put(store, budget(limit_nano_usd=450))
    await reserve(store, "first")
    answer = await ask(
        store,
        hold(max_output_tokens=2_000_000_000, held_nano_usd=10_000_000_100, min_output_tokens=10),
    )
    assert isinstance(answer, Reservation)
    assert (answer.max_output_tokens, answer.held_nano_usd) == (30, 250)


async def test_a_budget_put_later_misses_what_is_held(store: AccountingStore) -> None:
    await reserve(store)
    await put(store, budget())
    await settle(store)
    assert await gone(store) == (100, 0)


async def test_a_budget_that_is_deleted_while_money_is_held_goes_negative(
    store: AccountingStore,
) -> None:
    await put(store, budget())
    await reserve(store)
    await store.delete_budget("acme", "all")
    await settle(store)
    await put(store, budget())
    assert await gone(store) == (100, 0)


# Lost spend


async def test_a_settlement_after_the_hold_has_expired_is_lost(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=200))
    await reserve(store)
    await reserve(store, "next", LATER_MS)
    late = await settle(store, now_ms=LATER_MS)
    assert late.is_new
    assert late.entry.reservation_outcome == "expired"
    assert kinds(late.events) == ["all overrun"]
    assert await gone(store, now_ms=LATER_MS) == (100, 200)


async def test_a_cancelled_settlement_is_lost_or_counted_twice(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    task = asyncio.create_task(store.apply([Settle(entry(), CARD)], NOW_MS))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await settle(store)
    assert await gone(store) == (100, 0)


async def test_an_id_is_claimed_by_a_write_that_failed(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=100))
    await refused(store, "call-1")
    await put(store, budget(limit_nano_usd=1_000))
    assert (await reserve(store, "call-1")).state == "open"
    assert (await settle(store, "call-1")).is_new


async def test_two_calls_with_one_provider_id_in_two_organizations_are_one(
    store: AccountingStore,
) -> None:
    await put(store, budget())
    outcomes = await store.apply(
        [Settle(entry(organization_id="other"), CARD), Settle(entry(), CARD)], NOW_MS
    )
    assert [one.is_new for one in outcomes if isinstance(one, Recorded)] == [True, True]
    assert await gone(store) == (100, 0)


async def test_a_free_call_is_not_recorded(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=0))
    await reserve(store, held_nano_usd=0, rate_card_id=FREE.id)
    settled = await settle(store, card=FREE)
    assert settled.is_new
    assert (settled.entry.cost_nano_usd, settled.entry.usage.tokens_used) == (0, 60)
    assert settled.events == ()


async def test_explicit_zero_usage_is_replaced_by_what_was_held(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    settled = await settle(store, usage=TokenCounts())
    assert settled.entry.cost_nano_usd == 0
    assert await gone(store) == (0, 0)


async def test_a_call_without_a_reservation_is_not_counted(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=50))
    settled = await settle(store, reservation_id="")
    assert kinds(settled.events) == ["all overrun"]
    assert await gone(store) == (100, 0)


async def test_an_interrupted_stream_stays_at_its_estimate(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await settle(store, usage=TokenCounts(50), estimated=True)
    await correct(store, "true-up", TokenUsage(50, 20))
    assert await gone(store) == (150, 0)


async def test_a_call_of_less_than_a_cent_costs_nothing(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=3))
    for number in range(3):
        await settle(store, f"call-{number}", usage=TokenCounts(1), reservation_id="")
    assert await gone(store) == (3, 0)
    await refused(store, held_nano_usd=1)


# Double counting


async def test_a_retry_after_an_ambiguous_timeout_is_charged_again(
    store: AccountingStore,
) -> None:
    await put(store, budget())
    await reserve(store)
    await asyncio.gather(*(settle(store) for _ in range(5)))
    assert await gone(store) == (100, 0)


async def test_a_retry_with_a_dearer_price_is_charged_again(store: AccountingStore) -> None:
    await put(store, budget())
    first = await settle(store)
    again = await settle(store, usage=TokenCounts(999), reservation_id="other")
    assert (again.entry, again.is_new, again.events) == (first.entry, False, ())
    assert await gone(store) == (100, 0)


async def test_a_repeated_settlement_frees_another_hold(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await reserve(store, "call-2")
    await settle(store)
    await settle(store, reservation_id="call-2")
    assert await gone(store) == (100, 200)
    assert (await stored(store, "call-2")).state == "open"


async def test_a_tool_call_shown_to_two_turns_is_charged_twice(store: AccountingStore) -> None:
    await put(store, budget())
    for call in ("call-1", "call-2"):
        await settle(store, call, tools=(tool_entry("tool", 50),))
    assert await gone(store) == (250, 0)


async def test_a_call_of_a_child_run_counts_for_child_and_parent(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve_amount(store, "child", 500, parent_id="run")
    await reserve(store, parent_id="child")
    assert await gone(store) == (0, 1_000)
    await settle(store)
    assert await gone(store) == (100, 900)
    assert await sums(store, "child") == (400, 0, 100)


async def test_a_correction_that_is_sent_twice_counts_twice(store: AccountingStore) -> None:
    await put(store, budget())
    await settle(store)
    for entry_id in ("fix", "fix", "fix-under-another-id"):
        await correct(store, entry_id, TokenUsage(60, 10))
    assert await gone(store) == (110, 0)


@pytest.mark.parametrize("now_ms", [NOW_MS, MIDNIGHT_MS])
async def test_a_late_row_of_yesterday_refuses_calls_of_today(
    store: AccountingStore, now_ms: int
) -> None:
    await put(store, budget("day", 200, window="day"), NOW_MS)
    late = await record(store, cost_nano_usd=500, now_ms=now_ms, occurred_at_ms=NOW_MS)
    assert kinds(late.events) == ["day overrun"]
    answer = await ask(store, hold(created_at_ms=now_ms), now_ms)
    assert isinstance(answer, Reservation) == (now_ms == MIDNIGHT_MS)
