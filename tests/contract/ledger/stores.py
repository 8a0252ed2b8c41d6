"""Every kind of accounting store, empty, for tests that all of them must pass.

What is left in a database when a test is over must be a ledger that can be verified.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from agent_executor.ledger.accounting.book import Rollup
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.accounting.rollup import RollupKey
from agent_executor.ledger.accounting.rows import TOKEN_NAMES
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore
from agent_executor.ledger.accounting.store_postgres import PostgresAccountingStore
from agent_executor.ledger.accounting.store_sqlite import SqliteAccountingStore
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.ledger.verification.verify import verify
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from tests.sqlite import migrated_file

ADAPTERS = ("memory", "sqlite", "postgres")

Rollups: TypeAlias = dict[RollupKey, Rollup]

ROLLUPS = f"""
    SELECT {", ".join((*RollupKey._fields, "entry_count", *TOKEN_NAMES, "cost_nano_usd"))}
    FROM usage_rollups WHERE organization_id =
"""


class OpenedStore(NamedTuple):
    """A store, and a look at what it keeps besides.

    Attributes:
        rollups: Reads the roll-ups of an organization.
    """

    store: AccountingStore
    rollups: Callable[[str], Awaitable[Rollups]]


@asynccontextmanager
async def open_store(
    adapter: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[OpenedStore]:
    """Yields an empty store of a kind, which keeps what it keeps in a folder, or in a server."""
    if adapter == "memory":
        yield open_memory()
    elif adapter == "sqlite":
        path = folder / "ledger.sqlite3"
        opened = open_sqlite(path)
        yield opened
        await opened.store.close()
        await check_verified(path)
    else:
        server = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        opened = open_postgres(server.url(name))
        yield opened
        await opened.store.close()
        await check_verified(server.url(name))
        await server.drop_database(name)


def open_memory() -> OpenedStore:
    """Returns a store that keeps everything in memory."""
    ledger = MemoryLedger()

    async def rollups(organization_id: str) -> Rollups:
        return ledger.organizations[organization_id].rollups

    return OpenedStore(MemoryAccountingStore(ledger), rollups)


def open_sqlite(path: Path) -> OpenedStore:
    """Returns a store in a file, which is made if need be."""
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)

    async def rollups(organization_id: str) -> Rollups:
        rows = await database.read(
            lambda connection: connection.execute(f"{ROLLUPS} ?", (organization_id,)).fetchall()
        )
        return rollups_of(rows)

    return OpenedStore(SqliteAccountingStore(database), rollups)


def open_postgres(database_url: str) -> OpenedStore:
    """Returns a store in a database at the newest revision."""
    database = PostgresDatabase(database_url)

    async def rollups(organization_id: str) -> Rollups:
        return rollups_of(
            await database.read_statement(
                lambda connection: connection.fetch(f"{ROLLUPS} $1", organization_id)
            )
        )

    return OpenedStore(PostgresAccountingStore(database), rollups)


def rollups_of(rows: list[Any]) -> Rollups:
    """Returns rows of the table as the core has them."""
    width = len(RollupKey._fields)
    return {RollupKey(*tuple(row)[:width]): Rollup(*tuple(row)[width:]) for row in rows}


async def check_verified(database: Path | str) -> None:
    """Checks that every sum and hold in a ledger follows from its entries and reservations.

    What tests record may cost something else than by its card, and be of any kind.
    """
    found = await asyncio.to_thread(lambda: list(verify(database)))
    assert [one for one in found if one.kind not in {"cost", "entry"}] == []
