from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from agent_executor.executor.schema import MIGRATIONS
from tests.e2e.crash.executors import Fleet, running_fleet
from tests.e2e.crash.peers import Peers, running_peers
from tests.postgres import PostgresServer

# So that tests of a small size need not wait as long as the product does.
SHORT_LEASE = {"EXECUTOR_LEASE_SECONDS": "0.75", "EXECUTOR_LEASE_RENEWAL_SECONDS": "0.25"}

# Makes a fleet: on which database, of how many executors, with which further settings.
MakeFleet = Callable[..., AbstractAsyncContextManager[Fleet]]


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with running_peers(tmp_path_factory.mktemp("peers")) as running:
        yield running


@pytest.fixture
def make_fleet(
    peers: Peers, tmp_path: Path, request: pytest.FixtureRequest, full: bool
) -> MakeFleet:
    @asynccontextmanager
    async def make(database: str, executors: int, **settings: str) -> AsyncIterator[Fleet]:
        settings = settings if full else {**SHORT_LEASE, **settings}
        if database == "sqlite":
            async with running_fleet(peers, tmp_path, executors=executors, **settings) as fleet:
                yield fleet
            return
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        try:
            async with running_fleet(
                peers,
                tmp_path,
                executors=executors,
                EXECUTOR_DATABASE_URL=server.url(name),
                **settings,
            ) as fleet:
                yield fleet
        finally:
            await server.drop_database(name)

    return make
