"""Ledgers of every kind to ask questions of, with what a test has written into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
from sqlalchemy import Executable, insert
from sqlalchemy.dialects.postgresql import insert as upsert

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rollup import rollup_keys
from agent_executor.ledger.accounting.rows import (
    ENTRY_NAMES,
    RESERVATION_NAMES,
    row_of_entry,
    row_of_reservation,
)
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.store_memory import MemoryReportStore
from agent_executor.ledger.reports.store_sql import SqlReportStore
from agent_executor.ledger.reports.usage_query import SUMS
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.ledger.tables import (
    RESERVATIONS,
    USAGE_ENTRIES,
    USAGE_ROLLUPS,
)
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import StatementRunner
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer

KINDS = ("memory", "sqlite", "postgres")


class ReportLedger(Protocol):
    """A ledger that a test writes."""

    store: ReportStore

    async def write(self, *entries: UsageEntry) -> None:
        """Records entries, in this order."""
        ...

    async def hold(self, *reservations: Reservation) -> None:
        """Stores reservations as they are."""
        ...


class WrittenInMemory:
    """A ledger in memory."""

    def __init__(self) -> None:
        self._ledger = MemoryLedger()
        self.store: ReportStore = MemoryReportStore(self._ledger)

    async def write(self, *entries: UsageEntry) -> None:
        for entry in entries:
            self._ledger.organizations[entry.organization_id].entries.append(entry)

    async def hold(self, *reservations: Reservation) -> None:
        for one in reservations:
            self._ledger.organizations[one.organization_id].reservations[one.id] = one


class WrittenInSql:
    """A ledger in a database."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner
        self.store: ReportStore = SqlReportStore(runner)

    async def write(self, *entries: UsageEntry) -> None:
        statements: list[Executable] = []
        for entry in entries:
            row = dict(zip(ENTRY_NAMES, row_of_entry(entry), strict=True))
            statements.append(insert(USAGE_ENTRIES).values(row))
            statements += (_add(one) for one in rollups(entry))
        await self._runner.run(*statements)

    async def hold(self, *reservations: Reservation) -> None:
        for one in reservations:
            row = dict(zip(RESERVATION_NAMES, row_of_reservation(one), strict=True))
            row["writes_cache"] = int(row["writes_cache"])
            await self._runner.run(insert(RESERVATIONS).values(row))


def rollups(entry: UsageEntry) -> Iterable[dict[str, Any]]:
    """Yields what an entry adds to the sums that it is part of."""
    sums = msgspec.structs.asdict(entry.usage)
    sums |= {"entry_count": 1, "cost_nano_usd": entry.cost_nano_usd}
    for key in rollup_keys(entry):
        yield {"organization_id": entry.organization_id, **key._asdict(), **sums}


def _add(row: dict[str, Any]) -> Executable:
    statement = upsert(USAGE_ROLLUPS).values(row)
    added = {name: USAGE_ROLLUPS.c[name] + statement.excluded[name] for name in SUMS}
    return statement.on_conflict_do_update(index_elements=USAGE_ROLLUPS.primary_key, set_=added)


@asynccontextmanager
async def report_ledger(
    kind: str, folder: Path, server: PostgresServer
) -> AsyncIterator[ReportLedger]:
    """Yields an empty ledger of a kind."""
    if kind == "memory":
        yield WrittenInMemory()
    elif kind == "sqlite":
        path = folder / "ledger.sqlite3"
        upgrade(path, MIGRATIONS)
        database = SqliteDatabase(path)
        yield WrittenInSql(SqliteStatementRunner(database))
        await database.close()
    else:
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        yield WrittenInSql(PostgresStatementRunner(postgres))
        await postgres.close()
        await server.drop_database(name)
