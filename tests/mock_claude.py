"""Mock Claude over HTTP on loopback, and the provider that calls it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from agent_executor.executor.models.anthropic.client import AnthropicAccounts
from agent_executor.executor.models.anthropic.provider import AnthropicProvider
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_http.api import MockApi
from agent_executor.executor.models.mock_http.faults import Fault, FaultPlan
from agent_executor.executor.models.mock_http.server import Exchange, HttpServer
from agent_executor.executor.models.model import ModelProvider
from agent_executor.executor.models.openai.client import OpenAIAccounts
from agent_executor.executor.models.openai.provider import OpenAIProvider
from agent_executor.executor.models.provider_networks import ProviderNetworks

OPERATOR_KEY = "sk-ant-api03-the-operators-own-key"
LOOPBACK = ProviderNetworks((ipaddress.ip_network("127.0.0.0/8"),))


@dataclass
class MockClaudeServer:
    """A server that runs.

    Attributes:
        faults: Queue what is to go wrong.
        api: Counts the calls.
        server: Counts the connections.
        url: Where it is.
        started: How many requests have come, for whatever.
        ended: How many of them have been answered, or given up by their callers.
    """

    faults: FaultPlan
    api: MockApi
    server: HttpServer = field(init=False)
    url: str = ""
    started: int = 0
    ended: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        """Puts the server before the API."""
        self.server = HttpServer(self.handle)

    async def handle(self, exchange: Exchange) -> None:
        """Handles a request, and lets tests wait for its begin and its end."""
        async with self._changed:
            self.started += 1
            self._changed.notify_all()
        try:
            await self.api.handle(exchange)
        finally:
            async with self._changed:
                self.ended += 1
                self._changed.notify_all()

    async def wait_until_asked(self) -> None:
        """Returns once a request has come."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self.started > 0)

    async def wait_until_idle(self) -> None:
        """Returns once no request is being answered."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self.started == self.ended)

    async def wait_until_alone(self) -> None:
        """Returns once nobody is connected."""
        tasks = self.server.connected
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=60)
            assert not left, "a connection was left open"


@asynccontextmanager
async def mock_claude_server(
    model: ModelProvider | None = None,
    *,
    rates: Mapping[Fault, float] | None = None,
    api_key: str = "",
    retry_after_seconds: float = 7.0,
    batch_seconds: float = 0.0,
) -> AsyncIterator[MockClaudeServer]:
    """Runs the server on a free port."""
    faults = FaultPlan(rates or {}, retry_after_seconds=retry_after_seconds)
    api = MockApi(model or MockClaude(), faults, api_key=api_key, batch_seconds=batch_seconds)
    running = MockClaudeServer(faults, api)
    port = await running.server.start("127.0.0.1", 0)
    running.url = f"http://127.0.0.1:{port}"
    try:
        yield running
    finally:
        await running.server.close()


@asynccontextmanager
async def provider_of(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    key: str = OPERATOR_KEY,
    networks: ProviderNetworks = LOOPBACK,
    custom_headers: str = "",
) -> AsyncIterator[AnthropicProvider]:
    """Gives a provider whose operator set the SDK's own variables; agents' keys are plain."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    # Nothing of the machine that the tests run on.
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", custom_headers)
    for name in ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE", "ANTHROPIC_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/nonexistent")
    provider = AnthropicProvider(
        AnthropicAccounts(lambda ciphertext, _: ciphertext.decode(), networks)
    )
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def openai_provider_of(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    key: str = OPERATOR_KEY,
    networks: ProviderNetworks = LOOPBACK,
    custom_headers: str = "",
) -> AsyncIterator[OpenAIProvider]:
    """Gives a provider of the other API, in the same way."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", custom_headers)
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, f"the-operators-{name.lower()}")
    provider = OpenAIProvider(OpenAIAccounts(lambda ciphertext, _: ciphertext.decode(), networks))
    try:
        yield provider
    finally:
        await provider.close()
