"""Ledgers of every kind to ask questions of, and to write what is asked about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from agent_executor.ledger.accounting.commands import Record, Recorded
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore
from agent_executor.ledger.accounting.store_postgres import PostgresAccountingStore
from agent_executor.ledger.accounting.store_sqlite import SqliteAccountingStore
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.store_memory import MemoryReportStore
from agent_executor.ledger.reports.store_sql import SqlReportStore
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file

ADAPTERS = ("memory", "sqlite", "postgres")


class ReportLedger(NamedTuple):
    """A ledger as it is written and as it is asked."""

    accounting: AccountingStore
    reports: ReportStore

    async def record(self, *entries: UsageEntry) -> None:
        """Records entries, in this order."""
        outcomes = await self.accounting.apply([Record(one) for one in entries], 0)
        assert all(isinstance(one, Recorded) and one.is_new for one in outcomes)


@asynccontextmanager
async def report_ledger(
    adapter: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[ReportLedger]:
    """Yields an empty ledger, which keeps what it keeps in a folder, or in a server."""
    if adapter == "memory":
        ledger = MemoryLedger()
        yield ReportLedger(MemoryAccountingStore(ledger), MemoryReportStore(ledger))
    elif adapter == "sqlite":
        path = folder / "ledger.sqlite3"
        migrated_file(path, MIGRATIONS)
        database = SqliteDatabase(path)
        accounting = SqliteAccountingStore(database)
        yield ReportLedger(accounting, SqlReportStore(SqliteStatementRunner(database)))
        await accounting.close()
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        store = PostgresAccountingStore(postgres)
        yield ReportLedger(store, SqlReportStore(PostgresStatementRunner(postgres)))
        await store.close()
        await server.drop_database(name)
