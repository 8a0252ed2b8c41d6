"""Where the stores of Core statements are tested: empty databases of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import StatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from agent_executor.tool_runner.schema import MIGRATIONS

DATABASES = ("sqlite",)


@asynccontextmanager
async def statement_runner(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[StatementRunner]:
    """Yields the runner of an empty database of the kind that is the fixture's parameter."""
    assert request.param == "sqlite"
    path = tmp_path / "tool_runner.sqlite3"
    upgrade(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield SqliteStatementRunner(database)
    await database.close()
