"""`agent-executor copy-data` with what is no database."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_executor.cli.main import app
from agent_executor.cli.service_databases import SERVICE_DATABASES
from tests.sqlite import migrated_file


@pytest.mark.parametrize("url", ["postgresql://u:hidden@db:port/x", "mysql://u:hidden@db/x"])
def test_what_is_no_url_is_told_without_it(tmp_path: Path, url: str) -> None:
    for database in SERVICE_DATABASES:
        migrated_file(tmp_path / database.file, database.migrations)
    done = CliRunner().invoke(app, ["copy-data", "--from", str(tmp_path), "--to", url])
    assert done.exit_code == 2
    assert "database of the executor is no URL" in done.stderr
    assert "hidden" not in done.output
