"""Builds the tool-runner from its parts; the only place here that chooses adapters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_executor.api.gateway.v1 import rate_limit_service_pb2, rate_limit_service_pb2_grpc
from agent_executor.api.tool_runner.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    tool_call_service_pb2,
    tool_call_service_pb2_grpc,
)
from agent_executor.errors import FailedPreconditionError
from agent_executor.serving.database_metrics import batch_counter
from agent_executor.serving.sampling import sample
from agent_executor.serving.server import ServiceRuntime, run_service
from agent_executor.serving.startup import StartupError
from agent_executor.storage.encryption import Encryption
from agent_executor.storage.migrations import MigrationError
from agent_executor.tool_runner.builtin import built_in_tools
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.calls.audit import AuditReports
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.calls.result_cache import ResultCache
from agent_executor.tool_runner.calls.servicer import AuditServicer, ToolCallServicer
from agent_executor.tool_runner.calls.telemetry import CallTelemetry
from agent_executor.tool_runner.calls.tool_calls import ToolCalls
from agent_executor.tool_runner.calls.tool_execution import ToolExecution
from agent_executor.tool_runner.isolation.pool import WorkerPool
from agent_executor.tool_runner.isolation.pool_metrics import PoolMetrics
from agent_executor.tool_runner.mcp.client import McpClient
from agent_executor.tool_runner.policy.call_policy import CallPolicy, SharedRateLimits
from agent_executor.tool_runner.policy.gateway_limits import GatewayLimits, ProcessRateLimits
from agent_executor.tool_runner.policy.gateway_limits_servicer import GatewayLimitsServicer
from agent_executor.tool_runner.policy.rate_limit import RateLimiter
from agent_executor.tool_runner.policy.sandbox import RateLimitScope, ToolSandbox
from agent_executor.tool_runner.policy.screening import ScreeningPolicy
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.resource_servicer import register_resource_services
from agent_executor.tool_runner.resources import Resources
from agent_executor.tool_runner.sampling import ToolRunnerGauges
from agent_executor.tool_runner.sandbox_health import SandboxHealth
from agent_executor.tool_runner.settings import ToolRunnerSettings
from agent_executor.tool_runner.storage import ToolRunnerStorage, open_storage
from agent_executor.tool_runner.tool_base import ToolBase

if TYPE_CHECKING:
    from agent_executor.tool_runner.shared_state import SharedState

SERVICE_NAME: Final = "tool-runner"

_MINUTE_SECONDS: Final = 60.0
# As long as the executor waits for its own journal, by default.
STORAGE_PATIENCE_SECONDS: Final = 60.0


def main() -> int:
    """Runs the service until it is told to stop, and returns its exit code."""
    return run_service(SERVICE_NAME, ToolRunnerSettings.load, bootstrap)


async def bootstrap(
    runtime: ServiceRuntime[ToolRunnerSettings], further_tools: Sequence[ToolBase] = ()
) -> Sequence[str]:
    """Builds the service, settles what a process before it left, and names what it serves.

    Args:
        runtime: What it is built on.
        further_tools: Tools of this process beside the built-in ones.
    """
    settings = runtime.settings
    storage = await _storage(runtime)
    pool = WorkerPool(
        settings.sandbox_limits(settings.max_result_bytes), metrics=PoolMetrics(runtime.metrics)
    )
    runtime.resources.push_async_callback(pool.close)
    await pool.start()
    http_request = settings.http_request_tool()
    registry = ToolRegistry(
        built_in_tools(http_request, email=settings.email_tool(), slack=settings.slack_tool())
    )
    for tool in further_tools:
        registry.register(tool)
    mcp_client = McpClient(settings.egress_policy)
    runtime.resources.push_async_callback(mcp_client.close)
    encryption = _encryption(settings.encryption_key_path)
    shared = await _shared_state(runtime, encryption)
    resources = Resources.in_database(
        storage.statements,
        registry,
        encryption,
        pool,
        mcp_client,
        lambda: time.time_ns() // 1_000_000,
    )
    if shared is not None:
        await shared.share_changes(resources)
    calls = _tool_calls(runtime, storage, resources, pool, http_request, shared)
    await calls.recover()
    runtime.resources.push_async_callback(calls.close)
    await _watch(
        SandboxHealth(
            pool, runtime.health, runtime.metrics, interval_seconds=settings.sandbox_check_seconds
        ),
        runtime,
    )
    sample(
        ToolRunnerGauges(pool, storage, runtime.metrics).look,
        period_seconds=settings.metrics_sample_seconds,
        resources=runtime.resources,
    )
    return (
        *_register_call_services(runtime, calls, storage),
        *register_resource_services(runtime.server, resources, pool),
        _register_gateway_limits(runtime, shared),
    )


def sandbox_of(settings: ToolRunnerSettings) -> ToolSandbox:
    """Returns the policy that the settings describe."""
    sandbox = ToolSandbox()
    limits: tuple[tuple[RateLimitScope, int], ...] = (
        ("user", settings.user_calls_per_minute),
        ("organization", settings.organization_calls_per_minute),
        ("tool", settings.tool_calls_per_minute),
    )
    for scope, max_calls in limits:
        if max_calls:
            sandbox.set_default_rate_limit(max_calls, _MINUTE_SECONDS, scope=scope)
    return sandbox


def _encryption(path: Path) -> Encryption:
    try:
        return Encryption.from_file(path)
    except (OSError, FailedPreconditionError) as error:
        reason = error.message if isinstance(error, FailedPreconditionError) else f"{error}."
        raise StartupError(f"There is no key for the credentials: {reason}") from error


async def _shared_state(
    runtime: ServiceRuntime[ToolRunnerSettings], encryption: Encryption
) -> SharedState | None:
    if not runtime.settings.redis_url.get_secret_value():
        return None
    # Imported here, for most have no Redis, whose client takes 13 MB.
    from agent_executor.tool_runner.shared_state import SharedState

    return await SharedState.of(runtime.settings, runtime.metrics, encryption, runtime.resources)


async def _storage(runtime: ServiceRuntime[ToolRunnerSettings]) -> ToolRunnerStorage:
    try:
        storage = await open_storage(runtime.settings, batch_counter(runtime.metrics))
    except MigrationError as error:
        raise StartupError(str(error)) from error
    runtime.resources.push_async_callback(storage.close)
    return storage


def _tool_calls(
    runtime: ServiceRuntime[ToolRunnerSettings],
    storage: ToolRunnerStorage,
    resources: Resources,
    pool: WorkerPool,
    http_request: HTTPRequestTool,
    shared: SharedState | None,
) -> ToolCalls:
    settings = runtime.settings
    telemetry = CallTelemetry(
        resources.tools.registry,
        runtime.telemetry.tracer,
        runtime.metrics,
        shows_content=settings.shows_content,
    )
    return ToolCalls(
        policy=CallPolicy(
            resources.tools,
            sandbox_of(settings),
            organizations=resources.policies,
            screening=ScreeningPolicy(settings.screening),
            arguments_bytes_max=settings.max_arguments_bytes,
            credentials=resources.credentials,
            shared_limits=None if shared is None else shared.limits,
        ),
        records=storage.calls,
        execution=ToolExecution(
            Dispatcher(
                sandbox=pool,
                http_request=http_request,
                result_bytes_max=settings.max_result_bytes,
                blocking_calls_max=settings.max_blocking_calls,
            ),
            ResultCache(shared=None if shared is None else shared.results),
            telemetry=telemetry,
            timeout_seconds=settings.call_timeout_seconds,
        ),
        telemetry=telemetry,
        concurrent_calls_max=settings.max_concurrent_calls,
        storage_patience_seconds=STORAGE_PATIENCE_SECONDS,
    )


def _register_call_services(
    runtime: ServiceRuntime[ToolRunnerSettings], calls: ToolCalls, storage: ToolRunnerStorage
) -> tuple[str, ...]:
    servicer = ToolCallServicer(calls, runtime.pipeline)
    runtime.drain_callbacks.append(servicer.streams.drain)
    tool_call_service_pb2_grpc.add_ToolCallServiceServicer_to_server(servicer, runtime.server)
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(
        AuditServicer(AuditReports(storage.calls)), runtime.server
    )
    return (
        tool_call_service_pb2.DESCRIPTOR.services_by_name["ToolCallService"].full_name,
        audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name,
    )


def _register_gateway_limits(
    runtime: ServiceRuntime[ToolRunnerSettings], shared: SharedState | None
) -> str:
    limits: SharedRateLimits = (
        ProcessRateLimits(RateLimiter(time.monotonic_ns))
        if shared is None
        else shared.gateway_limits
    )
    rate_limit_service_pb2_grpc.add_RateLimitServiceServicer_to_server(
        GatewayLimitsServicer(GatewayLimits(limits)), runtime.server
    )
    return rate_limit_service_pb2.DESCRIPTOR.services_by_name["RateLimitService"].full_name


async def _watch(health: SandboxHealth, runtime: ServiceRuntime[ToolRunnerSettings]) -> None:
    """Lets the sandbox be watched until the service stops."""
    watching = asyncio.create_task(health.watch())

    async def stop() -> None:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    runtime.resources.push_async_callback(stop)
