"""Updates of one run, as the executor sends them, and an executor that sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agent_executor.api.executor.v1 import run_event_pb2, run_pb2, run_service_pb2
from agent_executor.errors import AgentExecutorError, UnavailableError
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.run_following_grpc import RunUpdate

RUN_ID = "run-1"


def update(sequence: int = 1, **change: Any) -> RunUpdate:
    [kind] = change
    return RunUpdate(run_id=RUN_ID, sequence=sequence, type=kind, **change)


def started() -> RunUpdate:
    return update(run_started=run_event_pb2.RunStarted(agent_version=3))


def text(content: str, call: str = "call-1", *, is_thinking: bool = False) -> RunUpdate:
    delta = run_service_pb2.TextDelta(model_call_id=call, text=content, is_thinking=is_thinking)
    return update(text_delta=delta)


def asks(tool_call_id: str = "tool-1") -> RunUpdate:
    asked = run_event_pb2.ApprovalRequested(
        tool_call_id=tool_call_id, tool_name="send_email", reason="It is outside."
    )
    return update(5, approval_requested=asked)


def decided(tool_call_id: str = "tool-1") -> RunUpdate:
    decision = run_event_pb2.ApprovalResolved(tool_call_id=tool_call_id, decision="approved")
    return update(6, approval_resolved=decision)


def paused() -> RunUpdate:
    return update(7, run_paused=run_event_pb2.RunPaused(error="There is no money."))


def failed_execution(state: str, code: str) -> RunUpdate:
    return update(
        9,
        done=run_service_pb2.ExecuteAgentResponse(
            task_id=RUN_ID, state=state, error="It went wrong.", code=code
        ),
    )


def done(response: str = "42") -> RunUpdate:
    return update(
        9,
        done=run_service_pb2.ExecuteAgentResponse(
            task_id=RUN_ID,
            state="completed",
            output=run_pb2.RunOutput(response=response),
            tokens_used=7,
            cost_usd=0.5,
        ),
    )


@dataclass
class FakeExecutor:
    """Sends the updates of one run, and keeps what it was asked for.

    Attributes:
        updates: What a stream sends; an error ends it, an event is waited for.
        runs: What is known of the run, at each question for it; the last one stays.
    """

    updates: Sequence[RunUpdate | AgentExecutorError | asyncio.Event]
    runs: list[run_pb2.Run | AgentExecutorError] = field(default_factory=list)
    idempotency_key: str = ""
    execution_timeout_seconds: float = 30
    request_timeout_seconds: float = 30
    keys: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def under(self, idempotency_key: str) -> Executor:
        self.idempotency_key = idempotency_key
        return self.as_executor()

    def as_executor(self) -> Executor:
        return cast(Executor, self)

    async def stream_agent(
        self, agent_id: str, text: str, conversation_id: str
    ) -> AsyncGenerator[RunUpdate, None]:
        self.keys.append(self.idempotency_key)
        for item in self.updates:
            if isinstance(item, AgentExecutorError):
                raise item
            if isinstance(item, asyncio.Event):
                await item.wait()
                continue
            yield item
            if item.WhichOneof("update") == "done":
                return
        raise UnavailableError("The stream was cut.")

    async def get_run(self, run_id: str) -> run_pb2.Run:
        assert run_id == RUN_ID
        run = self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]
        if isinstance(run, AgentExecutorError):
            raise run
        return run

    async def cancel_run(self, run_id: str, reason: str) -> run_service_pb2.CancelReceipt:
        self.cancelled.append(run_id)
        return run_service_pb2.CancelReceipt(run_id=run_id, state="cancelled", was_stopped=True)
