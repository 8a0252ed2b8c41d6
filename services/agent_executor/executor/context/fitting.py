"""Makes the next call of a run such that its model can take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_executor.errors import AgentExecutorError, ContextLengthExceededError
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.context.run_context import BRACKETS_BYTES, RunContext
from agent_executor.executor.context.summary import summary_call, summary_tokens
from agent_executor.executor.context.trimming import Limits
from agent_executor.executor.log.run_event import HistoryTrimmed
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.model_calls.prompts import PreparedCall, Prompt, prepared_call
from agent_executor.executor.models.catalog import find_model
from agent_executor.executor.models.model import Message, ToolResultBlock

# Of the message in which a summary is given, without the summary.
SUMMARY_FRAME_BYTES: Final = 160


@dataclass(frozen=True, slots=True)
class FittedCall:
    """The next call of a run.

    Attributes:
        prepared: The call.
        trims: What is left out once it has answered, if it is to sum that up; None: it is the turn's
            own call.
        summary_bytes: How long the summary may be.
    """

    prepared: PreparedCall
    trims: HistoryTrimmed | None = None
    summary_bytes: int = 0


@dataclass(frozen=True, slots=True)
class InputLimit:
    """How many tokens a request may have.

    Attributes:
        input_tokens: The limit; None: nothing is known that limits it.
        window_tokens: The model's context window; 0 if it is not known.
        output_tokens: What is left of that for the answer.
    """

    input_tokens: int | None
    window_tokens: int
    output_tokens: int

    def messages_bytes(self, context: RunContext, prompt: Prompt) -> int | None:
        """Returns how long the messages of a request may be; None: any length."""
        if self.input_tokens is None:
            return None
        return context.scale.size_bytes(self.input_tokens) - prompt.size_bytes


def input_limit(agent: AgentVersion, model: str, told_window_tokens: int = 0) -> InputLimit:
    """Returns the limit: the agent's, or what the model's context window leaves, the lower one.

    Args:
        agent: The agent.
        model: The model.
        told_window_tokens: The window, if the provider has told it.
    """
    known = find_model(model)
    window_tokens = told_window_tokens or (known.context_window_tokens if known else 0)
    output_tokens = agent.max_output_tokens
    if known is not None:
        output_tokens = min(output_tokens, known.max_output_tokens)
    limits = []
    if agent.context_policy.max_input_tokens:
        limits.append(agent.context_policy.max_input_tokens)
    if window_tokens:
        limits.append(max(0, window_tokens - output_tokens))
    return InputLimit(min(limits, default=None), window_tokens, output_tokens)


def fitted_call(
    log: RunLog, agent: AgentVersion, context: RunContext, prompt: Prompt
) -> FittedCall:
    """Returns the next call, and logs what is left out of it from here on.

    Args:
        log: The run's log. What is added to it is not durable yet.
        agent: Who is to answer.
        context: The conversation.
        prompt: What is the same in all its calls.

    Raises:
        ContextLengthExceededError: The call cannot be made short enough.
    """
    state, policy = log.state, agent.context_policy
    if state.trimmed is None and state.history is not None and state.history.trimmed is not None:
        # It was left out before this run was begun; whoever reads the log is told here.
        log.add(state.history.trimmed)
    context.update(state.messages, log.state.trimmed)
    limit = input_limit(agent, prompt.request.model, context.scale.window_tokens)
    max_bytes = limit.messages_bytes(context, prompt)
    # Most calls have room enough, and this is all that they cost.
    planned = _planned(context, policy.max_history_turns, max_bytes, context.summary_bytes)
    if planned is not None:
        summing_up = _summing_up(log, agent, context, prompt, planned)
        if summing_up is not None:
            return summing_up
        _log(log, context, planned)
    given = context.given()
    if max_bytes is not None and given.size_bytes > max_bytes:
        _log(log, context, context.without_summary())
        given = context.given()
        if given.size_bytes > max_bytes:
            raise _too_long(limit, context, prompt)
    prepared = prepared_call(prompt, given, is_background=state.is_background)
    return FittedCall(prepared)


def _summing_up(
    log: RunLog,
    agent: AgentVersion,
    context: RunContext,
    prompt: Prompt,
    planned: HistoryTrimmed,
) -> FittedCall | None:
    """Returns the call that sums up what is to be left out; None if there is to be none."""
    limit = input_limit(agent, prompt.request.model, context.scale.window_tokens)
    tokens = summary_tokens(limit.input_tokens, limit.output_tokens)
    if not agent.context_policy.summarize or not tokens or not context.left_out_by(planned):
        return None
    max_bytes = limit.messages_bytes(context, prompt)
    # What is given in place of the left out messages needs room as well.
    summary_bytes = context.scale.size_bytes(tokens)
    reserved_bytes = summary_bytes + SUMMARY_FRAME_BYTES
    turns = agent.context_policy.max_history_turns
    planned = _planned(context, turns, max_bytes, reserved_bytes) or planned
    if max_bytes is not None and context.size_bytes_after(planned) + reserved_bytes > max_bytes:
        # It would be paid for in vain.
        return None
    prepared = summary_call(
        prompt.request.model,
        context.left_out_by(planned),
        context.summary,
        max_bytes=None if max_bytes is None else max_bytes + prompt.size_bytes,
        max_tokens=tokens,
        is_background=log.state.is_background,
    )
    return FittedCall(prepared, planned, summary_bytes)


def is_shorter_next_time(
    error: AgentExecutorError, agent: AgentVersion, context: RunContext, prepared: PreparedCall
) -> bool:
    """Takes in why a call failed, and tells whether less would be sent if it were tried again."""
    if not isinstance(error, ContextLengthExceededError):
        return False
    context.scale.learn_refusal(
        prepared.size_bytes,
        int(error.metadata.get("input_tokens", "0")),
        int(error.metadata.get("context_window_tokens", "0")),
    )
    limit = input_limit(agent, prepared.request.model, context.scale.window_tokens)
    if limit.input_tokens is None:
        return False
    max_bytes = context.scale.size_bytes(limit.input_tokens)
    return _planned(context, agent.context_policy.max_history_turns, max_bytes, 0) is not None


def _planned(
    context: RunContext, max_turns: int, max_bytes: int | None, summary_bytes: int
) -> HistoryTrimmed | None:
    room = None if max_bytes is None else max_bytes - summary_bytes - BRACKETS_BYTES
    return context.planned(Limits(max_turns or None, room))


def _log(log: RunLog, context: RunContext, changed: HistoryTrimmed | None) -> None:
    if changed is not None:
        log.add(changed)
        context.update(log.state.messages, changed)


def _too_long(limit: InputLimit, context: RunContext, prompt: Prompt) -> ContextLengthExceededError:
    scale = context.scale
    tokens = scale.tokens(prompt.size_bytes + context.given().size_bytes)
    largest, largest_bytes = context.largest()
    part, part_tokens = _name_of(largest), scale.tokens(largest_bytes)
    if prompt.size_bytes > largest_bytes:
        part, part_tokens = "system prompt and tools", scale.tokens(prompt.size_bytes)
    window = f"the model's context window is {limit.window_tokens}, of which "
    window += f"{limit.output_tokens} are for the answer"
    if limit.window_tokens - limit.output_tokens != limit.input_tokens:
        window = "the agent's context_policy.max_input_tokens says so"
    return ContextLengthExceededError(
        f"The request is about {tokens} tokens long, and {limit.input_tokens} fit: {window}. "
        f"The largest part is the {part}, about {part_tokens} tokens.",
        metadata={
            "input_tokens": str(tokens),
            "max_input_tokens": str(limit.input_tokens),
            "context_window_tokens": str(limit.window_tokens),
            "max_output_tokens": str(limit.output_tokens),
            "largest_part": part,
            "largest_part_tokens": str(part_tokens),
        },
    )


def _name_of(message: Message) -> str:
    if any(isinstance(block, ToolResultBlock) for block in message.content):
        return "tools' results of one turn"
    return "input" if message.role == "user" else "model's own answer"
