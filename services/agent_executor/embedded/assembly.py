"""Wires the three services in one process."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry

from agent_executor.embedded.peers import InProcessLedger, InProcessToolRunner, now_ms
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.agents.store import AgentStore
from agent_executor.executor.agents.store_memory import MemoryAgentStore
from agent_executor.executor.agents.store_sqlite import SqliteAgentStore
from agent_executor.executor.approvals.approvals import Approvals
from agent_executor.executor.approvals.parked_runs import ParkedRuns
from agent_executor.executor.approvals.store import ApprovalStore
from agent_executor.executor.approvals.store_memory import MemoryApprovalStore
from agent_executor.executor.approvals.store_sql import SqlApprovalStore
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.conversations.store import ConversationStore
from agent_executor.executor.conversations.store_sql import SqlConversationStore
from agent_executor.executor.driving.drivers import RunDrivers
from agent_executor.executor.driving.engine import Engine
from agent_executor.executor.driving.run_loader import RunLoader
from agent_executor.executor.driving.run_telemetry import RunTelemetry
from agent_executor.executor.journal.journal import Journal
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.model_calls.model_turn import ModelTurn
from agent_executor.executor.model_settings import ModelSettings
from agent_executor.executor.models.model_providers import model_providers
from agent_executor.executor.runs.runs import Runs
from agent_executor.executor.schema import MIGRATIONS as EXECUTOR_MIGRATIONS
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore
from agent_executor.ledger.accounting.store_sqlite import SqliteAccountingStore
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.prices.store import OrganizationCardStore
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from agent_executor.ledger.prices.store_sql import SqlOrganizationCardStore
from agent_executor.ledger.schema import DATABASE_FILE as LEDGER_FILE
from agent_executor.ledger.schema import MIGRATIONS as LEDGER_MIGRATIONS
from agent_executor.ledger.usage.usage import Usage
from agent_executor.serving.metrics import Metrics
from agent_executor.storage.encryption import KEY_BYTES, Encryption
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.calls.record import CallRecords
from agent_executor.tool_runner.calls.result_cache import ResultCache
from agent_executor.tool_runner.calls.store_memory import MemoryCallStore
from agent_executor.tool_runner.calls.store_sqlite import SqliteCallStore
from agent_executor.tool_runner.calls.telemetry import CallTelemetry
from agent_executor.tool_runner.calls.tool_calls import ToolCalls
from agent_executor.tool_runner.calls.tool_execution import ToolExecution
from agent_executor.tool_runner.custom.catalog import ToolCatalog
from agent_executor.tool_runner.custom.store_memory import MemoryCustomToolStore
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.policy.call_policy import CallPolicy
from agent_executor.tool_runner.policy.sandbox import ToolSandbox
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.schema import MIGRATIONS as TOOL_MIGRATIONS


class Stores:
    """Where everything is kept: in memory, or in the folder that is given."""

    def __init__(self, data_dir: Path | None, resources: AsyncExitStack) -> None:
        if data_dir is None:
            journal = MemoryJournal()
            self.journal: Journal = journal
            self.conversations: ConversationStore = journal.conversations
            self.approvals: ApprovalStore = MemoryApprovalStore(journal)
            self.agents: AgentStore = MemoryAgentStore()
            self.calls: CallRecords = MemoryCallStore()
            self.ledger: AccountingStore = MemoryAccountingStore(MemoryLedger())
            self.prices: OrganizationCardStore = MemoryOrganizationCardStore()
            self.encryption = Encryption(bytes(KEY_BYTES))
            return
        executor = _database(data_dir / "executor" / "journal.sqlite3", EXECUTOR_MIGRATIONS)
        tools = _database(data_dir / "tool_runner" / "tool_runner.sqlite3", TOOL_MIGRATIONS)
        ledger = _database(data_dir / LEDGER_FILE, LEDGER_MIGRATIONS)
        for database in (executor, tools, ledger):
            resources.push_async_callback(database.close)
        self.journal = SqliteJournal(executor)
        self.conversations = SqlConversationStore(SqliteStatementRunner(executor))
        self.agents = SqliteAgentStore(executor)
        self.approvals = SqlApprovalStore(SqliteStatementRunner(executor))
        self.calls = SqliteCallStore(tools)
        self.ledger = SqliteAccountingStore(ledger)
        self.prices = SqlOrganizationCardStore(SqliteStatementRunner(ledger))
        self.encryption = Encryption.from_file(data_dir / "executor" / "encryption.key")


class Assembly:
    """The three services, wired. It is made and used on one event loop.

    Attributes:
        agents: The agents.
        runs: Their runs.
        approvals: The tool calls of these that wait for a person.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        http_request: HTTPRequestTool,
        sandbox: ToolSandbox,
        rate_limits: Mapping[str, int],
        data_dir: Path | None,
    ) -> None:
        self._resources = AsyncExitStack()
        stores = Stores(data_dir, self._resources)
        tools = Tools(registry, MemoryCustomToolStore())
        self._calls = ToolCalls(
            policy=CallPolicy(tools, sandbox),
            records=stores.calls,
            execution=ToolExecution(Dispatcher(http_request=http_request), ResultCache()),
            telemetry=CallTelemetry(registry),
        )
        tool_runner = InProcessToolRunner(self._calls, ToolCatalog(tools), rate_limits)
        metrics = Metrics(CollectorRegistry())
        rate_cards = RateCards(stores.ledger, OrganizationPrices(stores.prices), metrics)
        ledger = InProcessLedger(Usage(stores.ledger, rate_cards, time.time, metrics))
        telemetry = RunTelemetry(NoOpTracer(), metrics)
        models = ModelSettings.of_environment()
        model_turn = ModelTurn(
            providers=model_providers(stores.encryption, models.networks(), self._resources),
            provider_name=models.model_provider,
            cache=models.response_cache(),
            tools=tool_runner,
            ledger=ledger,
            telemetry=telemetry,
        )
        engine = Engine(
            model_turn=model_turn,
            tools=tool_runner,
            ledger=ledger,
            approvals=stores.approvals,
            telemetry=telemetry,
            now_ms=now_ms,
        )
        self.agents = Agents(stores.agents, stores.encryption, now_ms, models.agent_models())
        self._drive(stores, engine, tool_runner)

    def _drive(self, stores: Stores, engine: Engine, tool_runner: InProcessToolRunner) -> None:
        conversations = Conversations(stores.conversations, stores.journal)
        drivers = RunDrivers(
            journal=stores.journal,
            loader=RunLoader(stores.journal, self.agents, conversations),
            parked=ParkedRuns(stores.approvals, now_ms, keeps_leases=False),
            engine=engine,
            owner=f"library/{uuid.uuid4()}",
            now_ms=now_ms,
        )
        self.runs = Runs(
            journal=stores.journal,
            agents=self.agents,
            conversations=conversations,
            tools=tool_runner,
            drivers=drivers,
            now_ms=now_ms,
        )
        self.approvals = Approvals(
            store=stores.approvals,
            journal=stores.journal,
            tools=tool_runner,
            wake=self.runs.wake,
            now_ms=now_ms,
        )

    async def close(self) -> None:
        """Stops what runs and releases what is open."""
        await self.runs.drain(0.0)
        await self._calls.close()
        await self._resources.aclose()


def _database(path: Path, migrations: Path) -> SqliteDatabase:
    upgrade(path, migrations)
    return SqliteDatabase(path)
