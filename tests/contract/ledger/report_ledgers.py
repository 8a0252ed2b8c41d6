"""Ledgers of every kind to ask questions of, with what a test has written into them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import msgspec
from sqlalchemy import Executable, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rows import (
    ENTRY_NAMES,
    RESERVATION_NAMES,
    row_of_entry,
    row_of_reservation,
)
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.store_memory import MemoryReportStore
from agent_executor.ledger.reports.store_sql import SqlReportStore
from agent_executor.ledger.reports.time_zones import DAY_MS, HOUR_MS
from agent_executor.ledger.reports.usage_query import SUMS
from agent_executor.ledger.tables import (
    METADATA,
    RATE_CARDS,
    RESERVATIONS,
    USAGE_ENTRIES,
    USAGE_ROLLUPS,
)
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

    async def put_card(self, card: RateCard) -> None:
        """Stores a rate card."""
        ...


class MemoryLedger:
    """A ledger in memory; also what its store reads of ``MemoryAccountingStore``."""

    def __init__(self) -> None:
        self._entries: dict[str, list[UsageEntry]] = {}
        self._reservations: list[Reservation] = []
        self._cards: dict[str, RateCard] = {}
        self.store: ReportStore = MemoryReportStore(self)

    async def write(self, *entries: UsageEntry) -> None:
        for entry in entries:
            self._entries.setdefault(entry.organization_id, []).append(entry)

    async def hold(self, *reservations: Reservation) -> None:
        self._reservations += reservations

    async def put_card(self, card: RateCard) -> None:
        self._cards[card.id] = card

    def entries_of(self, organization_id: str) -> Sequence[UsageEntry]:
        return self._entries.get(organization_id, [])

    def reservations_of(self, organization_id: str) -> Iterable[Reservation]:
        return [one for one in self._reservations if one.organization_id == organization_id]

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        return self._cards.get(rate_card_id)


class SqlLedger:
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

    async def put_card(self, card: RateCard) -> None:
        row = {"id": card.id, "source": "test", "body": msgspec.json.encode(card)}
        await self._runner.run(insert(RATE_CARDS).values(row))


def rollups(entry: UsageEntry) -> Iterable[dict[str, Any]]:
    """Yields what an entry adds to the sums of its hour and of its day."""
    key = {
        name: getattr(entry, name)
        for name in ("organization_id", "user_id", "agent_id", "model", "tool_name", "kind")
    }
    sums = msgspec.structs.asdict(entry.usage)
    sums |= {"entry_count": 1, "cost_nano_usd": entry.cost_nano_usd}
    for span_hours, span_ms in ((1, HOUR_MS), (24, DAY_MS)):
        start_ms = entry.occurred_at_ms // span_ms * span_ms
        yield {**key, "span_hours": span_hours, "start_ms": start_ms, **sums}


def _add(row: dict[str, Any]) -> Executable:
    statement = upsert(USAGE_ROLLUPS).values(row)
    added = {name: USAGE_ROLLUPS.c[name] + statement.excluded[name] for name in SUMS}
    return statement.on_conflict_do_update(index_elements=USAGE_ROLLUPS.primary_key, set_=added)


def schema(dialect: Dialect) -> list[str]:
    """Returns the statements that make the ledger's tables."""
    statements: list[str] = []
    for table in METADATA.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        statements += (str(CreateIndex(one).compile(dialect=dialect)) for one in table.indexes)
    return statements


@asynccontextmanager
async def report_ledger(
    kind: str, folder: Path, server: PostgresServer
) -> AsyncIterator[ReportLedger]:
    """Yields an empty ledger of a kind."""
    if kind == "memory":
        yield MemoryLedger()
    elif kind == "sqlite":
        path = folder / "ledger.sqlite3"
        connection = sqlite3.connect(path)
        connection.executescript(";".join(schema(sqlite.dialect())))
        connection.close()
        database = SqliteDatabase(path)
        yield SqlLedger(SqliteStatementRunner(database))
        await database.close()
    else:
        name = await server.new_database()
        setup = await asyncpg.connect(server.url(name))
        await setup.execute(";".join(schema(postgresql.dialect())))
        await setup.close()
        postgres = PostgresDatabase(server.url(name))
        yield SqlLedger(PostgresStatementRunner(postgres))
        await postgres.close()
        await server.drop_database(name)
