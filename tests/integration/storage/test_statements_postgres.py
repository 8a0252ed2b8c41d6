"""Core statements in a real PostgreSQL; ``tests/unit/storage/test_statements.py`` has SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert, insert

from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.postgres_writer import PostgresTransaction
from agent_executor.storage.statements_postgres import PostgresStatementRunner

ITEMS = sa.Table(
    "items",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary),
    sa.Column("weight", sa.Double),
    sa.Column("number", sa.BigInteger),
)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(postgres_url)

    async def create(connection: PostgresTransaction) -> None:
        await connection.execute(
            "CREATE TABLE items"
            " (name TEXT PRIMARY KEY, content BYTEA, weight DOUBLE PRECISION, number BIGINT)"
        )

    await database.writer.submit(create)
    yield database
    await database.close()


@pytest.fixture
def runner(database: PostgresDatabase) -> PostgresStatementRunner:
    return PostgresStatementRunner(database)


def put(name: str, weight: float) -> Insert:
    statement = insert(ITEMS).values(name=name, content=b"\x00\xff", weight=weight, number=2**40)
    changed = {"weight": statement.excluded.weight}
    return statement.on_conflict_do_update(index_elements=[ITEMS.c.name], set_=changed)


def find(name: str) -> sa.Select[tuple[str, bytes, float, int]]:
    return sa.select(ITEMS).where(ITEMS.c.name == name)


async def test_each_statement_has_its_own_rows(runner: PostgresStatementRunner) -> None:
    written, found, missing = await runner.run(put("ä", 1.5), find("ä"), find("b"))
    assert written == []
    assert found == [{"name": "ä", "content": b"\x00\xff", "weight": 1.5, "number": 2**40}]
    assert missing == []
    returned = sa.delete(ITEMS).where(ITEMS.c.name == "ä").returning(ITEMS.c.weight)
    assert await runner.run(returned) == [[{"weight": 1.5}]]


async def test_statements_of_one_form_keep_their_own_values(
    runner: PostgresStatementRunner,
) -> None:
    for weight in (1.0, 2.0):
        await runner.run(put("a", weight), put("b", -weight))
    values = [(await runner.run(find(name)))[0][0]["weight"] for name in "ab"]
    assert values == [2.0, -2.0]


async def test_limits_and_orders_are_values_too(runner: PostgresStatementRunner) -> None:
    await runner.run(*(put(name, 1) for name in "abcd"))
    for limit in (1, 2, 3):
        page = sa.select(ITEMS.c.name).where(ITEMS.c.name > "a").order_by(ITEMS.c.name).limit(limit)
        assert [row["name"] for row in (await runner.run(page))[0]] == list("bcd")[:limit]


async def test_a_failed_statement_undoes_those_before_it(runner: PostgresStatementRunner) -> None:
    duplicate = insert(ITEMS).values(name="a")
    with pytest.raises(asyncpg.UniqueViolationError):
        await runner.run(duplicate, duplicate)
    assert await runner.run(find("a")) == [[]]


async def test_writes_that_come_together_share_a_commit(
    runner: PostgresStatementRunner, database: PostgresDatabase
) -> None:
    before = database.writer.statistics.batches
    await asyncio.gather(*(runner.run(put(str(number), 1)) for number in range(100)))
    assert database.writer.statistics.batches - before < 50
    assert len((await runner.run(sa.select(ITEMS.c.name)))[0]) == 100


async def test_a_read_takes_no_part_in_the_group_commit(
    runner: PostgresStatementRunner, database: PostgresDatabase
) -> None:
    before = database.writer.statistics.operations
    await runner.run(find("a"), find("b"))
    assert database.writer.statistics.operations == before
