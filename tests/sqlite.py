"""Migrated SQLite files for tests: a service's migrations run once in each test process."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import create_private_file


def migrated_file(path: Path, migrations: Path) -> None:
    """Makes a database with all migrations, unless there is one, as ``upgrade`` does."""
    if not path.exists():
        create_private_file(path)
        path.write_bytes(_migrated(migrations))


@functools.cache
def _migrated(migrations: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="migrated-") as folder:
        path = Path(folder) / "template.sqlite3"
        upgrade(path, migrations)
        # The last connection to it is closed, so that nothing is left in a file beside it.
        return path.read_bytes()
