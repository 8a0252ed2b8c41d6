"""Rows of every kind come from SQLite to PostgreSQL as they were, or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_executor.errors import FailedPreconditionError
from agent_executor.storage.database_copy import (
    CopyConnection,
    DatabasesDifferError,
    compare_databases,
    copy_database,
)
from tests.postgres import PostgresServer

SQLITE_TABLES = """
    CREATE TABLE things (
        organization TEXT NOT NULL, name TEXT NOT NULL, flag INTEGER NOT NULL, amount BIGINT,
        share DOUBLE, body BLOB, PRIMARY KEY (organization, name)
    ) WITHOUT ROWID;
    CREATE TABLE entries (sequence INTEGER PRIMARY KEY, note TEXT NOT NULL);
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
    INSERT INTO alembic_version VALUES ('0001');
"""
POSTGRES_TABLES = """
    CREATE TABLE things (
        organization TEXT NOT NULL, name TEXT NOT NULL, flag INTEGER NOT NULL, amount BIGINT,
        share DOUBLE PRECISION, body BYTEA, PRIMARY KEY (organization, name)
    );
    CREATE TABLE entries (sequence BIGSERIAL PRIMARY KEY, note TEXT NOT NULL);
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
"""
# SQLite makes NULL of NaN, and a whole float is stored as what it is.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
LONGS = st.none() | st.integers(-(2**63), 2**63 - 1)
THINGS = st.lists(
    st.tuples(
        TEXTS,
        TEXTS,
        st.integers(-(2**31), 2**31 - 1),
        LONGS,
        st.none() | st.floats(allow_nan=False),
        st.none() | st.binary(),
    ),
    unique_by=lambda row: row[:2],
)
NOTES = st.lists(TEXTS)


def source_of(things: list[tuple[Any, ...]], notes: list[str]) -> sqlite3.Connection:
    source = sqlite3.connect(":memory:", isolation_level=None)
    source.executescript(SQLITE_TABLES)
    source.executemany("INSERT INTO things VALUES (?, ?, ?, ?, ?, ?)", things)
    source.executemany("INSERT INTO entries (note) VALUES (?)", [(note,) for note in notes])
    return source


@asynccontextmanager
async def target_in(server: PostgresServer) -> AsyncIterator[CopyConnection]:
    """Yields a connection to empty tables that nobody else sees."""
    connection: Any = await asyncpg.connect(server.url())
    try:
        await connection.execute(
            "CREATE SCHEMA copies; SET search_path = copies;" + POSTGRES_TABLES
        )
        yield connection
    finally:
        await connection.execute("DROP SCHEMA copies CASCADE")
        await connection.close()


Act = Callable[[CopyConnection], Any]


def copied(server: PostgresServer, source: sqlite3.Connection, act: Act | None = None) -> Any:
    """Copies, and then does something with the target."""

    async def run() -> Any:
        async with target_in(server) as target:
            tables = await copy_database(source, target)
            return tables if act is None else await act(target)

    return asyncio.run(run())


@settings(max_examples=25)
@given(THINGS, NOTES)
def test_any_rows_are_copied_and_found_the_same(
    postgres_server: PostgresServer, things: list[tuple[Any, ...]], notes: list[str]
) -> None:
    source = source_of(things, notes)

    async def act(target: CopyConnection) -> Any:
        number = await target.fetchval("INSERT INTO entries (note) VALUES ('') RETURNING sequence")
        assert number == len(notes) + 1
        await target.execute("DELETE FROM entries WHERE sequence = $1", number)
        rows = await target.fetch('SELECT * FROM things ORDER BY organization COLLATE "C", name')
        assert sorted(map(repr, map(tuple, rows))) == sorted(map(repr, things))
        return await compare_databases(source, target)

    entries, stored = copied(postgres_server, source, act)
    assert (entries.name, entries.rows, stored.name, stored.rows) == (
        *("entries", len(notes)),
        *("things", len(things)),
    )
    assert entries.replaced_texts == stored.replaced_texts == 0


ROWS = [("acme", "b", 1, 2, 3.0, b"\x00"), ("acme", "é", 0, None, None, None)]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE things SET flag = 2 WHERE name = 'b'", "Row 1 .* not the same: flag"),
        ("UPDATE things SET amount = 3, body = '' WHERE name = 'b'", "not the same: amount, body"),
        ("UPDATE things SET share = 3.0000000000000004 WHERE name = 'b'", "not the same: share"),
        ("UPDATE things SET body = '' WHERE name = 'é'", "Row 2 .* not the same: body"),
        ("DELETE FROM things WHERE name = 'é'", "only 1 rows in PostgreSQL, and 2"),
        ("INSERT INTO things VALUES ('z', '', 0)", "more rows in PostgreSQL than the 2"),
    ],
)
def test_a_copy_that_was_changed_is_noticed(
    postgres_server: PostgresServer, statement: str, told: str
) -> None:
    source = source_of(ROWS, [])

    async def act(target: CopyConnection) -> None:
        await target.execute(statement)
        await compare_databases(source, target)

    with pytest.raises(DatabasesDifferError, match=told):
        copied(postgres_server, source, act)


def test_a_difference_that_arises_while_it_is_copied_leaves_nothing(
    postgres_server: PostgresServer,
) -> None:
    source = source_of(ROWS, [])

    async def run() -> None:
        async with target_in(postgres_server) as target:
            # Stands for whatever may come between what is written and what is read.
            await target.execute(
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN NEW.flag := NEW.flag + 1; RETURN NEW; END';"
                "CREATE TRIGGER spoil BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION spoil()"
            )
            with pytest.raises(DatabasesDifferError, match="flag"):
                await copy_database(source, target)
            assert await target.fetchval("SELECT count(*) FROM things") == 0

    asyncio.run(run())


def test_a_database_with_rows_is_left_alone(postgres_server: PostgresServer) -> None:
    source = source_of(ROWS, [])

    async def act(target: CopyConnection) -> None:
        assert await copy_database(source, target) is None
        assert await target.fetchval("SELECT count(*) FROM things") == len(ROWS)

    copied(postgres_server, source, act)


def test_tables_of_another_program_are_refused(postgres_server: PostgresServer) -> None:
    source = source_of([], [])
    source.execute("ALTER TABLE entries ADD COLUMN more TEXT")
    with pytest.raises(FailedPreconditionError, match="other tables or columns"):
        copied(postgres_server, source)


def test_a_value_that_does_not_fit_is_named_by_its_place(postgres_server: PostgresServer) -> None:
    source = source_of([*ROWS, ("z", "", 2**31, None, None, None)], [])
    with pytest.raises(FailedPreconditionError, match="row 3 of the table things") as refused:
        copied(postgres_server, source)
    assert str(2**31) not in refused.value.message


def test_a_nul_is_stored_as_the_stores_do_it_and_counted(postgres_server: PostgresServer) -> None:
    source = source_of([("acme", "a", 1, None, None, b"\x00")], ["a\x00b", "c", "\x00"])

    async def act(target: CopyConnection) -> Any:
        return await target.fetchval("SELECT string_agg(note, ',' ORDER BY sequence) FROM entries")

    entries, things = copied(postgres_server, source)
    assert (entries.replaced_texts, things.replaced_texts) == (2, 0)
    assert copied(postgres_server, source, act) == "a\ufffdb,c,\ufffd"
