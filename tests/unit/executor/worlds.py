"""An engine with one run, whose model and peers do what a test tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry

from agent_executor.errors import (
    AgentExecutorError,
)
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.approvals.store_memory import MemoryApprovalStore
from agent_executor.executor.driving.engine import Engine, EngineLimits
from agent_executor.executor.driving.run_telemetry import RunTelemetry
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.log.run import RunState, fold
from agent_executor.executor.log.run_event import RunResumed, RunStarted, payload_type
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.model_calls.model_call import ModelLimits
from agent_executor.executor.model_calls.model_turn import ModelTurn
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelProvider,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ResponseBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from agent_executor.executor.streams.feed import RunFeed
from agent_executor.serving.metrics import Metrics
from tests.unit.executor.memory_ledger import MemoryLedger
from tests.unit.executor.peers import RecordingToolRunner

USAGE = ModelUsage(10, 5)


class ScriptedModel:
    """A provider that answers with what it was given, in order."""

    name = "scripted"

    def __init__(self, answers: Sequence[Sequence[ResponseBlock] | AgentExecutorError]) -> None:
        self.answers = list(answers)
        self.requests: list[ModelRequest] = []

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        self.requests.append(request)
        answered = self.answers.pop(0)
        if isinstance(answered, AgentExecutorError):
            raise answered
        asks = any(isinstance(block, ToolUseBlock) for block in answered)
        return ModelResponse(
            "msg", request.model, tuple(answered), "tool_use" if asks else "end_turn", USAGE
        )


class StuckModel:
    """A provider that never answers."""

    name = "stuck"

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        del request
        await asyncio.Event().wait()
        raise AssertionError


class World:
    """An engine, its peers and one run."""

    def __init__(
        self,
        model: ScriptedModel | StuckModel | ModelProvider,
        *,
        input_text: str = "hello",
        model_name: str = "model",
        limits: EngineLimits | None = None,
        model_limits: ModelLimits | None = None,
        max_model_turns: int = 5,
        started: RunStarted | None = None,
        **agent: Any,
    ) -> None:
        """Makes a run of an agent with further fields of ``AgentVersion``, begun by an event."""
        self.model = model
        self.tools = RecordingToolRunner()
        self.ledger = MemoryLedger()
        self.journal = MemoryJournal()
        self.approvals = MemoryApprovalStore(self.journal)
        self.metrics = Metrics(CollectorRegistry())
        telemetry = RunTelemetry(NoOpTracer(), self.metrics)
        self.now_ms = 1_000
        self.delay_seconds: float | None = None
        self.agent = AgentVersion(
            "agent",
            "acme",
            1,
            "Agent",
            0,
            0,
            model=model_name,
            tools={"calculator": True},
            max_model_turns=max_model_turns,
            **agent,
        )
        self.engine = Engine(
            model_turn=ModelTurn(
                providers={"it": model},
                provider_name="it",
                tools=self.tools,
                ledger=self.ledger,
                telemetry=telemetry,
                limits=model_limits
                or ModelLimits(retry_delay_seconds=0.0, ledger_patience_seconds=0.1),
            ),
            tools=self.tools,
            ledger=self.ledger,
            approvals=self.approvals,
            telemetry=telemetry,
            now_ms=lambda: self.now_ms,
            limits=limits,
        )
        started = started or RunStarted("agent", 1, model_name, input_text)
        run = RunRecord(
            "run",
            "acme",
            "ada",
            ("*",),
            "agent",
            1,
            model_name,
            input_text,
            False,
            "",
            1_000,
            "me/1",
            parent_run_id=started.parent_run_id,
            amount_id="run" if started.max_cost_nano_usd else started.parent_amount_id,
        )
        self.log = self.log_of(run, RunState())
        self.log.add(started)

    def log_of(self, run: RunRecord, state: RunState) -> RunLog:
        return RunLog(self.journal, run, state, lambda: self.now_ms, RunFeed(self.journal))

    async def drive(self) -> RunState:
        """Drives the run until it ends or is paused, and returns what is durable of it."""
        self.delay_seconds = await self.engine.drive(self.log, self.agent)
        return await self.stored()

    async def take_over(self) -> None:
        """Lets another executor claim the run; it is driven next by that one."""
        (run,) = await self.journal.claim(f"heir/{self.log.run.attempt + 1}", 0, 1)
        self.log = self.log_of(run, await self.stored())
        self.log.add(RunResumed(attempt=run.attempt))

    async def stored(self) -> RunState:
        return fold(await self.journal.events("run"))

    async def event_types(self) -> list[str]:
        return [payload_type(event.payload) for event in await self.journal.events("run")]

    def tool_result_seen_by_the_model(self) -> ToolResultBlock:
        assert isinstance(self.model, ScriptedModel)
        block = self.model.requests[1].messages[-1].content[0]
        assert isinstance(block, ToolResultBlock)
        return block


def use(number: int = 1) -> ToolUseBlock:
    return ToolUseBlock(f"toolu_{number}", "calculator", {"a": number})
