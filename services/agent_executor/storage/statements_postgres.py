"""``StatementRunner`` over PostgreSQL: writes join the group commit, reads have a snapshot."""

from __future__ import annotations

from typing import Any, Final

from cachetools import LRUCache
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.postgres_connection import PostgresConnection
from agent_executor.storage.postgres_writer import (
    PostgresTransaction,
)
from agent_executor.storage.statements import Row

COMPILED_STATEMENTS_MAX: Final = 256


class PostgresStatementRunner:
    """``StatementRunner`` in a PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._dialect = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
        self._compiled: LRUCache[Any, SQLCompiler] = LRUCache(COMPILED_STATEMENTS_MAX)

    async def run(self, *statements: Executable) -> list[list[Row]]:
        """See ``StatementRunner``."""
        ready = [self._ready(statement) for statement in statements]

        async def operation(
            connection: PostgresConnection | PostgresTransaction,
        ) -> list[list[Row]]:
            return [
                [dict(row) for row in await connection.fetch(sql, *values)] for sql, values in ready
            ]

        if any(statement.is_dml for statement in statements):
            return await self._database.writer.submit(operation)
        return await self._database.read(operation)

    def _ready(self, statement: Executable) -> tuple[str, list[Any]]:
        """Returns a statement as text and its values in the order of their places.

        Building the text takes longer than the rest, so it is kept by the statement's structure.
        """
        if not isinstance(statement, ClauseElement):
            raise TypeError("A statement is one of SQLAlchemy Core.")
        key = statement._generate_cache_key()  # noqa: SLF001 -- as SQLAlchemy's own engine asks for it
        if key is None:
            raise TypeError("A part of the statement cannot be kept.")
        known = self._compiled.get(key.key)
        if known is None:
            compiled = statement.compile(dialect=self._dialect, cache_key=key)
            if not isinstance(compiled, SQLCompiler):
                raise TypeError("A statement reads or writes rows.")
            known = self._compiled[key.key] = compiled
        values = known.construct_params(extracted_parameters=key.bindparams)
        return str(known), [values[name] for name in known.positiontup or ()]
