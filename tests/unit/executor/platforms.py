"""The executor's use cases over memory adapters."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry

from agent_executor.egress.policy import EgressPolicy
from agent_executor.executor.agents.agent_models import AgentModels
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.agents.store_memory import MemoryAgentStore
from agent_executor.executor.approvals.approvals import Approvals
from agent_executor.executor.approvals.parked_runs import ParkedRuns
from agent_executor.executor.approvals.store_memory import MemoryApprovalStore
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.driving.drivers import RunDrivers
from agent_executor.executor.driving.engine import Engine, EngineLimits
from agent_executor.executor.driving.run_loader import RunLoader
from agent_executor.executor.driving.run_telemetry import RunTelemetry
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.model_calls.model_call import ModelLimits
from agent_executor.executor.model_calls.model_turn import ModelTurn
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import ModelProvider
from agent_executor.executor.models.model_batches import ModelBatches
from agent_executor.executor.provider_batches.batched_calls import BatchedCalls
from agent_executor.executor.provider_batches.collector import BatchCollector, BatchTimes
from agent_executor.executor.provider_batches.late_costs import LateCosts
from agent_executor.executor.provider_batches.poller import BatchPoller
from agent_executor.executor.provider_batches.store import BatchStore
from agent_executor.executor.provider_batches.store_memory import MemoryBatchStore
from agent_executor.executor.runs.admission import Admission
from agent_executor.executor.runs.runs import Runs
from agent_executor.executor.webhooks.store_memory import MemoryWebhookStore
from agent_executor.executor.webhooks.webhooks import Webhooks
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.encryption import KEY_BYTES, Encryption
from tests.unit.executor.memory_ledger import MemoryLedger
from tests.unit.executor.peers import RecordingToolRunner

ADA = SecurityContext("acme", "ada", frozenset({"*"}))
# Calls that are begun in one step of the event loop's are one batch.
BATCH_TIMES = BatchTimes(window=0.01, poll=30.0, create_timeout=60.0)
EVE = SecurityContext("other", "eve", frozenset({"*"}))


class Platform:
    """The executor's use cases over memory adapters; two of them can share a journal."""

    def __init__(
        self,
        *,
        journal: Any = None,
        store: MemoryAgentStore | None = None,
        approvals: MemoryApprovalStore | None = None,
        worker: str = "w",
        incarnation: int = 1,
        max_active_runs: int = 8,
        max_waiting_runs: int = 8,
        max_waiting_per_organization: int = 1_000,
        limits: EngineLimits | None = None,
        model: ModelProvider | None = None,
        keeps_leases: bool = True,
        ledger: MemoryLedger | None = None,
        model_batches: ModelBatches | None = None,
        batches: BatchStore | None = None,
    ) -> None:
        """With ``model_batches`` its model is one whose calls can be batched."""
        self.now_ms = 1_000_000
        # Tests look into the one in memory, and those of databases bring their own.
        self.journal: MemoryJournal = journal or MemoryJournal()
        # A journal in a database comes without the conversations beside it, which its tests do not use.
        kept = getattr(self.journal, "conversations", None) or MemoryJournal().conversations
        self.conversations = Conversations(kept, self.journal)
        self.approvals = approvals or MemoryApprovalStore(self.journal)
        self.store = store or MemoryAgentStore()
        self.tools = RecordingToolRunner()
        self.ledger = ledger or MemoryLedger()
        telemetry = RunTelemetry(NoOpTracer(), Metrics(CollectorRegistry()))
        provider = "anthropic" if model_batches is not None else "mock"
        encryption = Encryption(bytes(KEY_BYTES))
        self.agents = Agents(self.store, encryption, lambda: self.now_ms, AgentModels(provider))
        self.webhooks = Webhooks(
            getattr(self.journal, "webhooks", None) or MemoryWebhookStore(),
            encryption,
            EgressPolicy(None),
        )
        self.batches = batches or MemoryBatchStore(self.journal)
        batches_of = {provider: lambda: _given(model_batches)}
        batched = BatchedCalls(
            collector=BatchCollector(self.batches, batches_of, lambda: self.now_ms, BATCH_TIMES),
            store=self.batches,
            ledger=self.ledger,
            telemetry=telemetry,
            max_tries=3,
        )
        engine = Engine(
            model_turn=ModelTurn(
                providers={provider: model or MockClaude()},
                provider_name=provider,
                batched=batched,
                limits=ModelLimits(retry_delay_seconds=0.0) if model_batches else None,
                tools=self.tools,
                ledger=self.ledger,
                telemetry=telemetry,
            ),
            tools=self.tools,
            ledger=self.ledger,
            approvals=self.approvals,
            batched=batched,
            telemetry=telemetry,
            now_ms=lambda: self.now_ms,
            limits=limits,
        )
        self.owner = f"{worker}/{incarnation}"
        self.drivers = RunDrivers(
            journal=self.journal,
            loader=RunLoader(self.journal, self.agents, self.conversations),
            parked=ParkedRuns(
                self.approvals,
                lambda: self.now_ms,
                keeps_leases=keeps_leases,
                batches=self.batches,
            ),
            engine=engine,
            owner=self.owner,
            now_ms=lambda: self.now_ms,
            max_active_runs=max_active_runs,
            admission=Admission(
                self.journal,
                max_waiting_runs=max_waiting_runs,
                max_per_organization=max_waiting_per_organization,
            ),
        )
        self.runs = Runs(
            journal=self.journal,
            agents=self.agents,
            conversations=self.conversations,
            tools=self.tools,
            drivers=self.drivers,
            now_ms=lambda: self.now_ms,
        )
        self.poller = BatchPoller(
            store=self.batches,
            batches_of=batches_of,
            late_costs=LateCosts(self.ledger, self.journal),
            wake=self.runs.take_over,
            now_ms=lambda: self.now_ms,
            times=BATCH_TIMES,
        )
        self.decisions = Approvals(
            store=self.approvals,
            journal=self.journal,
            tools=self.tools,
            wake=self.runs.wake,
            now_ms=lambda: self.now_ms,
        )

    async def agent(self, **fields: object) -> str:
        agent = await self.agents.create({"name": "Agent"} | fields, "", ADA)
        return agent.agent_id

    async def has_been_refused(self) -> bool:
        """Tells whether the ledger has refused money."""
        return self.ledger.refused > 0


async def _given(model_batches: ModelBatches | None) -> ModelBatches:
    assert model_batches is not None
    return model_batches


CALCULATOR = {"calculator": True}


async def until_idle(runs: Runs, *, timeout_seconds: float = 5.0) -> None:
    """Returns once nothing is driven."""
    async with asyncio.timeout(timeout_seconds):
        while runs.active_count:  # noqa: ASYNC110 -- the end of tasks makes no event
            await asyncio.sleep(0)
