"""`agent-executor backup`: everything of a data folder, in one file, while the platform runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.environment import database_url_in_environment
from agent_executor.cli.reading import ReadingProgress
from agent_executor.cli.signals import cleaned_up_at_signals
from agent_executor.serving.database_url import SCHEMAS

FAILED_EXIT_CODE: Final = 1
POSTGRES_EXIT_CODE: Final = 2


def backup(
    target: Annotated[
        Path, typer.Option("--to", help="The file of the backup, which must not exist yet.")
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    without_keys: Annotated[
        bool,
        typer.Option(
            "--without-keys",
            help="Leave the keys out. Without them, what is encrypted in the databases is lost.",
        ),
    ] = False,
) -> None:
    """Back up the data folder while the platform runs or while it is stopped.

    The databases of the three services are copied as they were at one and the same instant, as if
    every process had been killed then: writers wait for some milliseconds, and go on. Each copy is
    checked. The file is compressed, readable by its owner alone, and begins with a manifest of
    versions, revisions and digests.

    The keys are in it: whoever has the file can be anyone on the platform, and can read its
    credentials. Encrypt it before it leaves the machine, or use --without-keys and keep a copy of
    the keys elsewhere.

    Databases in PostgreSQL are backed up by PostgreSQL's own tools; see deploy/docs/backups.md.

    For example:

        agent-executor backup --data-dir /var/lib/agent-executor --to /backups/2026-11-28.backup
    """
    # Imported here so that the other commands start quickly.
    from agent_executor.cli.data_backup import BackupError, make_backup

    console = Console(stderr=True)
    if any(database_url_in_environment(service) for service in SCHEMAS):
        console.print(
            "The databases are in PostgreSQL, and are backed up by its own tools "
            "(pg_dump, or base backups and the log), all at one instant. Beside them, keep a copy of "
            "the keys: `keys`, and `encryption.key` of the executor and of the tool-runner. See "
            "deploy/docs/backups.md.",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(POSTGRES_EXIT_CODE)
    try:
        with cleaned_up_at_signals(), ReadingProgress(console) as progress:
            manifest = make_backup(data_dir, target, with_keys=not without_keys, tell=progress.tell)
    except BackupError as error:
        console.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(FAILED_EXIT_CODE) from None
    typer.echo(f"{target}: {target.stat().st_size:,} bytes, the state at {manifest.taken_at}")
    for part in manifest.parts:
        typer.echo(f"  {part.path:<36} {part.bytes:>14,} bytes  sha256 {part.sha256[:16]}")
    if manifest.has_keys:
        console.print(
            "The platform's keys are in it: keep it as safe as them.", soft_wrap=True, markup=False
        )
