"""Every adapter of the evidence store, with entries that a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.suggestions.store import EvidenceStore
from agent_executor.ledger.suggestions.store_memory import MemoryEvidenceStore
from agent_executor.ledger.suggestions.store_sql import SqlEvidenceStore
from agent_executor.ledger.tables import METADATA, USAGE_ENTRIES
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer

ADAPTERS = ("memory", "sqlite", "postgres")
COLUMNS = tuple(USAGE_ENTRIES.columns.keys())


@asynccontextmanager
async def evidence_store(
    adapter: str, entries: Iterable[UsageEntry], request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[EvidenceStore]:
    """Yields an adapter that holds these entries."""
    if adapter == "memory":
        history = list(entries)
        yield MemoryEvidenceStore(lambda: history)
    elif adapter == "sqlite":
        database = await asyncio.to_thread(sqlite_with, tmp_path / "ledger.sqlite3", entries)
        yield SqlEvidenceStore(SqliteStatementRunner(database))
        await database.close()
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database()
        await fill_postgres(server.url(name), entries)
        postgres = PostgresDatabase(server.url(name))
        yield SqlEvidenceStore(PostgresStatementRunner(postgres))
        await postgres.close()
        await server.drop_database(name)


def sqlite_with(path: Path, entries: Iterable[UsageEntry]) -> SqliteDatabase:
    """Makes a database with these entries."""
    database = SqliteDatabase(path)
    engine = create_engine(f"sqlite:///{path}")
    METADATA.create_all(engine)
    places = ", ".join("?" * len(COLUMNS))
    connection = engine.raw_connection()
    connection.cursor().executemany(
        f"INSERT INTO usage_entries ({', '.join(COLUMNS)}) VALUES ({places})",
        list(rows_of(entries)),
    )
    connection.commit()
    connection.close()
    engine.dispose()
    return database


async def fill_postgres(url: str, entries: Iterable[UsageEntry]) -> None:
    """Makes the tables in a database, and puts these entries there."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
    connection = await asyncpg.connect(url)
    for table in METADATA.sorted_tables:
        await connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in table.indexes:
            compiled = CreateIndex(index).compile(
                dialect=dialect, compile_kwargs={"literal_binds": True}
            )
            await connection.execute(str(compiled))
    await connection.copy_records_to_table(
        "usage_entries", records=list(rows_of(entries)), columns=COLUMNS
    )
    await connection.execute("ANALYZE")
    await connection.close()


def rows_of(entries: Iterable[UsageEntry]) -> Iterator[tuple[Any, ...]]:
    """Yields the values of the columns, in the order of writing."""
    for sequence, entry in enumerate(entries, 1):
        values = msgspec.structs.asdict(entry)
        values |= msgspec.structs.asdict(values.pop("usage"))
        values |= msgspec.structs.asdict(values.pop("purpose"))
        values["sequence"] = sequence
        yield tuple(
            int(value) if isinstance(value := values[name], bool) else value for name in COLUMNS
        )
