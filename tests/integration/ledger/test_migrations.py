"""The ledger's migrations: an older ledger is brought along whole, on both kinds of database."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.ledger.tables import METADATA
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.migrations_postgres import upgrade_postgres

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# 2026-02-23 10:00 UTC.
NOW_MS = 1_771_840_800_000
MIDNIGHT_MS = NOW_MS - 10 * HOUR_MS
MONTH_MS = MIDNIGHT_MS - 22 * DAY_MS

# What revision 0001 had written: two callers' holds and entries, budgets of each window, one of
# them overrun, and an overrun of a budget that has been deleted.
OLD_DATA = f"""
INSERT INTO rate_cards VALUES ('card', 'a list', '{{}}');
INSERT INTO reservations VALUES
    ('acme', 'open', 'ada', 'agent', 'run', 'model', 100, 20, 1, 'card', 200,
        {NOW_MS}, {NOW_MS + HOUR_MS}, 'open'),
    ('acme', 'over', 'ada', 'agent', 'run', 'model', 100, 20, 0, 'card', 200,
        {NOW_MS}, {NOW_MS + HOUR_MS}, 'settled');
INSERT INTO usage_entries VALUES
    (3, 'acme', 'one', 'ada', 'agent', 'run', 'model', 1, 2, 3, 4, 5, 700, 'card', 0, 1, 1, 'over',
        'open', {NOW_MS - DAY_MS}, 'model_call'),
    (5, 'acme', 'two', 'ada', 'agent', 'run', 'model', 10, 20, 30, 40, 50, 300, 'card', 1, 0, 2, '',
        'none', {NOW_MS}, 'model_call'),
    (6, 'acme', 'six', 'ada', 'agent', 'run', 'model', 1, 0, 0, 0, 0, 9000000000000000000, 'card',
        0, 0, 1, '', 'none', {NOW_MS + 1}, 'model_call'),
    (8, 'other', 'one', 'eve', 'agent', 'run', 'model', 1, 0, 0, 0, 0, 10, 'card', 0, 0, 1, '',
        'none', {NOW_MS}, 'model_call');
INSERT INTO budgets VALUES
    ('acme', 'all', 900, 'total', '', '', '', 200), ('acme', 'daily', 250, 'day', 'ada', '', '', 200),
    ('acme', 'monthly', 5000, 'month', '', 'agent', 'run', 200);
INSERT INTO budget_balances VALUES
    ('acme', 'all', 0, 1000), ('acme', 'daily', {MIDNIGHT_MS - DAY_MS}, 700),
    ('acme', 'daily', {MIDNIGHT_MS}, 300), ('acme', 'monthly', {MONTH_MS}, 1000);
INSERT INTO budget_overruns VALUES
    (1, 'acme', 'all', 'two', 300, {NOW_MS}), (2, 'acme', 'daily', '', 50, {NOW_MS + 1}),
    (3, 'acme', 'monthly', 'one', 1, {NOW_MS - DAY_MS}), (4, 'acme', 'gone', 'one', 7, {NOW_MS});
"""
NEXT_ENTRY = f"""
INSERT INTO usage_entries (organization_id, id, kind, user_id, agent_id, run_id, model, tool_name,
    input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens_5m,
    cache_creation_input_tokens_1h, cost_nano_usd, rate_card_id, processing, speed, estimated,
    is_test, attempt, reservation_id, reservation_outcome, corrects_entry_id, description,
    content_digest, prefix_tokens, history_tokens, is_background, occurred_at_ms, created_at_ms)
VALUES ('acme', 'next', 'adjustment', '', '', '', '', '', 0, 0, 0, 0, 0, -1, '', '', '', 0, 0, 1, '',
    'none', '', 'a gift', '', 0, 0, 0, {NOW_MS}, {NOW_MS})
RETURNING sequence
"""


class Ledger(Protocol):
    """A database of the ledger, of either kind, as a test looks at it."""

    def upgrade(self, migrations: Path) -> None:
        """Applies migrations."""

    def run(self, script: str) -> None:
        """Runs statements."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Returns the rows of a query, or of a write with a RETURNING clause."""

    def differences(self) -> list[Any]:
        """Returns how the database differs from ``tables.py``."""


class SqliteLedger:
    """A ledger in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def upgrade(self, migrations: Path) -> None:
        upgrade(self.path, migrations)

    def run(self, script: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script.replace("'{}'", "X'7B7D'"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(query).fetchall()

    def differences(self) -> list[Any]:
        engine = sqlalchemy.create_engine(f"sqlite:///{self.path}")
        with engine.connect() as connection:
            found = differences(connection)
        engine.dispose()
        return found


class PostgresLedger:
    """A ledger on a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def upgrade(self, migrations: Path) -> None:
        asyncio.run(upgrade_postgres(self.url, migrations))

    def run(self, script: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(script)
            finally:
                await connection.close()

        asyncio.run(run())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self.url)
            try:
                fetched: list[Any] = await connection.fetch(query)
                return fetched
            finally:
                await connection.close()

        return [tuple(row) for row in asyncio.run(fetch())]

    def differences(self) -> list[Any]:
        async def compare() -> list[Any]:
            engine = create_async_engine(
                "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(self.url)
            )
            async with engine.connect() as connection:
                found = await connection.run_sync(differences)
            await engine.dispose()
            return found

        return asyncio.run(compare())


def differences(connection: sqlalchemy.Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [found for found in compare_metadata(context, METADATA) if not is_comment(found)]


def is_comment(difference: Any) -> bool:
    """Tells a comment, which ``tables.py`` has for its readers alone."""
    return isinstance(difference, list) and {one[0] for one in difference} == {"modify_comment"}


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Yields an empty database of each kind."""
    if request.param == "sqlite":
        yield SqliteLedger(tmp_path / "ledger.sqlite3")
        return
    server = request.getfixturevalue("postgres_server")
    name = asyncio.run(server.new_database())
    yield PostgresLedger(server.url(name))
    asyncio.run(server.drop_database(name))


@pytest.fixture
def old_migrations(tmp_path: Path) -> Path:
    """Returns a folder of revision 0001 alone."""
    versions = tmp_path / "old" / "versions"
    versions.mkdir(parents=True)
    shutil.copy(MIGRATIONS / "versions" / "0001_create_ledger.py", versions)
    return versions.parent


def brought_along(ledger: Ledger, old_migrations: Path) -> Ledger:
    """Returns a ledger that 0001 has filled, at the newest revision."""
    ledger.upgrade(old_migrations)
    ledger.run(OLD_DATA)
    ledger.upgrade(MIGRATIONS)
    return ledger


def test_the_migrations_make_the_tables(ledger: Ledger) -> None:
    ledger.upgrade(MIGRATIONS)
    assert ledger.differences() == []


def test_every_table_refuses_a_float_in_sqlite(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite3")
    ledger.upgrade(MIGRATIONS)
    tables = ledger.rows("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
    strict = {name for name, is_strict in tables if is_strict}
    assert strict == set(METADATA.tables)


def test_partial_indexes_are_as_described(ledger: Ledger) -> None:
    ledger.upgrade(MIGRATIONS)
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    if isinstance(ledger, PostgresLedger):
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    partial = {name for name, sql in ledger.rows(query) if " WHERE " in sql}
    described = {
        index.name
        for table in METADATA.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
        and index.dialect_options["postgresql"]["where"] is not None
    }
    assert partial == described
    assert partial >= {"reservations_open", "usage_entries_by_corrected"}


def test_an_older_ledger_ends_as_a_new_one(ledger: Ledger, old_migrations: Path) -> None:
    brought_along(ledger, old_migrations)
    assert ledger.differences() == []


def test_reservations_are_kept(ledger: Ledger, old_migrations: Path) -> None:
    brought_along(ledger, old_migrations)
    query = """
        SELECT id, user_id, agent_id, run_id, model, processing, speed, max_input_tokens,
            max_output_tokens, asked_output_tokens, min_output_tokens, writes_cache, rate_card_id,
            parent_id, held_nano_usd, remaining_nano_usd, drawn_nano_usd, spent_nano_usd,
            created_at_ms, ttl_ms, expires_at_ms, state
        FROM reservations WHERE organization_id = 'acme' ORDER BY id
    """
    who = ("ada", "agent", "run", "model", "", "", 100, 20, 20, 0)
    when = (NOW_MS, HOUR_MS, NOW_MS + HOUR_MS)
    assert ledger.rows(query) == [
        ("open", *who, 1, "card", "", 200, 200, 0, 0, *when, "open"),
        ("over", *who, 0, "card", "", 200, 0, 0, 0, *when, "settled"),
    ]


def test_entries_are_kept(ledger: Ledger, old_migrations: Path) -> None:
    brought_along(ledger, old_migrations)
    query = """
        SELECT sequence, organization_id, id, kind, tool_name, input_tokens, output_tokens,
            cache_read_input_tokens, cache_creation_input_tokens_5m,
            cache_creation_input_tokens_1h, cost_nano_usd, estimated, is_test, attempt,
            reservation_id, reservation_outcome, corrects_entry_id, is_background, occurred_at_ms,
            created_at_ms
        FROM usage_entries WHERE cost_nano_usd < 1000 ORDER BY sequence
    """
    tokens = (1, 2, 3, 4, 5)
    yesterday, now = (NOW_MS - DAY_MS,) * 2, (NOW_MS,) * 2
    kind = ("model_call", "")
    assert ledger.rows(query) == [
        (3, "acme", "one", *kind, *tokens, 700, 0, 1, 1, "over", "open", "", 0, *yesterday),
        (5, "acme", "two", *kind, 10, 20, 30, 40, 50, 300, 1, 0, 2, "", "none", "", 0, *now),
        (8, "other", "one", *kind, 1, 0, 0, 0, 0, 10, 0, 0, 1, "", "none", "", 0, *now),
    ]
    assert ledger.rows(NEXT_ENTRY) == [(9,)]


def test_rollups_are_the_sums_of_the_entries(ledger: Ledger, old_migrations: Path) -> None:
    brought_along(ledger, old_migrations)
    day_before, day = MIDNIGHT_MS - DAY_MS, MIDNIGHT_MS
    what, nothing = ("agent", "model", "", "model_call"), ("", "", "", "")
    sums = {
        ("acme", day_before, NOW_MS - DAY_MS, "ada"): (1, 1, 2, 3, 4, 5, 700),
        ("acme", day, NOW_MS, "ada"): (2, 11, 20, 30, 40, 50, 9_000_000_000_000_000_300),
        ("other", day, NOW_MS, "eve"): (1, 1, 0, 0, 0, 0, 10),
    }
    expected = [
        (organization, *key, *total)
        for (organization, day_ms, hour_ms, user), total in sums.items()
        for key in (
            ("all", 24, day_ms, user, *what),
            ("agents", 24, day_ms, "", *what),
            ("agents", 1, hour_ms, "", *what),
            ("users", 24, day_ms, user, *nothing),
            ("users", 1, hour_ms, user, *nothing),
        )
    ]
    assert sorted(ledger.rows("SELECT * FROM usage_rollups")) == sorted(expected)


def test_budgets_and_balances_are_kept(ledger: Ledger, old_migrations: Path) -> None:
    brought_along(ledger, old_migrations)
    assert ledger.rows("SELECT * FROM budgets ORDER BY id") == [
        ("acme", "all", 900, "total", "", "", "", "UTC", "[]", 200, 0),
        ("acme", "daily", 250, "day", "ada", "", "", "UTC", "[]", 200, MIDNIGHT_MS - DAY_MS),
        ("acme", "monthly", 5000, "month", "", "agent", "run", "UTC", "[]", 200, MONTH_MS),
    ]
    assert ledger.rows("SELECT * FROM budget_balances ORDER BY budget_id, window_start_ms") == [
        ("acme", "all", 0, 1000, 0),
        ("acme", "daily", MIDNIGHT_MS - DAY_MS, 700, 0),
        ("acme", "daily", MIDNIGHT_MS, 300, 0),
        ("acme", "monthly", MONTH_MS, 1000, 0),
    ]


def test_overruns_become_events(ledger: Ledger, old_migrations: Path) -> None:
    brought_along(ledger, old_migrations)
    query = """
        SELECT budget_id, kind, percent, entry_id, limit_nano_usd, settled_nano_usd,
            reserved_nano_usd, window_start_ms, created_at_ms
        FROM budget_events WHERE organization_id = 'acme' ORDER BY sequence
    """
    assert ledger.rows(query) == [
        ("all", "overrun", 0, "two", 900, 1200, 0, 0, NOW_MS),
        ("daily", "overrun", 0, "", 250, 300, 0, MIDNIGHT_MS, NOW_MS + 1),
        ("monthly", "overrun", 0, "one", 5000, 5001, 0, MONTH_MS, NOW_MS - DAY_MS),
    ]


@pytest.mark.parametrize("came_from", ["a new ledger", "an older one"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE usage_entries SET cost_nano_usd = 0",
        "UPDATE usage_entries SET sequence = sequence + 1",
        "DELETE FROM usage_entries",
    ],
)
def test_the_database_refuses_to_change_an_entry(
    ledger: Ledger, old_migrations: Path, came_from: str, change: str
) -> None:
    if came_from == "an older one":
        brought_along(ledger, old_migrations)
    else:
        ledger.upgrade(MIGRATIONS)
        ledger.rows(NEXT_ENTRY)
    before = ledger.rows("SELECT * FROM usage_entries ORDER BY sequence")
    refusals = (sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)
    with pytest.raises(refusals, match="append-only"):
        ledger.run(change)
    assert ledger.rows("SELECT * FROM usage_entries ORDER BY sequence") == before


def test_postgresql_refuses_to_empty_the_entries(postgres_url: str) -> None:
    ledger = PostgresLedger(postgres_url)
    ledger.upgrade(MIGRATIONS)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
        ledger.run("TRUNCATE usage_entries")
