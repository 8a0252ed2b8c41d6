"""Amounts and what draws from them, on every store."""

from __future__ import annotations

import pytest

from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.commands import NotFound, Reserve, Settle, TooDeep
from agent_executor.ledger.accounting.hold_tree import MAX_AMOUNTS_ABOVE
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts
from tests.contract.ledger.accounting_steps import (
    ask,
    gone,
    put,
    refused,
    reserve,
    reserve_amount,
    settle,
    stored,
    sums,
    void,
)
from tests.unit.ledger.accounting_samples import (
    CARD,
    DAY_MS,
    HOUR_MS,
    NOW_MS,
    amount,
    budget,
    entry,
    hold,
    tool_entry,
)

LATER_MS = NOW_MS + HOUR_MS


async def test_an_amount_is_held_once_whoever_draws_from_it(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    drawn = await reserve(store, parent_id="run")
    assert drawn == hold(parent_id="run")
    assert await gone(store) == (0, 1_000)
    assert await sums(store) == (1_000, 200, 0)


async def test_what_a_call_costs_leaves_the_amount(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, parent_id="run")
    settled = await settle(store)
    assert settled.events == ()
    assert await sums(store) == (900, 0, 100)
    assert await gone(store) == (100, 900)


async def test_an_amount_gives_to_the_last_nano_dollar(store: AccountingStore) -> None:
    await reserve_amount(store, nano_usd=399)
    await reserve(store, parent_id="run")
    refusal = await refused(store, parent_id="run")
    assert refusal == Refusal(None, hold().held_nano_usd, "run", 199, "run")
    await reserve(store, "third", parent_id="run", held_nano_usd=199)
    assert await sums(store) == (399, 399, 0)


async def test_as_much_output_is_held_as_the_amount_has(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=1_000))
    await reserve_amount(store, nano_usd=161)
    answer = await ask(store, hold(parent_id="run", min_output_tokens=5))
    assert isinstance(answer, Reservation)
    assert (answer.max_output_tokens, answer.held_nano_usd) == (12, 160)
    refusal = await refused(store, parent_id="run", min_output_tokens=5)
    assert refusal == Refusal(None, hold(held_nano_usd=125).held_nano_usd, "run", 1, "run")


async def test_there_must_be_a_parent_and_it_must_be_an_amount(store: AccountingStore) -> None:
    await reserve(store, "call")
    assert await ask(store, hold(parent_id="unknown")) == NotFound("parent")
    assert await ask(store, hold(parent_id="call")) == NotFound("parent")
    assert await ask(store, hold(parent_id="run", organization_id="other")) == NotFound("parent")


@pytest.mark.parametrize("end", ["void", "expire"])
async def test_nothing_is_drawn_from_an_amount_that_has_ended(
    store: AccountingStore, end: str
) -> None:
    await reserve_amount(store)
    if end == "void":
        await void(store, "run", LATER_MS - 1)
    for held in (200, 0):
        refusal = await refused(store, now_ms=LATER_MS, parent_id="run", held_nano_usd=held)
        assert refusal == Refusal(None, hold(held_nano_usd=held).held_nano_usd, "run", 0, "run")


async def test_a_voided_call_gives_back_to_its_amount(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, parent_id="run")
    await void(store, "call-1")
    assert await sums(store) == (1_000, 0, 0)
    assert await gone(store) == (0, 1_000)


async def test_an_expired_call_gives_back_to_its_amount(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store, ttl_ms=DAY_MS)
    await reserve(store, parent_id="run")
    assert await sums(store, now_ms=LATER_MS) == (1_000, 0, 0)
    assert store.expired_count == 1
    assert await gone(store, now_ms=LATER_MS) == (0, 1_000)
    await reserve(store, "all", LATER_MS, parent_id="run", held_nano_usd=1_000)
    assert store.expired_count == 1


async def test_an_ended_amount_holds_what_is_drawn_until_that_ends(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, "a", parent_id="run")
    await reserve(store, "b", parent_id="run")
    voided = await void(store, "run")
    assert voided == amount(state="voided", remaining_nano_usd=400, drawn_nano_usd=400)
    assert await gone(store) == (0, 400)
    await settle(store, "a")
    assert await sums(store) == (200, 200, 100)
    assert await gone(store) == (100, 200)
    await void(store, "b")
    assert await sums(store) == (0, 0, 100)
    assert await gone(store) == (100, 0)


async def test_an_expired_amount_holds_what_is_drawn_until_that_ends(
    store: AccountingStore,
) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, parent_id="run", ttl_ms=DAY_MS)
    assert await sums(store, now_ms=LATER_MS) == (200, 200, 0)
    assert await gone(store, now_ms=LATER_MS) == (0, 200)
    assert await gone(store, now_ms=NOW_MS + DAY_MS) == (0, 0)
    assert (await stored(store, "run", NOW_MS + DAY_MS)).state == "expired"


async def test_a_tree_expires_as_one(store: AccountingStore) -> None:
    await put(store, budget())
    await put(store, budget("child", run_id="child"))
    await reserve_amount(store)
    await reserve_amount(store, "child", 500, parent_id="run", run_id="child")
    await reserve(store, parent_id="child", run_id="child")
    assert await gone(store, "child") == (0, 500)
    for budget_id in ("all", "child"):
        assert await gone(store, budget_id, LATER_MS) == (0, 0)
    for reservation_id in ("run", "child"):
        assert await sums(store, reservation_id, LATER_MS) == (0, 0, 0)


async def test_amounts_lie_above_one_another_in_few_rows(store: AccountingStore) -> None:
    """A call is carried up through all of them, in a transaction for which all others wait."""
    above = ""
    for number in range(MAX_AMOUNTS_ABOVE):
        await reserve_amount(store, f"run-{number}", parent_id=above)
        above = f"run-{number}"
    await reserve(store, parent_id=above, held_nano_usd=1)
    await reserve_amount(store, "lowest", 1, parent_id=above)
    assert await ask(store, hold("below", parent_id="lowest", held_nano_usd=0)) == TooDeep()
    assert await ask(store, amount("below", 1, parent_id="lowest")) == TooDeep()
    assert await store.get_reservation("acme", "below", NOW_MS) is None


async def test_what_a_grandchild_costs_leaves_all_amounts_above(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve_amount(store, "child", 500, parent_id="run", run_id="child")
    await reserve(store, parent_id="child", run_id="child")
    assert await sums(store) == (1_000, 500, 0)
    assert await sums(store, "child") == (500, 200, 0)
    await settle(store, run_id="child")
    assert await sums(store) == (900, 400, 100)
    assert await sums(store, "child") == (400, 0, 100)
    assert await gone(store) == (100, 900)
    await void(store, "child")
    assert await sums(store) == (900, 0, 100)
    await void(store, "run")
    assert await gone(store) == (100, 0)


async def test_a_tree_settled_from_the_top_holds_nothing_at_last(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve_amount(store, "child", 500, parent_id="run")
    await reserve(store, parent_id="child")
    await void(store, "child")
    assert await sums(store) == (1_000, 200, 0)
    await void(store, "run")
    assert await gone(store) == (0, 200)
    await settle(store)
    assert await sums(store) == (0, 0, 100)
    assert await sums(store, "child") == (0, 0, 100)
    assert await gone(store) == (100, 0)


async def test_a_budget_of_the_child_alone_is_charged_as_well(store: AccountingStore) -> None:
    await put(store, budget("all"))
    await put(store, budget("child", 300, run_id="child"))
    await reserve_amount(store)
    await reserve(store, parent_id="run", run_id="child")
    assert await gone(store, "all") == (0, 1_000)
    assert await gone(store, "child") == (0, 200)
    refusal = await refused(store, parent_id="run", run_id="child")
    assert refusal.status is not None
    assert refusal.status.budget.id == "child"
    await settle(store, run_id="child")
    assert await gone(store, "all") == (100, 900)
    assert await gone(store, "child") == (100, 0)


async def test_the_tightest_of_parent_and_budgets_is_named(store: AccountingStore) -> None:
    await put(store, budget("child", 150, run_id="child"))
    await reserve_amount(store, nano_usd=100)
    refusal = await refused(store, parent_id="run", run_id="child")
    assert (refusal.parent_reservation_id, refusal.parent_left_nano_usd) == ("run", 100)
    await put(store, budget("child", 99, run_id="child"))
    refusal = await refused(store, parent_id="run", run_id="child")
    assert refusal.status is not None
    assert refusal.status.budget.id == "child"


async def test_a_call_above_its_hold_takes_what_its_amount_has(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, "a", parent_id="run")
    await reserve(store, "b", parent_id="run", held_nano_usd=500)
    settled = await settle(store, "a", usage=TokenCounts(450))
    assert settled.events == ()
    assert await sums(store) == (550, 500, 450)
    beyond = await settle(store, "b", usage=TokenCounts(600))
    assert [one.kind for one in beyond.events] == ["overrun"]
    assert await sums(store) == (0, 0, 1_050)
    assert await gone(store) == (1_050, 0)


async def test_what_others_hold_is_not_taken_from_them(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, "a", parent_id="run")
    await reserve(store, "b", parent_id="run", held_nano_usd=800)
    settled = await settle(store, "a", usage=TokenCounts(450))
    assert [one.kind for one in settled.events] == ["overrun"]
    assert await sums(store) == (800, 800, 450)
    assert await gone(store) == (450, 800)


async def test_a_late_settlement_takes_from_the_amount(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store, ttl_ms=DAY_MS)
    await reserve(store, parent_id="run")
    late = await settle(store, now_ms=LATER_MS)
    assert (late.entry.reservation_outcome, late.events) == ("expired", ())
    assert await sums(store, now_ms=LATER_MS) == (900, 0, 100)
    assert await gone(store, now_ms=LATER_MS) == (100, 900)


async def test_fees_of_tools_leave_the_amount_too(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, parent_id="run")
    settled = await settle(store, tools=(tool_entry(fee_nano_usd=30),))
    assert settled.events == ()
    assert await sums(store) == (870, 0, 130)
    assert await gone(store) == (130, 870)


async def test_an_amount_can_be_settled_by_itself(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve_amount(store)
    await reserve(store, "drawn", parent_id="run")
    settled = await settle(store, "call", reservation_id="run")
    assert settled.entry.reservation_outcome == "open"
    assert (await stored(store, "run")).state == "settled"
    assert await gone(store) == (100, 200)


async def test_a_tree_can_be_made_in_one_batch(store: AccountingStore) -> None:
    await put(store, budget())
    outcomes = await store.apply(
        [
            Reserve(amount("top", 900)),
            Reserve(amount("middle", 600, parent_id="top")),
            Reserve(hold("call", parent_id="middle"), CARD),
            Settle(entry("call"), CARD),
        ],
        NOW_MS,
    )
    assert all(not isinstance(one, Refusal) for one in outcomes)
    assert await sums(store, "top") == (800, 500, 100)
    assert await sums(store, "middle") == (500, 0, 100)
    assert await gone(store) == (100, 800)


async def test_a_new_budget_counts_each_tree_once(store: AccountingStore) -> None:
    await reserve_amount(store)
    await reserve_amount(store, "child", 500, parent_id="run", run_id="child", user_id="bob")
    await reserve(store, parent_id="child", run_id="child", user_id="ada")
    await reserve(store, "apart")
    for budget_id, scope, held in (
        ("all", {}, 1_200),
        ("ada", {"user_id": "ada"}, 1_200),
        ("bob", {"user_id": "bob"}, 500),
        ("child", {"run_id": "child"}, 500),
        ("ada-child", {"run_id": "child", "user_id": "ada"}, 200),
    ):
        await put(store, budget(budget_id, 10_000, **scope))
        assert await gone(store, budget_id) == (0, held)
