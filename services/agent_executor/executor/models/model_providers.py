"""Builds the providers of models."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final, Protocol, runtime_checkable

from agent_executor.errors import InvalidArgumentError, ModelError
from agent_executor.executor.agents.agent_models import BATCHING
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelProvider,
    ModelRequest,
    ModelResponse,
)
from agent_executor.executor.models.model_batches import ModelBatches
from agent_executor.executor.models.provider_networks import ProviderNetworks
from agent_executor.executor.provider_batches.collector import BatchesOf
from agent_executor.serving.startup import StartupError
from agent_executor.storage.encryption import Encryption

_MODELS: Final = "agent_executor.executor.models"


class ClosableProvider(ModelProvider, Protocol):
    """A provider that has connections."""

    async def close(self) -> None:
        """Closes them."""


@runtime_checkable
class BatchingProvider(Protocol):
    """A provider that also takes model calls in batches."""

    async def batches(self) -> ModelBatches:
        """Returns its batches."""


class LateProvider:
    """A provider that is built when it is first called: its SDK takes more than a second to load.

    Args:
        name: Its name.
        build: Builds it; raises ``StartupError``.
        module: What is imported before that, in a thread.
    """

    def __init__(self, name: str, build: Callable[[], ClosableProvider], module: str) -> None:
        self._name = name
        self._build = build
        self._module = module
        self._building = asyncio.Lock()
        self._provider: ClosableProvider | None = None

    @property
    def name(self) -> str:
        """The provider's name."""
        return self._name

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        """See ``ModelProvider``."""
        provider = self._provider or await self._built()
        return await provider.generate(request, access=access, on_delta=on_delta)

    async def batches(self) -> ModelBatches:
        """Returns the provider's batches.

        Raises:
            ModelError: It has none, or cannot be built.
        """
        provider = self._provider or await self._built()
        if not isinstance(provider, BatchingProvider):
            raise ModelError(f"The provider {self._name} takes no batches.")
        return await provider.batches()

    async def close(self) -> None:
        """Closes its connections, if it has any."""
        if self._provider is not None:
            await self._provider.close()

    async def _built(self) -> ClosableProvider:
        async with self._building:
            if self._provider is None:
                await asyncio.to_thread(importlib.import_module, self._module)
                try:
                    self._provider = self._build()
                except StartupError as error:
                    raise ModelError(
                        str(error),
                        metadata={"provider": self._name, "error_type": "configuration_error"},
                    ) from error
            return self._provider


def model_providers(
    encryption: Encryption,
    networks: ProviderNetworks,
    resources: AsyncExitStack,
    *,
    eager: str = "",
) -> Mapping[str, ModelProvider]:
    """Returns all providers by name.

    Args:
        encryption: Of agents' keys.
        networks: Where providers may be.
        resources: Closes them in the end.
        eager: The one that is to be built now, so that a mistake in its settings is found at once.

    Raises:
        StartupError: That one's base URL or profile of credentials is none.
    """
    builders: Mapping[str, Callable[[], ClosableProvider]] = {
        "anthropic": lambda: _anthropic(encryption, networks),
        "openai": lambda: _openai(encryption, networks),
    }
    providers: dict[str, ModelProvider] = {"mock": MockClaude()}
    for name, build in builders.items():
        provider = (
            build()
            if name == eager
            else LateProvider(name, build, module=f"{_MODELS}.{name}.provider")
        )
        resources.push_async_callback(provider.close)
        providers[name] = provider
    return providers


def batches_of(providers: Mapping[str, ModelProvider]) -> BatchesOf:
    """Returns what gives the batches of those providers that have any."""
    return {
        name: provider.batches
        for name, provider in providers.items()
        if name in BATCHING and isinstance(provider, BatchingProvider)
    }


def _anthropic(encryption: Encryption, networks: ProviderNetworks) -> ClosableProvider:
    from anthropic import AnthropicError

    from agent_executor.executor.models.anthropic.client import AnthropicAccounts
    from agent_executor.executor.models.anthropic.provider import AnthropicProvider

    try:
        return AnthropicProvider(AnthropicAccounts(encryption.decrypt, networks))
    except (AnthropicError, InvalidArgumentError) as error:
        raise StartupError(f"The provider anthropic cannot be called: {error}") from error


def _openai(encryption: Encryption, networks: ProviderNetworks) -> ClosableProvider:
    from openai import OpenAIError

    from agent_executor.executor.models.openai.client import OpenAIAccounts
    from agent_executor.executor.models.openai.provider import OpenAIProvider

    try:
        return OpenAIProvider(OpenAIAccounts(encryption.decrypt, networks))
    except (OpenAIError, InvalidArgumentError) as error:
        raise StartupError(f"The provider openai cannot be called: {error}") from error
