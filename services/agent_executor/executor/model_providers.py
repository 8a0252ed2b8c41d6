"""Builds the provider of models that the settings name."""

from __future__ import annotations

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import ModelProvider
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.serving.server import ServiceRuntime
from agent_executor.serving.startup import StartupError
from agent_executor.storage.encryption import Encryption


def model_provider(runtime: ServiceRuntime[ExecutorSettings]) -> ModelProvider:
    """Returns the provider, which is closed with the service.

    Raises:
        StartupError: The provider's base URL or its profile of credentials is none.
    """
    settings = runtime.settings
    if settings.model_provider == "mock":
        return MockClaude()
    # Loaded only where it is used: the SDK takes more than a second.
    from anthropic import AnthropicError

    from agent_executor.executor.models.anthropic.client import AnthropicAccounts
    from agent_executor.executor.models.anthropic.provider import AnthropicProvider
    from agent_executor.executor.models.provider_http import ProviderNetworks

    encryption = Encryption.from_file(settings.encryption_key_file)
    networks = ProviderNetworks(settings.egress_allowed_cidrs, settings.egress_denied_cidrs)
    try:
        provider = AnthropicProvider(AnthropicAccounts(encryption.decrypt, networks))
    except (AnthropicError, InvalidArgumentError) as error:
        raise StartupError(f"The model's provider cannot be called: {error}") from error
    runtime.resources.push_async_callback(provider.close)
    return provider
