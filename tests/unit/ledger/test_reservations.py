from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agent_executor.errors import (
    EntryConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    ReservationNotFoundError,
    UnknownModelError,
)
from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store_memory import MemoryLedgerStore
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenUsage
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.usage.reservations import Reservations
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from tests.unit.ledger.samples import (
    ADA,
    BOB,
    CARD,
    DAY_MS,
    DEARER_MODEL,
    EVE,
    MODEL,
    NOW_MS,
    Clock,
    PriceList,
    budget,
    card,
    reserve_request,
    settle_request,
)

READER = SecurityContext("acme", "ada", frozenset({"ledger:read", "ledger:admin"}))


class Ledger:
    """The use case on a store in memory, with what a test looks at."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.prices = PriceList()
        self.store = MemoryLedgerStore()
        self.registry = CollectorRegistry()
        self.reservations = Reservations(
            self.store,
            RateCards(self.store, resolve=self.prices.resolve),
            self.clock,
            Metrics(self.registry),
        )

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"agent_executor_{name}_total", labels)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def reserved(ledger: Ledger, **changes: object) -> Reservation:
    answer = await ledger.reservations.reserve(reserve_request(**changes), ADA)  # type: ignore[arg-type]  # fields of any type
    assert isinstance(answer, Reservation)
    return answer


async def test_the_worst_case_is_held(ledger: Ledger) -> None:
    reservation = await reserved(ledger)
    assert reservation.held_nano_usd == 100 + 20 * 5
    assert reservation.rate_card_id == CARD.id
    assert (reservation.organization_id, reservation.user_id) == ("acme", "ada")
    assert reservation.state == "open"
    assert reservation.created_at_ms == NOW_MS
    assert reservation.expires_at_ms == NOW_MS + 900_000
    written = await reserved(ledger, reservation_id="w", writes_cache=True, ttl_seconds=5)
    assert written.held_nano_usd == 100 * 3 + 20 * 5
    assert written.expires_at_ms == NOW_MS + 5_000


async def test_what_was_used_is_recorded_and_the_hold_is_freed(ledger: Ledger) -> None:
    await reserved(ledger)
    ledger.clock.now_ms += 3
    entry = await ledger.reservations.settle(settle_request(is_test=True, attempt=2), ADA)
    assert entry.cost_nano_usd == 50 + 10 * 5
    assert (entry.id, entry.reservation_id, entry.kind) == ("call-1", "call-1", "model_call")
    assert (entry.user_id, entry.agent_id, entry.run_id) == ("ada", "agent", "run")
    assert (entry.rate_card_id, entry.model) == (CARD.id, MODEL)
    assert (entry.is_test, entry.estimated, entry.attempt) == (True, False, 2)
    assert entry.created_at_ms == NOW_MS + 3
    assert entry.reservation_outcome == "open"
    assert (await ledger.reservations.get("call-1", ADA)).state == "settled"


async def test_a_refusal_is_an_answer(ledger: Ledger) -> None:
    await ledger.store.put_budget(budget(limit_nano_usd=199), NOW_MS)
    answer = await ledger.reservations.reserve(reserve_request(), ADA)
    assert isinstance(answer, Refusal)
    assert answer.status.budget.id == "all"
    assert answer.worst_case_nano_usd == 200
    with pytest.raises(ReservationNotFoundError):
        await ledger.reservations.get("call-1", ADA)
    assert ledger.count("reservations", outcome="refused") == 1
    assert ledger.count("reservations", outcome="admitted") is None


async def test_a_repeated_reserve_is_the_same_reservation(ledger: Ledger) -> None:
    await ledger.store.put_budget(budget(limit_nano_usd=250), NOW_MS)
    first = await reserved(ledger)
    ledger.clock.now_ms += 10
    # It is told as it stands, also where a second one would not fit.
    assert await reserved(ledger) == first
    await ledger.reservations.settle(settle_request(), ADA)
    assert (await reserved(ledger)).state == "settled"


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "other"},
        {"agent_id": "other"},
        {"model": DEARER_MODEL},
        {"max_input_tokens": 101},
        {"max_output_tokens": 21},
        {"writes_cache": True},
        {"ttl_seconds": 1},
    ],
)
async def test_the_same_id_for_another_call_is_a_conflict(
    ledger: Ledger, changes: dict[str, Any]
) -> None:
    first = await reserved(ledger)
    with pytest.raises(EntryConflictError):
        await reserved(ledger, **changes)
    assert await ledger.reservations.get("call-1", ADA) == first


async def test_the_same_id_of_another_user_is_a_conflict(ledger: Ledger) -> None:
    await reserved(ledger)
    with pytest.raises(EntryConflictError):
        await ledger.reservations.reserve(reserve_request(), BOB)


async def test_a_repeated_settle_is_the_same_entry(ledger: Ledger) -> None:
    await reserved(ledger)
    first = await ledger.reservations.settle(settle_request(), ADA)
    ledger.clock.now_ms += DAY_MS
    ledger.prices.cards[MODEL] = card(MODEL, 7)
    assert await ledger.reservations.settle(settle_request(), ADA) == first
    assert ledger.count("usage_entries", model="test/model-1", reservation="open") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": TokenUsage(50, 11)},
        {"run_id": "other"},
        {"agent_id": "other"},
        {"model": DEARER_MODEL},
        {"reservation_id": ""},
        {"estimated": True},
        {"is_test": True},
        {"attempt": 2},
    ],
)
async def test_the_same_entry_id_for_another_call_is_a_conflict(
    ledger: Ledger, changes: dict[str, Any]
) -> None:
    first = await ledger.reservations.settle(settle_request(), ADA)
    with pytest.raises(EntryConflictError):
        await ledger.reservations.settle(settle_request(**changes), ADA)
    assert await ledger.reservations.settle(settle_request(), ADA) == first


async def test_a_call_is_priced_as_it_was_held(ledger: Ledger) -> None:
    ledger.clock.now_ms = NOW_MS - NOW_MS % DAY_MS + DAY_MS - 1
    await reserved(ledger)
    ledger.clock.now_ms += 2
    ledger.prices.cards[MODEL] = card(MODEL, 7)
    entry = await ledger.reservations.settle(settle_request(), ADA)
    assert (entry.cost_nano_usd, entry.rate_card_id) == (100, CARD.id)
    late = await ledger.reservations.settle(settle_request("x", reservation_id=""), ADA)
    assert late.cost_nano_usd == 700


async def test_another_model_than_the_one_held_for_is_priced_as_itself(ledger: Ledger) -> None:
    await reserved(ledger)
    entry = await ledger.reservations.settle(settle_request(model=DEARER_MODEL), ADA)
    assert entry.cost_nano_usd == 1_000


@pytest.mark.parametrize(
    ("reservation_id", "outcome"), [("", "none"), ("nobody-made-it", "unknown")]
)
async def test_usage_without_a_hold_counts(
    ledger: Ledger, reservation_id: str, outcome: str
) -> None:
    entry = await ledger.reservations.settle(settle_request(reservation_id=reservation_id), ADA)
    assert (entry.cost_nano_usd, entry.reservation_outcome) == (100, outcome)


async def test_usage_after_a_hold_has_ended_counts_and_says_so(ledger: Ledger) -> None:
    await reserved(ledger, reservation_id="expired", ttl_seconds=1)
    await reserved(ledger, reservation_id="voided")
    await reserved(ledger, reservation_id="settled")
    await ledger.reservations.void("voided", ADA)
    await ledger.reservations.settle(settle_request(reservation_id="settled"), ADA)
    ledger.clock.now_ms += 1_000
    for state in ("expired", "voided", "settled"):
        entry = await ledger.reservations.settle(
            settle_request(f"late-{state}", reservation_id=state), ADA
        )
        assert (entry.cost_nano_usd, entry.reservation_outcome) == (100, state)
        assert (await ledger.reservations.get(state, ADA)).state == state
        assert ledger.count("usage_entries", model="test/model-1", reservation=state) == 1


async def test_a_void_frees_the_hold_and_is_idempotent(ledger: Ledger) -> None:
    await ledger.store.put_budget(budget(limit_nano_usd=200), NOW_MS)
    await reserved(ledger)
    voided = await ledger.reservations.void("call-1", ADA)
    assert voided.state == "voided"
    assert await ledger.reservations.void("call-1", ADA) == voided
    await reserved(ledger, reservation_id="call-2")


async def test_an_expired_hold_is_free_again(ledger: Ledger) -> None:
    await ledger.store.put_budget(budget(limit_nano_usd=200), NOW_MS)
    await reserved(ledger, ttl_seconds=60)
    ledger.clock.now_ms += 59_999
    assert isinstance(await ledger.reservations.reserve(reserve_request("call-2"), ADA), Refusal)
    ledger.clock.now_ms += 1
    await reserved(ledger, reservation_id="call-2")
    assert (await ledger.reservations.get("call-1", ADA)).state == "expired"
    assert (await ledger.reservations.void("call-1", ADA)).state == "expired"


async def test_a_settled_reservation_cannot_be_voided(ledger: Ledger) -> None:
    await reserved(ledger)
    await ledger.reservations.settle(settle_request(), ADA)
    with pytest.raises(FailedPreconditionError):
        await ledger.reservations.void("call-1", ADA)


async def test_an_organization_does_not_see_the_reservations_of_another(ledger: Ledger) -> None:
    await reserved(ledger)
    for method in (ledger.reservations.get, ledger.reservations.void):
        with pytest.raises(ReservationNotFoundError):
            await method("call-1", EVE)
    entry = await ledger.reservations.settle(settle_request(), EVE)
    assert entry.reservation_outcome == "unknown"
    assert (await ledger.reservations.get("call-1", ADA)).state == "open"


@pytest.mark.parametrize(
    "call",
    [
        lambda it: it.reserve(reserve_request(), READER),
        lambda it: it.settle(settle_request(), READER),
        lambda it: it.void("call-1", READER),
        lambda it: it.get("call-1", READER),
    ],
)
async def test_each_needs_the_permission_to_write(
    ledger: Ledger, call: Callable[[Reservations], Awaitable[object]]
) -> None:
    with pytest.raises(PermissionDeniedError) as denied:
        await call(ledger.reservations)
    assert denied.value.metadata == {"permission": "ledger:write"}


@pytest.mark.parametrize(
    "changes",
    [
        {"reservation_id": ""},
        {"reservation_id": "x" * 257},
        {"max_input_tokens": -1},
        {"max_input_tokens": MAX_TOKENS + 1},
        {"max_input_tokens": 1.5},
        {"max_output_tokens": 0},
        {"max_output_tokens": MAX_TOKENS + 1},
        {"ttl_seconds": -1},
        {"ttl_seconds": 86_401},
    ],
)
async def test_a_hold_that_cannot_be_is_refused(ledger: Ledger, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        await reserved(ledger, **changes)


@pytest.mark.parametrize("changes", [{"entry_id": ""}, {"attempt": 0}, {"attempt": "1"}])
async def test_a_settlement_that_cannot_be_is_refused(
    ledger: Ledger, changes: dict[str, Any]
) -> None:
    request = msgspec.structs.replace(settle_request(), **changes)
    with pytest.raises(InvalidArgumentError):
        await ledger.reservations.settle(request, ADA)


async def test_a_model_without_a_price_is_refused(ledger: Ledger) -> None:
    with pytest.raises(UnknownModelError):
        await reserved(ledger, model="unknown")
    with pytest.raises(UnknownModelError):
        await ledger.reservations.settle(settle_request(model="unknown"), ADA)


async def test_the_largest_call_is_held_exactly(ledger: Ledger) -> None:
    reservation = await reserved(
        ledger, max_input_tokens=MAX_TOKENS, max_output_tokens=MAX_TOKENS, writes_cache=True
    )
    assert reservation.held_nano_usd == MAX_TOKENS * 8


async def test_entries_are_counted(ledger: Ledger) -> None:
    await reserved(ledger)
    await ledger.reservations.settle(settle_request(usage=TokenUsage(50, 10, 0, 0, 3)), ADA)
    model = "test/model-1"
    assert ledger.count("reservations", outcome="admitted") == 1
    assert ledger.count("usage_cost_nano_usd", model=model) == 50 + 50 + 9
    assert ledger.count("usage_tokens", model=model, kind="output_tokens") == 10
    kind = "cache_creation_input_tokens_1h"
    assert ledger.count("usage_tokens", model=model, kind=kind) == 3
    assert ledger.count("usage_tokens", model=model, kind="cache_read_input_tokens") is None


async def test_an_overrun_is_counted_and_logged(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.store.put_budget(budget(limit_nano_usd=99), NOW_MS)
    await ledger.reservations.settle(settle_request(), ADA)
    assert ledger.count("budget_overruns") == 1
    assert "budget all is 1 nano-dollars over its limit after the entry call-1" in caplog.text
