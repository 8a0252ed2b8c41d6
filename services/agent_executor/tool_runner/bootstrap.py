"""Builds the tool-runner from its parts; the only place here that chooses adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_executor.api.tool_runner.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    tool_call_service_pb2,
    tool_call_service_pb2_grpc,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.serving.metrics import DATABASE_COMMITS, DATABASE_OPERATIONS, Metrics
from agent_executor.serving.server import ServiceRuntime, run_service
from agent_executor.serving.startup import StartupError
from agent_executor.storage.group_commit import BatchStatistics
from agent_executor.storage.migrations import MigrationError
from agent_executor.tool_runner.audit import AuditReports
from agent_executor.tool_runner.builtin import built_in_tools
from agent_executor.tool_runner.call_telemetry import CallTelemetry
from agent_executor.tool_runner.calls import ToolCalls
from agent_executor.tool_runner.catalog import ToolCatalog
from agent_executor.tool_runner.dispatch import Dispatcher
from agent_executor.tool_runner.policy import CallPolicy
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.sandbox import RateLimitScope, ToolSandbox
from agent_executor.tool_runner.servicer import AuditServicer, ToolCallServicer, ToolServicer
from agent_executor.tool_runner.settings import ToolRunnerSettings
from agent_executor.tool_runner.storage import open_storage

SERVICE_NAME: Final = "tool-runner"
SERVED: Final = (
    tool_call_service_pb2.DESCRIPTOR.services_by_name["ToolCallService"].full_name,
    tool_service_pb2.DESCRIPTOR.services_by_name["ToolService"].full_name,
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name,
)

_MINUTE_SECONDS: Final = 60.0


def main() -> int:
    """Runs the service until it is told to stop, and returns its exit code."""
    return run_service(SERVICE_NAME, ToolRunnerSettings.load, bootstrap)


async def bootstrap(
    runtime: ServiceRuntime[ToolRunnerSettings], registry: ToolRegistry | None = None
) -> Sequence[str]:
    """Builds the service, settles what a process before it left, and names what it serves.

    Args:
        runtime: What it is built on.
        registry: The tools. Default: the built-in ones.
    """
    settings = runtime.settings
    try:
        storage = await open_storage(settings, lambda batch: _count_batch(runtime.metrics, batch))
    except MigrationError as error:
        raise StartupError(str(error)) from error
    runtime.resources.push_async_callback(storage.close)
    registry = registry or ToolRegistry(built_in_tools())
    calls = ToolCalls(
        policy=CallPolicy(
            registry, sandbox_of(settings), arguments_bytes_max=settings.max_arguments_bytes
        ),
        records=storage.calls,
        dispatcher=Dispatcher(
            result_bytes_max=settings.max_result_bytes,
            blocking_calls_max=settings.max_blocking_calls,
        ),
        telemetry=CallTelemetry(registry, runtime.telemetry.tracer, runtime.metrics),
        timeout_seconds=settings.call_timeout_seconds,
        concurrent_calls_max=settings.max_concurrent_calls,
    )
    await calls.recover()
    runtime.resources.push_async_callback(calls.close)
    call_servicer = ToolCallServicer(calls, runtime.pipeline)
    runtime.drain_callbacks.append(call_servicer.streams.drain)
    server = runtime.server
    tool_call_service_pb2_grpc.add_ToolCallServiceServicer_to_server(call_servicer, server)
    tool_service_pb2_grpc.add_ToolServiceServicer_to_server(
        ToolServicer(ToolCatalog(registry)), server
    )
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(
        AuditServicer(AuditReports(storage.calls)), server
    )
    return SERVED


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


def _count_batch(metrics: Metrics, batch: BatchStatistics) -> None:
    metrics.increment(DATABASE_COMMITS)
    metrics.increment(DATABASE_OPERATIONS, by=batch.last_batch_operations)
