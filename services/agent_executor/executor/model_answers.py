"""Waiting for a model's answer, and what is logged of it."""

from __future__ import annotations

import asyncio
from typing import Final

from agent_executor.errors import CancelledRunError
from agent_executor.executor.model_call import ModelCall
from agent_executor.executor.models.model import ModelResponse, ModelUsage
from agent_executor.executor.response_cache import CachedAnswer
from agent_executor.executor.run_event import ModelCallCompleted
from agent_executor.serving.cancellation import StopSignal, end_now

CANCELLED: Final = "The model call was stopped: the run was cancelled."


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
