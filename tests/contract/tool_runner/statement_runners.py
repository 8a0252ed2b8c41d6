"""Where the stores of Core statements are tested: empty databases of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import StatementRunner
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from agent_executor.tool_runner.schema import MIGRATIONS
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file

DATABASES = ("sqlite", "postgres")


@asynccontextmanager
async def statement_runner(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[StatementRunner]:
    """Yields the runner of an empty database of the kind that is the fixture's parameter."""
    if request.param == "sqlite":
        path = tmp_path / "tool_runner.sqlite3"
        migrated_file(path, MIGRATIONS)
        database = SqliteDatabase(path)
        yield SqliteStatementRunner(database)
        await database.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await server.new_database(MIGRATIONS)
    postgres = PostgresDatabase(server.url(name))
    yield PostgresStatementRunner(postgres)
    await postgres.close()
    await server.drop_database(name)
