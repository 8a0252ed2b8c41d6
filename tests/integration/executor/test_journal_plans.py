"""What SQLite reads for the statements of the journal that are made again and again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite

from agent_executor.executor.journal.journal import RunFilter
from agent_executor.executor.journal.journal_rows import filter_sql
from agent_executor.executor.journal.journal_sqlite import _CLAIM_RUNS, _CLAIM_WAITING
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.executor.webhooks.store_sql import FIRST_DUE
from agent_executor.storage.migrations import upgrade


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal without runs."""
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite3"
    upgrade(path, MIGRATIONS)
    return path


def plan_of(path: Path, statement: str, *values: object) -> str:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return "\n".join(row[3] for row in rows)


@pytest.mark.parametrize("statement", [_CLAIM_RUNS, _CLAIM_WAITING])
def test_a_claim_reads_no_run_that_has_ended(path: Path, statement: str) -> None:
    plan = plan_of(path, statement, "w/1", 5, 4, "{}")
    assert "USING INDEX runs_unfinished" in plan
    assert "runs_by_organization" not in plan
    assert "SCAN runs\n" not in f"{plan}\n"


def test_a_claim_of_the_waiting_looks_up_each_and_reads_no_other(path: Path) -> None:
    plan = plan_of(path, _CLAIM_WAITING, "w/1", 5, 4, "{}")
    assert "SCAN runs" not in plan


@pytest.mark.parametrize("name", ["parent_run_id", "conversation_id"])
def test_runs_are_found_by_what_few_of_them_have(path: Path, name: str) -> None:
    condition, values = filter_sql(RunFilter(**{name: "x"}), lambda number: f"?{number}")  # type: ignore[arg-type]  # both are texts
    statement = f"SELECT * FROM runs WHERE organization_id = 'acme'{condition}"
    statement += " ORDER BY run_id DESC LIMIT 10"
    assert f"USING INDEX runs_by_{name}" in plan_of(path, statement, *values)


def test_what_is_to_be_told_is_looked_up_receiver_by_receiver(path: Path) -> None:
    plan = plan_of(path, str(FIRST_DUE.compile(dialect=sqlite.dialect(paramstyle="named"))))
    assert "SCAN webhook_deliveries" not in plan
    assert plan.count("SEARCH webhook_deliveries USING COVERING INDEX") == 3
