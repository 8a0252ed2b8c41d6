"""What an agent says about its model: checked, warned of, and chosen where it says ``auto``."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from agent_executor.errors import InvalidArgumentError, PermissionDeniedError
from agent_executor.executor.agents.agent import AgentVersion, wrong_field
from agent_executor.executor.models.catalog import find_model, retirement_warning
from agent_executor.executor.models.model_choice import (
    AUTO_MODEL,
    DEFAULT_SIZES,
    ChoiceFacts,
    ModelChoice,
    SizesByProvider,
    choose_model,
)
from agent_executor.executor.models.provider_networks import ProviderNetworks

MOCK: Final = "mock"
# The providers whose model calls can be batched.
BATCHING: Final = ("anthropic",)

_NO_NETWORKS: Final = ProviderNetworks()


@dataclass(frozen=True, slots=True)
class AgentModels:
    """Knows the providers that agents may have.

    Attributes:
        default_provider: Of agents that name none.
        networks: Where providers may be.
        sizes: What ``auto`` chooses from, by provider.
    """

    default_provider: str = MOCK
    networks: ProviderNetworks = _NO_NETWORKS
    sizes: SizesByProvider = field(default_factory=lambda: DEFAULT_SIZES)

    def check(
        self, agent: AgentVersion, before: AgentVersion | None = None, *, sets_key: bool = False
    ) -> None:
        """Checks a new version of an agent.

        Args:
            agent: The version.
            before: The one before it.
            sets_key: Whether the agent's own key is given or removed with this change.

        Raises:
            InvalidArgumentError: Its base URL is none or may not be reached; it lacks a key for it;
                or its key would go elsewhere than it was given for.
        """
        provider = self._provider(agent)
        if agent.base_url:
            self._check_base_url(agent, provider)
        if before is None or sets_key or not before.api_key_ciphertext:
            return
        if (before.base_url, self._provider(before)) != (agent.base_url, provider):
            # Who may change an agent may not learn its key by sending it to an address of theirs.
            raise wrong_field(
                "api_key",
                "Give the API key again, or an empty one to remove it: with this change it would be "
                "sent to another address than it was given for.",
            )

    def warnings(self, agent: AgentVersion, today: dt.date) -> tuple[str, ...]:
        """Returns what an agent's maker should know of its model.

        Args:
            agent: The agent.
            today: The day in UTC.
        """
        known = find_model(agent.model)
        if known is None or self._provider(agent) == MOCK:
            return ()
        warnings = [retirement_warning(agent.model, today)]
        if agent.max_output_tokens > known.max_output_tokens:
            warnings.append(
                f"The model {agent.model} answers at most {known.max_output_tokens} tokens; "
                "max_output_tokens is above that."
            )
        if agent.thinking_budget_tokens and known.thinking.on != "enabled":
            does = "decides itself how much it thinks" if known.thinking.on else "does not think"
            warnings.append(
                f"The model {agent.model} {does}; the number of thinking_budget_tokens is not used."
            )
        return tuple(filter(None, warnings))

    def select(self, agent: AgentVersion, text: str, history_bytes: int = 0) -> ModelChoice | None:
        """Returns the model of a run that begins, or None if its agent names one.

        Args:
            agent: Whose run it is.
            text: What is asked.
            history_bytes: The length of the conversation that it continues.
        """
        if agent.model != AUTO_MODEL:
            return None
        facts = ChoiceFacts(
            input_bytes=len(text.encode(errors="replace")),
            instructions_bytes=len(agent.system_prompt().encode(errors="replace")),
            history_bytes=history_bytes,
            tool_count=len(agent.enabled_tools()),
        )
        return choose_model(self.sizes[self._provider(agent)], facts)

    def require_batches(self, agent: AgentVersion) -> None:
        """Checks that model calls of an agent can go through batches of its provider.

        Raises:
            InvalidArgumentError: They cannot.
        """
        provider = self._provider(agent)
        if provider not in BATCHING:
            raise wrong_field(
                "processing",
                f'The processing "batch" needs a model provider that takes batches ('
                f'{", ".join(BATCHING)}); the agent\'s is "{provider}".',
            )

    def _provider(self, agent: AgentVersion) -> str:
        return agent.provider or self.default_provider

    def _check_base_url(self, agent: AgentVersion, provider: str) -> None:
        if provider == MOCK:
            raise wrong_field("base_url", "The mock is within the executor and has no base URL.")
        try:
            self.networks.check_base_url(agent.base_url)
        except PermissionDeniedError as error:
            raise wrong_field(
                "base_url",
                f"The base URL may not be called: {error.message} The operator can admit internal "
                "networks by EXECUTOR_EGRESS_ALLOWED_CIDRS.",
            ) from error
        except InvalidArgumentError as error:
            raise wrong_field("base_url", f"The base URL is none: {error.message}") from error
        if provider == "anthropic" and not agent.api_key_ciphertext:
            raise wrong_field(
                "api_key",
                "An agent with a base URL of its own needs an API key of its own: the operator's "
                "goes nowhere else.",
            )
        if provider == "openai" and agent.model == AUTO_MODEL:
            raise wrong_field(
                "model",
                'Nobody knows which models that base URL serves; name one instead of "auto".',
            )
