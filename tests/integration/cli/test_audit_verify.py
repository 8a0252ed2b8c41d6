"""`agent-executor audit verify` on logs that were tampered with, in both kinds of database."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from typer.testing import CliRunner, Result

from agent_executor.cli.main import app
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.migrations_postgres import upgrade_postgres
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.calls.audit import AuditRecord
from agent_executor.tool_runner.calls.audit_chain import Head, linked
from agent_executor.tool_runner.calls.record import CallRecords
from agent_executor.tool_runner.calls.store_postgres import PostgresCallStore
from agent_executor.tool_runner.calls.store_rows import (
    AUDIT_COLUMNS,
    audit_of_row,
    row_of_audit,
)
from agent_executor.tool_runner.calls.store_sqlite import SqliteCallStore
from agent_executor.tool_runner.schema import DATABASE_FILE, MIGRATIONS
from tests.postgres import PostgresServer

EVENTS = 12
AUDIT = AuditRecord(
    organization_id="acme",
    user_id="ada",
    run_id="run-1",
    agent_id="agent-1",
    tool_call_id="call-1",
    tool_name="calculator",
    arguments_sha256="ab" * 32,
    decision="refused",
    rule="permission",
    outcome="none",
    code="PERMISSION_DENIED",
    result_sha256="",
    duration_ms=0,
    trace_id="",
    created_at_ms=1_700_000_000_987,
    facts=("screening:sql_injection",),
)


class Log:
    """An audit log, and one who may change it as the owner of the machine may."""

    def __init__(self, options: list[str], execute: Callable[[str], list[Any]]) -> None:
        self.options = options
        self.execute = execute

    def verify(self, *options: str) -> Result:
        """Runs the command."""
        return CliRunner().invoke(app, ["audit", "verify", *self.options, *options])

    def event(self, sequence: int) -> AuditRecord:
        """Returns an event of `acme`."""
        condition = f"organization_id = 'acme' AND sequence = {sequence}"
        (row,) = self.execute(f"SELECT {AUDIT_COLUMNS} FROM audit_events WHERE {condition}")
        return audit_of_row(row)

    def change(self, sequence: int, assignment: str) -> None:
        """Changes an event of `acme`."""
        self.execute(
            f"UPDATE audit_events SET {assignment}"
            f" WHERE organization_id = 'acme' AND sequence = {sequence}"
        )

    def remove(self, condition: str) -> None:
        """Removes events of `acme`."""
        self.execute(f"DELETE FROM audit_events WHERE organization_id = 'acme' AND {condition}")

    def shift(self, above: int, by: int) -> None:
        """Renumbers the events of `acme` above a sequence, by way of numbers that are free."""
        for step in (1_000, by - 1_000):
            self.execute(
                f"UPDATE audit_events SET sequence = sequence + {step}"
                f" WHERE organization_id = 'acme' AND sequence > {above}"
            )

    def insert(self, record: AuditRecord) -> None:
        """Inserts an event."""
        values = ", ".join(
            str(value) if isinstance(value, int) else f"'{value}'" for value in row_of_audit(record)
        )
        self.execute(f"INSERT INTO audit_events ({AUDIT_COLUMNS}) VALUES ({values})")


async def fill(store: CallRecords) -> None:
    for number in range(EVENTS):
        for organization_id in ("acme", "other"):
            audit = msgspec.structs.replace(
                AUDIT, organization_id=organization_id, tool_call_id=f"call-{number}"
            )
            await store.append_audit_record(audit)


@pytest.fixture(params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """Yields a log of two organizations."""
    if request.param == "sqlite":
        yield sqlite_log(tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = asyncio.run(server.new_database(MIGRATIONS))
    url = server.url(name)

    async def fill_database() -> None:
        database = PostgresDatabase(url)
        await fill(PostgresCallStore(database, 90.0))
        await database.close()

    async def execute(statement: str) -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    asyncio.run(fill_database())
    yield Log(["--database-url", url], lambda statement: asyncio.run(execute(statement)))
    asyncio.run(server.drop_database(name))


def sqlite_log(data_dir: Path) -> Log:
    path = data_dir / DATABASE_FILE
    upgrade(path, MIGRATIONS)

    async def fill_database() -> None:
        database = SqliteDatabase(path)
        await fill(SqliteCallStore(database))
        await database.close()

    def execute(statement: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement).fetchall()

    asyncio.run(fill_database())
    return Log(["--data-dir", str(data_dir)], execute)


def head_of(log: Log) -> str:
    found = re.search(r"^acme: 12 events, head ([0-9a-f]{64})$", log.verify().stdout, re.MULTILINE)
    assert found is not None
    return found[1]


def test_a_log_that_nobody_changed_is_well(log: Log) -> None:
    result = log.verify()
    assert result.exit_code == 0
    assert [line.partition(",")[0] for line in result.stdout.splitlines()] == [
        "acme: 12 events",
        "other: 12 events",
    ]
    assert head_of(log) == log.event(12).sha256
    assert result.stderr == ""


def test_one_organization_is_checked_alone(log: Log) -> None:
    log.execute("UPDATE audit_events SET code = '' WHERE organization_id = 'other'")
    result = log.verify("--organization", "acme")
    assert (result.exit_code, result.stdout) == (
        0,
        f"acme: 12 events, head {log.event(12).sha256}\n",
    )
    assert log.verify().exit_code == 1
    empty = log.verify("--organization", "nobody")
    assert (empty.exit_code, empty.stdout) == (0, f"nobody: 0 events, head {'0' * 64}\n")


@pytest.mark.parametrize(
    "assignment",
    [
        "user_id = 'eve'",
        "decision = 'allowed'",
        "facts = '[]'",
        "facts = 'none'",
        "duration_ms = 1",
    ],
)
def test_a_changed_event_is_found(log: Log, assignment: str) -> None:
    log.change(5, assignment)
    result = log.verify()
    assert result.exit_code == 1
    assert "acme: event 5 was changed" in result.stdout
    assert "other: 12 events" in result.stdout


def test_a_deleted_event_is_found(log: Log) -> None:
    log.remove("sequence = 5")
    assert "acme: event 5 is missing" in log.verify().stdout
    log.shift(above=5, by=-1)
    result = log.verify()
    assert result.exit_code == 1
    assert "acme: event 5 is out of order" in result.stdout


def test_an_inserted_event_is_found(log: Log) -> None:
    before = log.event(4)
    log.shift(above=4, by=1)
    log.insert(linked(AUDIT, Head(4, before.sha256)))
    result = log.verify()
    assert result.exit_code == 1
    assert "acme: event 6 is out of order" in result.stdout


def test_swapped_events_are_found(log: Log) -> None:
    for sequence, to in ((5, 1_000), (6, 5), (1_000, 6)):
        log.change(sequence, f"sequence = {to}")
    result = log.verify()
    assert result.exit_code == 1
    assert "acme: event 5 is out of order" in result.stdout


def test_a_log_that_was_cut_off_is_found_by_a_head_that_was_kept(log: Log) -> None:
    expectation = ("--organization", "acme", "--expect-head", head_of(log))
    assert log.verify(*expectation).exit_code == 0
    log.remove("sequence > 9")
    assert log.verify().exit_code == 0
    result = log.verify(*expectation)
    assert result.exit_code == 1
    assert "the expected head is not in the log" in result.stdout
    log.remove("sequence > 0")
    assert log.verify(*expectation).exit_code == 1


def test_a_log_that_was_computed_anew_is_found_by_a_head_that_was_kept(log: Log) -> None:
    expectation = ("--organization", "acme", "--expect-head", head_of(log))
    before, last = log.event(11), log.event(12)
    log.remove("sequence = 12")
    forged = msgspec.structs.replace(last, user_id="eve")
    log.insert(linked(forged, Head(11, before.sha256)))
    assert log.verify().exit_code == 0
    assert log.verify(*expectation).exit_code == 1


def test_a_head_that_was_kept_may_have_followers(log: Log) -> None:
    result = log.verify("--organization", "acme", "--expect-head", log.event(7).sha256)
    assert (result.exit_code, result.stdout) == (
        0,
        f"acme: 12 events, head {log.event(12).sha256}\n",
    )


def test_more_than_a_page_of_events_is_one_chain(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_executor.tool_runner.calls.audit_scan._ALL", page_of_five("_ALL"))
    assert "acme: 12 events" in log.verify().stdout
    log.change(11, "user_id = 'eve'")
    assert "acme: event 11 was changed" in log.verify().stdout


def test_it_tells_how_far_it_is(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_executor.cli.reading.PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("agent_executor.tool_runner.calls.audit_scan._ALL", page_of_five("_ALL"))
    lines = log.verify().stderr.splitlines()
    assert (lines[0], lines[-1]) == ("5 events read", "24 events read")


def page_of_five(name: str) -> str:
    from agent_executor.tool_runner.calls import audit_scan

    return re.sub(r"LIMIT \d+", "LIMIT 5", getattr(audit_scan, name))


def test_text_that_is_none_is_a_change(tmp_path: Path) -> None:
    log = sqlite_log(tmp_path)
    log.change(5, "user_id = CAST(x'ff' AS TEXT)")
    assert "acme: event 5 was changed" in log.verify().stdout
    log.change(3, "sequence = 'three'")
    assert "acme: event 3 is missing" in log.verify().stdout


def test_it_reads_beside_a_platform_that_writes(tmp_path: Path) -> None:
    log = sqlite_log(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM audit_events")
        assert log.verify().exit_code == 0
        writer.execute("ROLLBACK")


def test_what_cannot_be_read_is_one_sentence_and_another_exit_code(tmp_path: Path) -> None:
    log = Log(["--data-dir", str(tmp_path)], lambda _: [])
    missing = log.verify()
    assert missing.exit_code == 2
    assert "tool_runner.sqlite3 does not exist." in missing.stderr
    (tmp_path / DATABASE_FILE).parent.mkdir()
    (tmp_path / DATABASE_FILE).write_bytes(b"no database at all, but long enough to be one" * 99)
    broken = log.verify()
    assert broken.exit_code == 2
    assert "file is not a database" in broken.stderr
    log.options = ["--database-url", f"postgresql://ada:s3cret@/none?host={tmp_path}"]
    unreachable = log.verify()
    assert unreachable.exit_code == 2
    assert "PostgreSQL cannot be used (FileNotFoundError)." in unreachable.stderr
    assert "s3cret" not in unreachable.output


async def test_a_log_of_before_the_chain_is_not_called_a_fault(
    tmp_path: Path, postgres_url: str
) -> None:
    versions = tmp_path / "first" / "versions"
    versions.mkdir(parents=True)
    (first,) = (MIGRATIONS / "versions").glob("0001_*.py")
    (versions / first.name).write_bytes(first.read_bytes())
    await upgrade_postgres(postgres_url, versions.parent)
    upgrade(tmp_path / DATABASE_FILE, versions.parent)
    for options in (["--database-url", postgres_url], ["--data-dir", str(tmp_path)]):
        log = Log(options, lambda _: [])
        result = await asyncio.to_thread(log.verify)
        assert result.exit_code == 2
        assert "older version" in result.stderr


def test_an_expectation_must_be_one_of_an_organization(tmp_path: Path) -> None:
    log = Log(["--data-dir", str(tmp_path)], lambda _: [])
    assert log.verify("--expect-head", "ab" * 32).exit_code == 2
    assert log.verify("--organization", "acme", "--expect-head", "AB" * 32).exit_code == 2


def test_the_database_of_the_environment_is_checked(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = asyncio.run(postgres_server.new_database(MIGRATIONS))
    monkeypatch.setenv("TOOL_RUNNER_DATABASE_URL", postgres_server.url(name))
    result = Log(["--data-dir", str(tmp_path)], lambda _: []).verify()
    assert (result.exit_code, result.stdout) == (0, "")
    asyncio.run(postgres_server.drop_database(name))


def test_its_help_says_what_it_finds_and_what_it_does_not() -> None:
    result = CliRunner().invoke(app, ["audit", "verify", "--help"])
    assert result.exit_code == 0
    for text in ("agent-executor audit verify", "--expect-head", "--database-url", "exit code"):
        assert text in result.stdout
