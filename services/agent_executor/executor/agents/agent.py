"""An agent at one version. Every change makes a new version; a version never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.approvals.policy import NO_POLICY, ApprovalPolicy
from agent_executor.executor.context.policy import ContextPolicy
from agent_executor.executor.models.model import OPERATOR_ACCESS, ModelAccess

OnBudgetExceeded: TypeAlias = Literal["end", "pause"]
ProviderName: TypeAlias = Literal["", "mock", "anthropic", "openai"]

DEFAULT_MODEL: Final = "claude-sonnet-4-20250514"
DEFAULT_AGENT_TYPE: Final = "llm"
DEFAULT_MAX_MODEL_TURNS: Final = 20
DEFAULT_MAX_OUTPUT_TOKENS: Final = 4096
# The least budget for thinking that providers take.
THINKING_BUDGET_TOKENS_MIN: Final = 1024


class CustomTool(msgspec.Struct, frozen=True):
    """How an agent uses a tool that its organization wrote.

    Attributes:
        class_name: The tool's class. In the library it finds the program's own class. On the
            platform it is a note for people: the name under which the agent lists the tool decides
            which registered tool is meant, whatever its class is called.
        enabled: Whether the agent may use it.
        version: The version to use, in hexadecimal; empty for the newest when a run starts.
    """

    class_name: str
    enabled: bool = True
    version: str = ""


class AgentVersion(msgspec.Struct, frozen=True):
    """One immutable version of an agent.

    Attributes:
        agent_id: The agent, unique.
        organization_id: The organization it belongs to.
        version: From 1.
        tools: Tool name to whether it is enabled.
        custom_tools: The organization's own tools, by name.
        is_active: Whether it can be executed.
        max_model_turns: How many model calls one run may make.
        max_output_tokens: How many tokens one model call may answer.
        on_budget_exceeded: What a run does when a budget refuses its next model call: ``end``, or
            ``pause`` until there is money.
        max_cost_nano_usd: What one run may cost at most, in nano-US-dollars, with the runs that it
            starts; 0: only budgets limit it.
        min_output_tokens: The least output with which a model call makes sense, if a budget does not
            cover ``max_output_tokens``; 0: all or nothing.
        context_policy: What of a conversation its model is given.
        provider: Who serves the model; empty: as the executor is set.
        base_url: The provider's address, if it is not its usual one; empty: the usual one.
        thinking_budget_tokens: How many tokens the model may think before it answers; 0: it does
            not, where it leaves the choice.
        response_cache_ttl_seconds: How long an equal request is answered from what was answered
            before; 0: never.
        run_timeout_seconds: How long a run may take; 0: as the executor is set.
        api_key_ciphertext: The agent's own provider key, encrypted; empty if it has none.
        created_at_ms: When the agent was created, in milliseconds since 1970-01-01 UTC.
        updated_at_ms: When this version was made.
    """

    agent_id: str
    organization_id: str
    version: int
    name: str
    created_at_ms: int
    updated_at_ms: int
    description: str = ""
    agent_type: str = DEFAULT_AGENT_TYPE
    model: str = DEFAULT_MODEL
    role: str = ""
    instructions: str = ""
    tools: dict[str, bool] = {}
    custom_tools: dict[str, CustomTool] = {}
    is_active: bool = True
    max_model_turns: int = DEFAULT_MAX_MODEL_TURNS
    max_output_tokens: int = DEFAULT_MAX_OUTPUT_TOKENS
    api_key_ciphertext: bytes = b""
    on_budget_exceeded: OnBudgetExceeded = "end"
    max_cost_nano_usd: int = 0
    min_output_tokens: int = 0
    context_policy: ContextPolicy = ContextPolicy()
    approval_policy: ApprovalPolicy = NO_POLICY
    provider: ProviderName = ""
    base_url: str = ""
    thinking_budget_tokens: int = 0
    response_cache_ttl_seconds: int = 0
    run_timeout_seconds: int = 0

    def check(self) -> None:
        """Checks what no field tells by itself.

        Raises:
            InvalidArgumentError: ``min_output_tokens`` is negative or above ``max_output_tokens``, or
                ``thinking_budget_tokens`` is neither 0 nor within its bounds, or the context or the
                approval policy is not valid.
            LimitExceededError: A schema of the approval policy would cost too much to check against.
        """
        self.context_policy.check()
        if not 0 <= self.min_output_tokens <= self.max_output_tokens:
            raise wrong_field(
                "min_output_tokens", "min_output_tokens must be between 0 and max_output_tokens."
            )
        least = THINKING_BUDGET_TOKENS_MIN
        budget = self.thinking_budget_tokens
        if budget and not least <= budget < self.max_output_tokens:
            raise wrong_field(
                "thinking_budget_tokens",
                f"thinking_budget_tokens must be 0, or at least {least} and less than "
                "max_output_tokens, since an answer follows the thinking.",
            )
        self.approval_policy.check()

    def enabled_tools(self) -> tuple[str, ...]:
        """Returns the names of the tools that the agent may use, sorted."""
        return tuple(sorted(name for name, enabled in self.named_tools().items() if enabled))

    def named_tools(self) -> dict[str, bool]:
        """Returns every tool that the agent names and whether it has it enabled.

        A tool of the organization is enabled if neither place switches it off.
        """
        named = dict(self.tools)
        for name, custom in self.custom_tools.items():
            named[name] = named.get(name, True) and custom.enabled
        return named

    def pinned_versions(self) -> dict[str, str]:
        """Returns the versions that the agent itself fixes, by the name of the tool."""
        return {
            name: custom.version for name, custom in self.custom_tools.items() if custom.version
        }

    def system_prompt(self) -> str:
        """Returns what the model is told before the conversation."""
        parts = []
        if self.role:
            parts.append(f"You are {self.name}, a {self.role}.")
        if self.instructions:
            parts.append(self.instructions)
        return "\n\n".join(parts)

    def model_access(self) -> ModelAccess:
        """Returns on whose account the agent's model calls are made."""
        if not (self.api_key_ciphertext or self.base_url):
            return OPERATOR_ACCESS
        return ModelAccess(self.agent_id, self.api_key_ciphertext, self.base_url)

    def changed(self, changes: Mapping[str, Any], now_ms: int) -> AgentVersion:
        """Returns the next version with ``changes`` to its fields, by name."""
        return msgspec.structs.replace(
            self, **changes, version=self.version + 1, updated_at_ms=now_ms
        )


def wrong_field(name: str, message: str) -> InvalidArgumentError:
    """Returns the error of a field that is not what it should be."""
    return InvalidArgumentError(message, field_violations=((name, message),))
