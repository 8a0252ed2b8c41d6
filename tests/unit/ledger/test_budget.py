from __future__ import annotations

from typing import Any

import pytest

from agent_executor.ledger.accounting.budget import BudgetPosition, BudgetStatus, Refusal
from agent_executor.ledger.money import NanoUsd
from tests.unit.ledger.accounting_samples import NOW_MS, budget


def status(
    budget_id: str,
    limit: int,
    settled: int = 0,
    reserved: int = 0,
    resets_at: int | None = None,
    **changes: Any,
) -> BudgetStatus:
    return BudgetStatus(
        budget(budget_id, limit, **changes), NanoUsd(settled), NanoUsd(reserved), resets_at
    )


@pytest.mark.parametrize(
    ("scope", "applies"),
    [
        ({}, True),
        ({"user_id": "ada"}, True),
        ({"user_id": "ada", "agent_id": "agent", "run_id": "run"}, True),
        ({"user_id": "bob"}, False),
        ({"user_id": "ada", "agent_id": "other"}, False),
        ({"run_id": "other"}, False),
    ],
)
def test_a_budget_applies_if_all_that_it_names_matches(
    scope: dict[str, Any], applies: bool
) -> None:
    assert budget(**scope).applies_to("ada", "agent", "run") is applies


def test_a_refusal_says_who_which_budget_what_is_left_and_when_it_resets() -> None:
    scope = {"user_id": "ada", "run_id": "run", "window": "day", "time_zone": "Europe/Berlin"}
    refusal = Refusal(status("team", 2_000, 1_500, 400, 10_000, **scope), NanoUsd(101))
    error = refusal.to_error(4_000)
    assert error.reason == "BUDGET_EXCEEDED"
    assert error.metadata == {
        "budget_id": "team",
        "user_id": "ada",
        "run_id": "run",
        "window": "day",
        "time_zone": "Europe/Berlin",
        "limit_nano_usd": "2000",
        "left_nano_usd": "100",
        "worst_case_nano_usd": "101",
        "resets_at_unix_ms": "10000",
    }
    assert error.retry_after_seconds == 6.0
    assert "'team' has $0.0000001 left of $0.000002" in error.message


def test_a_refusal_of_a_parent_says_which_and_what_is_left() -> None:
    error = Refusal(None, NanoUsd(101), "amount-1", 100, "run-1").to_error(4_000)
    assert error.reason == "BUDGET_EXCEEDED"
    assert error.metadata == {
        "parent_reservation_id": "amount-1",
        "left_nano_usd": "100",
        "worst_case_nano_usd": "101",
    }
    assert error.retry_after_seconds is None
    assert error.message == (
        "The run 'run-1' has $0.0000001 left of what it may cost; the call may cost $0.000000101."
    )


def test_waiting_is_not_advised_where_it_cannot_help() -> None:
    assert Refusal(status("all", 100), NanoUsd(101)).to_error(0).retry_after_seconds is None
    larger_than_limit = Refusal(status("all", 100, resets_at=10_000), NanoUsd(101))
    assert larger_than_limit.to_error(0).retry_after_seconds is None


@pytest.mark.parametrize(
    ("settled", "reserved", "left_before", "alerted", "expected"),
    [
        (499, 0, 1, 0, []),
        (500, 0, 1, 0, [50]),
        (500, 0, 1, 50, []),
        (1_000, 0, 1, 50, [80, 100]),
        (0, 1_001, 0, 0, ["overrun"]),
        (0, 1_001, -1, 0, []),
        (0, 1_002, -1, 0, ["overrun"]),
        (0, 1_000, 5, 0, []),
        (1_001, 0, 5, 0, [50, 80, 100, "overrun"]),
        (-1, 0, 5, 0, []),
    ],
)
def test_what_happens_when_a_budget_moves(
    settled: int, reserved: int, left_before: int, alerted: int, expected: list[int | str]
) -> None:
    position = BudgetPosition(budget(alert_percents=(50, 80, 100)), 0, settled, reserved)
    events = position.events(left_before, alerted, "entry", NOW_MS)
    assert [one.percent or one.kind for one in events] == expected


def test_a_limit_of_zero_is_overrun_and_has_no_parts() -> None:
    position = BudgetPosition(budget(limit_nano_usd=0, alert_percents=(50,)), 0, 1, 0)
    assert [one.kind for one in position.events(0, 0, "", NOW_MS)] == ["overrun"]
