"""Where the tool-runner keeps what must last: a SQLite file, or a PostgreSQL database it may share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_executor.storage.group_commit import BatchStatistics
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import StatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from agent_executor.tool_runner.calls.store_sqlite import SqliteCallStore
from agent_executor.tool_runner.schema import MIGRATIONS
from agent_executor.tool_runner.settings import ToolRunnerSettings

if TYPE_CHECKING:
    from agent_executor.tool_runner.calls.store_postgres import PostgresCallStore

# What a call may take beside its tool's time, and how far the clocks of two machines may differ.
OTHERS_RUN_MARGIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class ToolRunnerStorage:
    """An open database.

    Attributes:
        calls: The record of calls and the audit log.
        statements: For stores that are written in SQLAlchemy Core.
        close: Ends what was submitted, and closes the database.
        connections: Returns how many connections to a server are open, by use; none without one.
    """

    calls: SqliteCallStore | PostgresCallStore
    statements: StatementRunner
    close: Callable[[], Awaitable[None]]
    connections: Callable[[], Mapping[str, int]] = dict


async def open_storage(
    settings: ToolRunnerSettings, on_batch: Callable[[BatchStatistics], None] | None = None
) -> ToolRunnerStorage:
    """Opens the database that the settings name, at the newest revision.

    Args:
        settings: The settings.
        on_batch: Called in the event loop after each batch of writes.

    Raises:
        MigrationError: The database cannot be brought to the revision of the code.
        OSError: The file cannot be made.
        sqlite3.Error: The file is not a database.
    """
    if settings.postgres_url:
        return await _open_postgres(settings, on_batch)
    upgrade(settings.database_file, MIGRATIONS)
    database = SqliteDatabase(settings.database_file, on_batch=on_batch)
    return ToolRunnerStorage(
        calls=SqliteCallStore(database),
        statements=SqliteStatementRunner(database),
        close=database.close,
    )


async def _open_postgres(
    settings: ToolRunnerSettings, on_batch: Callable[[BatchStatistics], None] | None
) -> ToolRunnerStorage:
    # Imported here, for most have a SQLite file.
    from agent_executor.storage.migrations_postgres import upgrade_postgres
    from agent_executor.storage.postgres import PostgresDatabase
    from agent_executor.storage.statements_postgres import PostgresStatementRunner
    from agent_executor.tool_runner.calls.runner_presence import RunnerPresence
    from agent_executor.tool_runner.calls.store_postgres import PostgresCallStore

    database_url = settings.postgres_url
    await upgrade_postgres(database_url, MIGRATIONS)
    presence = RunnerPresence(database_url)
    await presence.start()
    database = PostgresDatabase(database_url, on_batch=on_batch)

    async def close() -> None:
        await database.close()
        await presence.close()

    others_run_seconds = settings.call_timeout_seconds + OTHERS_RUN_MARGIN_SECONDS
    return ToolRunnerStorage(
        calls=PostgresCallStore(database, others_run_seconds, presence.runner_id),
        statements=PostgresStatementRunner(database),
        close=close,
        connections=lambda: database.connections,
    )
