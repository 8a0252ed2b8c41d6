"""One try of a model turn, from its preparation to its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final, Self

import msgspec

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.log.next_action import CallModel
from agent_executor.executor.log.run_event import (
    HistoryTrimmed,
    ModelCallFailed,
    ModelCallStarted,
)
from agent_executor.executor.model_calls.late_answers import DEFAULT_LATE_ANSWER_SECONDS
from agent_executor.executor.model_calls.prompts import PreparedCall
from agent_executor.executor.models.model import ModelRequest, ModelUsage

DEFAULT_MODEL_TIMEOUT_SECONDS: Final = 300.0
# The ledger holds money for a day at most.
MODEL_TIMEOUT_SECONDS_MAX: Final = 80_000.0
DEFAULT_MAX_MODEL_TRIES: Final = 4
DEFAULT_RETRY_DELAY_SECONDS: Final = 0.5
# Longer than the ledger needs to start again, on a busy machine too.
DEFAULT_LEDGER_PATIENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What model calls may take.

    Attributes:
        timeout_seconds: For one model call.
        max_tries: Of one turn, the first included, when the provider says that trying helps.
        retry_delay_seconds: Before the second try; doubled for each further one, with jitter.
            What the provider asks for is waited for if it is longer.
        late_answer_seconds: How long an answer is waited for after its deadline, not by the run but
            to correct the estimate of its cost. 0: the call is broken off at its deadline.
        ledger_patience_seconds: How long a call waits for a ledger that is away.
        proceeds_without_ledger: Whether models are called without a hold while the ledger is away
            for longer. Budgets can be overshot then.
    """

    timeout_seconds: float = DEFAULT_MODEL_TIMEOUT_SECONDS
    max_tries: int = DEFAULT_MAX_MODEL_TRIES
    retry_delay_seconds: float = DEFAULT_RETRY_DELAY_SECONDS
    late_answer_seconds: float = DEFAULT_LATE_ANSWER_SECONDS
    ledger_patience_seconds: float = DEFAULT_LEDGER_PATIENCE_SECONDS
    proceeds_without_ledger: bool = False


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One try of a turn.

    Attributes:
        driven: The run.
        action: Which try of which turn it is.
        prepared: What is sent.
        run_ends_at: When the run's time is over, in the event loop's time.
        max_tokens: The output that it may have: what the hold covers.
        trims: What is left out once it has summed that up; None: it is the turn's own call.
        summary_bytes: How long that summary may be.
        summary_number: Which summary of the run it is, from 1.
    """

    driven: DrivenRun
    action: CallModel
    prepared: PreparedCall
    run_ends_at: float
    max_tokens: int
    trims: HistoryTrimmed | None = None
    summary_bytes: int = 0
    summary_number: int = 0

    @property
    def id(self) -> str:
        """The call's id, by which its hold and its ledger entry are known too."""
        if self.trims is not None:
            return f"{self.driven.log.run.run_id}_s{self.summary_number}"
        return call_id(self.driven, self.action)

    def request(self) -> ModelRequest:
        """Returns the request, within the output that it may have."""
        request = self.prepared.request
        if self.max_tokens == request.max_tokens:
            return request
        return msgspec.structs.replace(request, max_tokens=self.max_tokens)

    def started(self, *, is_unheld: bool = False) -> ModelCallStarted:
        """Returns the event of its beginning."""
        return ModelCallStarted(
            self.id, self.action.turn, self.prepared.purpose, is_unheld, self.trims is not None
        )

    def failed(
        self,
        error: AgentExecutorError,
        *,
        will_retry: bool,
        usage: ModelUsage | None = None,
        is_refused: bool = False,
    ) -> ModelCallFailed:
        """Returns the event of its failure."""
        return failed_call(
            self.id, error, will_retry=will_retry, usage=usage, is_refused=is_refused
        )

    def with_max_tokens(self, max_tokens: int) -> Self:
        """Returns the call with the output that is held for it."""
        return replace(self, max_tokens=max_tokens)

    def next_try(self) -> Self:
        """Returns the same call under the next id, after no money was held for this one."""
        action = self.action
        return replace(
            self,
            action=CallModel(action.turn, action.attempt + 1, action.refusals + 1),
            summary_number=self.summary_number + 1,
        )


def call_id(driven: DrivenRun, action: CallModel) -> str:
    """Returns the id of a try of a turn. It is no tool call's id: both are ids of ledger entries."""
    return f"{driven.log.run.run_id}_{action.turn}_m{action.attempt}"


def failed_call(
    model_call_id: str,
    error: AgentExecutorError,
    *,
    will_retry: bool,
    usage: ModelUsage | None = None,
    is_refused: bool = False,
) -> ModelCallFailed:
    """Returns the event of a model call's failure."""
    return ModelCallFailed(
        model_call_id=model_call_id,
        error=error.message,
        code=error.reason,
        will_retry=will_retry,
        usage=usage,
        is_refused=is_refused,
    )


def loop_seconds() -> float:
    """Returns the event loop's time, which no change of the clock moves."""
    return asyncio.get_running_loop().time()
