"""What is used of a connection to PostgreSQL."""

from __future__ import annotations

from typing import Any, Protocol


class PostgresConnection(Protocol):
    """What is used of an asyncpg connection, whose package has no types."""

    async def execute(self, query: str, *values: object) -> str:
        """Runs a statement and returns its status, for example ``DELETE 1``."""
        ...

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Returns every row."""
        ...

    async def fetchrow(self, query: str, *values: object) -> Any:
        """Returns the first row; None if there is none."""
        ...

    async def fetchval(self, query: str, *values: object) -> Any:
        """Returns the first column of the first row; None if there is none."""
        ...

    def is_closed(self) -> bool:
        """Tells whether the connection is lost or closed."""
        ...

    def is_in_transaction(self) -> bool:
        """Tells whether a transaction is open, be it a failed one."""
        ...

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 -- asyncpg's signature
        """Closes the connection as the server expects it."""
        ...

    def terminate(self) -> None:
        """Drops the connection at once."""
        ...
