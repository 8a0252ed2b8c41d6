"""Shows other tool-runners on a PostgreSQL database that this one lives, by a lock that it holds.

The server frees the lock when the process or its connection ends, so its calls are known to be lost
at once, and no clock is asked. A lock that was lost with its connection is taken again; whoever looks
meanwhile takes the process for dead, which repeats no effect: the first result of a call stays, and an
unsafe call without one is settled as unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Final

from agent_executor.storage.postgres import connect
from agent_executor.storage.postgres_connection import PostgresConnection

# Sets these advisory locks apart from others of the same database.
RUNNER_LOCKS: Final = 0x52554E4E
_HOLD: Final = "SELECT pg_advisory_lock($1, $2)"
# Shared, so that those who look do not take one another for the one that is looked for.
IS_FREE: Final = "SELECT pg_try_advisory_xact_lock_shared($1, $2)"
_ID_MAX: Final = 2**31 - 1
LOOK_SECONDS: Final = 0.5

_LOGGER = logging.getLogger(__name__)


class RunnerPresence:
    """See the module.

    Attributes:
        runner_id: What this process is known by.
    """

    def __init__(self, database_url: str) -> None:
        self.runner_id = random.randint(1, _ID_MAX)  # noqa: S311 -- a name, no secret
        self._database_url = database_url
        self._connection: PostgresConnection | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes the lock, and keeps it until ``close``; while the server is away it is tried again."""
        await self._try_to_hold()
        self._keeping = asyncio.create_task(self._keep(), name="runner-presence")

    async def close(self) -> None:
        """Gives the lock up."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        if self._connection is not None:
            self._connection.terminate()

    async def _hold(self) -> None:
        connection = await connect(self._database_url)
        try:
            await connection.execute(_HOLD, RUNNER_LOCKS, self.runner_id)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._connection is None or self._connection.is_closed():
                await self._try_to_hold()

    async def _try_to_hold(self) -> None:
        try:
            await self._hold()
        except Exception:  # noqa: BLE001 -- a bug must not let this one be taken for dead for good
            _LOGGER.warning("Other tool-runners cannot see at the moment that this one lives.")
