"""Connects the executor to the replicas of the services that it calls."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from agent_executor.api.ledger.v1 import usage_service_pb2, usage_service_pb2_grpc
from agent_executor.api.tool_runner.v1 import tool_call_service_pb2, tool_call_service_pb2_grpc
from agent_executor.executor.peers.ledger_grpc import GrpcLedger
from agent_executor.executor.peers.stream_metrics import StreamMetrics
from agent_executor.executor.peers.tools_grpc import GrpcToolRunner
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS
from agent_executor.serving.replicas import Address, Replica, Replicas
from agent_executor.serving.server import ServiceRuntime
from agent_executor.serving.tls import peer_channel


async def connect_tool_runner(runtime: ServiceRuntime[ExecutorSettings]) -> GrpcToolRunner:
    """Begins to connect to the tool-runners, until the executor stops.

    Raises:
        StartupError: A file of TLS cannot be used.
    """
    settings = runtime.settings
    replicas = await _replicas(
        runtime,
        settings.tool_runner_address,
        settings.tool_runner_tls_name,
        lambda channel: tool_call_service_pb2_grpc.ToolCallServiceStub(channel).StreamToolCalls,
        tool_call_service_pb2.StreamToolCallsRequest,
        "tool-runner",
    )
    return GrpcToolRunner(replicas, runtime.service_key)


async def connect_ledger(runtime: ServiceRuntime[ExecutorSettings]) -> GrpcLedger:
    """Begins to connect to the ledgers, until the executor stops.

    Raises:
        StartupError: A file of TLS cannot be used.
    """
    settings = runtime.settings
    replicas = await _replicas(
        runtime,
        settings.ledger_address,
        settings.ledger_tls_name,
        lambda channel: usage_service_pb2_grpc.UsageServiceStub(channel).StreamUsage,
        usage_service_pb2.StreamUsageRequest,
        "ledger",
    )
    return GrpcLedger(replicas, runtime.service_key)


async def _replicas(
    runtime: ServiceRuntime[ExecutorSettings],
    addresses: str,
    tls_name: str,
    stream_of: Callable[[grpc.aio.Channel], Callable[[], grpc.aio.StreamStreamCall[Any, Any]]],
    request_type: type[Message],
    peer: str,
) -> Replicas:
    ids = itertools.count(1)

    counted = StreamMetrics(runtime.metrics, peer)

    def open_replica(address: Address, on_connection: Callable[[bool], None]) -> Replica:
        name = tls_name or address.host
        channel = peer_channel(address.target, runtime.settings.tls_files, name, CHANNEL_OPTIONS)
        stream = MultiplexedStream(
            stream_of(channel),
            request_type,
            name=peer,
            ids=ids,
            on_connection=counted.connections(on_connection),
            on_message=counted.sent,
        )
        stream.start()
        return Replica(channel, stream)

    replicas = Replicas(addresses, open_replica, peer)
    runtime.resources.push_async_callback(replicas.close)
    await replicas.start()
    return replicas
