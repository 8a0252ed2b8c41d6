"""The spans of a run and of its model calls; the tool-runner makes those of its tool calls.

A model call's cost is known only once the ledger has settled it, some time after the answer. So its
span, whose times are those of the call, is handed over for export then.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.driving.message_content import (
    input_messages,
    output_messages,
    system_instructions,
)
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import RunState
from agent_executor.executor.models.model import ModelRequest, ModelResponse, ModelUsage
from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.baggage import with_baggage
from agent_executor.serving.span_ids import span_named
from agent_executor.serving.telemetry import context_from_traceparent, with_call_trace

_NANOS_PER_SECOND: Final = 1_000_000_000


class RunSpan:
    """The ``invoke_agent`` span of a run, as long as this executor drives it.

    Attributes:
        span: The span.
        context: What is done for the run is done in it.
    """

    __slots__ = ("_stop_reason", "_unsettled", "_used", "context", "span")

    def __init__(self, span: Span, context: Context) -> None:
        self.span = span
        self.context = context
        self._used: Counter[str] = Counter()
        self._stop_reason = ""
        # The spans of model calls that have ended but for their cost, and when they did.
        self._unsettled: dict[str, tuple[Span, int]] = {}

    def answered(self, model_call_id: str, chat: Span, response: ModelResponse) -> None:
        """Sums up what a model call has used, whose span waits for its cost."""
        self._unsettled[model_call_id] = (chat, time.time_ns())
        self._stop_reason = response.stop_reason
        self._used.update(_tokens_of(response.usage))

    def settled(self, model_call_id: str, cost_nano_usd: int) -> None:
        """Ends the span of a model call, whose cost is known."""
        waiting = self._unsettled.pop(model_call_id, None)
        if waiting is not None:
            chat, ended_unix_nanos = waiting
            chat.set_attribute(names.AGENT_EXECUTOR_COST_NANO_USD, cost_nano_usd)
            chat.end(ended_unix_nanos)

    def end(self, state: RunState) -> None:
        """Ends the span of the run, and those of model calls that nobody has settled so far."""
        for chat, ended_unix_nanos in self._unsettled.values():
            chat.end(ended_unix_nanos)
        self._unsettled.clear()
        span, finished = self.span, state.finished
        if span.is_recording():
            span.set_attributes(
                {
                    names.AGENT_EXECUTOR_RUN_STATE: state.state,
                    names.AGENT_EXECUTOR_RUN_TOKENS: state.tokens_used,
                    names.AGENT_EXECUTOR_COST_NANO_USD: state.cost_nano_usd,
                    **_shown(self._used),
                }
            )
            if self._stop_reason:
                span.set_attribute(names.GEN_AI_RESPONSE_FINISH_REASONS, (self._stop_reason,))
            if finished is not None and finished.code:
                span.set_attribute(names.ERROR_TYPE, finished.code)
                span.set_status(Status(StatusCode.ERROR))
        span.end()


_NO_RUN: Final = RunSpan(INVALID_SPAN, Context())
# The run that the running task works for.
_CURRENT: Final[ContextVar[RunSpan]] = ContextVar("run_span", default=_NO_RUN)


class ChatSpan:
    """The span of one model call.

    Attributes:
        span: The span; that of the run where nothing is recorded.
    """

    __slots__ = ("_is_kept", "_is_own", "_model_call_id", "_run", "_shows_content", "span")

    def __init__(
        self, span: Span, model_call_id: str, run: RunSpan, *, shows_content: bool
    ) -> None:
        self.span = span
        self._model_call_id = model_call_id
        self._run = run
        self._shows_content = shows_content
        self._is_own = span is not run.span
        self._is_kept = False

    def answered(self, response: ModelResponse) -> None:
        """Says what the model has answered."""
        if not self._is_own:
            return
        self._is_kept = True
        self._run.answered(self._model_call_id, self.span, response)
        self.span.set_attributes(
            {
                names.GEN_AI_RESPONSE_ID: response.id,
                names.GEN_AI_RESPONSE_MODEL: response.model,
                names.GEN_AI_RESPONSE_FINISH_REASONS: (response.stop_reason,),
                **_shown(_tokens_of(response.usage)),
            }
        )
        if self._shows_content:
            self.span.set_attribute(names.GEN_AI_OUTPUT_MESSAGES, output_messages(response))

    def failed(self, code: str) -> None:
        """Says why there is no answer."""
        if self._is_own:
            self.span.set_attribute(names.ERROR_TYPE, code)
            self.span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """Ends the span, unless that waits for the cost of the call."""
        if self._is_own and not self._is_kept:
            self.span.end()


class RunSpans:
    """Begins the spans of runs and model calls.

    Args:
        tracer: Makes them.
        provider_name: Who serves the models of agents that do not say.
        shows_content: Whether they show what is said, too.
    """

    def __init__(
        self, tracer: Tracer, provider_name: str = "", *, shows_content: bool = False
    ) -> None:
        self._tracer = tracer
        self._provider_name = provider_name
        self._shows_content = shows_content

    @contextmanager
    def run(self, run: RunRecord, agent: AgentVersion) -> Iterator[RunSpan]:
        """Covers the driving of a run; whoever has it ends the span.

        The span's parent is the call that started the run, however long ago and wherever.
        """
        context = context_from_traceparent(run.traceparent)
        span = self._tracer.start_span(
            f"{names.OPERATION_INVOKE_AGENT} {agent.name}",
            context=context,
            kind=SpanKind.INTERNAL,
            attributes={
                names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT,
                names.GEN_AI_PROVIDER_NAME: agent.provider or self._provider_name,
                names.GEN_AI_AGENT_NAME: agent.name,
                names.GEN_AI_REQUEST_MODEL: run.model,
            },
        )
        if span.is_recording():
            span.set_attributes(_of_run(run, agent))
            of_run = {
                names.AGENT_EXECUTOR_RUN_ID: run.run_id,
                names.AGENT_EXECUTOR_ORGANIZATION_ID: run.organization_id,
            }
            context = with_baggage(of_run, context)
        # One that is not recorded is passed on too, so that nobody begins a trace of its own.
        if span.get_span_context().is_valid:
            context = with_call_trace(set_span_in_context(span, context))
        run_span = RunSpan(span, context)
        token, attached = _CURRENT.set(run_span), otel_context.attach(context)
        try:
            yield run_span
        finally:
            otel_context.detach(attached)
            _CURRENT.reset(token)

    @contextmanager
    def tools_of(self, model_call_id: str) -> Iterator[None]:
        """Covers the tool calls of a model turn, whose spans link to that of the model call.

        Args:
            model_call_id: The call that asked for them; empty if no model was asked.
        """
        run_span = _CURRENT.get()
        if not model_call_id or not run_span.span.is_recording():
            yield
            return
        asked = {names.AGENT_EXECUTOR_MODEL_CALL_ID: model_call_id}
        attached = otel_context.attach(with_call_trace(with_baggage(asked, run_span.context)))
        try:
            yield
        finally:
            otel_context.detach(attached)

    def chat(
        self,
        run: RunRecord,
        request: ModelRequest,
        model_call_id: str,
        provider_name: str,
        seconds: float | None,
    ) -> ChatSpan:
        """Begins the span of a model call, so many seconds ago if it is over."""
        run_span = _CURRENT.get()
        if not run_span.span.is_recording():
            return ChatSpan(run_span.span, model_call_id, run_span, shows_content=False)
        with span_named(model_call_id):
            span = self._tracer.start_span(
                f"{names.OPERATION_CHAT} {request.model}",
                context=run_span.context,
                kind=SpanKind.CLIENT,
                attributes={
                    names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
                    names.GEN_AI_PROVIDER_NAME: provider_name,
                    names.GEN_AI_REQUEST_MODEL: request.model,
                },
                start_time=None
                if seconds is None
                else time.time_ns() - int(seconds * _NANOS_PER_SECOND),
            )
        span.set_attributes(_of_chat(run, request, model_call_id))
        if self._shows_content:
            if request.system:
                span.set_attribute(names.GEN_AI_SYSTEM_INSTRUCTIONS, system_instructions(request))
            span.set_attribute(names.GEN_AI_INPUT_MESSAGES, input_messages(request))
        return ChatSpan(span, model_call_id, run_span, shows_content=self._shows_content)


def note_cost(model_call_id: str, cost_nano_usd: int) -> None:
    """Says what a model call of the run that the running task works for has cost."""
    _CURRENT.get().settled(model_call_id, cost_nano_usd)


def _of_run(run: RunRecord, agent: AgentVersion) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        names.GEN_AI_AGENT_ID: run.agent_id,
        names.GEN_AI_AGENT_VERSION: str(run.agent_version),
        names.GEN_AI_REQUEST_MAX_TOKENS: agent.max_output_tokens,
        names.AGENT_EXECUTOR_RUN_ID: run.run_id,
        names.AGENT_EXECUTOR_RUN_ATTEMPT: run.attempt,
        names.AGENT_EXECUTOR_ORGANIZATION_ID: run.organization_id,
    }
    if agent.description:
        attributes[names.GEN_AI_AGENT_DESCRIPTION] = agent.description
    if run.conversation_id:
        attributes[names.GEN_AI_CONVERSATION_ID] = run.conversation_id
    return attributes


def _of_chat(run: RunRecord, request: ModelRequest, model_call_id: str) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        names.GEN_AI_REQUEST_MAX_TOKENS: request.max_tokens,
        names.AGENT_EXECUTOR_MODEL_CALL_ID: model_call_id,
        names.AGENT_EXECUTOR_RUN_ID: run.run_id,
        names.AGENT_EXECUTOR_ORGANIZATION_ID: run.organization_id,
    }
    if run.conversation_id:
        attributes[names.GEN_AI_CONVERSATION_ID] = run.conversation_id
    return attributes


def _tokens_of(usage: ModelUsage) -> dict[str, int]:
    """Returns what was used, as the conventions count it: what the cache had is input too."""
    written = usage.cache_creation_input_tokens_5m + usage.cache_creation_input_tokens_1h
    return {
        names.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens
        + usage.cache_read_input_tokens
        + written,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
        names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cache_read_input_tokens,
        names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: written,
    }


def _shown(tokens: Mapping[str, int]) -> dict[str, int]:
    """Returns the counts without those of a cache that was not used."""
    always = (names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS)
    return {name: count for name, count in tokens.items() if count or name in always}
