"""Reads the whole audit log, oldest first, for whoever checks it. It writes nothing.

It reads page by page, each on a snapshot of its own, so that it holds up nothing: what is appended
meanwhile comes at the end of its organization, or is not seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from agent_executor.storage.sqlite import connect_read_only
from agent_executor.tool_runner.calls.audit import AuditRecord
from agent_executor.tool_runner.calls.store_rows import AUDIT_COLUMNS, audit_of_row

PAGE_RECORDS: Final = 1_000

# S608: all parts of these statements are fixed names of columns; values are bound.
_ALL: Final = (
    f"SELECT {AUDIT_COLUMNS} FROM audit_events"  # noqa: S608 -- see above
    " WHERE (organization_id, sequence) > ({}, {})"
    f" ORDER BY organization_id, sequence LIMIT {PAGE_RECORDS}"
)
_ONE_ORGANIZATION: Final = (
    f"SELECT {AUDIT_COLUMNS} FROM audit_events WHERE organization_id = {{}} AND sequence > {{}}"  # noqa: S608 -- see above
    f" ORDER BY sequence LIMIT {PAGE_RECORDS}"
)
# Before the first of all: no sequence is as low.
_BEFORE_ALL: Final = -(2**63)


async def scan_sqlite(path: Path, organization_id: str = "") -> AsyncIterator[list[AuditRecord]]:
    """Yields the records of a SQLite file in pages, organization by organization.

    Args:
        path: The tool-runner's database; it may be in use.
        organization_id: Only this organization's; empty for all.

    Raises:
        sqlite3.Error: The file does not exist, or has no audit log of this version.
    """
    statement = (_ONE_ORGANIZATION if organization_id else _ALL).format("?", "?")
    after = (organization_id, _BEFORE_ALL)
    with contextlib.closing(connect_read_only(path)) as connection:
        # Text that someone has broken is a change to be told of, and not one to fail at.
        connection.text_factory = lambda text: text.decode(errors="replace")
        while rows := connection.execute(statement, after).fetchall():
            page = [audit_of_row(row) for row in rows]
            after = (page[-1].organization_id, page[-1].sequence)
            yield page


async def scan_postgres(
    database_url: str, organization_id: str = ""
) -> AsyncIterator[list[AuditRecord]]:
    """Yields the records of a PostgreSQL database in pages, organization by organization.

    Args:
        database_url: The tool-runner's database.
        organization_id: Only this organization's; empty for all.

    Raises:
        OSError: The server cannot be reached.
        TimeoutError: It does not answer in time.
        ValueError: The URL is none.
        asyncpg.PostgresError: It refuses the connection, or has no audit log of this version.
    """
    # Imported here, for most have a SQLite file.
    from agent_executor.storage.postgres import connect

    statement = (_ONE_ORGANIZATION if organization_id else _ALL).format("$1", "$2")
    after = (organization_id, _BEFORE_ALL)
    connection = await connect(database_url)
    try:
        await connection.execute("SET default_transaction_read_only = on")
        while rows := await connection.fetch(statement, *after):
            page = [audit_of_row(row) for row in rows]
            after = (page[-1].organization_id, page[-1].sequence)
            yield page
    finally:
        await connection.close()
