from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agent_executor.errors import (
    BudgetNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from agent_executor.ledger.accounting.store_memory import MemoryLedgerStore
from agent_executor.ledger.budgets.budgets import Budgets
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD, NanoUsd
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from tests.unit.ledger.samples import ADA, CARD, EVE, Clock, hold, settlement

READER = SecurityContext("acme", "ada", frozenset({"ledger:read"}))
WRITER = SecurityContext("acme", "ada", frozenset({"ledger:write"}))


@pytest.fixture
def store() -> MemoryLedgerStore:
    return MemoryLedgerStore()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def budgets(store: MemoryLedgerStore, registry: CollectorRegistry) -> Budgets:
    return Budgets(store, Clock(), Metrics(registry))


async def test_a_budget_is_stored_and_read(budgets: Budgets) -> None:
    stored = await budgets.put("team", NanoUsd(500), ADA, window="day", agent_id="agent")
    assert stored.budget.organization_id == "acme"
    assert (stored.budget.window, stored.budget.agent_id) == ("day", "agent")
    assert stored.left_nano_usd == 500
    assert await budgets.get("team", ADA) == stored
    assert (await budgets.list(ADA)).budgets == (stored,)


async def test_a_new_limit_keeps_what_was_spent_and_held(
    budgets: Budgets, store: MemoryLedgerStore
) -> None:
    await budgets.put("team", NanoUsd(500), ADA)
    await store.reserve(hold("held"))
    await store.settle(settlement("spent", reservation_id=""), CARD, hold().created_at_ms)
    raised = await budgets.put("team", NanoUsd(1_000), ADA)
    assert (raised.settled_nano_usd, raised.reserved_nano_usd, raised.left_nano_usd) == (
        100,
        200,
        700,
    )


async def test_a_limit_below_what_is_gone_is_an_overrun(
    budgets: Budgets,
    store: MemoryLedgerStore,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await store.settle(settlement(reservation_id=""), CARD, hold().created_at_ms)
    status = await budgets.put("team", NanoUsd(90), ADA)
    assert status.left_nano_usd == -10
    assert registry.get_sample_value("agent_executor_budget_overruns_total") == 1
    assert "10 nano-dollars over its limit after its limit was lowered" in caplog.text


@pytest.mark.parametrize(
    "changes", [{"window": "day"}, {"user_id": "ada"}, {"agent_id": "a"}, {"run_id": "r"}]
)
async def test_a_budget_does_not_change_what_it_covers(
    budgets: Budgets, changes: dict[str, Any]
) -> None:
    first = await budgets.put("team", NanoUsd(500), ADA)
    with pytest.raises(FailedPreconditionError):
        await budgets.put("team", NanoUsd(600), ADA, **changes)
    assert await budgets.get("team", ADA) == first


async def test_a_deleted_budget_is_gone(budgets: Budgets) -> None:
    await budgets.put("team", NanoUsd(500), ADA)
    await budgets.delete("team", ADA)
    with pytest.raises(BudgetNotFoundError):
        await budgets.get("team", ADA)
    with pytest.raises(BudgetNotFoundError):
        await budgets.delete("team", ADA)


async def test_an_organization_does_not_see_the_budgets_of_another(budgets: Budgets) -> None:
    await budgets.put("team", NanoUsd(500), ADA)
    with pytest.raises(BudgetNotFoundError):
        await budgets.get("team", EVE)
    with pytest.raises(BudgetNotFoundError):
        await budgets.delete("team", EVE)
    assert (await budgets.list(EVE)).budgets == ()


async def test_pages_follow_each_other(budgets: Budgets) -> None:
    names = [f"b{number}" for number in range(5)]
    for name in reversed(names):
        await budgets.put(name, NanoUsd(1), ADA)
    seen, token = [], ""
    while True:
        page = await budgets.list(ADA, page_size=2, page_token=token)
        seen += [status.budget.id for status in page.budgets]
        token = page.next_page_token
        if not token:
            break
    assert seen == names
    first = await budgets.list(ADA, page_size=2)
    with pytest.raises(InvalidArgumentError):
        await budgets.list(EVE, page_token=first.next_page_token)


@pytest.mark.parametrize(
    ("budget_id", "limit", "window"),
    [
        ("", 1, "total"),
        ("Upper", 1, "total"),
        ("a" * 65, 1, "total"),
        ("a\n", 1, "total"),
        ("a", -1, "total"),
        ("a", MAX_LIMIT_NANO_USD + 1, "total"),
        ("a", 1.0, "total"),
        ("a", True, "total"),
        ("a", 1, "week"),
        ("a", 1, ""),
    ],
)
async def test_what_cannot_be_is_refused(
    budgets: Budgets, budget_id: str, limit: Any, window: Any
) -> None:
    with pytest.raises(InvalidArgumentError):
        await budgets.put(budget_id, limit, ADA, window=window)


async def test_permissions(budgets: Budgets) -> None:
    for nobody in (READER, WRITER):
        with pytest.raises(PermissionDeniedError):
            await budgets.put("team", NanoUsd(1), nobody)
        with pytest.raises(PermissionDeniedError):
            await budgets.delete("team", nobody)
    with pytest.raises(PermissionDeniedError):
        await budgets.get("team", WRITER)
    with pytest.raises(PermissionDeniedError):
        await budgets.list(WRITER)
    assert (await budgets.list(READER)).budgets == ()
