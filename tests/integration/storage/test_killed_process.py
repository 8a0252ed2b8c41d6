from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import closing
from pathlib import Path

from agent_executor.storage.migrations import upgrade

WRITER = Path(__file__).with_name("writer_process.py")
ROUNDS = 4
IDS_PER_ROUND = 1_000_000


def kill_in_mid_load(path: Path, first_id: int, acknowledged_before: int) -> list[int]:
    """Kill a writing process once it has acknowledged enough; return all it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, WRITER, path, str(first_id)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process, process.stdout as output:
        acknowledged = [int(next(output)) for _ in range(acknowledged_before)]
        process.send_signal(signal.SIGKILL)
        # What was written before the signal is still in the pipe; the last line may be cut off.
        acknowledged += [int(line) for line in output if line.endswith(b"\n")]
    assert process.returncode == -signal.SIGKILL
    return acknowledged


def test_acknowledged_is_durable_and_the_rest_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "entries.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entries (id INTEGER, side TEXT, PRIMARY KEY (id, side))")
    acknowledged: list[int] = []
    for round_number in range(ROUNDS):
        acknowledged += kill_in_mid_load(
            path, round_number * IDS_PER_ROUND, acknowledged_before=100 + 37 * round_number
        )
        with closing(sqlite3.connect(path)) as connection:
            rows_by_id = Counter(row[0] for row in connection.execute("SELECT id FROM entries"))
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert set(acknowledged) <= rows_by_id.keys()
        assert set(rows_by_id.values()) == {2}


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    # Not idempotent: a second run would fail for the table that exists.
    (versions / "0001_create.py").write_text(
        textwrap.dedent("""
            from alembic import op
            revision, down_revision = "0001", None
            def upgrade():
                op.execute("CREATE TABLE things (name TEXT)")
                op.execute("INSERT INTO things VALUES ('one')")
        """)
    )
    path = tmp_path / "things.sqlite3"
    script = (
        "import pathlib, sys\n"
        "from agent_executor.storage.migrations import upgrade\n"
        "upgrade(*map(pathlib.Path, sys.argv[1:]))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, path, versions.parent]) for _ in range(3)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM things").fetchall() == [("one",)]


def test_a_process_killed_in_a_migration_leaves_whole_revisions(tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    revision = versions / "0001_create.py"
    head = 'from alembic import op\nrevision, down_revision = "0001", None\n'
    statements = (
        "def upgrade():\n"
        '    op.execute("CREATE TABLE first (name TEXT)")\n'
        "    HANG\n"
        '    op.execute("CREATE TABLE second (name TEXT)")\n'
    )
    hang = "import time; print('half-way', flush=True); time.sleep(60)"
    revision.write_text(head + statements.replace("HANG", hang))
    path = tmp_path / "things.sqlite3"
    script = (
        "import pathlib, sys\n"
        "from agent_executor.storage.migrations import upgrade\n"
        "upgrade(*map(pathlib.Path, sys.argv[1:]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, path, versions.parent], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"half-way\n"
        process.kill()

    revision.write_text(head + statements.replace("HANG", "pass"))
    upgrade(path, versions.parent)
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
        ).fetchall()
    assert {name for (name,) in tables} == {"alembic_version", "first", "second"}
