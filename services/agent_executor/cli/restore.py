"""`agent-executor restore`: makes a data folder of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from agent_executor.cli.signals import cleaned_up_at_signals

FAILED_EXIT_CODE: Final = 1


def restore(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file that `agent-executor backup` wrote.")
    ],
    data_dir: Annotated[
        Path,
        typer.Option("--data-dir", help="The new data folder; it must not exist, or be empty."),
    ],
) -> None:
    """Restore a backup into a new data folder, and check every part of it.

    What happened after the backup is not known to it: runs go on from where they were then, and what
    their tools did since may be done again. Do not start the old data folder beside the new one.

    For example:

        agent-executor restore /backups/2026-11-28.backup --data-dir /var/lib/agent-executor-restored

        agent-executor up --data-dir /var/lib/agent-executor-restored
    """
    # Imported here so that the other commands start quickly.
    from agent_executor.cli.data_backup import BackupError, restore_backup

    console = Console(stderr=True)
    try:
        with cleaned_up_at_signals():
            manifest = restore_backup(source, data_dir)
    except BackupError as error:
        console.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(FAILED_EXIT_CODE) from None
    typer.echo(
        f"{data_dir}: the state at {manifest.taken_at}, written by version {manifest.version}; "
        f"{len(manifest.parts)} files, every digest is right."
    )
    if not manifest.has_keys:
        console.print(
            f"The keys are not in the backup: put `keys`, `executor/encryption.key` and "
            f"`tool_runner/encryption.key` into {data_dir} before you start it, or what is encrypted "
            "cannot be read.",
            soft_wrap=True,
            markup=False,
        )
