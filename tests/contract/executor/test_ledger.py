"""What the executor may rely on from every ledger: the tests' own, the library's, the service."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agent_executor.api.ledger.v1 import budget_service_pb2
from agent_executor.embedded.peers import InProcessLedger
from agent_executor.errors import (
    BudgetExceededError,
    EntryConflictError,
    FailedPreconditionError,
    ReservationNotFoundError,
    UsageEntryNotFoundError,
)
from agent_executor.executor.model_calls.purpose import CallPurpose, ToolUse
from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.peers.ledger import (
    AmountHold,
    Correction,
    FoundHold,
    Hold,
    Ledger,
    Settlement,
)
from agent_executor.executor.peers.ledger_grpc import GrpcLedger
from agent_executor.ledger.accounting.budget import Budget
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger as LedgerInMemory
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from agent_executor.ledger.usage.usage import Usage
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from tests.integration.ledger.running_ledger import running_ledger
from tests.unit.executor.memory_ledger import MemoryLedger

MODEL = "claude-sonnet-4-20250514"
BUDGET = "everything"
ADA = SecurityContext("acme", "ada", frozenset({"*"}))
INPUT_TOKENS, OUTPUT_TOKENS = 1_000, 100


@dataclass(frozen=True, slots=True)
class Books:
    """A ledger and what a test needs to know of it.

    Attributes:
        ledger: The ledger.
        limit: Sets the budget of the whole organization, in nano-US-dollars.
        input_nano_usd: What an input token costs.
        output_nano_usd: What an output token costs.
    """

    ledger: Ledger
    limit: Callable[[int], Awaitable[None]]
    input_nano_usd: int
    output_nano_usd: int

    def worst(self, output_tokens: int = OUTPUT_TOKENS) -> int:
        """What a call with the usual input may cost."""
        return INPUT_TOKENS * self.input_nano_usd + output_tokens * self.output_nano_usd


@pytest.fixture(params=["memory", "in process", "service"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Books]:
    """Yields each ledger, empty."""
    if request.param == "memory":
        memory = MemoryLedger()

        async def set_limit(limit_nano_usd: int) -> None:
            memory.limit_nano_usd = limit_nano_usd

        yield Books(memory, set_limit, 3, 3)
    elif request.param == "in process":
        store = MemoryAccountingStore(LedgerInMemory())
        metrics = Metrics(CollectorRegistry())
        cards = RateCards(store, OrganizationPrices(MemoryOrganizationCardStore()), metrics)

        async def put_budget(limit_nano_usd: int) -> None:
            budget = Budget(BUDGET, "acme", NanoUsd(limit_nano_usd))
            await store.put_budget(budget, int(time.time() * 1000))

        usage = Usage(store, cards, time.time, metrics)
        yield Books(InProcessLedger(usage), put_budget, 3_000, 15_000)
    else:
        async with running_ledger(tmp_path) as running:

            async def ask_for_budget(limit_nano_usd: int) -> None:
                limit = budget_service_pb2.PutBudgetRequest(
                    budget_id=BUDGET, limit_usd=limit_nano_usd / 1e9
                )
                await running.ask("PutBudget", limit, "ledger:admin")

            ledger = GrpcLedger(running.stream, running.service_key)
            yield Books(ledger, ask_for_budget, 3_000, 15_000)


def hold(key: str = "call", *, amount_id: str = "", least: int = 0) -> Hold:
    return Hold(
        key,
        "agent",
        "run",
        MODEL,
        INPUT_TOKENS,
        OUTPUT_TOKENS,
        60,
        min_output_tokens=least,
        amount_id=amount_id,
    )


def settlement(key: str = "call") -> Settlement:
    return Settlement(
        key,
        "agent",
        "run",
        MODEL,
        ModelUsage(10, 5),
        attempt=2,
        purpose=CallPurpose("digest", 1, 2, is_background=True),
        tool_uses=(ToolUse("run_1_0", "calculator", "digest"),),
    )


async def test_a_hold_gives_the_whole_output_or_what_fits(books: Books) -> None:
    ledger = books.ledger
    assert await ledger.reserve(hold("plain"), ADA) == OUTPUT_TOKENS
    await ledger.void("plain", ADA)
    await books.limit(books.worst(40))
    assert await ledger.reserve(hold("less", least=10), ADA) == 40
    assert await ledger.reserve(hold("less", least=10), ADA) == 40, "a repeat gets the first answer"
    assert await ledger.find_hold("less", ADA) == FoundHold(books.worst(40))
    assert await ledger.find_hold("never", ADA) is None


async def test_a_hold_is_found_after_its_end_too(books: Books) -> None:
    ledger, amount = books.ledger, AmountHold("run", "agent", "run", 3 * books.worst(), 60)
    await ledger.reserve_amount(amount, ADA)
    await ledger.reserve(hold("one", amount_id="run"), ADA)
    cost = await ledger.settle(settlement("one"), ADA)
    await ledger.void("run", ADA)
    assert await ledger.find_hold("one", ADA) == FoundHold(books.worst())
    assert await ledger.find_hold("run", ADA) == FoundHold(amount.amount_nano_usd, cost)


async def test_a_call_that_may_write_the_cache_is_held_at_a_dearer_rate(books: Books) -> None:
    await books.limit(books.worst())
    await books.ledger.reserve(hold(), ADA)
    await books.ledger.void("call", ADA)
    caching = msgspec.structs.replace(hold("caching"), writes_cache=True)
    with pytest.raises(BudgetExceededError):
        await books.ledger.reserve(caching, ADA)
    await books.limit(2 * books.worst())
    assert await books.ledger.reserve(caching, ADA) == OUTPUT_TOKENS


async def test_a_budget_that_refuses_is_named(books: Books) -> None:
    await books.limit(books.worst() - 1)
    with pytest.raises(BudgetExceededError) as refusal:
        await books.ledger.reserve(hold(), ADA)
    assert refusal.value.metadata["budget_id"] == BUDGET
    assert await books.ledger.find_hold("call", ADA) is None
    await books.limit(books.worst())
    assert await books.ledger.reserve(hold(), ADA) == OUTPUT_TOKENS, "the id is free still"


async def test_calls_draw_from_an_amount_and_no_further(books: Books) -> None:
    ledger = books.ledger
    amount = AmountHold("run", "agent", "run", books.worst() + books.worst() // 2, 60)
    await ledger.reserve_amount(amount, ADA)
    await ledger.reserve_amount(amount, ADA)
    await books.limit(amount.amount_nano_usd)
    await ledger.reserve(hold("one", amount_id="run"), ADA)
    with pytest.raises(BudgetExceededError) as refusal:
        await ledger.reserve(hold("two", amount_id="run"), ADA)
    assert not refusal.value.metadata.get("budget_id"), "it is no budget that refuses"
    await ledger.settle(settlement("one"), ADA)
    await ledger.reserve(hold("two", amount_id="run"), ADA)
    await ledger.void("two", ADA)
    child = AmountHold("child", "agent", "child", books.worst(), 60, "run")
    await ledger.reserve_amount(child, ADA)
    await ledger.void("child", ADA)
    await ledger.void("run", ADA)
    with pytest.raises(BudgetExceededError):
        await ledger.reserve(hold("three", amount_id="run"), ADA)
    await ledger.reserve(hold("four"), ADA)


async def test_an_amount_that_never_was_is_not_found(books: Books) -> None:
    with pytest.raises(ReservationNotFoundError):
        await books.ledger.reserve(hold(amount_id="nobody's"), ADA)
    with pytest.raises(ReservationNotFoundError):
        await books.ledger.renew("nobody's", 60, ADA)
    with pytest.raises(ReservationNotFoundError):
        await books.ledger.void("nobody's", ADA)


async def test_an_open_hold_can_be_renewed_and_an_ended_one_cannot(books: Books) -> None:
    ledger = books.ledger
    await ledger.reserve_amount(AmountHold("run", "agent", "run", 5, 60), ADA)
    await ledger.renew("run", 600, ADA)
    await ledger.void("run", ADA)
    with pytest.raises(FailedPreconditionError):
        await ledger.renew("run", 600, ADA)
    with pytest.raises(FailedPreconditionError):
        await ledger.reserve_amount(AmountHold("run", "agent", "run", 5, 60), ADA)


async def test_an_id_is_used_for_one_thing(books: Books) -> None:
    ledger = books.ledger
    await ledger.reserve(hold(), ADA)
    with pytest.raises(EntryConflictError):
        await ledger.reserve(msgspec.structs.replace(hold(), max_input_tokens=1), ADA)
    await ledger.void("call", ADA)
    with pytest.raises(FailedPreconditionError):
        await ledger.reserve(hold(), ADA)


async def test_a_settlement_counts_once(books: Books) -> None:
    ledger = books.ledger
    await ledger.reserve(hold(), ADA)
    cost = 10 * books.input_nano_usd + 5 * books.output_nano_usd
    assert await ledger.settle(settlement(), ADA) == cost
    assert await ledger.settle(settlement(), ADA) == cost
    await books.limit(cost + books.worst())
    await ledger.reserve(hold("next"), ADA)
    with pytest.raises(EntryConflictError):
        await ledger.settle(msgspec.structs.replace(settlement(), usage=ModelUsage(9, 5)), ADA)


async def test_a_call_without_a_hold_is_settled_too(books: Books) -> None:
    unheld = msgspec.structs.replace(settlement(), is_held=False, purpose=None)
    assert await books.ledger.settle(unheld, ADA) > 0


async def test_a_correction_is_the_difference_and_counts_once(books: Books) -> None:
    ledger = books.ledger
    correction = Correction("call_corrected", "call", ModelUsage(10, 7), "late")
    with pytest.raises(UsageEntryNotFoundError):
        await ledger.correct(correction, ADA)
    await ledger.settle(settlement(), ADA)
    assert await ledger.correct(correction, ADA) == 2 * books.output_nano_usd
    assert await ledger.correct(correction, ADA) == 2 * books.output_nano_usd
