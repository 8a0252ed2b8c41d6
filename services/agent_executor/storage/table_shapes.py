"""Which tables a service's SQLite file and its PostgreSQL database have: the same, by one migration.

Whoever copies or compares the two reads the shapes from the databases themselves, so that a table
which a later migration adds is copied, too.
"""
# ruff: noqa: S608 -- the names of tables and columns are those that the database itself has told

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from agent_executor.errors import FailedPreconditionError
from agent_executor.storage.postgres_connection import PostgresConnection

REVISION_TABLE: Final = "alembic_version"

_POSTGRES_COLUMNS: Final = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name <> 'alembic_version'
    ORDER BY table_name, ordinal_position
"""


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table, as both databases have it.

    Attributes:
        name: Its name.
        columns: Its columns, in one order for both databases.
        texts: Those of them that hold text.
        key: The columns of its primary key, by which rows are put in order.
    """

    name: str
    columns: tuple[str, ...]
    texts: frozenset[str]
    key: tuple[str, ...]

    @property
    def sqlite_rows(self) -> str:
        """The statement that reads all rows of the SQLite file in their order."""
        return f"SELECT {self._columns} FROM {self.name} ORDER BY {', '.join(self.key)}"

    @property
    def postgres_rows(self) -> str:
        """The same for PostgreSQL, in the same order: SQLite's text is ordered by its bytes."""
        order = (f'{name} COLLATE "C"' if name in self.texts else name for name in self.key)
        return f"SELECT {self._columns} FROM {self.name} ORDER BY {', '.join(order)}"

    @property
    def count(self) -> str:
        """The statement that counts the rows of either."""
        return f"SELECT count(*) FROM {self.name}"

    @property
    def _columns(self) -> str:
        return ", ".join(f'"{name}"' for name in self.columns)


def sqlite_shapes(source: sqlite3.Connection) -> list[TableShape]:
    """Returns the shapes of all tables of a service's file, in the order of their names."""
    names = [
        name
        for (name,) in source.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " AND name <> ? ORDER BY name",
            (REVISION_TABLE,),
        )
    ]
    return [_shape(source, name) for name in names]


async def check_postgres_has(target: PostgresConnection, shapes: list[TableShape]) -> None:
    """Checks that a database has these tables with these columns, and no others.

    Raises:
        FailedPreconditionError: It has not.
    """
    found: dict[str, set[str]] = {}
    for table, column in await target.fetch(_POSTGRES_COLUMNS):
        found.setdefault(table, set()).add(column)
    if found != {shape.name: set(shape.columns) for shape in shapes}:
        raise FailedPreconditionError(
            "The PostgreSQL database has other tables or columns than the SQLite file; it belongs "
            "to another service or program."
        )


def _shape(source: sqlite3.Connection, name: str) -> TableShape:
    rows = source.execute(f'PRAGMA table_info("{name}")').fetchall()
    return TableShape(
        name=name,
        columns=tuple(row[1] for row in rows),
        texts=frozenset(row[1] for row in rows if row[2].upper() == "TEXT"),
        # The last field is the column's place in the primary key, from 1.
        key=tuple(row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5]),
    )
