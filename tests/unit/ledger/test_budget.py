from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent_executor.ledger.accounting.budget import (
    BudgetStatus,
    Refusal,
    Window,
    refuse,
    window_end_ms,
    window_start_ms,
)
from agent_executor.ledger.money import NanoUsd
from tests.unit.ledger.samples import budget


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def status(
    budget_id: str, limit: int, settled: int = 0, reserved: int = 0, resets_at: int | None = None
) -> BudgetStatus:
    return BudgetStatus(budget(budget_id, limit), NanoUsd(settled), NanoUsd(reserved), resets_at)


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        ("day", "2026-02-23T10:00", "2026-02-23", "2026-02-24"),
        ("day", "2026-02-28T23:59:59.999", "2026-02-28", "2026-03-01"),
        ("day", "2026-03-01T00:00", "2026-03-01", "2026-03-02"),
        ("month", "2026-02-23T10:00", "2026-02-01", "2026-03-01"),
        ("month", "2024-02-29T10:00", "2024-02-01", "2024-03-01"),
        ("month", "2026-12-31T23:59:59.999", "2026-12-01", "2027-01-01"),
        ("month", "2026-01-01", "2026-01-01", "2026-02-01"),
    ],
)
def test_windows_are_of_the_calendar_in_utc(window: Window, now: str, start: str, end: str) -> None:
    assert window_start_ms(window, ms(now)) == ms(start)
    assert window_end_ms(window, ms(now)) == ms(end)


def test_the_total_has_no_end() -> None:
    assert window_start_ms("total", ms("2026-02-23")) == 0
    assert window_end_ms("total", ms("2026-02-23")) is None


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


def test_what_is_left_may_be_spent_to_the_last_nano_dollar() -> None:
    left_over = status("all", 1_000, settled=600, reserved=300)
    assert refuse([left_over], NanoUsd(100)) is None
    assert refuse([left_over], NanoUsd(101)) == Refusal(left_over, NanoUsd(101))
    assert refuse([], NanoUsd(10**12)) is None


def test_the_tightest_budget_is_named() -> None:
    roomy, tight = status("roomy", 90), status("tight", 1_000, settled=950)
    refusal = refuse([roomy, tight], NanoUsd(100))
    assert refusal is not None
    assert refusal.status == tight


def test_an_overrun_budget_refuses_everything() -> None:
    assert refuse([status("all", 10, settled=11)], NanoUsd(0)) is not None
    assert refuse([status("all", 0)], NanoUsd(1)) is not None


def test_a_refusal_says_which_budget_what_is_left_and_when_it_resets() -> None:
    error = Refusal(status("team", 2_000, 1_500, 400, resets_at=10_000), NanoUsd(101)).to_error(
        4_000
    )
    assert error.reason == "BUDGET_EXCEEDED"
    assert error.metadata == {
        "budget_id": "team",
        "window": "total",
        "limit_nano_usd": "2000",
        "left_nano_usd": "100",
        "worst_case_nano_usd": "101",
        "resets_at_unix_ms": "10000",
    }
    assert error.retry_after_seconds == 6.0
    assert "'team' has $0.0000001 left of $0.000002" in error.message


def test_waiting_is_not_advised_where_it_cannot_help() -> None:
    assert Refusal(status("all", 100), NanoUsd(101)).to_error(0).retry_after_seconds is None
    larger_than_limit = Refusal(status("all", 100, resets_at=10_000), NanoUsd(101))
    assert larger_than_limit.to_error(0).retry_after_seconds is None
