"""What tests of every kind may ask for."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.postgres import postgres_server, postgres_url
from tests.redis_server import redis_process, redis_server

__all__ = ["postgres_server", "postgres_url", "redis_process", "redis_server"]

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--full``."""
    parser.addoption(
        "--full", action="store_true", help="Run long tests at their full size, for minutes."
    )


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether long tests are to run at their full size."""
    chosen: bool = request.config.getoption("--full")
    return chosen
