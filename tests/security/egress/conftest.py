from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.security.egress.world import Tls, World


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def world(tls: Tls) -> AsyncIterator[World]:
    async with World(tls) as world:
        yield world
