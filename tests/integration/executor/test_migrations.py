"""The executor's migrations make the tables that ``tables.py`` describes."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.executor.tables import METADATA
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase


def test_the_migrations_make_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    upgrade(path, MIGRATIONS)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        indexes = connection.exec_driver_sql(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
    engine.dispose()
    assert {name for (name,) in indexes} == {
        index.name for table in METADATA.tables.values() for index in table.indexes
    }


async def test_runs_of_before_have_neither_parent_nor_amount(tmp_path: Path) -> None:
    path, before = tmp_path / "journal.sqlite3", tmp_path / "migrations"
    shutil.copytree(
        MIGRATIONS, before, ignore=shutil.ignore_patterns("000[2-9]*", "00[1-9]*", "__pycache__")
    )
    upgrade(path, before)
    with closing(sqlite3.connect(path)) as connection:
        names = ("run_id", "organization_id", "permissions", "last_sequence")
        columns = connection.execute("PRAGMA table_info(runs)").fetchall()
        others = [column[1] for column in columns if column[1] not in names]
        values = ["run", "acme", "[]", 1, *(["0"] * len(others))]
        connection.execute(
            f"INSERT INTO runs ({', '.join([*names, *others])})"
            f" VALUES ({', '.join('?' * len(values))})",
            values,
        )
        connection.commit()
    upgrade(path, MIGRATIONS)
    journal = SqliteJournal(SqliteDatabase(path))
    run = await journal.get("acme", "run")
    await journal.close()
    assert run is not None
    assert (run.parent_run_id, run.amount_id) == ("", "")
