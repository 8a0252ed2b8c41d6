from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import (
    BudgetExceededError,
    EntryConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    ReservationNotFoundError,
    UnknownModelError,
)
from agent_executor.ledger.accounting.hold_tree import MAX_AMOUNTS_ABOVE
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD
from agent_executor.ledger.usage.holding import RenewRequest
from tests.unit.ledger.usage_ledger import (
    ADA,
    BOB,
    DAY_MS,
    DEARER_MODEL,
    EVE,
    NOW_MS,
    READER,
    UsageLedger,
    holding,
    reserving,
    settling,
)


@pytest.fixture
def ledger() -> UsageLedger:
    return UsageLedger()


async def test_the_worst_case_is_held(ledger: UsageLedger) -> None:
    await ledger.limit(1_000)
    reservation = await ledger.usage.reserve(reserving(), ADA)
    assert (reservation.held_nano_usd, reservation.remaining_nano_usd) == (400, 400)
    assert (reservation.organization_id, reservation.user_id) == ("acme", "ada")
    assert reservation.expires_at_ms == NOW_MS + 900_000
    assert await ledger.left() == 600
    assert ledger.count("reservations", outcome="admitted") == 1


async def test_batch_processing_is_held_at_its_own_price(ledger: UsageLedger) -> None:
    reservation = await ledger.usage.reserve(reserving(processing="batch"), ADA)
    assert reservation.held_nano_usd == 200


async def test_what_does_not_fit_is_refused(ledger: UsageLedger) -> None:
    await ledger.limit(399, window="day")
    with pytest.raises(BudgetExceededError) as refused:
        await ledger.usage.reserve(reserving(), ADA)
    assert refused.value.metadata["budget_id"] == "all"
    assert refused.value.metadata["worst_case_nano_usd"] == "400"
    assert refused.value.metadata["resets_at_unix_ms"] == str(NOW_MS + 14 * 3_600_000)
    assert await ledger.left() == 399
    assert ledger.count("reservations", outcome="refused") == 1


async def test_a_limit_of_zero_lets_nothing_pass(ledger: UsageLedger) -> None:
    await ledger.limit(0)
    with pytest.raises(BudgetExceededError):
        await ledger.usage.reserve(reserving(max_input_tokens=0, max_output_tokens=1), ADA)


async def test_as_much_output_is_held_as_fits(ledger: UsageLedger) -> None:
    await ledger.limit(355)
    reservation = await ledger.usage.reserve(reserving(min_output_tokens=5), ADA)
    assert (reservation.max_output_tokens, reservation.held_nano_usd) == (15, 350)
    assert ledger.count("reservations", outcome="reduced") == 1
    assert await ledger.usage.reserve(reserving(min_output_tokens=5), ADA) == reservation
    with pytest.raises(BudgetExceededError):
        await ledger.usage.reserve(reserving("call-2", min_output_tokens=5), ADA)


async def test_a_repeat_gets_the_first_answer(ledger: UsageLedger) -> None:
    first = await ledger.usage.reserve(reserving(), ADA)
    ledger.clock.now_ms += 1_000
    assert await ledger.usage.reserve(reserving(), ADA) == first
    await ledger.usage.settle(settling(), ADA)
    assert (await ledger.usage.reserve(reserving(), ADA)).state == "settled"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": DEARER_MODEL},
        {"run_id": "another"},
        {"max_output_tokens": 21},
        {"min_output_tokens": 1},
        {"processing": "batch"},
        {"writes_cache": True},
        {"ttl_seconds": 60},
    ],
)
async def test_another_request_under_the_same_id_is_a_conflict(
    ledger: UsageLedger, changes: dict[str, Any]
) -> None:
    await ledger.usage.reserve(reserving(), ADA)
    with pytest.raises(EntryConflictError):
        await ledger.usage.reserve(reserving(**changes), ADA)
    with pytest.raises(EntryConflictError):
        await ledger.usage.reserve(reserving(), BOB)
    with pytest.raises(EntryConflictError):
        await ledger.usage.reserve_amount(holding("call-1"), ADA)


async def test_calls_draw_from_the_amount_of_their_run(ledger: UsageLedger) -> None:
    await ledger.limit(1_000)
    amount = await ledger.usage.reserve_amount(holding(), ADA)
    assert (amount.held_nano_usd, amount.is_amount) == (1_000, True)
    await ledger.usage.reserve(reserving(parent_reservation_id="run"), ADA)
    assert await ledger.left() == 0
    await ledger.usage.settle(settling(), ADA)
    assert (await ledger.usage.get("run", ADA)).spent_nano_usd == 200
    with pytest.raises(BudgetExceededError) as refused:
        await ledger.usage.reserve(
            reserving("call-2", parent_reservation_id="run", max_output_tokens=200), ADA
        )
    assert "budget_id" not in refused.value.metadata
    await ledger.usage.void("run", ADA)
    assert await ledger.left() == 800


async def test_a_parent_that_never_was_is_told(ledger: UsageLedger) -> None:
    with pytest.raises(ReservationNotFoundError) as refused:
        await ledger.usage.reserve(reserving(parent_reservation_id="none"), ADA)
    assert refused.value.metadata["reservation_id"] == "none"


async def test_a_hold_is_renewed_and_never_ends_earlier(ledger: UsageLedger) -> None:
    await ledger.usage.reserve(reserving(), ADA)
    renewed = await ledger.usage.renew(RenewRequest("call-1", 3_600), ADA)
    assert renewed.expires_at_ms == NOW_MS + 3_600_000
    assert await ledger.usage.renew(RenewRequest("call-1", 1), ADA) == renewed
    ledger.clock.now_ms += 3_600_000
    with pytest.raises(FailedPreconditionError) as refused:
        await ledger.usage.renew(RenewRequest("call-1", 1), ADA)
    assert refused.value.metadata["state"] == "expired"
    with pytest.raises(ReservationNotFoundError):
        await ledger.usage.renew(RenewRequest("none", 1), ADA)


async def test_voiding_twice_is_one_void(ledger: UsageLedger) -> None:
    await ledger.limit(1_000)
    await ledger.usage.reserve(reserving(), ADA)
    voided = await ledger.usage.void("call-1", ADA)
    assert voided.state == "voided"
    assert await ledger.usage.void("call-1", ADA) == voided
    assert await ledger.left() == 1_000
    with pytest.raises(ReservationNotFoundError):
        await ledger.usage.void("none", ADA)


async def test_what_was_settled_cannot_be_voided(ledger: UsageLedger) -> None:
    await ledger.usage.reserve(reserving(), ADA)
    await ledger.usage.settle(settling(), ADA)
    with pytest.raises(FailedPreconditionError):
        await ledger.usage.void("call-1", ADA)


async def test_the_hold_of_a_dead_caller_ends_by_itself(ledger: UsageLedger) -> None:
    await ledger.limit(400)
    await ledger.usage.reserve(reserving(ttl_seconds=60), ADA)
    ledger.clock.now_ms += 60_000
    assert (await ledger.usage.get("call-1", ADA)).state == "expired"
    await ledger.usage.reserve(reserving("call-2"), ADA)


@pytest.mark.parametrize(
    "changes",
    [
        {"reservation_id": ""},
        {"reservation_id": "r" * 257},
        {"reservation_id": "ü" * 129},
        {"reservation_id": "r\0"},
        {"reservation_id": "\ud800"},
        {"run_id": "r" * 129},
        {"model": ""},
        {"max_input_tokens": -1},
        {"max_input_tokens": MAX_TOKENS + 1},
        {"max_input_tokens": 1.0},
        {"max_output_tokens": 0},
        {"min_output_tokens": -1},
        {"ttl_seconds": -1},
        {"ttl_seconds": 86_401},
        {"processing": "Batch"},
        {"speed": "slow"},
    ],
)
async def test_a_request_that_cannot_be_is_refused(
    ledger: UsageLedger, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        await ledger.usage.reserve(reserving(**changes), ADA)


async def test_a_worst_case_beyond_what_can_be_added_up_is_refused(ledger: UsageLedger) -> None:
    ledger.prices.nano_usd_per_token["dear"] = 10**9
    with pytest.raises(InvalidArgumentError):
        await ledger.usage.reserve(reserving(model="dear", max_input_tokens=MAX_TOKENS), ADA)


async def test_a_tree_that_is_too_deep_is_refused(ledger: UsageLedger) -> None:
    above = ""
    for number in range(MAX_AMOUNTS_ABOVE + 1):
        await ledger.usage.reserve_amount(
            holding(f"run-{number}", parent_reservation_id=above), ADA
        )
        above = f"run-{number}"
    with pytest.raises(LimitExceededError, match="32 amounts at most"):
        await ledger.usage.reserve(reserving(parent_reservation_id=above), ADA)


@pytest.mark.parametrize("amount", [0, -1, MAX_LIMIT_NANO_USD + 1, 1.5])
async def test_an_amount_that_cannot_be_is_refused(ledger: UsageLedger, amount: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        await ledger.usage.reserve_amount(holding(amount_nano_usd=amount), ADA)


async def test_a_model_without_a_price_is_refused(ledger: UsageLedger) -> None:
    with pytest.raises(UnknownModelError):
        await ledger.usage.reserve(reserving(model="unheard-of"), ADA)


async def test_unicode_ids_are_told_apart(ledger: UsageLedger) -> None:
    # The same letter, composed and decomposed, and one that only looks alike.
    for reservation_id in ("\u00e9", "e\u0301", "\u0435", "😀" * 64):
        await ledger.usage.reserve(reserving(reservation_id, run_id=reservation_id[:32]), ADA)
        assert (await ledger.usage.get(reservation_id, ADA)).id == reservation_id


async def test_organizations_do_not_see_each_other(ledger: UsageLedger) -> None:
    await ledger.usage.reserve(reserving(), ADA)
    for ask in (
        ledger.usage.get("call-1", EVE),
        ledger.usage.void("call-1", EVE),
        ledger.usage.renew(RenewRequest("call-1", 60), EVE),
        ledger.usage.reserve(reserving("call-2", parent_reservation_id="call-1"), EVE),
    ):
        with pytest.raises(ReservationNotFoundError):
            await ask
    await ledger.usage.reserve(reserving(run_id="theirs"), EVE)
    assert (await ledger.usage.get("call-1", ADA)).run_id == "run"


async def test_each_operation_needs_the_permission(ledger: UsageLedger) -> None:
    for ask in (
        ledger.usage.reserve(reserving(), READER),
        ledger.usage.reserve_amount(holding(), READER),
        ledger.usage.renew(RenewRequest("call-1", 60), READER),
        ledger.usage.void("call-1", READER),
        ledger.usage.settle(settling(), READER),
        ledger.usage.get("call-1", READER),
    ):
        with pytest.raises(PermissionDeniedError):
            await ask


async def test_a_budget_of_a_day_takes_the_next_day(ledger: UsageLedger) -> None:
    await ledger.limit(400, window="day")
    await ledger.usage.reserve(reserving(), ADA)
    await ledger.usage.settle(settling(), ADA)
    with pytest.raises(BudgetExceededError):
        await ledger.usage.reserve(reserving("call-2"), ADA)
    ledger.clock.now_ms += DAY_MS
    await ledger.usage.reserve(reserving("call-2"), ADA)
