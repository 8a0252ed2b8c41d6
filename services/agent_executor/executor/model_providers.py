"""Builds the provider of models that the settings name."""

from __future__ import annotations

from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import ModelProvider
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.serving.server import ServiceRuntime
from agent_executor.storage.encryption import Encryption


def model_provider(runtime: ServiceRuntime[ExecutorSettings]) -> ModelProvider:
    """Returns the provider, which is closed with the service.

    Raises:
        InvalidArgumentError: The provider's base URL is none.
    """
    settings = runtime.settings
    if settings.model_provider == "mock":
        return MockClaude()
    # Loaded only where it is used: the SDK takes more than a second.
    from agent_executor.executor.models.anthropic.client import AnthropicAccounts, ProviderNetworks
    from agent_executor.executor.models.anthropic.provider import AnthropicProvider

    encryption = Encryption.from_file(settings.encryption_key_file)
    networks = ProviderNetworks(settings.egress_allowed_cidrs, settings.egress_denied_cidrs)
    provider = AnthropicProvider(AnthropicAccounts(encryption.decrypt, networks))
    runtime.resources.push_async_callback(provider.close)
    return provider
