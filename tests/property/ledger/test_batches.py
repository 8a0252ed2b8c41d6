"""However commands are grouped into batches, they do the same."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.ledger.accounting.commands import (
    Command,
    Correct,
    Outcome,
    Record,
    Renew,
    Rerate,
    Reserve,
    Settle,
    Void,
)
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from tests.unit.ledger.accounting_samples import (
    CARD,
    CARDS,
    HOUR_MS,
    NOW_MS,
    ORGANIZATION,
    RAISED,
    amount,
    budget,
    entry,
    hold,
    tool_entry,
)

reservation_ids = st.sampled_from(["a", "b", "c"])
amount_ids = st.sampled_from(["x", "y"])
parent_ids = st.just("") | amount_ids | st.just("a")
entry_ids = st.sampled_from(["e1", "e2", "e3"])
organizations = st.sampled_from([ORGANIZATION, ORGANIZATION, "other"])
users = st.sampled_from(["ada", "bob"])
sums = st.integers(0, 300)
tokens = st.integers(0, 200)


def settle(organization: str, one: str, reservation: str, user: str, used: int) -> Settle:
    scope: dict[str, Any] = {"organization_id": organization, "user_id": user}
    asked = entry(one, reservation_id=reservation, usage=TokenCounts(used), **scope)
    return Settle(asked, RAISED, (tool_entry("t", used, **scope),))


def change(organization: str, one: str, corrects: str) -> Any:
    return entry(one, organization_id=organization, corrects_entry_id=corrects, reservation_id="")


commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        lambda organization, one, parent, user, held: Reserve(
            hold(
                one,
                organization_id=organization,
                parent_id=parent,
                user_id=user,
                held_nano_usd=held + 5 * 20,
                max_input_tokens=held,
                min_output_tokens=5,
            ),
            CARD,
        ),
        organizations,
        reservation_ids,
        parent_ids,
        users,
        sums,
    ),
    st.builds(
        lambda organization, one, parent, user, held: Reserve(
            amount(one, held, organization_id=organization, parent_id=parent, user_id=user)
        ),
        organizations,
        amount_ids,
        parent_ids,
        users,
        sums,
    ),
    st.builds(settle, organizations, entry_ids, reservation_ids | amount_ids, users, tokens),
    st.builds(
        lambda organization, one, fee: Record(tool_entry(one, fee, organization_id=organization)),
        organizations,
        entry_ids | st.just("t"),
        sums,
    ),
    st.builds(
        lambda organization, one, corrects, used: Correct(
            change(organization, one, corrects), TokenUsage(used)
        ),
        organizations,
        st.sampled_from(["f1", "f2", "e1"]),
        entry_ids,
        tokens,
    ),
    st.builds(
        lambda organization, one, corrects, card: Rerate(change(organization, one, corrects), card),
        organizations,
        st.sampled_from(["g1", "g2", "f1"]),
        entry_ids,
        st.sampled_from([CARD, RAISED]),
    ),
    st.builds(Void, organizations, reservation_ids | amount_ids),
    st.builds(Renew, organizations, reservation_ids | amount_ids, st.just(NOW_MS + 2 * HOUR_MS)),
)


async def outcome_of(batches: list[list[Command]]) -> tuple[list[Outcome], Any]:
    """Returns the outcomes of batches, and what the ledger holds then."""
    ledger = MemoryLedger()
    store = MemoryAccountingStore(ledger)
    for card in CARDS:
        await store.put_rate_card(card, "test")
    for one in (
        budget("all", 700, alert_percents=(50,)),
        budget("ada", 500, user_id="ada", window="day"),
        budget("all", 300, organization_id="other"),
    ):
        await store.put_budget(one, NOW_MS)
    outcomes = [outcome for batch in batches for outcome in await store.apply(batch, NOW_MS)]
    kept = {
        organization_id: (
            one.entries,
            one.corrections,
            one.reservations,
            one.rollups,
            one.budgets,
            one.balances,
            [msgspec.structs.replace(event, id=0) for event in one.events],
        )
        for organization_id, one in ledger.organizations.items()
    }
    return outcomes, kept


@given(st.lists(commands, max_size=25), st.data())
def test_batches_do_what_their_commands_do_one_by_one(
    asked: list[Command], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(asked)), max_size=3)))
    batches = [asked[start:end] for start, end in zip([0, *cuts], [*cuts, len(asked)], strict=True)]
    together = asyncio.run(outcome_of(batches))
    one_by_one = asyncio.run(outcome_of([[one] for one in asked]))
    assert together == one_by_one
