"""One PostgreSQL database for all services, each in a schema of its own."""

from __future__ import annotations

import asyncio

import asyncpg

from agent_executor.executor.schema import MIGRATIONS as EXECUTOR
from agent_executor.ledger.schema import MIGRATIONS as LEDGER
from agent_executor.serving.database_url import SCHEMAS, database_url_of
from agent_executor.storage.migrations_postgres import upgrade_postgres
from agent_executor.tool_runner.schema import MIGRATIONS as TOOL_RUNNER

FOLDERS = {"executor": EXECUTOR, "tool-runner": TOOL_RUNNER, "ledger": LEDGER}


async def test_services_that_start_together_each_make_their_schema(postgres_url: str) -> None:
    # Two replicas of each service, all at once, as when a platform is first started.
    await asyncio.gather(
        *(
            upgrade_postgres(database_url_of(service, "", postgres_url), folder)
            for service, folder in FOLDERS.items()
            for _ in range(2)
        )
    )
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch(
            "SELECT schemaname, count(*) FROM pg_tables WHERE tablename = 'alembic_version' GROUP BY 1"
        )
        assert dict(map(tuple, rows)) == dict.fromkeys(SCHEMAS.values(), 1)
        elsewhere = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(elsewhere) == 0
    finally:
        await connection.close()
