"""The databases of the three services: their files in a data folder, and what PostgreSQL needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_executor.executor.schema import DATABASE_FILE as EXECUTOR_FILE
from agent_executor.executor.schema import MIGRATIONS as EXECUTOR_MIGRATIONS
from agent_executor.ledger.schema import DATABASE_FILE as LEDGER_FILE
from agent_executor.ledger.schema import MIGRATIONS as LEDGER_MIGRATIONS
from agent_executor.tool_runner.schema import DATABASE_FILE as TOOL_RUNNER_FILE
from agent_executor.tool_runner.schema import MIGRATIONS as TOOL_RUNNER_MIGRATIONS


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """A service's database.

    Attributes:
        name: The service's name.
        file: Its SQLite file, below the data folder.
        migrations: The folder of its revisions.
    """

    name: str
    file: Path
    migrations: Path


SERVICE_DATABASES: Final = (
    ServiceDatabase("executor", EXECUTOR_FILE, EXECUTOR_MIGRATIONS),
    ServiceDatabase("tool-runner", TOOL_RUNNER_FILE, TOOL_RUNNER_MIGRATIONS),
    ServiceDatabase("ledger", LEDGER_FILE, LEDGER_MIGRATIONS),
)


def missing_files(data_dir: Path) -> Iterator[Path]:
    """Yields the files that a data folder with SQLite databases would have and this one has not."""
    for database in SERVICE_DATABASES:
        if not (path := data_dir / database.file).is_file():
            yield path
