"""A platform's data moves: into a backup under load and out of it, and from SQLite to PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from agent_executor.cli.main import app
from agent_executor.serving.database_url import SCHEMAS, database_url_of
from tests.e2e.agents_and_runs import (
    FINAL_STATES,
    assert_costs_agree,
    create_agent,
    execute,
    get_run,
    pages,
)
from tests.e2e.approving import approvals, resolved, waiting_run
from tests.e2e.load import Load
from tests.platforms import Client, RunningPlatform, restarted_platform, running_platform, until
from tests.postgres import PostgresServer

ORGANIZATION = "acme"


@dataclass
class Ended:
    """A platform that was killed while it was busy.

    Attributes:
        platform: It.
        backup: A backup that was made while it was busy.
        parked: A run that waits for a person.
    """

    platform: RunningPlatform
    backup: Path
    parked: str

    def client(self, platform: RunningPlatform) -> Client:
        return platform.client(platform.token(ORGANIZATION))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    folder = tmp_path_factory.mktemp("moving")
    with running_platform() as platform:
        client = platform.client(platform.token(ORGANIZATION))
        agent = create_agent(client, tools={"calculator": True})
        limit = {"limit_usd": 1000, "window": "day"}
        assert client.put("/api/v1/budgets/daily", limit).status == 200
        execute(client, agent)
        parked = waiting_run(client)
        backup = folder / "platform.backup"
        with Load(client, agent) as load:
            done = run("backup", "--data-dir", str(platform.data_dir), "--to", str(backup))
            assert (done.exit_code, done.stderr.count("\n")) == (0, 1), done.stderr
            assert "keep it as safe" in done.stderr
            load.go_on()
            assert {answer.status for answer in load.answers} == {200}
            platform.process.kill()
            platform.process.wait()
        yield Ended(platform, backup, parked)


def run(*arguments: str) -> Result:
    """Runs a command in this process, for each start of Python takes a second."""
    return CliRunner().invoke(app, arguments)


def verify(*options: str) -> list[str]:
    """Returns what `ledger verify` and `audit verify` say, which must be that all is well."""
    said = []
    for command in ("ledger", "audit"):
        done = run(command, "verify", *options)
        assert done.exit_code == 0, (done.stdout, done.stderr)
        said.append(done.stdout)
    return said


def assert_all_runs_end(client: Client) -> int:
    def states() -> list[str]:
        return [each["state"] for each in pages(client, "/api/v1/runs", "runs")]

    until(lambda: set(states()) <= FINAL_STATES, what="the end of every run")
    assert set(states()) == {"completed"}
    assert_costs_agree(client)
    return len(states())


def test_a_backup_made_under_load_is_restored_and_every_run_ends(
    ended: Ended, tmp_path: Path
) -> None:
    assert stat.S_IMODE(ended.backup.stat().st_mode) == 0o600
    data_dir = tmp_path / "restored"
    done = run("restore", str(ended.backup), "--data-dir", str(data_dir))
    assert (done.exit_code, done.stderr) == (0, "")
    assert {stat.S_IMODE(path.stat().st_mode) for path in data_dir.rglob("*")} == {0o600, 0o700}
    verify("--data-dir", str(data_dir))
    with restarted_platform(replace(ended.platform, data_dir=data_dir)) as platform:
        client = ended.client(platform)
        [approval] = approvals(client, ended.parked)
        resolved(client, approval, "approve")
        assert assert_all_runs_end(client) > 2
    verify("--data-dir", str(data_dir))


def test_a_folder_that_is_not_empty_is_no_place_to_restore_into(
    ended: Ended, tmp_path: Path
) -> None:
    (tmp_path / "mine").touch()
    done = run("restore", str(ended.backup), "--data-dir", str(tmp_path))
    assert done.exit_code == 1
    assert "exists and is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def rows_of(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_a_platform_goes_on_in_postgresql_where_it_was_in_sqlite(
    ended: Ended, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.url(asyncio.run(postgres_server.new_database()))
    urls = {name: database_url_of(name, "", url) for name in SCHEMAS}
    copy = ("copy-data", "--from", str(ended.platform.data_dir), "--to", url)
    done = run(*copy)
    assert (done.exit_code, done.stderr) == (0, "")
    events = rows_of(ended.platform.data_dir / "executor" / "journal.sqlite3", "run_events")
    assert re.search(rf"\brun_events +{events:,} rows  sha256 [0-9a-f]+\n", done.stdout)
    # What was copied is compared when it is asked for again, and what was changed is noticed.
    assert run(*copy).stdout.count("was copied before, and is the same") == len(SCHEMAS)
    asyncio.run(change(urls["ledger"], "UPDATE budgets SET limit_nano_usd = limit_nano_usd + 1"))
    done = run(*copy)
    assert done.exit_code == 1
    assert "Row 1 of the table budgets" in done.stderr
    assert "limit_nano_usd" in done.stderr
    asyncio.run(change(urls["ledger"], "UPDATE budgets SET limit_nano_usd = limit_nano_usd - 1"))

    before = verify("--data-dir", str(ended.platform.data_dir))
    said = [
        run(command, "verify", "--database-url", urls[service]).stdout
        for command, service in (("ledger", "ledger"), ("audit", "tool-runner"))
    ]
    assert said == before

    with restarted_platform(ended.platform, DATABASE_URL=url) as platform:
        client = ended.client(platform)
        assert get_run(client, ended.parked)["state"] == "waiting"
        [approval] = approvals(client, ended.parked)
        resolved(client, approval, "approve")
        assert_all_runs_end(client)
        [budget] = client.get("/api/v1/budgets").body["budgets"]
        spent = sum(int(each["cost_nano_usd"]) for each in pages(client, "/api/v1/runs", "runs"))
        assert int(budget["settled_nano_usd"]) == spent
        # What numbers itself goes on after what was copied.
        agent = create_agent(client, tools={"calculator": True})
        assert execute(client, agent)["state"] == "completed"
        assert_costs_agree(client)
        refused = run(*copy)
        assert refused.exit_code == 2
        assert "is in use by another" in refused.stderr


async def change(url: str, statement: str) -> None:
    connection: Any = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
