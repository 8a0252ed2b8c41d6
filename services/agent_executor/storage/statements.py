"""Runs SQLAlchemy Core statements on a service's database, for stores that are not hot."""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy import Executable


class StatementRunner(Protocol):
    """A database of either kind."""

    async def run(self, *statements: Executable) -> list[list[dict[str, Any]]]:
        """Runs statements in one transaction, durably, and returns the rows of each.

        Upserts are those of SQLAlchemy's PostgreSQL dialect, ``insert(…).on_conflict_do_update``.

        Raises:
            UnavailableError: The storage failed.
            Exception: What the database raised for a statement; none of them has had an effect.
        """
        ...
