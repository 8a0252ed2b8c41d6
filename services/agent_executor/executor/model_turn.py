"""One model turn of a run: hold the money, ask the model, log the answer."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    ModelError,
    UnavailableError,
)
from agent_executor.executor.agent import AgentVersion
from agent_executor.executor.ledger import PASSING_ERRORS, Hold, Ledger
from agent_executor.executor.models.model import (
    ModelAccess,
    ModelProvider,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ToolSpecification,
    delivered_usage,
)
from agent_executor.executor.run import CallModel, ResolveLostCall, tool_calls_of
from agent_executor.executor.run_event import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
)
from agent_executor.executor.run_log import RunLog
from agent_executor.executor.run_telemetry import RunTelemetry
from agent_executor.executor.tools import ToolRunner, require_all
from agent_executor.serving.security import SecurityContext

DEFAULT_MODEL_TIMEOUT_SECONDS: Final = 300.0
# The ledger holds money for a day at most.
MODEL_TIMEOUT_SECONDS_MAX: Final = 80_000.0
DEFAULT_MAX_MODEL_TRIES: Final = 4
DEFAULT_RETRY_DELAY_SECONDS: Final = 0.5
MAX_RETRY_DELAY_SECONDS: Final = 30.0
# How much longer a hold lasts than its call may: the time to record the answer and settle.
HOLD_MARGIN_SECONDS: Final = 600
# How long a commit shows that the run is still this executor's: less than is left of a lease that
# is renewed in time. Holding money takes longer only if the ledger or this process was stopped.
OWNERSHIP_SECONDS: Final = 1.0

# A token is at least one byte of the request's JSON text, so its length bounds the input; the
# rest is for what providers add around it (roles, tool preambles), from their documentation.
INPUT_OVERHEAD_TOKENS: Final = 1024
# What is booked for the input of a call whose answer was lost. Text has about 4 bytes a token.
BYTES_PER_ESTIMATED_TOKEN: Final = 4

_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What model calls may take.

    Attributes:
        timeout_seconds: For one model call.
        max_tries: Of one turn, the first included, when the provider says that trying helps.
        retry_delay_seconds: Before the second try; doubled for each further one, with jitter.
            What the provider asks for is waited for if it is longer.
    """

    timeout_seconds: float = DEFAULT_MODEL_TIMEOUT_SECONDS
    max_tries: int = DEFAULT_MAX_MODEL_TRIES
    retry_delay_seconds: float = DEFAULT_RETRY_DELAY_SECONDS


class ModelTurn:
    """Takes the model turns of runs."""

    def __init__(
        self,
        *,
        providers: Mapping[str, ModelProvider],
        provider_name: str,
        tools: ToolRunner,
        ledger: Ledger,
        telemetry: RunTelemetry,
        limits: ModelLimits | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._provider = providers[provider_name]
        self._tools = tools
        self._ledger = ledger
        self._telemetry = telemetry
        self._limits = limits or ModelLimits()
        self._jitter = jitter

    async def take(
        self,
        log: RunLog,
        agent: AgentVersion,
        action: CallModel,
        security: SecurityContext,
        remaining_seconds: float,
    ) -> None:
        """Makes one try of a turn. Its answer, and the tool calls in it, are durable on return.

        Every failure that is not the log's own is an event. No wait goes on for longer than the
        run's ``remaining_seconds``.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        model_call_id = f"{log.run.run_id}_{action.turn}_{action.attempt}"
        run_ends_at = _loop_seconds() + remaining_seconds
        log.add(ModelCallStarted(model_call_id=model_call_id, turn=action.turn))
        try:
            request = await self._prepare(log, agent, security, run_ends_at)
            await self._hold(log, model_call_id, request, security)
        except AgentExecutorError as error:
            log.add(_failed(model_call_id, error, will_retry=False))
            await log.commit()
            return
        access = agent.model_access()
        await self._call(log, action, model_call_id, request, access, security, run_ends_at)

    async def resolve_lost(
        self,
        log: RunLog,
        agent: AgentVersion,
        action: ResolveLostCall,
        security: SecurityContext,
    ) -> None:
        """Logs the loss of a model call whose owner died, at an estimate of its cost.

        If its money was never held the model was never called, and it cost nothing.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        was_reserved = await self._was_reserved(action.model_call_id, security)
        usage = _estimated_usage(self._request(log, agent)) if was_reserved else None
        log.add(
            ModelCallFailed(
                model_call_id=action.model_call_id,
                error="The executor ended before the answer was recorded.",
                code="LEASE_LOST",
                will_retry=True,
                usage=usage,
            )
        )
        await log.commit()

    async def _was_reserved(self, model_call_id: str, security: SecurityContext) -> bool:
        """Asks the ledger, for as long as it takes it to be back."""
        while True:
            try:
                return await self._ledger.is_reserved(model_call_id, security)
            except PASSING_ERRORS:
                await asyncio.sleep(self._limits.retry_delay_seconds)

    async def _prepare(
        self,
        log: RunLog,
        agent: AgentVersion,
        security: SecurityContext,
        run_ends_at: float,
    ) -> ModelRequest:
        """Returns the request, with the tools that the agent may use."""
        names = agent.enabled_tools()
        versions = log.state.tool_versions
        specifications = (
            await self._describe(names, security, versions, run_ends_at) if names else ()
        )
        require_all(names, specifications, versions)
        offered = (msgspec.structs.replace(tool, version="") for tool in specifications)
        return self._request(log, agent, tuple(offered))

    async def _describe(
        self,
        names: Sequence[str],
        security: SecurityContext,
        versions: Mapping[str, str],
        run_ends_at: float,
    ) -> tuple[ToolSpecification, ...]:
        """Asks the tool-runner, while it is away again and again until the run's end."""
        last_try = run_ends_at - self._limits.retry_delay_seconds
        while True:
            try:
                return await self._tools.describe(names, security, versions)
            except (UnavailableError, DeadlineExceededError):
                if _loop_seconds() >= last_try:
                    raise
                await asyncio.sleep(self._limits.retry_delay_seconds)

    async def _hold(
        self, log: RunLog, model_call_id: str, request: ModelRequest, security: SecurityContext
    ) -> None:
        """Makes the call's intent durable and reserves its worst case, at the same time.

        Raises:
            LeaseLostError: Another executor drives the run now, which may make the call itself.
            AgentExecutorError: The ledger refused, or the log could not be written.
        """
        begun_at = _loop_seconds()
        hold = Hold(
            model_call_id=model_call_id,
            agent_id=log.run.agent_id,
            run_id=log.run.run_id,
            model=request.model,
            max_input_tokens=len(_ENCODER.encode(request)) + INPUT_OVERHEAD_TOKENS,
            max_output_tokens=request.max_tokens,
            ttl_seconds=math.ceil(self._limits.timeout_seconds) + HOLD_MARGIN_SECONDS,
        )
        reserving = asyncio.ensure_future(self._ledger.reserve(hold, security))
        try:
            await log.commit()
            await reserving
        finally:
            reserving.cancel()
        if _loop_seconds() - begun_at > OWNERSHIP_SECONDS:
            await log.check_ownership()

    async def _call(
        self,
        log: RunLog,
        action: CallModel,
        model_call_id: str,
        request: ModelRequest,
        access: ModelAccess,
        security: SecurityContext,
        run_ends_at: float,
    ) -> None:
        # What was waited for before, the tools or the money, is not the model's time any more.
        timeout_seconds = max(0.0, min(self._limits.timeout_seconds, run_ends_at - _loop_seconds()))
        timeout = asyncio.timeout(timeout_seconds)
        try:
            with self._telemetry.chat(log.run, request, self._provider.name) as record:
                async with timeout:
                    response = await self._provider.generate(request, access=access)
                record.answered(response)
        except AgentExecutorError as error:
            await self._model_failed(log, action, model_call_id, error, security, run_ends_at)
            return
        except TimeoutError:
            if not timeout.expired():
                raise
            late = DeadlineExceededError(
                f"The model did not answer within {timeout_seconds:g} seconds."
            )
            usage = _estimated_usage(request)
            log.add(_failed(model_call_id, late, will_retry=False, usage=usage))
            await log.commit()
            return
        self._model_answered(log, action, model_call_id, response)
        await log.commit()

    def _model_answered(
        self, log: RunLog, action: CallModel, model_call_id: str, response: ModelResponse
    ) -> None:
        answer = ModelCallCompleted(
            model_call_id=model_call_id,
            content=response.content,
            stop_reason=response.stop_reason,
            usage=response.usage,
        )
        log.add(answer)
        # An answer that was cut may hold a tool call without its last arguments.
        if response.stop_reason == "tool_use":
            for call in tool_calls_of(log.run.run_id, action.turn, answer):
                log.add(call)

    async def _model_failed(
        self,
        log: RunLog,
        action: CallModel,
        model_call_id: str,
        error: AgentExecutorError,
        security: SecurityContext,
        run_ends_at: float,
    ) -> None:
        """Logs a refused model call, frees its hold, and waits if it is to be tried again."""
        delay_seconds = self._delay_seconds(action.attempt, error)
        is_retried = (
            isinstance(error, ModelError)
            and error.retry_after_seconds is not None
            and action.attempt < self._limits.max_tries
            and _loop_seconds() + delay_seconds < run_ends_at
        )
        usage = delivered_usage(error)
        log.add(_failed(model_call_id, error, will_retry=is_retried, usage=usage))
        await log.commit()
        # What an answer cost that broke off is settled; of any other the hold is freed. If it
        # cannot be freed now it ends by itself at its expiry.
        if usage is None:
            with contextlib.suppress(AgentExecutorError):
                await self._ledger.void(model_call_id, security)
        if is_retried:
            await asyncio.sleep(delay_seconds)

    def _delay_seconds(self, attempt: int, error: AgentExecutorError) -> float:
        backoff = self._limits.retry_delay_seconds * 2.0 ** (attempt - 1)
        asked_for = error.retry_after_seconds or 0.0
        delay = max(asked_for, min(backoff, MAX_RETRY_DELAY_SECONDS))
        return delay * (1.0 + self._jitter() / 4)

    def _request(
        self, log: RunLog, agent: AgentVersion, tools: tuple[ToolSpecification, ...] = ()
    ) -> ModelRequest:
        return ModelRequest(
            model=log.run.model,
            system=agent.system_prompt(),
            messages=log.state.messages,
            tools=tools,
            max_tokens=agent.max_output_tokens,
        )


def _loop_seconds() -> float:
    """Returns the event loop's time, which no change of the clock moves."""
    return asyncio.get_running_loop().time()


def _estimated_usage(request: ModelRequest) -> ModelUsage:
    """Returns what is booked for a call whose answer was lost: its input, and no output."""
    size_bytes = len(_ENCODER.encode(request))
    return ModelUsage(
        input_tokens=size_bytes // BYTES_PER_ESTIMATED_TOKEN + 1,
        output_tokens=0,
    )


def _failed(
    model_call_id: str,
    error: AgentExecutorError,
    *,
    will_retry: bool,
    usage: ModelUsage | None = None,
) -> ModelCallFailed:
    return ModelCallFailed(
        model_call_id=model_call_id,
        error=error.message,
        code=error.reason,
        will_retry=will_retry,
        usage=usage,
    )
