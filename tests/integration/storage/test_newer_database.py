"""A service that finds a database of a newer version says so in a sentence and does not start."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent_executor.cli.keys import ensure_keys
from agent_executor.executor.schema import MIGRATIONS as EXECUTOR_MIGRATIONS
from agent_executor.ledger.schema import MIGRATIONS as LEDGER_MIGRATIONS
from agent_executor.storage.migrations import upgrade
from agent_executor.tool_runner.schema import MIGRATIONS as TOOL_MIGRATIONS
from tests.platforms import command_environment


@pytest.mark.parametrize(
    ("module", "file", "migrations"),
    [
        ("executor", "executor/journal.sqlite3", EXECUTOR_MIGRATIONS),
        ("tool_runner", "tool_runner/tool_runner.sqlite3", TOOL_MIGRATIONS),
        ("ledger", "ledger/ledger.sqlite3", LEDGER_MIGRATIONS),
    ],
)
def test_a_newer_database_is_one_sentence_and_an_exit_code(
    tmp_path: Path, module: str, file: str, migrations: Path
) -> None:
    ensure_keys(tmp_path)
    path = tmp_path / file
    upgrade(path, migrations)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    environment = command_environment(**{f"{module.upper()}_DATA_DIR": str(tmp_path)})
    ended = subprocess.run(
        [sys.executable, "-m", f"agent_executor.{module}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "is at revision 9999" in ended.stderr
    assert "Traceback" not in ended.stderr
