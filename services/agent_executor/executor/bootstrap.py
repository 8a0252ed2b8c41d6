"""Builds the executor from its parts; the only place here that chooses adapters."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from agent_executor.api.executor.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    api_key_service_pb2,
    conversation_service_pb2,
    conversation_service_pb2_grpc,
    monitor_service_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
    token_service_pb2,
)
from agent_executor.api.gateway.v1 import external_authorization_service_pb2
from agent_executor.egress.client import EgressClient
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.agents.servicer import AgentServicer
from agent_executor.executor.api_keys.bootstrap import serve_api_keys
from agent_executor.executor.approvals.approvals import Approvals
from agent_executor.executor.approvals.parked_runs import ParkedRuns
from agent_executor.executor.changes import hear_changes
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.conversations.servicer import ConversationServicer
from agent_executor.executor.driving.drivers import RunDrivers
from agent_executor.executor.driving.engine import Engine, EngineLimits
from agent_executor.executor.driving.leases import LeaseKeeper
from agent_executor.executor.driving.run_loader import RunLoader
from agent_executor.executor.driving.run_metrics import RunMetrics
from agent_executor.executor.driving.run_telemetry import RunTelemetry
from agent_executor.executor.model_calls.model_call import ModelLimits
from agent_executor.executor.model_calls.model_turn import ModelTurn
from agent_executor.executor.models.model import ModelProvider
from agent_executor.executor.models.model_providers import batches_of, model_providers
from agent_executor.executor.monitor.bootstrap import serve_monitor
from agent_executor.executor.peers.connections_grpc import connect_ledger, connect_tool_runner
from agent_executor.executor.peers.ledger import Ledger
from agent_executor.executor.peers.tools import ToolRunner
from agent_executor.executor.provider_batches.batched_calls import BatchedCalls
from agent_executor.executor.provider_batches.collector import BatchCollector
from agent_executor.executor.provider_batches.late_costs import LateCosts
from agent_executor.executor.provider_batches.poller import BatchPoller
from agent_executor.executor.runs.admission import Admission
from agent_executor.executor.runs.run_servicer import RunServicer
from agent_executor.executor.runs.runs import Runs
from agent_executor.executor.sampling import ExecutorGauges
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.executor.storage import ExecutorStorage, open_storage
from agent_executor.executor.webhooks.deliveries import WebhookDeliveries
from agent_executor.executor.webhooks.sender import WebhookSender
from agent_executor.executor.webhooks.webhooks import Webhooks
from agent_executor.serving.database_metrics import batch_counter
from agent_executor.serving.metric_names import RUNS_ACTIVE_MAX
from agent_executor.serving.sampling import sample
from agent_executor.serving.server import ServiceRuntime, run_service
from agent_executor.serving.startup import StartupError
from agent_executor.storage.encryption import Encryption
from agent_executor.storage.migrations import MigrationError

SERVICE_NAME: Final = "executor"
LAST_WORDS_SECONDS: Final = 1.0

SERVED: Final = (
    agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name,
    api_key_service_pb2.DESCRIPTOR.services_by_name["ApiKeyService"].full_name,
    token_service_pb2.DESCRIPTOR.services_by_name["TokenService"].full_name,
    external_authorization_service_pb2.DESCRIPTOR.services_by_name["Authorization"].full_name,
    conversation_service_pb2.DESCRIPTOR.services_by_name["ConversationService"].full_name,
    monitor_service_pb2.DESCRIPTOR.services_by_name["MonitorService"].full_name,
    run_service_pb2.DESCRIPTOR.services_by_name["RunService"].full_name,
)


def main() -> int:
    """Runs the service until it is told to stop, and returns its exit code."""
    return run_service(SERVICE_NAME, ExecutorSettings.load, bootstrap)


async def bootstrap(runtime: ServiceRuntime[ExecutorSettings]) -> Sequence[str]:
    """Builds the service, takes over what a process before it left, and names what it serves."""
    settings = runtime.settings
    try:
        storage = await open_storage(settings, batch_counter(runtime.metrics))
    except MigrationError as error:
        raise StartupError(str(error)) from error
    runtime.resources.push_async_callback(storage.close)
    tools = await connect_tool_runner(runtime)
    ledger = await connect_ledger(runtime)
    encryption = Encryption.from_file(settings.encryption_key_file)
    agents = Agents(storage.agents, encryption, now_ms, settings.agent_models())
    conversations = Conversations(storage.conversations, storage.journal)
    providers = model_providers(
        encryption,
        runtime.settings.networks(),
        runtime.resources,
        eager=runtime.settings.model_provider,
    )
    engine = _engine(runtime, tools, ledger, storage, providers)
    deliveries = _deliveries(runtime, storage, encryption)
    runs = await _runs(runtime, storage, agents, conversations, tools, engine, deliveries)
    _look_at_batches(runtime, storage, ledger, providers, runs)
    sample(
        ExecutorGauges(storage, runs, engine, runtime.metrics, now_ms).look,
        period_seconds=settings.metrics_sample_seconds,
        resources=runtime.resources,
    )
    approvals = Approvals(
        store=storage.approvals,
        journal=storage.journal,
        tools=tools,
        wake=runs.wake,
        now_ms=now_ms,
    )
    webhooks = Webhooks(
        storage.webhooks, encryption, settings.webhook_policy(settings.egress_denied_cidrs)
    )
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(
        AgentServicer(agents, tools), runtime.server
    )
    conversation_service_pb2_grpc.add_ConversationServiceServicer_to_server(
        ConversationServicer(conversations), runtime.server
    )
    run_service_pb2_grpc.add_RunServiceServicer_to_server(
        RunServicer(runs, approvals, webhooks), runtime.server
    )
    exchange = serve_api_keys(runtime, storage.api_keys, now_ms)
    await hear_changes(runtime, tools, exchange)
    serve_monitor(runtime, storage, runs.feed, now_ms)
    return SERVED


def now_ms() -> int:
    """Returns the time in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


async def _runs(
    runtime: ServiceRuntime[ExecutorSettings],
    storage: ExecutorStorage,
    agents: Agents,
    conversations: Conversations,
    tools: ToolRunner,
    engine: Engine,
    deliveries: WebhookDeliveries,
) -> Runs:
    settings, journal = runtime.settings, storage.journal
    loader = RunLoader(journal, agents, conversations)
    drivers = _drivers(settings, storage, loader, engine)
    drivers.metrics = RunMetrics(runtime.metrics)
    runtime.metrics.set_gauge(RUNS_ACTIVE_MAX, settings.max_active_runs)
    drivers.on_webhook_due = deliveries.wake
    runs = Runs(
        journal=journal,
        agents=agents,
        conversations=conversations,
        tools=tools,
        drivers=drivers,
        now_ms=now_ms,
    )
    keeper = LeaseKeeper(
        journal=journal,
        agents=agents,
        runs=runs,
        owner=drivers.owner,
        now_ms=now_ms,
        lease_seconds=settings.lease_seconds,
        renewal_seconds=settings.lease_renewal_seconds,
        key_ttl_seconds=settings.idempotency_key_ttl_seconds,
    )
    keeper.on_renewal = drivers.metrics.lease_renewed
    await keeper.start()
    runtime.resources.push_async_callback(keeper.stop)
    # Streams say that they end before they are cut.
    stream_seconds = max(0.0, settings.shutdown_grace_seconds - LAST_WORDS_SECONDS)
    runtime.drain_callbacks.append(lambda: runs.feed.close(stream_seconds))
    runtime.drain_callbacks.append(runs.begin_drain)
    # What is still under way after that is left to an heir.
    runtime.resources.push_async_callback(runs.drain, settings.shutdown_grace_seconds)
    return runs


def _drivers(
    settings: ExecutorSettings, storage: ExecutorStorage, loader: RunLoader, engine: Engine
) -> RunDrivers:
    worker = settings.worker or f"{settings.host}:{settings.grpc_port}"
    drivers = RunDrivers(
        journal=storage.journal,
        loader=loader,
        parked=ParkedRuns(storage.approvals, now_ms, batches=storage.batches),
        engine=engine,
        owner=f"{worker}/{uuid.uuid4()}",
        now_ms=now_ms,
        max_active_runs=settings.max_active_runs,
        admission=Admission(
            storage.journal,
            max_waiting_runs=settings.max_waiting_runs,
            max_per_organization=settings.max_waiting_runs_per_organization,
        ),
    )
    drivers.storage_patience_seconds = settings.storage_patience_seconds
    return drivers


def _deliveries(
    runtime: ServiceRuntime[ExecutorSettings], storage: ExecutorStorage, encryption: Encryption
) -> WebhookDeliveries:
    """Returns what tells ends of runs, which begins with those that are due."""
    settings = runtime.settings
    deliveries = WebhookDeliveries(
        store=storage.webhooks,
        sender=WebhookSender(
            journal=storage.journal,
            encryption=encryption,
            client=EgressClient(),
            policy=settings.webhook_policy(settings.egress_denied_cidrs),
            now_ms=now_ms,
            timeout_seconds=settings.webhook_timeout_seconds,
        ),
        metrics=runtime.metrics,
        now_ms=now_ms,
        retries=settings.webhook_retries(),
        limits=settings.webhook_limits(),
    )
    deliveries.start()
    # It stops after the runs, whose ends it is to tell.
    runtime.resources.push_async_callback(deliveries.stop)
    return deliveries


def _run_telemetry(runtime: ServiceRuntime[ExecutorSettings]) -> RunTelemetry:
    settings = runtime.settings
    return RunTelemetry(
        runtime.telemetry.tracer,
        runtime.metrics,
        settings.model_provider,
        shows_content=settings.shows_content,
    )


def _engine(
    runtime: ServiceRuntime[ExecutorSettings],
    tools: ToolRunner,
    ledger: Ledger,
    storage: ExecutorStorage,
    providers: Mapping[str, ModelProvider],
) -> Engine:
    settings = runtime.settings
    telemetry = _run_telemetry(runtime)
    times = settings.batch_times()
    batched = BatchedCalls(
        collector=BatchCollector(storage.batches, batches_of(providers), now_ms, times),
        store=storage.batches,
        ledger=ledger,
        telemetry=telemetry,
        max_tries=settings.max_model_tries,
    )
    model_turn = ModelTurn(
        providers=providers,
        provider_name=settings.model_provider,
        cache=settings.response_cache(),
        tools=tools,
        ledger=ledger,
        telemetry=telemetry,
        batched=batched,
        limits=ModelLimits(
            timeout_seconds=settings.model_timeout_seconds,
            max_tries=settings.max_model_tries,
            late_answer_seconds=settings.late_answer_seconds,
            ledger_patience_seconds=settings.ledger_patience_seconds,
            proceeds_without_ledger=settings.on_ledger_unavailable == "proceed",
        ),
    )
    return Engine(
        model_turn=model_turn,
        tools=tools,
        ledger=ledger,
        approvals=storage.approvals,
        batched=batched,
        telemetry=telemetry,
        now_ms=now_ms,
        limits=EngineLimits(
            run_timeout_seconds=settings.run_timeout_seconds,
            tool_timeout_seconds=settings.tool_timeout_seconds,
            max_parallel_tool_calls=settings.max_parallel_tool_calls,
            pause_retry_seconds=settings.pause_retry_seconds,
            max_pause_seconds=settings.max_pause_seconds,
        ),
    )


def _look_at_batches(
    runtime: ServiceRuntime[ExecutorSettings],
    storage: ExecutorStorage,
    ledger: Ledger,
    providers: Mapping[str, ModelProvider],
    runs: Runs,
) -> None:
    """Begins to look for what runs in batches wait for, those of other executors too."""
    poller = BatchPoller(
        store=storage.batches,
        batches_of=batches_of(providers),
        late_costs=LateCosts(ledger, storage.journal),
        wake=runs.take_over,
        now_ms=now_ms,
        times=runtime.settings.batch_times(),
    )
    poller.start()
    runtime.resources.push_async_callback(poller.stop)
