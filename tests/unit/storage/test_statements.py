from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert

from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_sqlite import SqliteStatementRunner

ITEMS = sa.Table(
    "items",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary),
    sa.Column("weight", sa.Double),
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "items.sqlite3")
    await database.writer.submit(
        lambda connection: connection.execute(
            "CREATE TABLE items (name TEXT PRIMARY KEY, content BLOB, weight REAL)"
        )
    )
    yield database
    await database.close()


@pytest.fixture
def runner(database: SqliteDatabase) -> SqliteStatementRunner:
    return SqliteStatementRunner(database)


def put(name: str, weight: float) -> postgresql.Insert:
    statement = insert(ITEMS).values(name=name, content=b"\x00\xff", weight=weight)
    changed = {"weight": statement.excluded.weight}
    return statement.on_conflict_do_update(index_elements=[ITEMS.c.name], set_=changed)


def find(name: str) -> sa.Select[tuple[str, bytes, float]]:
    return sa.select(ITEMS).where(ITEMS.c.name == name)


async def test_each_statement_has_its_own_rows(runner: SqliteStatementRunner) -> None:
    written, found, missing = await runner.run(put("ä", 1.5), find("ä"), find("b"))
    assert written == []
    assert found == [{"name": "ä", "content": b"\x00\xff", "weight": 1.5}]
    assert missing == []
    returned = sa.delete(ITEMS).where(ITEMS.c.name == "ä").returning(ITEMS.c.weight)
    assert await runner.run(returned) == [[{"weight": 1.5}]]


async def test_statements_of_one_form_keep_their_own_values(runner: SqliteStatementRunner) -> None:
    for weight in (1.0, 2.0):
        await runner.run(put("a", weight), put("b", -weight))
    values = [(await runner.run(find(name)))[0][0]["weight"] for name in "ab"]
    assert values == [2.0, -2.0]


async def test_a_failed_statement_undoes_those_before_it(runner: SqliteStatementRunner) -> None:
    duplicate = insert(ITEMS).values(name="a")
    with pytest.raises(sqlite3.IntegrityError):
        await runner.run(duplicate, duplicate)
    assert await runner.run(find("a")) == [[]]


async def test_writes_that_come_together_share_a_commit(
    runner: SqliteStatementRunner, database: SqliteDatabase
) -> None:
    before = database.writer.statistics.batches
    await asyncio.gather(*(runner.run(put(str(number), 1)) for number in range(100)))
    assert database.writer.statistics.batches - before < 50
    assert len((await runner.run(sa.select(ITEMS.c.name)))[0]) == 100


async def test_a_read_takes_no_part_in_the_group_commit(
    runner: SqliteStatementRunner, database: SqliteDatabase
) -> None:
    before = database.writer.statistics.operations
    await runner.run(find("a"), find("b"))
    assert database.writer.statistics.operations == before


def test_an_upsert_is_good_for_postgresql_as_well() -> None:
    dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    text = str(put("a", 1).compile(dialect=dialect))
    assert "ON CONFLICT (name) DO UPDATE SET weight = excluded.weight" in text
