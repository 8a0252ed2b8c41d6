"""Statements of SQLAlchemy Core, run on whichever database a service has.

A store that is written in them exists once for all databases.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from sqlalchemy import Executable

Row: TypeAlias = dict[str, Any]


class StatementRunner(Protocol):
    """Runs statements that are good SQL in SQLite and in PostgreSQL alike.

    Values are texts, integers, doubles, bytes and None, which reach the driver as they are. An
    upsert is written with ``sqlalchemy.dialects.postgresql.insert``, which compiles for both;
    ``IN`` over a list of values is not supported.
    """

    async def run(self, *statements: Executable) -> list[list[Row]]:
        """Runs statements in one transaction, in order.

        If one of them writes, all is durable, and seen by every later read, once this returns;
        else all see one snapshot. A caller that is cancelled does not undo what it submitted.

        Returns:
            The rows of each statement, as values by column name; none for a write without a
            ``RETURNING`` clause.

        Raises:
            UnavailableError: The storage failed; nothing has been written.
            Exception: What the driver raised for a statement; nothing has been written.
        """
        ...
