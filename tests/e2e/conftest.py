from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import grpc
import pytest

from tests.e2e.custom_tools import LOOPBACK_ADMITTED
from tests.e2e.rpc import channel_to
from tests.platforms import Client, RunningPlatform, running_platform


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """The platform of all tests that leave it as they found it; one per worker of xdist.

    Its tools may reach this machine, where an organization allows it.
    """
    with running_platform(**LOOPBACK_ADMITTED) as running:  # type: ignore[arg-type]  # no variable is called workers
        yield running


@pytest.fixture
def organization() -> str:
    """An organization that no other test has."""
    return f"organization-{uuid.uuid4()}"


@pytest.fixture
def client(platform: RunningPlatform, organization: str) -> Client:
    """A client that may do everything in an organization of its own."""
    return platform.client(platform.token(organization))


@pytest.fixture(params=("direct", "gateway"))
def way(request: pytest.FixtureRequest) -> str:
    """How gRPC callers come: straight to a service's own port, or through the gateway."""
    way: str = request.param
    return way


@pytest.fixture
def connect(platform: RunningPlatform, way: str) -> Iterator[Callable[[str], grpc.Channel]]:
    """Gives a channel for a process: straight to it, or through the gateway."""
    with ExitStack() as channels:
        if way == "gateway":
            gateway = channels.enter_context(channel_to(platform))
            yield lambda process: gateway
        else:
            # One channel for all calls of a test to a process.
            yield cache(lambda process: channels.enter_context(channel_to(platform, process)))
