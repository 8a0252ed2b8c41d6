"""Builds what tells of an organization's runs."""

from __future__ import annotations

from collections.abc import Callable

from agent_executor.api.executor.v1 import monitor_service_pb2_grpc
from agent_executor.executor.monitor.monitor import Monitor
from agent_executor.executor.monitor.servicer import MonitorServicer
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.executor.storage import ExecutorStorage
from agent_executor.executor.streams.feed import RunFeed
from agent_executor.serving.server import ServiceRuntime


def serve_monitor(
    runtime: ServiceRuntime[ExecutorSettings],
    storage: ExecutorStorage,
    feed: RunFeed,
    now_ms: Callable[[], int],
) -> None:
    """Serves MonitorService, which ends its streams when the executor stops."""
    settings = runtime.settings
    monitor = Monitor(
        journal=storage.journal,
        news=storage.run_news,
        feed=feed,
        keys=storage.api_keys,
        now_ms=now_ms,
        max_watchers_per_organization=settings.max_watchers_per_organization,
    )
    monitor.clock_skew_seconds = settings.auth_clock_skew_seconds
    runtime.drain_callbacks.append(monitor.close)
    monitor_service_pb2_grpc.add_MonitorServiceServicer_to_server(
        MonitorServicer(monitor), runtime.server
    )
