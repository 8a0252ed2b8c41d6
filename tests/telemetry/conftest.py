from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from agent_executor.cli.otlp_receiver import OtlpReceiver
from tests.e2e.custom_tools import LOOPBACK_ADMITTED
from tests.platforms import Client, RunningPlatform, running_platform


@pytest.fixture(scope="session")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiving:
        yield receiving


@pytest.fixture(scope="session")
def platform(receiver: OtlpReceiver) -> Iterator[RunningPlatform]:
    """A platform that sends its spans to the tests; one per worker of xdist."""
    with running_platform(
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="50",
        EXECUTOR_MAX_PARALLEL_TOOL_CALLS="50",
        EXECUTOR_WEBHOOK_ALLOWED_CIDRS='["127.0.0.1/32"]',
        METRICS_SAMPLE_SECONDS="0.1",
        **LOOPBACK_ADMITTED,  # type: ignore[arg-type]  # no variable is called workers
    ) as running:
        yield running


@pytest.fixture
def organization() -> str:
    """An organization that no other test has."""
    return f"organization-{secrets.token_hex(8)}"


@pytest.fixture
def client(platform: RunningPlatform, organization: str) -> Client:
    return platform.client(platform.token(organization))
