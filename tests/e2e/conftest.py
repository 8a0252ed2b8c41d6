from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.platforms import Client, RunningPlatform, running_platform


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """The platform of all tests that leave it as they found it; one per worker of xdist."""
    with running_platform() as running:
        yield running


@pytest.fixture
def organization() -> str:
    """An organization that no other test has."""
    return f"organization-{uuid.uuid4()}"


@pytest.fixture
def client(platform: RunningPlatform, organization: str) -> Client:
    """A client that may do everything in an organization of its own."""
    return platform.client(platform.token(organization))
