"""Where the ledger keeps what must last: a SQLite file, or a PostgreSQL database it may share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_sqlite import SqliteAccountingStore
from agent_executor.ledger.prices.store import OrganizationCardStore
from agent_executor.ledger.prices.store_sql import SqlOrganizationCardStore
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.store_sql import SqlReportStore
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.ledger.settings import LedgerSettings
from agent_executor.storage.group_commit import BatchStatistics
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import StatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner


@dataclass(frozen=True, slots=True)
class LedgerStorage:
    """An open database.

    Attributes:
        accounting: Reservations, entries and budgets, and their balances.
        reports: Reads what was recorded.
        organization_cards: The prices that organizations have made.
        statements: For other stores that are written in SQLAlchemy Core.
        close: Ends what was submitted, and closes the database.
        connections: Returns how many connections to a server are open, by use; none without one.
    """

    accounting: AccountingStore
    reports: ReportStore
    organization_cards: OrganizationCardStore
    statements: StatementRunner
    close: Callable[[], Awaitable[None]]
    connections: Callable[[], Mapping[str, int]] = dict


async def open_storage(
    settings: LedgerSettings, on_batch: Callable[[BatchStatistics], None] | None = None
) -> LedgerStorage:
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
        return await _open_postgres(settings.postgres_url, on_batch)
    await asyncio.to_thread(upgrade, settings.database_file, MIGRATIONS)
    database = SqliteDatabase(settings.database_file, on_batch=on_batch)
    return _storage(
        SqliteAccountingStore(database), SqliteStatementRunner(database), database.close
    )


async def _open_postgres(
    database_url: str, on_batch: Callable[[BatchStatistics], None] | None
) -> LedgerStorage:
    # Imported here, for most have a SQLite file.
    from agent_executor.ledger.accounting.store_postgres import PostgresAccountingStore
    from agent_executor.storage.migrations_postgres import upgrade_postgres
    from agent_executor.storage.postgres import PostgresDatabase
    from agent_executor.storage.statements_postgres import PostgresStatementRunner

    await upgrade_postgres(database_url, MIGRATIONS)
    database = PostgresDatabase(database_url, on_batch=on_batch)
    return _storage(
        PostgresAccountingStore(database),
        PostgresStatementRunner(database),
        database.close,
        lambda: database.connections,
    )


def _storage(
    accounting: AccountingStore,
    statements: StatementRunner,
    close: Callable[[], Awaitable[None]],
    connections: Callable[[], Mapping[str, int]] = dict,
) -> LedgerStorage:
    return LedgerStorage(
        accounting=accounting,
        reports=SqlReportStore(statements),
        organization_cards=SqlOrganizationCardStore(statements),
        statements=statements,
        close=close,
        connections=connections,
    )
