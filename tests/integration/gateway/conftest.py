from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gateway.running_gateway import RunningGateway, running_gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that no test changes."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def lenient_gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway that ignores the fields that it does not know."""
    with running_gateway(tmp_path, refuse_unknown_fields=False) as running:
        yield running
