"""A month of usage is looked at in seconds, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.suggestions.evidence import MAX_ENTRIES
from agent_executor.ledger.suggestions.store_sql import SqlEvidenceStore
from agent_executor.ledger.suggestions.suggestions import Suggestions
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.contract.ledger.evidence_stores import sqlite_with
from tests.unit.ledger.suggestions.recorded_usage import (
    ADA,
    DAY_MS,
    LARGE,
    NOW_MS,
    SMALL,
    TIERED,
    FixedPrices,
    model_call,
    tool_call,
)

ENTRIES, ENTRIES_FULL = 20_000, 1_000_000
# Some seconds where the machine is free; the gateway waits for half a minute.
LIMIT_SECONDS = 30.0


def month(count: int) -> Iterator[UsageEntry]:
    """Yields a month of runs of 40 agents, most of them short, evenly over its days."""
    chance = random.Random(1)
    run = number = 0
    while number < count:
        run += 1
        agent = chance.randrange(40)
        names = {"agent_id": f"agent-{agent:02d}", "run_id": f"run-{run:07d}"}
        for turn in range(20 if chance.randrange(50) == 0 else chance.randrange(1, 4)):
            at_ms = NOW_MS - 30 * DAY_MS + 1 + number * 30 * DAY_MS // (count + 100)
            purpose = Purpose(f"digest-{agent}", 3_000, turn * 900, is_background=agent % 7 == 0)
            usage = TokenUsage(chance.randrange(4_000, 6_000) + turn * 500, 300)
            card = (LARGE, TIERED, SMALL)[agent % 3]
            yield model_call(usage, at_ms, priced_by=card, purpose=purpose, **names)
            yield tool_call(f"{chance.randrange(500)}", at_ms, 1_000_000, **names)
            number += 2


@pytest.mark.timeout(300)
async def test_a_month_is_looked_at_while_others_read_and_write(tmp_path: Path, full: bool) -> None:
    count = ENTRIES_FULL if full else ENTRIES
    database = await asyncio.to_thread(sqlite_with, tmp_path / "ledger.sqlite3", month(count))
    store = SqlEvidenceStore(SqliteStatementRunner(database))
    suggestions = Suggestions(store, FixedPrices(), lambda: NOW_MS / 1000)
    started = time.monotonic()
    looking = asyncio.create_task(suggestions.list(ADA))
    others = 0
    while not looking.done():
        await database.writer.submit(
            lambda connection: connection.execute("DELETE FROM rate_cards").rowcount
        )
        await database.read(
            lambda connection: connection.execute("SELECT count(*) FROM budgets").fetchone()
        )
        others += 1
    seconds = time.monotonic() - started
    page = await looking
    await database.close()
    # Whoever waited for it would have been served once.
    assert others > 10
    assert seconds < LIMIT_SECONDS
    assert {one.kind for one in page.suggestions} >= {"cheaper_model", "batch", "prompt_caching"}
    if full:
        looked_at_days = (page.end_ms - page.start_ms) / DAY_MS
        assert looked_at_days == pytest.approx(30 * MAX_ENTRIES / count, rel=0.01)
