"""`agent-executor audit verify`: checks that nobody has changed the audit log."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.environment import database_url_in_environment
from agent_executor.cli.reading import ReadingProgress

if TYPE_CHECKING:
    from agent_executor.tool_runner.calls.audit import AuditRecord
    from agent_executor.tool_runner.calls.audit_chain import ChainReport

FAULT_EXIT_CODE: Final = 1
UNREADABLE_EXIT_CODE: Final = 2
OLDER_VERSION: Final = "it is of an older version; start the tool-runner once."

app = typer.Typer(help="Checks the audit log of tool calls.", no_args_is_help=True)


@app.callback()
def audit() -> None:
    """Check the audit log of tool calls."""


@app.command()
def verify(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Annotated[
        str, typer.Option(help="Check this organization's log only. Default: all.")
    ] = "",
    expect_head: Annotated[
        str,
        typer.Option(
            metavar="SHA256",
            help="A head that was printed before; it must still be in the log of --organization.",
        ),
    ] = "",
    database_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The tool-runner's PostgreSQL database. Default: TOOL_RUNNER_DATABASE_URL or "
            "DATABASE_URL, which other users of this machine cannot see; without them, the file in the "
            "data folder.",
        ),
    ] = "",
) -> None:
    """Check that no event of the audit log was changed, removed, inserted or moved.

    Each event holds the digest of the one before it. For each organization this prints how many
    events there are and the digest of the newest, the head. It only reads, beside a running platform
    too. The exit code is 0 if all is well, 1 at a fault, 2 if the log cannot be read.

    A log that was cut off at its end, or computed anew from some event on, is whole in itself. To
    find that as well, keep the head elsewhere and give it back later with --expect-head.

    For example:

        agent-executor audit verify

        agent-executor audit verify --organization acme --expect-head 3f1c…
    """
    if expect_head and not re.fullmatch("[0-9a-f]{64}", expect_head):
        raise typer.BadParameter("It is 64 hexadecimal digits.", param_hint="--expect-head")
    if expect_head and not organization:
        raise typer.BadParameter("It needs --organization.", param_hint="--expect-head")
    console = Console(stderr=True)
    database_url = database_url or database_url_in_environment("tool-runner")
    try:
        pages = _pages(data_dir, database_url, organization)
        reports, found_at = asyncio.run(_check(pages, organization, expect_head, console))
    except UnreadableLogError as error:
        console.print(f"The audit log cannot be read: {error}", soft_wrap=True, markup=False)
        raise typer.Exit(UNREADABLE_EXIT_CODE) from None
    faults = [_tell(report) for report in reports]
    if expect_head and found_at is None and not faults[0]:
        typer.echo(
            f"{organization}: the expected head is not in the log: its end was cut off, or events "
            "were computed anew."
        )
        faults[0] = True
    raise typer.Exit(FAULT_EXIT_CODE if any(faults) else 0)


class UnreadableLogError(Exception):
    """The log cannot be read; the message says why."""


def _pages(
    data_dir: Path, database_url: str, organization: str
) -> Callable[[], AsyncIterator[list[AuditRecord]]]:
    """Returns what opens the log."""
    # Imported here so that the other commands start quickly.
    from agent_executor.tool_runner.calls.audit_scan import scan_postgres, scan_sqlite
    from agent_executor.tool_runner.schema import DATABASE_FILE

    if database_url:
        return lambda: scan_postgres(database_url, organization)
    path = data_dir / DATABASE_FILE
    if not path.is_file():
        raise UnreadableLogError(f"{path} does not exist.")
    return lambda: scan_sqlite(path, organization)


async def _check(
    open_pages: Callable[[], AsyncIterator[list[AuditRecord]]],
    organization: str,
    expect_head: str,
    console: Console,
) -> tuple[list[ChainReport], int | None]:
    """Returns what is to be said of each organization, and where the expected head is."""
    import asyncpg

    from agent_executor.tool_runner.calls.audit_chain import ChainReport

    reports = [ChainReport(organization)] if organization else []
    found_at = None
    events = 0
    try:
        with ReadingProgress(console) as progress:
            async for page in open_pages():
                for record in page:
                    if not reports or record.organization_id != reports[-1].organization_id:
                        reports.append(ChainReport(record.organization_id))
                    reports[-1].add(record)
                    if reports[-1].head.sha256 == expect_head:
                        found_at = reports[-1].head.sequence
                events += len(page)
                progress.tell(f"{events:,} events read")
    except sqlite3.Error as error:
        is_older = "no such" in str(error)
        raise UnreadableLogError(OLDER_VERSION if is_older else f"{error}.") from error
    except (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError) as error:
        raise UnreadableLogError(OLDER_VERSION) from error
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # Its text may hold the URL, and that the password.
        raise UnreadableLogError(f"PostgreSQL cannot be used ({type(error).__name__}).") from error
    return reports, found_at


def _tell(report: ChainReport) -> bool:
    """Prints what was found of an organization; tells whether there is a fault."""
    name, head, fault = report.organization_id, report.head, report.fault
    if fault is None:
        events = "event" if head.sequence == 1 else "events"
        typer.echo(f"{name}: {head.sequence} {events}, head {head.sha256}")
        return False
    reasons = {
        "changed": f"event {fault.sequence} was changed",
        "missing": f"event {fault.sequence} is missing",
        "out_of_order": (
            f"event {fault.sequence} is out of order: it does not follow the one before it"
        ),
    }
    typer.echo(f"{name}: {reasons[fault.kind]}; nothing is wrong before it.")
    return True
