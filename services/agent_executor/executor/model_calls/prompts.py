"""What is the same in every model call of an agent, prepared once."""

from __future__ import annotations

from typing import Final

import msgspec
from cachetools import LRUCache

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.context.run_context import GivenMessages
from agent_executor.executor.model_calls.purpose import (
    CallPurpose,
    estimated_tokens,
    prefix_digest_of,
)
from agent_executor.executor.models.model import ModelRequest, ToolSpecification

PROMPTS_MAX: Final = 1024

_ENCODER: Final = msgspec.json.Encoder()
_NO_MESSAGES_BYTES: Final = len(b"[]")


class Prompt(msgspec.Struct, frozen=True):
    """The part of a request that stays the same from call to call.

    Attributes:
        described: The tools as the tool-runner described them.
        request: The request without its messages.
        size_bytes: The length of that request's JSON.
        digest: Names system prompt and tools.
    """

    described: tuple[ToolSpecification, ...]
    request: ModelRequest
    size_bytes: int
    digest: str


class PreparedCall(msgspec.Struct, frozen=True):
    """A request that is ready to be sent.

    Attributes:
        request: The request.
        size_bytes: The length of its JSON: an upper bound of its tokens.
        purpose: What it is made for.
        described: The tools as the tool-runner described them, each with its effect.
    """

    request: ModelRequest
    size_bytes: int
    purpose: CallPurpose
    described: tuple[ToolSpecification, ...] = ()


def prepared_call(prompt: Prompt, given: GivenMessages, *, is_background: bool) -> PreparedCall:
    """Returns a call.

    Args:
        prompt: What is the same in all calls.
        given: The conversation.
        is_background: Nobody waits for the run.
    """
    history_bytes = given.size_bytes - given.last_bytes if len(given.messages) > 1 else 0
    return PreparedCall(
        request=msgspec.structs.replace(prompt.request, messages=given.messages),
        size_bytes=prompt.size_bytes - _NO_MESSAGES_BYTES + given.size_bytes,
        purpose=CallPurpose(
            prefix_digest=prompt.digest,
            prefix_tokens=estimated_tokens(prompt.size_bytes),
            history_tokens=estimated_tokens(history_bytes),
            is_background=is_background,
        ),
        described=prompt.described,
    )


class Prompts:
    """Keeps the prompts of the agents that were run lately."""

    def __init__(self) -> None:
        self._known: LRUCache[tuple[str, str, int, str], Prompt] = LRUCache(PROMPTS_MAX)

    def prompt(
        self, agent: AgentVersion, described: tuple[ToolSpecification, ...], model: str
    ) -> Prompt:
        """Returns what is the same in all calls of an agent.

        Args:
            agent: Who is to answer.
            described: The tools that it may use.
            model: On which model.
        """
        key = (agent.organization_id, agent.agent_id, agent.version, model)
        known = self._known.get(key)
        # The descriptions are the very same object for as long as the tool-runner's are kept.
        if known is not None and (known.described is described or known.described == described):
            return known
        request = ModelRequest(
            model=model,
            system=agent.system_prompt(),
            messages=(),
            tools=tuple(
                # A model needs to know no more of its tools.
                ToolSpecification(tool.name, tool.description, tool.input_schema)
                for tool in described
            ),
            max_tokens=agent.max_output_tokens,
            thinking="on" if agent.thinking_budget_tokens else "off",
            thinking_budget_tokens=agent.thinking_budget_tokens,
        )
        prompt = Prompt(
            described=described,
            request=request,
            size_bytes=len(_ENCODER.encode(request)),
            digest=prefix_digest_of(request),
        )
        self._known[key] = prompt
        return prompt
