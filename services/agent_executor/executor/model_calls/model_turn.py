"""One model turn of a run: hold the money, ask the model, log the answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Final

from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    DeadlineExceededError,
    ModelError,
)
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.context.fitting import fitted_call, is_shorter_next_time
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.driving.run_telemetry import RunTelemetry
from agent_executor.executor.driving.stopping import DeliveredText
from agent_executor.executor.log.next_action import AwaitMoney, CallModel, ResolveLostCall
from agent_executor.executor.log.run_event import ModelCallCompleted, ModelCallStarted
from agent_executor.executor.model_calls.late_answers import LateAnswers
from agent_executor.executor.model_calls.late_releases import LateReleases
from agent_executor.executor.model_calls.lost_calls import input_usage, resolve_lost
from agent_executor.executor.model_calls.model_answers import (
    CANCELLED,
    answer_or_error,
    answer_or_stop,
    answered_again,
    answered_with,
    log_answer,
)
from agent_executor.executor.model_calls.model_call import (
    ModelCall,
    ModelLimits,
    call_id,
    failed_call,
    loop_seconds,
)
from agent_executor.executor.model_calls.model_holds import ModelHolds
from agent_executor.executor.model_calls.prompts import Prompts
from agent_executor.executor.model_calls.response_cache import (
    CachedAnswer,
    MemoryResponseCache,
    ResponseCache,
)
from agent_executor.executor.model_calls.shared_answers import (
    SharedAnswers,
    answer_of,
    is_kept,
    key_of,
)
from agent_executor.executor.model_calls.tool_descriptions import described_tools
from agent_executor.executor.models.model import (
    ModelProvider,
    ModelResponse,
    ModelUsage,
    delivered_usage,
)
from agent_executor.executor.peers.ledger import Ledger
from agent_executor.executor.peers.retries import Retries
from agent_executor.executor.peers.tools import ToolRunner
from agent_executor.executor.provider_batches.batched_calls import BatchedCalls

MAX_RETRY_DELAY_SECONDS: Final = 30.0


class ModelTurn:
    """Takes the model turns of runs.

    Attributes:
        releases: Frees what is held for runs.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, ModelProvider],
        provider_name: str,
        tools: ToolRunner,
        ledger: Ledger,
        telemetry: RunTelemetry,
        limits: ModelLimits | None = None,
        cache: ResponseCache | None = None,
        batched: BatchedCalls | None = None,
    ) -> None:
        """``batched`` takes the calls of runs that go through batches; None: there are none."""
        self._providers = providers
        self._provider_name = provider_name
        self._default_provider = providers[provider_name]
        self._tools = tools
        self._ledger = ledger
        self._telemetry = telemetry
        self._limits = limits or ModelLimits()
        self._prompts = Prompts()
        self._retries = Retries()
        self._describing = Retries()
        self.releases = LateReleases(ledger, self._retries)
        self._holds = ModelHolds(self.releases, self._retries, telemetry, self._limits)
        self._late_answers = LateAnswers(ledger, self._retries, self._limits.late_answer_seconds)
        self._batched = batched
        self._answers = SharedAnswers(cache or MemoryResponseCache(time.monotonic))

    async def take(self, driven: DrivenRun, action: CallModel, remaining_seconds: float) -> None:
        """Makes one try of a turn. Its answer, and the tool calls in it, are durable on return.

        Every failure that is not the log's own is an event; a pause is one too. No wait goes on for
        longer than the run's ``remaining_seconds``.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        log, model_call_id = driven.log, call_id(driven, action)
        call = await self._prepare(driven, action, loop_seconds() + remaining_seconds)
        if log.stop.is_set:
            return
        if isinstance(call, AgentExecutorError):
            log.add(ModelCallStarted(model_call_id=model_call_id, turn=action.turn))
            log.add(failed_call(model_call_id, call, will_retry=False))
            await log.commit()
            return
        # What sums up a conversation is no answer for anybody else, and nobody waits a day for one.
        is_shared = call.trims is None and not log.state.processing
        if driven.agent.response_cache_ttl_seconds and is_shared:
            await self._take_shared(call)
        else:
            await self._ask(call)

    async def hold_again(
        self, driven: DrivenRun, action: AwaitMoney, remaining_seconds: float
    ) -> ModelCall | AgentExecutorError:
        """Tries to get the money that a paused run waits for.

        Returns:
            The call, whose beginning is durable and which is to be made at once; or why there is
            none. Nothing is logged then.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        run_ends_at = loop_seconds() + remaining_seconds
        call = await self._prepare(driven, action.call, run_ends_at, waits_for_tools=False)
        if isinstance(call, AgentExecutorError):
            return call
        return await self._holds.hold_again(call)

    async def make(self, call: ModelCall) -> None:
        """Makes a call whose money is held. Its answer is durable on return.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        stop = call.driven.log.stop
        if stop.is_set:
            await self._not_made(call)
            return
        # What was waited for before, the tools or the money, is not the model's time any more.
        remaining_seconds = call.run_ends_at - loop_seconds()
        timeout_seconds = max(0.0, min(self._limits.timeout_seconds, remaining_seconds))
        timeout = asyncio.timeout(timeout_seconds)
        driven, request = call.driven, call.request()
        provider = self._provider(driven.agent)
        if driven.log.state.processing and self._batched is not None:
            named = driven.agent.provider or self._provider_name
            error = await self._batched.submit(call, named)
            if error is not None:
                await self._failed(call, error)
            return
        delivered = DeliveredText(driven.log.on_delta(call.id))
        # A task of its own, since its answer is of use also if it comes too late for the run.
        generating = provider.generate(
            request, access=driven.agent.model_access(), on_delta=delivered
        )
        lost_usage = input_usage(call.prepared.size_bytes)
        answering = asyncio.ensure_future(answer_or_error(generating, lost_usage))
        try:
            with self._telemetry.chat(driven.log.run, request, call.id, provider.name) as record:
                response = await answer_or_stop(answering, timeout, stop)
                record.answered(response)
        except CancelledRunError as stopped:
            await self._stopped(call, stopped, answering, delivered)
            return
        except AgentExecutorError as error:
            await self._failed(call, error)
            return
        except TimeoutError:
            if not timeout.expired():
                raise
            self._late_answers.expect(answering, call.id, driven.security)
            late = DeadlineExceededError(
                f"The model did not answer within {timeout_seconds:g} seconds."
            )
            driven.log.add(call.failed(late, will_retry=False, usage=lost_usage))
            await driven.log.commit()
            return
        except asyncio.CancelledError:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            raise
        self._answered(call, answered_with(call, response))
        await driven.log.commit()

    async def resolve_lost(self, driven: DrivenRun, action: ResolveLostCall) -> None:
        """Logs the loss of a model call whose owner died; see ``lost_calls``.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        await resolve_lost(driven, action, self._ledger, self._retries)

    async def close(self) -> None:
        """Breaks off what goes on without a run."""
        if self._batched is not None:
            await self._batched.close()
        await self._late_answers.close()
        await self.releases.close()

    async def _take_shared(self, call: ModelCall) -> None:
        """Takes the answer to an equal request of before, or asks the model for all that wait."""
        log, agent = call.driven.log, call.driven.agent
        ttl_seconds = agent.response_cache_ttl_seconds
        provider, request = self._provider(agent), call.prepared.request
        key = key_of(agent.organization_id, provider.name, agent.base_url, request)

        async def commit() -> None:
            await log.commit()

        try:
            found = await self._answers.find(
                key,
                ttl_seconds,
                call.run_ends_at - loop_seconds(),
                before_waiting=commit,
                stop=log.stop,
            )
        except TimeoutError:
            # The run's time is over, and whoever drives it sees so.
            return
        self._telemetry.looked_up(request.model, is_hit=isinstance(found, CachedAnswer))
        if isinstance(found, CachedAnswer):
            log.add(call.started())
            self._answered(call, answered_again(call, found))
            await log.commit()
        elif found is None:
            await self._ask(call)
        else:
            with found as flight:
                await self._ask(call)
                if log.state.turn < call.action.turn:
                    return
                answer = answer_of(log.state.messages[-1].content, log.state.last_stop_reason)
                if is_kept(answer, call.prepared.described):
                    await self._answers.keep(key, answer, ttl_seconds)
                else:
                    flight.turn_out_unique()

    async def _ask(self, call: ModelCall) -> None:
        """Holds the money for a call and makes it, unless the run is to end."""
        log = call.driven.log
        if log.stop.is_set:
            return
        try:
            held = await self._holds.hold(call)
        except AgentExecutorError as error:
            begun = log.state.open_call
            model_call_id = begun.model_call_id if begun is not None else call.id
            log.add(failed_call(model_call_id, error, will_retry=False))
            await log.commit()
            return
        if held is not None:
            await self.make(held)

    def _provider(self, agent: AgentVersion) -> ModelProvider:
        return self._providers[agent.provider] if agent.provider else self._default_provider

    async def _prepare(
        self,
        driven: DrivenRun,
        action: CallModel,
        run_ends_at: float,
        *,
        waits_for_tools: bool = True,
    ) -> ModelCall | AgentExecutorError:
        """Returns the call, with the tools that the agent may use, or why there is none."""
        agent = driven.agent
        last_try = run_ends_at if waits_for_tools else loop_seconds()
        try:
            described = await described_tools(self._tools, driven, last_try, self._describing)
            prompt = self._prompts.prompt(agent, described, driven.log.run.model)
            fitted = fitted_call(driven.log, agent, driven.context, prompt)
            return ModelCall(
                driven,
                action,
                fitted.prepared,
                run_ends_at,
                fitted.prepared.request.max_tokens,
                trims=fitted.trims,
                summary_bytes=fitted.summary_bytes,
                summary_number=driven.log.state.summaries + 1,
            )
        except AgentExecutorError as error:
            return error

    def _answered(self, call: ModelCall, answer: ModelCallCompleted) -> None:
        if not answer.is_estimated:
            call.driven.context.scale.learn(call.prepared.size_bytes, answer.usage)
        tools = call.prepared.described
        log_answer(call.driven, call.action.turn, answer, tools, call.trims, call.summary_bytes)

    async def _failed(self, call: ModelCall, error: AgentExecutorError) -> None:
        """Logs a failed model call, and waits if it is to be tried again.

        A call that cannot have been billed frees its hold. Any other is settled, as an estimate, at
        what the provider had delivered.
        """
        log, tries = call.driven.log, call.action.attempt - call.action.refusals
        delay_seconds = self._delay_seconds(tries, error)
        driven = call.driven
        is_retried = (
            (
                (isinstance(error, ModelError) and error.retry_after_seconds is not None)
                or is_shorter_next_time(error, driven.agent, driven.context, call.prepared)
            )
            and tries < self._limits.max_tries
            and loop_seconds() + delay_seconds < call.run_ends_at
        )
        usage = delivered_usage(error)
        log.add(call.failed(error, will_retry=is_retried, usage=usage))
        await log.commit()
        if usage is None:
            await self._free(call)
        if is_retried:
            await log.stop.sleep(delay_seconds)

    async def _not_made(self, call: ModelCall) -> None:
        """Logs that a call whose money is held is not made, since the run is to end."""
        log = call.driven.log
        log.note_cancel()
        log.add(call.failed(CancelledRunError(CANCELLED), will_retry=False, is_refused=True))
        await log.commit()
        await self._free(call)

    async def _stopped(
        self,
        call: ModelCall,
        stopped: CancelledRunError,
        answering: asyncio.Future[ModelResponse],
        delivered: DeliveredText,
    ) -> None:
        """Closes the call's connection and logs what became of it, once that is closed.

        It has cost its input and what was delivered, as an estimate; an answer that came whole in
        the same instant is one.
        """
        log = call.driven.log
        answering.cancel()
        await asyncio.wait({answering})
        error = None if answering.cancelled() else answering.exception()
        if error is None and not answering.cancelled():
            self._answered(call, answered_with(call, answering.result()))
        else:
            usage: ModelUsage | None = delivered.usage(input_usage(call.prepared.size_bytes))
            if isinstance(error, AgentExecutorError):
                usage = delivered_usage(error)
            log.note_cancel()
            log.add(call.failed(stopped, will_retry=False, usage=usage))
            if usage is None:
                await log.commit()
                await self._free(call)
        await log.commit()

    async def _free(self, call: ModelCall) -> None:
        """Frees the hold of a call that cost nothing."""
        await self.releases.free(call.id, call.driven.security)

    def _delay_seconds(self, tries: int, error: AgentExecutorError) -> float:
        backoff = self._limits.retry_delay_seconds * 2.0 ** (tries - 1)
        asked_for = error.retry_after_seconds or 0.0
        delay = max(asked_for, min(backoff, MAX_RETRY_DELAY_SECONDS))
        return delay * (1.0 + random.random() / 4)  # noqa: S311 -- it keeps no secret
