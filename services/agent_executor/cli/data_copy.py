"""The work of `agent-executor copy-data`: one service after another, and then the checks of the whole."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import asyncpg

from agent_executor.cli.environment import database_url_in_environment
from agent_executor.cli.platform import PlatformError, claimed
from agent_executor.cli.service_databases import SERVICE_DATABASES, ServiceDatabase, missing_files
from agent_executor.errors import AgentExecutorError
from agent_executor.ledger.verification.verify import verify as verify_ledger
from agent_executor.serving.database_url import database_url_of
from agent_executor.storage.database_copy import (
    ComparedTable,
    CopyConnection,
    CopyProgress,
    DatabasesDifferError,
    compare_databases,
    copy_database,
)
from agent_executor.storage.migrations import MigrationError
from agent_executor.storage.migrations_postgres import upgrade_postgres
from agent_executor.storage.postgres import APPLICATION_NAME, CONNECT_TIMEOUT_SECONDS
from agent_executor.storage.sqlite_files import check_revision, held_alone
from agent_executor.tool_runner.calls.audit_chain import ChainReport
from agent_executor.tool_runner.calls.audit_scan import scan_postgres

_TABLES = (
    "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"
    " AND to_regclass('alembic_version') IS NULL"
)


class CopyError(Exception):
    """The data cannot be copied; the message is a sentence for a person."""


class CopyDifferenceError(Exception):
    """What is in PostgreSQL is not what is in the files; the message says where."""


@dataclass(frozen=True, slots=True)
class CopiedService:
    """A service whose database is in PostgreSQL.

    Attributes:
        name: The service's name.
        tables: What was compared.
        was_there: Whether it had been copied before, and was now compared again.
    """

    name: str
    tables: list[ComparedTable]
    was_there: bool


def target_urls(given: str) -> dict[str, str]:
    """Returns the PostgreSQL databases by the names of the services.

    Args:
        given: One database for all of them; empty for what the environment says.

    Raises:
        CopyError: A service has none.
    """
    urls = {
        each.name: database_url_of(each.name, "", given) or database_url_in_environment(each.name)
        for each in SERVICE_DATABASES
    }
    for name, url in urls.items():
        if not url:
            raise CopyError(
                f"No PostgreSQL database is named for the {name}: give --to, DATABASE_URL or a "
                "variable of the service."
            )
    return urls


def copy_data(
    data_dir: Path,
    urls: Mapping[str, str],
    on_progress: Callable[[str, CopyProgress], None],
    on_service: Callable[[CopiedService], None],
) -> None:
    """Copies the databases of a data folder, which no process uses meanwhile.

    Each service is one transaction. A service that was copied before is compared, and so an
    interrupted copy is taken up by starting it again.

    Args:
        data_dir: The data folder.
        urls: The PostgreSQL databases by the names of the services.
        on_progress: Told the service and how far it is.
        on_service: Told of each service that is done.

    Raises:
        CopyError: It cannot be copied. What was reported as done is done.
        CopyDifferenceError: What is in a database is something else.
    """
    for path in missing_files(data_dir):
        raise CopyError(f"{path} does not exist.")
    try:
        with claimed(data_dir), contextlib.ExitStack() as held:
            sources = {
                each.name: held.enter_context(held_alone(data_dir / each.file))
                for each in SERVICE_DATABASES
            }
            for each in SERVICE_DATABASES:
                check_revision(sources[each.name], each.migrations, each.name)
            for each in SERVICE_DATABASES:
                tell = _teller(on_progress, each.name)
                on_service(asyncio.run(_copy(sources[each.name], urls[each.name], each, tell)))
    except PlatformError as error:
        raise CopyError(str(error)) from error
    except AgentExecutorError as error:
        raise CopyError(error.message) from error
    except sqlite3.Error as error:
        raise CopyError(f"A SQLite file cannot be read: {error}.") from error


def check_copy(urls: Mapping[str, str]) -> tuple[int, int]:
    """Verifies the copied ledger and the copied audit log, as their own commands do.

    Returns:
        How many usage entries there are, and how many audit events.

    Raises:
        CopyDifferenceError: One of them is not sound.
        CopyError: One of them cannot be read.
    """
    entries = 0

    def count(done: int) -> None:
        nonlocal entries
        entries = done

    try:
        for difference in verify_ledger(
            urls["ledger"], progress=lambda progress: count(progress.entries_done)
        ):
            raise CopyDifferenceError(
                f"The ledger is not sound: {difference.what}. It was not before either: see "
                "`agent-executor ledger verify` with the data folder."
            )
    except AgentExecutorError as error:
        raise CopyError(error.message) from error
    return entries, asyncio.run(_check_audit_log(urls["tool-runner"]))


async def _check_audit_log(url: str) -> int:
    events = 0
    report: ChainReport | None = None
    async for page in scan_postgres(url):
        for record in page:
            if report is None or record.organization_id != report.organization_id:
                report = ChainReport(record.organization_id)
            report.add(record)
            if report.fault is not None:
                raise CopyDifferenceError(
                    f"The audit log of {report.organization_id} has a fault at event "
                    f"{report.fault.sequence}. See `agent-executor audit verify` with the data folder."
                )
        events += len(page)
    return events


async def _copy(
    source: sqlite3.Connection,
    url: str,
    database: ServiceDatabase,
    tell: Callable[[CopyProgress], None],
) -> CopiedService:
    try:
        async with _connected(url, database) as target:
            if await target.fetchval(_TABLES):
                raise CopyError(
                    f"The PostgreSQL database for the {database.name} holds tables of something else."
                )
            await upgrade_postgres(url, database.migrations)
            tables = await copy_database(source, target, tell)
            if tables is not None:
                return CopiedService(database.name, tables, was_there=False)
            try:
                tables = await compare_databases(source, target, tell)
            except DatabasesDifferError as error:
                raise CopyDifferenceError(
                    f"The PostgreSQL database of the {database.name} is not empty, and does not hold "
                    f"what the data folder holds. {error} Nothing was changed."
                ) from error
            return CopiedService(database.name, tables, was_there=True)
    except DatabasesDifferError as error:
        raise CopyDifferenceError(
            f"What PostgreSQL gives back of the {database.name} is not what was written. {error} "
            "Nothing of it was kept."
        ) from error
    except MigrationError as error:
        raise CopyError(str(error)) from error
    except (
        OSError,
        TimeoutError,
        ValueError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    ) as error:
        # Its text may hold the URL, and that the password.
        raise CopyError(
            f"The PostgreSQL database of the {database.name} cannot be used "
            f"({type(error).__name__}). Start the command again: it goes on with this service."
        ) from error


@contextlib.asynccontextmanager
async def _connected(url: str, database: ServiceDatabase) -> AsyncIterator[CopyConnection]:
    """Connects without a limit of time for statements, for a table may be large.

    Raises:
        CopyError: The URL is none.
    """
    try:
        opened = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            server_settings={"application_name": APPLICATION_NAME},
        )
    except ValueError as error:
        # Its text may hold the URL, and that the password.
        raise CopyError(
            f"What is given as the PostgreSQL database of the {database.name} is no URL that can be "
            "used, as postgresql://user@host:5432/database is."
        ) from error
    connection = cast("CopyConnection", opened)
    try:
        yield connection
    finally:
        # After an interruption there may be no answer to wait for.
        if not connection.is_in_transaction():
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)
        connection.terminate()


def _teller(
    on_progress: Callable[[str, CopyProgress], None], name: str
) -> Callable[[CopyProgress], None]:
    return lambda progress: on_progress(name, progress)
