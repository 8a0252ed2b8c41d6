"""The port to a language model: one turn in the Messages API's terms.

The blocks are tagged by ``type`` as in the Messages API, so ``msgspec.json.encode`` of a
message is the API's own JSON: what is recorded in a run, what a provider sends and what a
caller reads as history are one shape. ``ProviderBlock`` alone differs, since it wraps what only
its provider reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from agent_executor.errors import AgentExecutorError, ModelError

Role: TypeAlias = Literal["user", "assistant"]

StopReason: TypeAlias = Literal[
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
]


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """What a person or the model says."""

    text: str


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    """The model asks for one tool call.

    Attributes:
        id: The provider's id of this call, unique in the conversation.
        name: Name of an offered tool; the model may get it wrong.
        input: The arguments, not yet validated.
    """

    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result"):
    """What one tool call gave.

    Attributes:
        tool_use_id: Id of the ``ToolUseBlock`` that is answered.
        content: JSON text of the result, or of the error object when ``is_error``.
        is_error: The call failed or was refused.
    """

    tool_use_id: str
    content: str
    is_error: bool = False


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    """What the model thought before it answered. It goes back to the provider unchanged.

    Attributes:
        thinking: The text, or a summary of it; empty where the provider does not show it.
        signature: Proves to the provider that the block is its own; not to be read.
    """

    thinking: str
    signature: str


class RedactedThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    """What the model thought, encrypted. It goes back to the provider unchanged.

    Attributes:
        data: The ciphertext; nobody but the provider can read it.
    """

    data: str


class ProviderBlock(msgspec.Struct, frozen=True, tag_field="type", tag="provider_block"):
    """A block of a kind that only its provider reads, such as the call of a server tool.

    Attributes:
        block: The block in the provider's own JSON; it goes back unchanged.
    """

    block: dict[str, Any]


ResponseBlock: TypeAlias = (
    TextBlock | ToolUseBlock | ThinkingBlock | RedactedThinkingBlock | ProviderBlock
)
ContentBlock: TypeAlias = ResponseBlock | ToolResultBlock


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Role
    content: tuple[ContentBlock, ...]


class ToolSpecification(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool that is offered to the model.

    Attributes:
        name: Unique among the tools of a request.
        description: What it does, in a sentence for the model.
        input_schema: JSON Schema of an object.
        version: The version of a custom tool, in hexadecimal; empty for a built-in one, and in
            requests, since a model does not need to know.
        effect: What running it again can do: ``read_only``, ``idempotent`` or ``unsafe``; empty in
            requests, too.
        requires_approval: Whether each of its calls waits for a person's decision; False in
            requests, too.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    version: str = ""
    effect: str = ""
    requires_approval: bool = False


Thinking: TypeAlias = Literal["default", "on", "off"]


class ModelRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that one model call depends on.

    Attributes:
        model: The model's id, as its provider spells it.
        system: The system prompt; empty for none.
        messages: The conversation, oldest first, ending with a user's message.
        tools: The tools that the model may ask for.
        max_tokens: Most output tokens of this call, at least 1; thinking counts towards it.
        thinking: Whether the model is to think first, where it leaves the choice; ``default``
            leaves it to the model.
        thinking_budget_tokens: About how many tokens it is to think if it is told to; 0 leaves it
            to the provider.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpecification, ...]
    max_tokens: int
    thinking: Thinking = "default"
    thinking_budget_tokens: int = 0


class ModelAccess(msgspec.Struct, frozen=True):
    """On whose account a call is made, and where.

    Attributes:
        agent_id: The agent that the key belongs to.
        api_key_ciphertext: The agent's own key, still encrypted; empty for the operator's.
        base_url: Where the agent's own provider is; empty for the operator's. The operator's key
            never goes there.
    """

    agent_id: str = ""
    api_key_ciphertext: bytes = b""
    base_url: str = ""

    def __repr__(self) -> str:
        """Shows no ciphertext."""
        has_key = bool(self.api_key_ciphertext)
        return f"ModelAccess({self.agent_id!r}, has_key={has_key}, base_url={self.base_url!r})"


OPERATOR_ACCESS: Final = ModelAccess()


class ModelDelta(msgspec.Struct, frozen=True):
    """A piece of an answer that is not complete yet.

    Attributes:
        kind: Whether the piece is of a text or of the model's thinking.
        block: Which block of the answer's content, from 0.
        text: What to append.
    """

    kind: Literal["text", "thinking"]
    block: int
    text: str


DeltaListener: TypeAlias = Callable[[ModelDelta], None]


class ModelUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one call used. The counts of tokens do not overlap, so that their sum is the total.

    Attributes:
        input_tokens: Read at the full price: neither read from nor written to the cache.
        output_tokens: Generated, thinking included.
        cache_read_input_tokens: Read from the prompt cache.
        cache_creation_input_tokens_5m: Written to the prompt cache for 5 minutes.
        cache_creation_input_tokens_1h: Written to the prompt cache for 1 hour.
        web_search_requests: Searches that the provider itself made.
        web_fetch_requests: Pages that the provider itself fetched.
    """

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens_5m: int = 0
    cache_creation_input_tokens_1h: int = 0
    web_search_requests: int = 0
    web_fetch_requests: int = 0


class ModelResponse(msgspec.Struct, frozen=True):
    """The model's answer to one request.

    Attributes:
        id: The provider's id of the message.
        model: The model that answered.
        content: Text and tool calls in the model's order; may be empty.
        stop_reason: Why the model stopped; ``tool_use`` when it waits for tool results.
        usage: What the call is billed for.
        request_id: The provider's id of the request, for its support; empty if it gave none.
        stop_detail: Why the model refused, in the provider's words; empty if it did not say.
        is_usage_estimated: The provider does not count, so that ``usage`` is made from the lengths of
            the texts.
    """

    id: str
    model: str
    content: tuple[ResponseBlock, ...]
    stop_reason: StopReason
    usage: ModelUsage
    request_id: str = ""
    stop_detail: str = ""
    is_usage_estimated: bool = False


class ModelProvider(Protocol):
    """Calls a model once.

    The contract of every provider:

    * One call of ``generate`` is at most one billed call at the provider. It never retries:
      whoever calls knows the budget and the deadline, and decides.
    * It is safe to call concurrently, for any number of runs.
    * Cancelling it closes the connection, leaves nothing running and raises
      ``asyncio.CancelledError``; tokens may have been billed by then.
    * It has no deadline of its own; the caller sets one.

    Attributes:
        name: ``mock``, ``anthropic`` or ``openai``; a label of metrics, traces and usage entries.
    """

    @property
    def name(self) -> str:
        """The provider's name."""

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        """Answers the conversation with the model's next message.

        Args:
            request: The conversation, and all else that the answer depends on.
            access: On whose account.
            on_delta: Called with each piece of the answer as it comes, in order; it must not
                block. The pieces of a block together are its text in the response. A provider
                that does not stream never calls it.

        Raises:
            ModelError: The provider refused, failed or was not reached.
                ``retry_after_seconds`` is when a repeat of the same request may succeed (the
                provider's own figure where it gives one, else a default); None when it never
                will. ``metadata`` holds ``provider``, ``error_type`` (the provider's word, such
                as ``overloaded_error``), ``status_code`` where there was one, ``request_id``
                where there was one, and what ``delivered_usage`` reads.
            ContextLengthExceededError: The request does not fit the model's context window;
                ``metadata`` holds ``input_tokens`` and ``context_window_tokens``.
        """
        ...


def delivered_usage(error: AgentExecutorError) -> ModelUsage | None:
    """Returns what a failed call is taken to have cost, or None if nothing can have been spent.

    An answer that broke off was generated and is billed as far as it went.
    """
    if not isinstance(error, ModelError) or "output_tokens" not in error.metadata:
        return None
    counts = {name: int(error.metadata.get(name, "0")) for name in ModelUsage.__struct_fields__}
    return ModelUsage(**counts)


def usage_metadata(usage: ModelUsage) -> dict[str, str]:
    """Returns the metadata of a ``ModelError`` from which ``delivered_usage`` reads the usage."""
    counts = msgspec.structs.asdict(usage)
    shown = {name: str(count) for name, count in counts.items() if count}
    return {"input_tokens": "0", "output_tokens": "0"} | shown
