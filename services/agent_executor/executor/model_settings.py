"""Who answers model calls, by environment variables: on the platform and in the library."""

from __future__ import annotations

import time
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from agent_executor.errors import FailedPreconditionError
from agent_executor.executor.agents.agent_models import AgentModels
from agent_executor.executor.model_calls.response_cache import (
    DEFAULT_MAX_BYTES,
    MemoryResponseCache,
    ResponseCache,
)
from agent_executor.executor.models.model_choice import DEFAULT_SIZES, ModelSizes
from agent_executor.executor.models.provider_networks import ProviderNetworks


class ModelSettings(BaseSettings):
    """The part of the executor's settings that is about models."""

    model_config = SettingsConfigDict(
        env_prefix="EXECUTOR_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    model_provider: Literal["mock", "anthropic", "openai"] = Field(
        default="mock",
        description=(
            "Who answers the model calls of agents that name no provider: `mock` is the offline, "
            "deterministic mock Claude; `anthropic` is Claude, by the key and base URL in "
            "`ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`; `openai` is any endpoint of the Chat "
            "Completions API (OpenAI, vLLM, Ollama), by `OPENAI_API_KEY` and `OPENAI_BASE_URL`."
        ),
    )
    egress_allowed_cidrs: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description=(
            "Internal networks in which a model's provider may be, over plain http and on every "
            'port too, as a JSON list such as ["127.0.0.1/32"].'
        ),
    )
    egress_denied_cidrs: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description=(
            "Networks in which no model's provider and no webhook's receiver may be, beside those that "
            "nobody may reach, "
            "as a JSON list."
        ),
    )
    auto_models: dict[Literal["mock", "anthropic", "openai"], tuple[str, str, str]] = Field(
        default={},
        description=(
            "What the model `auto` chooses from where it is not to be the provider's own newest: "
            "the cheapest, the middle and the most able model, by provider, as a JSON object such "
            'as {"openai": ["qwen-4b", "qwen-30b", "qwen-235b"]}.'
        ),
    )

    response_cache_max_bytes: int = Field(
        default=DEFAULT_MAX_BYTES,
        ge=0,
        description=(
            "How much memory the answers may take that agents with `response_cache_ttl_seconds` "
            "share, in bytes; 0 keeps none."
        ),
    )

    @classmethod
    def of_environment(cls) -> Self:
        """Reads the settings from the environment, for a program that uses the library.

        Raises:
            FailedPreconditionError: A variable's value cannot be; the message names the
                variable, not the value.
        """
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            problem = f"EXECUTOR_{first['loc'][0]}".upper() + f": {first['msg']}"
        except SettingsError:
            problem = "a list or an object is not JSON"
        raise FailedPreconditionError(
            f"The environment variables of the models are wrong: {problem}."
        )

    def networks(self) -> ProviderNetworks:
        """Returns where providers may be."""
        return ProviderNetworks(self.egress_allowed_cidrs, self.egress_denied_cidrs)

    def response_cache(self) -> ResponseCache:
        """Returns an empty cache of answers."""
        return MemoryResponseCache(time.monotonic, self.response_cache_max_bytes)

    def agent_models(self) -> AgentModels:
        """Returns what agents may say about their models."""
        own = {str(provider): ModelSizes(*models) for provider, models in self.auto_models.items()}
        return AgentModels(self.model_provider, self.networks(), {**DEFAULT_SIZES, **own})
