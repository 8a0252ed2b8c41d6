"""MonitorService over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from agent_executor.api.executor.v1 import monitor_service_pb2, monitor_service_pb2_grpc
from agent_executor.executor.monitor.convert import ActivityConverter, filter_of, since_ms_of
from agent_executor.executor.monitor.monitor import Monitor
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context


class MonitorServicer(monitor_service_pb2_grpc.MonitorServiceServicer):
    """See ``protos/agent_executor/api/executor/v1/monitor_service.proto``."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._converter = ActivityConverter()

    async def StreamActivity(  # noqa: N802 -- the contract's name
        self, request: monitor_service_pb2.StreamActivityRequest, context: Context
    ) -> AsyncIterator[monitor_service_pb2.Activity]:
        """Tells what happens in the organization's runs."""
        del context
        told = self._monitor.watch(
            current_security_context.get(), filter_of(request), since_ms_of(request)
        )
        async with aclosing(told) as activities:
            async for activity in activities:
                yield self._converter.to_proto(activity, without_content=request.without_content)
