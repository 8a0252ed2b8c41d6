from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError, PermissionDeniedError, UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.usage.correcting import CorrectRequest
from agent_executor.ledger.usage.rerating import Rerated, RerateRequest
from tests.unit.ledger.usage_ledger import (
    ADA,
    BOB,
    DAY_MS,
    DEARER_MODEL,
    EVE,
    MODEL,
    NOW_MS,
    TOOL,
    UsageLedger,
    row,
    settling,
)

NOTHING = Rerated()


@pytest.fixture
def ledger() -> UsageLedger:
    return UsageLedger()


async def rerate(ledger: UsageLedger, asker: Any = ADA, **changes: Any) -> Rerated:
    return await ledger.rerating.rerate(RerateRequest(**{"start_ms": 0, **changes}), asker)


def price(ledger: UsageLedger, nano_usd_per_token: int, model: str = MODEL) -> None:
    """Gives a model another price, for the past too."""
    ledger.prices.nano_usd_per_token[model] = nano_usd_per_token
    ledger.reprice()


async def test_what_costs_something_else_gets_an_entry_with_the_difference(
    ledger: UsageLedger,
) -> None:
    await ledger.limit(1_000)
    await ledger.usage.settle(settling(), ADA)
    price(ledger, 1)
    rerated = await rerate(ledger, description="negotiated")
    assert rerated == Rerated(1, 1, -100)  # type: ignore[arg-type]  # nano-dollars
    entry = ledger.books.organizations["acme"].entries[-1]
    assert (entry.kind, entry.corrects_entry_id, entry.cost_nano_usd) == (
        "rerating",
        "call-1",
        -100,
    )
    assert (entry.description, entry.run_id, entry.model) == ("negotiated", "run", MODEL)
    assert entry.rate_card_id.startswith("test/model-1@")
    assert entry.usage.tokens_used == 0
    assert await ledger.left() == 1_000 - 100
    assert ledger.count("usage_credit_nano_usd", model="test/model-1") == 100


async def test_to_do_it_twice_changes_nothing_more(ledger: UsageLedger) -> None:
    await ledger.recording.record([row(f"row-{number}") for number in range(5)], ADA)
    price(ledger, 3)
    assert await rerate(ledger) == Rerated(5, 5, 500)  # type: ignore[arg-type]  # as above
    for _ in range(2):
        assert await rerate(ledger) == Rerated(5)
    assert ledger.cost() == 5 * 300


async def test_a_price_that_comes_back_counts_again(ledger: UsageLedger) -> None:
    await ledger.usage.settle(settling(), ADA)
    for nano_usd_per_token in (4, 2, 4, 2, 6):
        price(ledger, nano_usd_per_token)
        assert (await rerate(ledger)).changed_count == 1
        assert ledger.cost() == 100 * nano_usd_per_token


async def test_a_dry_run_tells_the_same_and_records_nothing(ledger: UsageLedger) -> None:
    await ledger.usage.settle(settling(), ADA)
    await ledger.usage.settle(settling("call-2"), ADA)
    await ledger.usage.correct(CorrectRequest("fix", "call-2", TokenUsage(10, 0)), ADA)
    price(ledger, 1)
    before = list(ledger.books.organizations["acme"].entries)
    told = await rerate(ledger, dry_run=True)
    assert list(ledger.books.organizations["acme"].entries) == before
    assert told == Rerated(2, 2, -100 - 10)  # type: ignore[arg-type]  # as above
    assert await rerate(ledger) == told
    assert ledger.cost() == 100 + 10
    assert await rerate(ledger, dry_run=True) == Rerated(2)


async def test_only_what_is_meant_is_priced_again(ledger: UsageLedger) -> None:
    await ledger.recording.record(
        [
            row("old", occurred_at_ms=NOW_MS - 2 * DAY_MS),
            row("yesterday", occurred_at_ms=NOW_MS - DAY_MS),
            row("today"),
            row("other", model=DEARER_MODEL),
            row("batch", processing="batch"),
        ],
        ADA,
    )
    await ledger.usage.settle(settling(run_id="theirs"), EVE)
    price(ledger, 4)
    price(ledger, 40, DEARER_MODEL)
    rerated = await rerate(ledger, model=MODEL, start_ms=NOW_MS - DAY_MS, end_ms=NOW_MS)
    assert (rerated.examined_count, rerated.changed_count) == (1, 1)
    rerated = await rerate(ledger, model=MODEL, start_ms=NOW_MS)
    # What was processed in a batch has a price of its own, half of the other.
    assert rerated == Rerated(2, 2, 200 + 100)  # type: ignore[arg-type]  # as above
    assert sum(e.cost_nano_usd for e in ledger.books.organizations["other"].entries) == 200


async def test_tools_and_adjustments_keep_their_price(ledger: UsageLedger) -> None:
    await ledger.recording.record(
        [row("fee", model="", usage=None, tool_name=TOOL, cost_nano_usd=9)], ADA
    )
    assert await rerate(ledger) == NOTHING


async def test_many_calls_are_priced_again_in_pieces(ledger: UsageLedger) -> None:
    rows = [row(f"row-{number}") for number in range(3_000)]
    await ledger.recording.record(rows, ADA)
    price(ledger, 4)
    assert await rerate(ledger) == Rerated(3_000, 3_000, 600_000)  # type: ignore[arg-type]  # as above


async def test_a_model_without_a_price_now_is_told(ledger: UsageLedger) -> None:
    await ledger.usage.settle(settling(), ADA)
    del ledger.prices.nano_usd_per_token[MODEL]
    ledger.reprice()
    with pytest.raises(UnknownModelError):
        await rerate(ledger)
    assert ledger.cost() == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"start_ms": NOW_MS, "end_ms": NOW_MS - 1},
        {"model": "m" * 201},
        {"description": "d" * 1_001},
    ],
)
async def test_a_request_that_cannot_be_is_refused(
    ledger: UsageLedger, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        await rerate(ledger, **changes)


async def test_it_needs_the_permission(ledger: UsageLedger) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        await rerate(ledger, BOB)
    assert refused.value.metadata["permission"] == "ledger:admin"
