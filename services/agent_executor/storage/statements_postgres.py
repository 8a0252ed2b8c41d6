"""Runs SQLAlchemy Core statements on PostgreSQL."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.expression import ClauseElement, UpdateBase

from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.postgres_writer import PostgresConnection

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy's constructor has no types


class PostgresStatements:
    """``StatementRunner`` on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def run(self, *statements: Executable) -> list[list[dict[str, Any]]]:
        """See ``StatementRunner``."""
        compiled = [_compile(statement) for statement in statements]

        async def run_all(connection: PostgresConnection) -> list[list[dict[str, Any]]]:
            return [
                [dict(row) for row in await connection.fetch(sql, *values)]
                for sql, values in compiled
            ]

        if any(isinstance(statement, UpdateBase) for statement in statements):
            return await self._database.writer.submit(run_all)
        return await self._database.read(run_all)


def _compile(statement: Executable) -> tuple[str, list[Any]]:
    """Returns the text of a statement and the values of its places, in their order."""
    if not isinstance(statement, ClauseElement):
        raise TypeError(f"{type(statement).__name__} is no statement.")
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    values = compiled.params
    return str(compiled), [values[name] for name in getattr(compiled, "positiontup", None) or ()]
