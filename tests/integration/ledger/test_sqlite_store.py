"""The ledger in its file: many callers at once, restarts, and what the database itself refuses."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agent_executor.ledger.accounting import sqlite_budgets, sqlite_entries, sqlite_reservations
from agent_executor.ledger.accounting.budget import Budget, Refusal, Window
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store_sqlite import SqliteLedgerStore
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.reports.usage_query import EntryFilter
from agent_executor.ledger.tables import METADATA
from tests.unit.ledger.samples import CARD, HOUR_MS, NOW_MS, budget, card, hold, settlement

CALLERS = 200
BY_PART: dict[str, str] = {
    "run_id": "usage_entries_by_run",
    "agent_id": "usage_entries_by_agent",
    "user_id": "usage_entries_by_user",
}
FILTERS = (
    EntryFilter(),
    EntryFilter(run_id="run"),
    EntryFilter(agent_id="agent"),
    EntryFilter(user_id="ada"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "ledger.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteLedgerStore]:
    store = await SqliteLedgerStore.open(path)
    await store.put_rate_card(CARD, "test")
    yield store
    await store.close()


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def mode_of(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


async def test_concurrent_callers_never_overshoot(store: SqliteLedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=200 * CALLERS // 4), NOW_MS)
    answers = await asyncio.gather(
        *(store.reserve(hold(f"call-{number}")) for number in range(CALLERS))
    )
    admitted = [answer for answer in answers if isinstance(answer, Reservation)]
    assert len(admitted) == CALLERS // 4
    status = await store.get_budget("acme", "all", NOW_MS)
    assert status is not None
    assert (status.reserved_nano_usd, status.left_nano_usd) == (200 * CALLERS // 4, 0)


async def test_concurrent_runs_keep_every_budget(store: SqliteLedgerStore) -> None:
    """Each caller reserves, settles less, voids or never answers; no moment is over a limit."""
    windows: tuple[Window, ...] = ("total", "day", "month")
    for number, window in enumerate(windows):
        await store.put_budget(budget(window, 9_000 + 1_000 * number, window=window), NOW_MS)
    await store.put_budget(budget("ada", 6_000, user_id="ada"), NOW_MS)
    statuses = []
    refused = 0

    async def run(number: int) -> None:
        nonlocal refused
        user_id = ("ada", "bob")[number % 2]
        reservation_id = f"call-{number}"
        answer = await store.reserve(hold(reservation_id, user_id=user_id))
        if isinstance(answer, Refusal):
            refused += 1
            return
        statuses.append(await store.list_budgets("acme", NOW_MS, 10))
        if number % 5 == 0:
            await store.void("acme", reservation_id, NOW_MS)
        elif number % 7 != 0:
            tokens = TokenUsage(number % 201)
            asked = settlement(reservation_id, user_id=user_id, usage=tokens)
            first, again = await asyncio.gather(
                store.settle(asked, CARD, NOW_MS), store.settle(asked, CARD, NOW_MS)
            )
            assert first.entry == again.entry
            assert [first.is_new, again.is_new].count(True) == 1

    await asyncio.gather(*(run(number) for number in range(CALLERS)))
    assert 0 < refused < CALLERS
    assert min(one.left_nano_usd for listed in statuses for one in listed) >= 0
    newest = await store.newest_entry_id("acme")
    for status in await store.list_budgets("acme", NOW_MS, 10):
        who = EntryFilter(user_id=status.budget.user_id)
        sums = await store.summarize("acme", who, newest, (), 1)
        assert sums is not None
        assert status.settled_nano_usd == sums.total.cost_nano_usd


async def test_operations_that_arrive_together_commit_together(store: SqliteLedgerStore) -> None:
    before = store._database.writer.statistics
    await asyncio.gather(*(store.reserve(hold(f"call-{number}")) for number in range(CALLERS)))
    after = store._database.writer.statistics
    assert after.operations - before.operations == CALLERS
    assert after.batches - before.batches <= CALLERS // 10


async def test_one_that_fails_does_not_take_others_with_it(store: SqliteLedgerStore) -> None:
    never_stored = card("never-stored")
    calls = [
        store.reserve(hold("good-1")),
        store.reserve(hold("bad", rate_card_id=never_stored.id)),
        store.reserve(hold("good-2")),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[1], sqlite3.IntegrityError)
    assert [isinstance(answer, Reservation) for answer in answers] == [True, False, True]


async def test_a_settlement_is_recorded_though_its_caller_is_gone(
    store: SqliteLedgerStore,
) -> None:
    settling = asyncio.create_task(store.settle(settlement(), CARD, NOW_MS))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    again = await store.settle(settlement(), CARD, NOW_MS + 1)
    assert (again.is_new, again.entry.created_at_ms) == (False, NOW_MS)


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    store = await SqliteLedgerStore.open(path)
    await store.put_rate_card(CARD, "test")
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold("open"))
    await store.reserve(hold())
    settled = await store.settle(settlement(), CARD, NOW_MS)
    status = await store.get_budget("acme", "all", NOW_MS)
    await store.close()
    store = await SqliteLedgerStore.open(path)
    assert await store.get_rate_card(CARD.id) == CARD
    assert await store.get_budget("acme", "all", NOW_MS) == status
    assert await store.get_reservation("acme", "open", NOW_MS) == hold("open")
    assert await store.entries("acme", EntryFilter(), 10) == [settled.entry]
    again = await store.settle(settlement(), CARD, NOW_MS + HOUR_MS)
    assert (again.entry, again.is_new) == (settled.entry, False)
    await store.close()


async def test_every_cost_can_be_derived_again_from_the_file_alone(
    store: SqliteLedgerStore, path: Path
) -> None:
    raised = card(nano_usd_per_token=7)
    await store.put_rate_card(raised, "test 2")
    for number, priced_by in enumerate((CARD, raised, CARD)):
        usage = TokenUsage(number, 1, 2, 3, 4)
        asked = settlement(f"call-{number}", reservation_id="", usage=usage)
        await store.settle(asked, priced_by, NOW_MS)
    with opened(path) as connection:
        rows = connection.execute(
            """
            SELECT input_tokens, output_tokens, cache_read_input_tokens,
                cache_creation_input_tokens_5m, cache_creation_input_tokens_1h, cost_nano_usd,
                source, body
            FROM usage_entries JOIN rate_cards ON rate_cards.id = rate_card_id
            """
        ).fetchall()
    assert {row[6] for row in rows} == {"test", "test 2"}
    for *counts, cost, _, body in rows:
        assert msgspec.json.decode(body, type=RateCard).cost(TokenUsage(*counts)) == cost


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE usage_entries SET cost_nano_usd = 0",
        "UPDATE usage_entries SET sequence = sequence + 1",
        "DELETE FROM usage_entries",
    ],
)
async def test_the_database_refuses_to_change_an_entry(
    store: SqliteLedgerStore, path: Path, change: str
) -> None:
    await store.settle(settlement(), CARD, NOW_MS)
    with opened(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(change)


async def test_the_database_refuses_a_float(store: SqliteLedgerStore, path: Path) -> None:
    await store.put_budget(budget(), NOW_MS)
    with opened(path) as connection, pytest.raises(sqlite3.IntegrityError, match="REAL"):
        connection.execute("UPDATE budgets SET limit_nano_usd = 0.5")


async def test_the_largest_amounts_are_exact(store: SqliteLedgerStore) -> None:
    largest = NanoUsd(9_000_000 * 10**9)
    await store.put_budget(Budget("all", "acme", largest), NOW_MS)
    await store.reserve(hold(held_nano_usd=NanoUsd(largest - 1)))
    assert isinstance(await store.reserve(hold("2", held_nano_usd=NanoUsd(2))), Refusal)
    assert isinstance(await store.reserve(hold("1", held_nano_usd=NanoUsd(1))), Reservation)
    status = await store.get_budget("acme", "all", NOW_MS)
    assert status is not None
    assert (status.reserved_nano_usd, status.left_nano_usd) == (largest, 0)


async def test_only_its_owner_may_read_the_file(store: SqliteLedgerStore, path: Path) -> None:
    del store
    assert mode_of(path) == "-rw-------"


async def test_the_migrations_make_the_tables(store: SqliteLedgerStore, path: Path) -> None:
    del store
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        definitions = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name <> 'alembic_version'"
        ).fetchall()
    engine.dispose()
    assert {name for name, _ in definitions} == set(METADATA.tables)
    assert [name for name, sql in definitions if "STRICT" not in sql] == []


async def test_what_is_asked_for_often_is_found_by_an_index(
    store: SqliteLedgerStore, path: Path
) -> None:
    """Every statement of a busy organization's day, as it is really made."""
    plans: dict[str, list[str]] = {}

    class Explaining(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            if sql.lstrip().startswith(("SELECT", "UPDATE", "INSERT")):
                explained = super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
                plans[" ".join(sql.split())] = [row[-1] for row in explained]
            return super().execute(sql, parameters)

    with closing(sqlite3.connect(path, factory=Explaining, isolation_level=None)) as connection:
        sqlite_budgets.put_budget(connection, budget("all"), NOW_MS)
        sqlite_budgets.put_budget(connection, budget("ada", user_id="ada"), NOW_MS)
        plans.clear()
        sqlite_reservations.reserve(connection, hold())
        sqlite_reservations.reserve(connection, hold("expires", expires_at_ms=NOW_MS + 1))
        sqlite_reservations.reserve(connection, hold("later", created_at_ms=NOW_MS + 1))
        sqlite_reservations.settle(connection, settlement(), CARD, NOW_MS + 1)
        asked = settlement("dear", usage=TokenUsage(2_000))
        assert len(sqlite_reservations.settle(connection, asked, CARD, NOW_MS).overruns) == 2
        sqlite_reservations.void(connection, "acme", "later", NOW_MS + 1)
        for entry_filter in FILTERS:
            sqlite_entries.entries(connection, "acme", entry_filter, 10, "call-1")
    used = " ".join(line for lines in plans.values() for line in lines)
    assert "SCAN" not in used.replace("SCAN CONSTANT ROW", "")
    assert "TEMP B-TREE" not in used
    by_scope = [sql for sql, lines in plans.items() if ":user_id" in sql and "budgets" in sql]
    assert len(by_scope) == 3
    for sql in by_scope:
        found_by = "budgets_by_scope (organization_id=? AND user_id=? AND agent_id=? AND run_id=?)"
        assert found_by in " ".join(plans[sql])
    for name, index in BY_PART.items():
        assert any(index in line for sql in plans for line in plans[sql] if f":{name}" in sql)
