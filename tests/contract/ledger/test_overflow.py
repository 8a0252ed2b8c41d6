"""Sums of more than nine billion dollars, which 64 bits do not hold: refused, and never a float."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.commands import Record, Reserve
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD
from agent_executor.ledger.reports.usage_query import SummaryQuery
from tests.contract.ledger.report_ledgers import ReportLedger, report_ledger
from tests.unit.ledger.accounting_samples import (
    DAY_MS,
    NOW_MS,
    ORGANIZATION,
    amount,
    budget,
    priced,
)

MOST = 2**63 // MAX_LIMIT_NANO_USD


@pytest.fixture(params=["sqlite", "postgres"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReportLedger]:
    """Yields a ledger that has as much as a sum holds."""
    async with report_ledger(request.param, request, tmp_path) as opened:
        await opened.record(*costly(NOW_MS))
        yield opened


def costly(occurred_at_ms: int, count: int = MOST) -> list[UsageEntry]:
    """Returns entries that cost the most that one can."""
    return [
        priced(f"{occurred_at_ms}-{number}", MAX_LIMIT_NANO_USD, occurred_at_ms=occurred_at_ms)
        for number in range(count)
    ]


async def test_an_entry_that_a_sum_does_not_hold_is_refused(ledger: ReportLedger) -> None:
    one_more = priced("one-more", MAX_LIMIT_NANO_USD, occurred_at_ms=NOW_MS)
    with pytest.raises(InvalidArgumentError, match="largest that the ledger can tell"):
        await ledger.accounting.apply([Record(one_more)], NOW_MS)
    assert not await ledger.accounting.get_entries(ORGANIZATION, ["one-more"])
    await ledger.record(priced("back", -MAX_LIMIT_NANO_USD, occurred_at_ms=NOW_MS), one_more)


async def test_a_question_whose_sum_is_too_large_is_refused(ledger: ReportLedger) -> None:
    await ledger.record(*costly(NOW_MS - DAY_MS))
    for query in (SummaryQuery(), SummaryQuery(group_by=("day",))):
        with pytest.raises(InvalidArgumentError, match="largest that the ledger can tell"):
            await ledger.reports.summarize(ORGANIZATION, query, 2**62, 10)
    with pytest.raises(InvalidArgumentError, match="largest that the ledger can tell"):
        await ledger.accounting.put_budget(budget(), NOW_MS)


async def test_holds_whose_sum_is_too_large_are_no_internal_error(ledger: ReportLedger) -> None:
    holds = [Reserve(amount(f"hold-{one}", MAX_LIMIT_NANO_USD)) for one in range(MOST + 1)]
    await ledger.accounting.apply(holds, NOW_MS)
    with pytest.raises(InvalidArgumentError, match="largest that the ledger can tell"):
        await ledger.reports.run_cost(ORGANIZATION, amount().run_id, NOW_MS, 10)
    with pytest.raises(InvalidArgumentError, match="largest that the ledger can tell"):
        await ledger.accounting.put_budget(budget(), NOW_MS)
