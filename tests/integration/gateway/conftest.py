from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.gateway.running_gateway import RunningGateway, running_gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that no test changes."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
