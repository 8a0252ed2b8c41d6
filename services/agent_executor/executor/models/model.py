"""The port to a language model: one turn in the Messages API's terms.

The blocks are tagged by ``type`` as in the Messages API, so ``msgspec.json.encode`` of a
message is the API's own JSON: what is recorded in a run, what a provider sends and what a
caller reads as history are one shape.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

import msgspec

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


ContentBlock: TypeAlias = TextBlock | ToolUseBlock | ToolResultBlock
ResponseBlock: TypeAlias = TextBlock | ToolUseBlock


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
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    version: str = ""


class ModelRequest(msgspec.Struct, frozen=True):
    """Everything that one model call depends on.

    Attributes:
        model: The model's id, as its provider spells it.
        system: The system prompt; empty for none.
        messages: The conversation, oldest first, ending with a user's message.
        tools: The tools that the model may ask for.
        max_tokens: Most output tokens of this call, at least 1.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpecification, ...]
    max_tokens: int


class ModelUsage(msgspec.Struct, frozen=True):
    """Tokens of one call. The five counts do not overlap, so that their sum is the total.

    Attributes:
        input_tokens: Read at the full price: neither read from nor written to the cache.
        output_tokens: Generated, thinking included.
        cache_read_input_tokens: Read from the prompt cache.
        cache_creation_input_tokens_5m: Written to the prompt cache for 5 minutes.
        cache_creation_input_tokens_1h: Written to the prompt cache for 1 hour.
    """

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens_5m: int = 0
    cache_creation_input_tokens_1h: int = 0


class ModelResponse(msgspec.Struct, frozen=True):
    """The model's answer to one request.

    Attributes:
        id: The provider's id of the message.
        model: The model that answered.
        content: Text and tool calls in the model's order; may be empty.
        stop_reason: Why the model stopped; ``tool_use`` when it waits for tool results.
        usage: What the call is billed for.
    """

    id: str
    model: str
    content: tuple[ResponseBlock, ...]
    stop_reason: StopReason
    usage: ModelUsage


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
        name: ``mock`` or ``anthropic``; a label of metrics, traces and usage entries.
    """

    @property
    def name(self) -> str:
        """The provider's name."""

    async def generate(self, request: ModelRequest) -> ModelResponse:
        """Answers the conversation with the model's next message.

        Raises:
            ModelError: The provider refused, failed or was not reached.
                ``retry_after_seconds`` is when a repeat of the same request may succeed (the
                provider's own figure where it gives one, else a default); None when it never
                will. ``metadata`` holds ``provider``, ``error_type`` (the provider's word, such
                as ``overloaded_error``) and ``status_code`` where there was one.
            ContextLengthExceededError: The request does not fit the model's context window;
                ``metadata`` holds ``input_tokens`` and ``context_window_tokens``.
        """
        ...
