from __future__ import annotations

import asyncio
import sys
import textwrap
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from agent_executor.storage.migrations import MigrationError, known_revisions
from agent_executor.storage.migrations_postgres import ADVISORY_LOCK, upgrade_postgres
from agent_executor.tool_runner.schema import MIGRATIONS

CREATE = 'op.execute("CREATE TABLE things (name TEXT)")'
# Not idempotent: a second run would fail for the table that exists.
FILL = "op.execute(\"INSERT INTO things VALUES ('one')\")"


def write_revisions(folder: Path, *bodies: str) -> Path:
    """Writes revisions, each following the one before."""
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(bodies, 1):
        previous = f"{number - 1:04}" if number > 1 else None
        (versions / f"{number:04}_step.py").write_text(
            textwrap.dedent(f"""
                from alembic import op
                revision, down_revision = "{number:04}", {previous!r}
                def upgrade():
                    {body}
            """)
        )
    return folder


async def fetch(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def test_the_tool_runner_s_revisions_run(postgres_url: str) -> None:
    for _ in range(2):
        await upgrade_postgres(postgres_url, MIGRATIONS)
    newest = known_revisions(MIGRATIONS)[-1]
    assert await fetch(postgres_url, "SELECT version_num FROM alembic_version") == [newest]


async def test_later_revisions_are_added(postgres_url: str, tmp_path: Path) -> None:
    await upgrade_postgres(postgres_url, write_revisions(tmp_path, CREATE))
    await upgrade_postgres(postgres_url, write_revisions(tmp_path, CREATE, FILL))
    assert await fetch(postgres_url, "SELECT name FROM things") == ["one"]


async def test_a_revision_that_fails_leaves_the_ones_before_it_whole(
    postgres_url: str, tmp_path: Path
) -> None:
    broken = write_revisions(tmp_path, CREATE, f'{FILL}; op.execute("NO STATEMENT")')
    with pytest.raises(Exception, match="syntax error"):
        await upgrade_postgres(postgres_url, broken)
    assert await fetch(postgres_url, "SELECT name FROM things") == []
    await upgrade_postgres(postgres_url, write_revisions(tmp_path, CREATE, FILL))
    assert await fetch(postgres_url, "SELECT name FROM things") == ["one"]


async def test_processes_that_start_together_migrate_once(
    postgres_url: str, tmp_path: Path
) -> None:
    folder = write_revisions(tmp_path, CREATE, FILL)
    script = (
        "import asyncio, pathlib, sys\n"
        "from agent_executor.storage.migrations_postgres import upgrade_postgres\n"
        "asyncio.run(upgrade_postgres(sys.argv[1], pathlib.Path(sys.argv[2])))\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", script, postgres_url, folder)
        for _ in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    assert await fetch(postgres_url, "SELECT name FROM things") == ["one"]


async def test_tasks_that_migrate_together_migrate_once(postgres_url: str, tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, CREATE, FILL)
    await asyncio.gather(*(upgrade_postgres(postgres_url, folder) for _ in range(3)))
    assert await fetch(postgres_url, "SELECT name FROM things") == ["one"]


async def test_a_newer_database_is_refused(postgres_url: str, tmp_path: Path) -> None:
    await upgrade_postgres(postgres_url, write_revisions(tmp_path / "new", CREATE, FILL))
    with pytest.raises(MigrationError, match=r"is at revision 0002, .* none after 0001"):
        await upgrade_postgres(postgres_url, write_revisions(tmp_path / "old", CREATE))


async def test_a_migration_under_way_elsewhere_is_not_waited_for_without_end(
    postgres_url: str, tmp_path: Path
) -> None:
    folder = write_revisions(tmp_path, CREATE)
    other = await asyncpg.connect(postgres_url)
    await other.execute(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
    with pytest.raises(MigrationError, match="Another process"):
        await upgrade_postgres(postgres_url, folder, lock_timeout_seconds=0.05)
    await other.close()
    await upgrade_postgres(postgres_url, folder)


async def test_a_database_that_cannot_be_opened_is_a_sentence_without_its_password(
    tmp_path: Path,
) -> None:
    folder = write_revisions(tmp_path, CREATE)
    for url in (f"postgresql://ada:s3cret@/things?host={tmp_path}", "postgresql://ada:s3cret@:x/"):
        with pytest.raises(MigrationError, match="cannot be opened") as caught:
            await upgrade_postgres(url, folder)
        assert "s3cret" not in str(caught.value)
