"""Brings a service's PostgreSQL database to the newest revision that the code knows, at start."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any, Final

import asyncpg

from agent_executor.storage.migrations import (
    ALEMBIC_LOCK,
    LOCK_POLL_SECONDS,
    LOCK_TIMEOUT_SECONDS,
    MigrationError,
    apply_pending,
    is_newest,
    known_revisions,
)
from agent_executor.storage.postgres import connect
from agent_executor.storage.postgres_connection import PostgresConnection

# Any number that nobody else takes for an advisory lock of the same database.
ADVISORY_LOCK: Final = 6_314_082_527

_LOGGER = logging.getLogger(__name__)


async def upgrade_postgres(
    database_url: str,
    migrations_folder: Path,
    *,
    lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
) -> None:
    """Applies the migrations that the database lacks. It must exist, and its schema be of one service.

    Each migration is one transaction, so a process that is killed leaves whole revisions. Of
    several processes that start together one migrates and the others wait for it.

    Args:
        database_url: As for ``PostgresDatabase``.
        migrations_folder: The service's folder that holds ``versions/``.
        lock_timeout_seconds: How long to wait for another process that migrates.

    Raises:
        MigrationError: The database cannot be reached or is newer than the code, another process
            has migrated it for too long, or the revision files are not numbered as they must be.
    """
    revisions = known_revisions(migrations_folder)
    try:
        connection = await connect(database_url)
    except (
        OSError,
        TimeoutError,
        ValueError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    ) as error:
        # The text of the error may hold the URL, and that the password.
        raise MigrationError(
            f"The PostgreSQL database cannot be opened ({type(error).__name__})."
        ) from error
    try:
        if await _is_current(connection, revisions):
            return
        # The server frees the lock if this process dies.
        await _lock(connection, lock_timeout_seconds)
        if await _is_current(connection, revisions):
            return
        await _make_schema(connection)
        await asyncio.to_thread(_run_alembic, database_url, migrations_folder)
        if not await _is_current(connection, revisions):
            raise MigrationError(
                f"The chain of revisions in {migrations_folder} does not end in {revisions[-1]}."
            )
        _LOGGER.info("Migrated the PostgreSQL database to revision %s.", revisions[-1])
    finally:
        await connection.close()


async def _is_current(connection: PostgresConnection, revisions: list[str]) -> bool:
    """Tells whether the database is at the newest revision.

    Raises:
        MigrationError: The database is at a revision that the code does not know.
    """
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return False
    rows = await connection.fetch("SELECT version_num FROM alembic_version")
    name = await connection.fetchval("SELECT current_database()")
    return is_newest([row[0] for row in rows], revisions, str(name))


async def _make_schema(connection: PostgresConnection) -> None:
    """Makes the schema that the connection works in, if that is one of the service's own."""
    if await connection.fetchval("SELECT current_schema()") is None:
        search_path = await connection.fetchval("SHOW search_path")
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {search_path}")


async def _lock(connection: PostgresConnection, timeout_seconds: float) -> None:
    give_up_at = time.monotonic() + timeout_seconds
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):
        if time.monotonic() >= give_up_at:
            raise MigrationError("Another process has been migrating the database for too long.")
        await asyncio.sleep(LOCK_POLL_SECONDS)


def _run_alembic(database_url: str, migrations_folder: Path) -> None:
    """Applies every pending migration; in a thread and an event loop of its own."""
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    async def open_connection() -> Any:
        # A migration may take as long as it needs.
        return await asyncpg.connect(database_url, timeout=LOCK_TIMEOUT_SECONDS)

    async def run() -> None:
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=open_connection, poolclass=NullPool
        )
        async with engine.connect() as connection:
            await connection.run_sync(apply_pending, migrations_folder)
        await engine.dispose()

    with ALEMBIC_LOCK:
        asyncio.run(run())
