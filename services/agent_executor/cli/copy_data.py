"""`agent-executor copy-data`: from the SQLite files of a data folder to PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.console import Console

from agent_executor.cli.data_dir import DEFAULT_DATA_DIR
from agent_executor.cli.reading import ReadingProgress

if TYPE_CHECKING:
    from agent_executor.cli.data_copy import CopiedService
    from agent_executor.storage.database_copy import CopyProgress

DIFFERENCE_EXIT_CODE: Final = 1
IMPOSSIBLE_EXIT_CODE: Final = 2
SHOWN_DIGITS: Final = 16


def copy_data(
    source: Annotated[
        Path, typer.Option("--from", help="The data folder of the platform, which must be stopped.")
    ] = DEFAULT_DATA_DIR,
    target: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="The PostgreSQL database, as postgresql://user@host:5432/database. Default: "
            "DATABASE_URL, or EXECUTOR_DATABASE_URL and so on, which other users of this machine "
            "cannot see.",
        ),
    ] = "",
) -> None:
    """Copy the SQLite databases of a stopped platform into PostgreSQL, verified row by row.

    Of one DATABASE_URL each service gets a schema of its own. Each service is copied in one
    transaction, in which every row is read back and compared before it is committed, and afterwards
    the ledger and the audit log are verified. If it is interrupted, start it again: what was copied
    is compared, and the rest is copied. A database that holds something else is left alone.

    Keys are not in a database: `keys` and both files `encryption.key` stay in the data folder, and
    the services need them as before.

    The exit code is 0 if all is copied, 1 if something differs, 2 if it cannot be done.

    For example:

        agent-executor copy-data --from .agent-executor --to postgresql://agents@db:5432/agents
    """
    # Imported here so that the other commands start quickly.
    from agent_executor.cli import data_copy

    console = Console(stderr=True)
    try:
        urls = data_copy.target_urls(target)
        with ReadingProgress(console) as progress:
            data_copy.copy_data(
                source,
                urls,
                lambda name, done: progress.tell(_progress_line(name, done)),
                _tell_service,
            )
            progress.tell("verifying the ledger and the audit log")
            entries, events = data_copy.check_copy(urls)
    except data_copy.CopyDifferenceError as error:
        _end(console, str(error), DIFFERENCE_EXIT_CODE)
    except data_copy.CopyError as error:
        _end(console, str(error), IMPOSSIBLE_EXIT_CODE)
    typer.echo(
        f"All rows are the same. {entries:,} usage entries and {events:,} audit events are verified. "
        "Start the platform with the same databases in its settings, and with the same data folder: "
        "the keys stay there."
    )


def _progress_line(name: str, progress: CopyProgress) -> str:
    return (
        f"{name}: {progress.table}: {progress.rows_done:,} of {progress.rows_total:,} rows "
        f"{progress.step}"
    )


def _tell_service(service: CopiedService) -> None:
    done = "was copied before, and is the same" if service.was_there else "copied and compared"
    rows = sum(table.rows for table in service.tables)
    typer.echo(f"{service.name}: {rows:,} rows in {len(service.tables)} tables {done}")
    for table in service.tables:
        texts = "text" if table.replaced_texts == 1 else "texts"
        replaced = f", in {table.replaced_texts:,} {texts} U+FFFD for NUL" * (
            table.replaced_texts > 0
        )
        digest = table.sha256[:SHOWN_DIGITS]
        typer.echo(f"  {table.name:<22} {table.rows:>12,} rows  sha256 {digest}{replaced}")


def _end(console: Console, reason: str, exit_code: int) -> NoReturn:
    console.print(reason, soft_wrap=True, markup=False)
    raise typer.Exit(exit_code)
