"""Waiting for a model's answer, and what is logged of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec

from agent_executor.errors import AgentExecutorError, CancelledRunError, ModelError
from agent_executor.executor.approvals.policy import asked_or_started
from agent_executor.executor.context.summary import summary_of
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.log.run import tool_calls_of
from agent_executor.executor.log.run_event import HistoryTrimmed, ModelCallCompleted
from agent_executor.executor.model_calls.model_call import ModelCall
from agent_executor.executor.model_calls.response_cache import CachedAnswer
from agent_executor.executor.models.model import (
    ModelResponse,
    ModelUsage,
    ToolSpecification,
    usage_metadata,
)
from agent_executor.serving.cancellation import StopSignal, end_now

_LOGGER = logging.getLogger(__name__)

CANCELLED: Final = "The model call was stopped: the run was cancelled."


async def answer_or_error(
    generating: Coroutine[Any, Any, ModelResponse], lost_usage: ModelUsage
) -> ModelResponse:
    """Waits for a provider. What it raises that it should not is an error of the model.

    Args:
        generating: The provider's answer.
        lost_usage: What the call is taken to have cost then.

    Raises:
        AgentExecutorError: The model gave no answer.
    """
    try:
        return await generating
    except AgentExecutorError:
        raise
    except Exception as error:
        _LOGGER.exception("A provider of models raised what it should not.")
        message = "The model's provider failed inside the executor."
        raise ModelError(message, metadata=usage_metadata(lost_usage)) from error


async def answer_or_stop(
    answering: asyncio.Future[ModelResponse], time_limit: asyncio.Timeout, stop: StopSignal
) -> ModelResponse:
    """Waits for an answer until its deadline, or until the run is to end.

    Raises:
        TimeoutError: The deadline has passed.
        CancelledRunError: The run is to end.
        AgentExecutorError: The model gave no answer.
    """
    try:
        async with time_limit:
            with stop.calling(lambda: end_now(time_limit)):
                return await asyncio.shield(answering)
    except TimeoutError:
        if time_limit.expired() and stop.is_set:
            raise CancelledRunError(CANCELLED) from None
        raise


def answered_with(call: ModelCall, response: ModelResponse) -> ModelCallCompleted:
    """Returns the event of an answer."""
    is_reduced = call.max_tokens < call.prepared.request.max_tokens
    return ModelCallCompleted(
        model_call_id=call.id,
        content=response.content,
        stop_reason=response.stop_reason,
        usage=response.usage,
        reduced_max_tokens=call.max_tokens if is_reduced else 0,
        stop_detail=response.stop_detail,
        is_estimated=response.is_usage_estimated,
    )


def answered_again(call: ModelCall, answer: CachedAnswer) -> ModelCallCompleted:
    """Returns the event of an answer that was given to an equal request before, for nothing."""
    return ModelCallCompleted(
        model_call_id=call.id,
        content=answer.content,
        stop_reason=answer.stop_reason,
        usage=ModelUsage(0, 0),
        from_cache=True,
    )


def log_answer(
    driven: DrivenRun,
    turn: int,
    answer: ModelCallCompleted,
    tools: Sequence[ToolSpecification],
    trims: HistoryTrimmed | None,
    summary_bytes: int,
) -> None:
    """Logs an answer, and how the tool calls begin that it asks for. None of it is durable yet.

    Args:
        driven: The run.
        turn: Which answer it is, from 1.
        answer: The answer.
        tools: The tools that the model could ask for.
        trims: What is left out now that the answer has summed it up; None: it is the turn's own.
        summary_bytes: How long that summary may be.
    """
    log = driven.log
    log.add(answer)
    if trims is not None:
        log.add(msgspec.structs.replace(trims, summary=summary_of(answer.content, summary_bytes)))
        return
    # An answer that was cut may hold a tool call without its last arguments.
    if answer.stop_reason == "tool_use":
        calls = tool_calls_of(log.run.run_id, turn, answer)
        for event in asked_or_started(calls, driven.agent.approval_policy, tools, log.now_ms()):
            log.add(event)
