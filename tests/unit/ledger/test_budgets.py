from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import (
    BudgetNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from agent_executor.ledger.budgets.budgets import Budgets, PutBudget
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD
from agent_executor.serving.security import SecurityContext
from tests.unit.ledger.usage_ledger import (
    ADA,
    EVE,
    NOW_MS,
    UsageLedger,
    reserving,
    settling,
)

READER = SecurityContext("acme", "ada", frozenset({"ledger:read"}))
WRITER = SecurityContext("acme", "ada", frozenset({"ledger:write"}))


@pytest.fixture
def ledger() -> UsageLedger:
    return UsageLedger()


@pytest.fixture
def budgets(ledger: UsageLedger) -> Budgets:
    return Budgets(ledger.store, ledger.clock, ledger.metrics)


def team(limit_nano_usd: Any = 500, budget_id: str = "team", **changes: Any) -> PutBudget:
    return PutBudget(budget_id, limit_nano_usd, **changes)


async def test_a_budget_is_stored_and_read(budgets: Budgets) -> None:
    stored = await budgets.put(team(window="day", agent_id="agent"), ADA)
    assert stored.budget.organization_id == "acme"
    assert (stored.budget.window, stored.budget.agent_id) == ("day", "agent")
    assert (stored.budget.time_zone, stored.budget.alert_percents) == ("UTC", ())
    assert stored.left_nano_usd == 500
    assert await budgets.get("team", ADA) == stored
    assert (await budgets.list(ADA)).budgets == (stored,)


async def test_a_new_limit_keeps_what_was_spent_and_held(
    budgets: Budgets, ledger: UsageLedger
) -> None:
    await budgets.put(team(), ADA)
    await ledger.usage.reserve(reserving(), ADA)
    await ledger.usage.settle(settling("call-2"), ADA)
    raised = await budgets.put(team(1_000, alert_percents=(90,)), ADA)
    assert (raised.settled_nano_usd, raised.reserved_nano_usd, raised.left_nano_usd) == (
        200,
        400,
        400,
    )
    assert raised.budget.alert_percents == (90,)


async def test_a_limit_below_what_is_gone_is_an_overrun(
    budgets: Budgets, ledger: UsageLedger, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.usage.settle(settling(), ADA)
    status = await budgets.put(team(190), ADA)
    assert status.left_nano_usd == -10
    assert ledger.count("budget_overruns") == 1
    assert "10 nano-dollars over its limit after its limit was lowered" in caplog.text
    (event,) = (await budgets.events(ADA)).events
    assert (event.kind, event.entry_id, event.created_at_ms) == ("overrun", "", NOW_MS)


async def test_a_day_is_that_of_the_time_zone(budgets: Budgets) -> None:
    status = await budgets.put(team(window="day", time_zone="Asia/Kathmandu"), ADA)
    # 10:00 UTC is 15:45 there, so there are 8 hours and 15 minutes to its midnight.
    assert status.resets_at_ms == NOW_MS + (8 * 60 + 15) * 60_000


async def test_alerts_are_told_once_a_window_and_listed_newest_first(
    budgets: Budgets, ledger: UsageLedger
) -> None:
    await budgets.put(team(1_000, alert_percents=(60, 20)), ADA)
    await budgets.put(team(100_000, budget_id="other", alert_percents=(1,)), ADA)
    for number in range(4):
        await ledger.usage.settle(settling(f"call-{number}"), ADA)
    page = await budgets.events(ADA, budget_id="team")
    assert [(event.percent, event.entry_id) for event in page.events] == [
        (60, "call-2"),
        (20, "call-0"),
    ]
    assert (await budgets.events(EVE)).events == ()
    seen, token = [], ""
    while True:
        page = await budgets.events(ADA, page_size=1, page_token=token)
        seen += [event.budget_id for event in page.events]
        token = page.next_page_token
        if not token:
            break
    assert sorted(seen) == ["team", "team"]
    first = await budgets.events(ADA, page_size=1)
    for asker, budget_id in ((ADA, "team"), (EVE, "")):
        with pytest.raises(InvalidArgumentError):
            await budgets.events(asker, budget_id=budget_id, page_token=first.next_page_token)


@pytest.mark.parametrize(
    "changes",
    [
        {"window": "day"},
        {"user_id": "ada"},
        {"agent_id": "a"},
        {"run_id": "r"},
        {"time_zone": "Europe/Berlin"},
    ],
)
async def test_a_budget_does_not_change_what_it_covers(
    budgets: Budgets, changes: dict[str, Any]
) -> None:
    first = await budgets.put(team(), ADA)
    with pytest.raises(FailedPreconditionError):
        await budgets.put(team(600, **changes), ADA)
    assert await budgets.get("team", ADA) == first


async def test_a_deleted_budget_is_gone(budgets: Budgets) -> None:
    await budgets.put(team(), ADA)
    await budgets.delete("team", ADA)
    with pytest.raises(BudgetNotFoundError):
        await budgets.get("team", ADA)
    with pytest.raises(BudgetNotFoundError):
        await budgets.delete("team", ADA)


async def test_an_organization_does_not_see_the_budgets_of_another(budgets: Budgets) -> None:
    await budgets.put(team(), ADA)
    with pytest.raises(BudgetNotFoundError):
        await budgets.get("team", EVE)
    with pytest.raises(BudgetNotFoundError):
        await budgets.delete("team", EVE)
    assert (await budgets.list(EVE)).budgets == ()


async def test_pages_follow_each_other(budgets: Budgets) -> None:
    names = [f"b{number}" for number in range(5)]
    for name in reversed(names):
        await budgets.put(team(1, name), ADA)
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
    "asked",
    [
        team(budget_id=""),
        team(budget_id="Upper"),
        team(budget_id="a" * 65),
        team(budget_id="a\n"),
        team(-1),
        team(MAX_LIMIT_NANO_USD + 1),
        team(1.0),
        team(True),
        team(window="week"),
        team(window=""),
        team(user_id="u" * 129),
        team(agent_id="a\0"),
        team(time_zone="Mars/Olympus"),
        team(time_zone="localtime"),
        team(time_zone="../../etc/passwd"),
        team(alert_percents=(0,)),
        team(alert_percents=(101,)),
        team(alert_percents=(50, 50)),
        team(alert_percents=(1.5,)),
        team(alert_percents=tuple(range(1, 12))),
    ],
)
async def test_what_cannot_be_is_refused(budgets: Budgets, asked: PutBudget) -> None:
    with pytest.raises(InvalidArgumentError):
        await budgets.put(asked, ADA)
    assert (await budgets.list(ADA)).budgets == ()


async def test_permissions(budgets: Budgets) -> None:
    for nobody in (READER, WRITER):
        with pytest.raises(PermissionDeniedError):
            await budgets.put(team(), nobody)
        with pytest.raises(PermissionDeniedError):
            await budgets.delete("team", nobody)
    with pytest.raises(PermissionDeniedError):
        await budgets.get("team", WRITER)
    with pytest.raises(PermissionDeniedError):
        await budgets.list(WRITER)
    with pytest.raises(PermissionDeniedError):
        await budgets.events(WRITER)
    assert (await budgets.list(READER)).budgets == ()
