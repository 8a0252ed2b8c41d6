"""``StatementRunner`` over a SQLite file: writes join the group commit, reads have a snapshot."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from cachetools import LRUCache
from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Compiled
from sqlalchemy.sql import ClauseElement

from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import Row

COMPILED_STATEMENTS_MAX: Final = 256


class SqliteStatementRunner:
    """``StatementRunner`` in a SQLite database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._dialect = sqlite.dialect(paramstyle="named")
        self._compiled: LRUCache[Any, Compiled] = LRUCache(COMPILED_STATEMENTS_MAX)

    async def run(self, *statements: Executable) -> list[list[Row]]:
        """See ``StatementRunner``."""
        ready = [self._ready(statement) for statement in statements]

        def operation(connection: sqlite3.Connection) -> list[list[Row]]:
            return [_rows(connection.execute(sql, values)) for sql, values in ready]

        if any(statement.is_dml for statement in statements):
            return await self._database.writer.submit(operation)
        return await self._database.read(operation)

    def _ready(self, statement: Executable) -> tuple[str, dict[str, Any]]:
        """Returns a statement as text and its values by name.

        Building the text takes five times as long as the rest, so it is kept by the statement's
        structure.
        """
        if not isinstance(statement, ClauseElement):
            raise TypeError("A statement is one of SQLAlchemy Core.")
        key = statement._generate_cache_key()  # noqa: SLF001 -- as SQLAlchemy's own engine asks for it
        if key is None:
            raise TypeError("A part of the statement cannot be kept.")
        known = self._compiled.get(key.key)
        if known is None:
            known = statement.compile(dialect=self._dialect, cache_key=key)
            self._compiled[key.key] = known
        values = known.construct_params(extracted_parameters=key.bindparams)
        return str(known), dict(values or {})


def _rows(cursor: sqlite3.Cursor) -> list[Row]:
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
