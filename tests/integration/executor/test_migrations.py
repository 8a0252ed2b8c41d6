"""The executor's migrations make the tables that ``tables.py`` describes."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agent_executor.executor.schema import MIGRATIONS
from agent_executor.executor.tables import METADATA
from agent_executor.storage.migrations import upgrade


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
