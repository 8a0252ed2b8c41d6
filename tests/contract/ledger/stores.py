"""Every kind of accounting store, empty, for tests that all of them must pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore
from agent_executor.ledger.accounting.store_postgres import PostgresAccountingStore
from agent_executor.ledger.accounting.store_sqlite import SqliteAccountingStore
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase

ADAPTERS = ("memory", "sqlite", "postgres")


@asynccontextmanager
async def open_store(
    adapter: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[AccountingStore]:
    """Yields an empty store of a kind, which keeps what it keeps in a folder, or in a server."""
    if adapter == "postgres":
        server = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresAccountingStore(PostgresDatabase(server.url(name)))
        yield postgres
        await postgres.close()
        await server.drop_database(name)
        return
    store: AccountingStore = MemoryAccountingStore()
    if adapter == "sqlite":
        path = folder / "ledger.sqlite3"
        upgrade(path, MIGRATIONS)
        store = SqliteAccountingStore(SqliteDatabase(path))
    yield store
    await store.close()
