"""Hears by Redis what other processes have changed that this executor remembers for some seconds."""

from __future__ import annotations

from functools import partial

from agent_executor.executor.api_keys.exchange import KeyExchange
from agent_executor.executor.peers.tools_grpc import GrpcToolRunner
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.serving.redis_metrics import RedisMetrics
from agent_executor.serving.server import ServiceRuntime


async def hear_changes(
    runtime: ServiceRuntime[ExecutorSettings], tools: GrpcToolRunner, exchange: KeyExchange
) -> None:
    """Begins to hear of tools and of keys that were revoked, and to tell of the latter.

    Without Redis, what is remembered ends by itself, as it does with it.
    """
    settings = runtime.settings
    url, timeout_seconds = settings.redis_url, settings.redis_timeout_seconds
    if not url.get_secret_value():
        return
    # Imported here, for most have no Redis, whose client takes 13 MB.
    from agent_executor.storage.redis_changes import API_KEY, MCP_SERVER, TOOL, RedisChanges
    from agent_executor.storage.redis_client import RedisClient

    client = RedisClient(
        url,
        use="telling",
        timeout_seconds=timeout_seconds,
        observer=RedisMetrics(runtime.metrics, "telling"),
    )
    runtime.resources.push_async_callback(client.close)
    changes = RedisChanges(
        url,
        client,
        timeout_seconds=timeout_seconds,
        observer=RedisMetrics(runtime.metrics, "changes"),
    )
    runtime.resources.push_async_callback(changes.close)
    changes.watch(TOOL, tools.forget, tools.forget_all)
    changes.watch(MCP_SERVER, tools.forget, tools.forget_all)
    changes.watch(API_KEY, exchange.forget_digest, exchange.forget_all)
    exchange.on_revoked = partial(changes.tell, API_KEY)
    await client.start()
    await changes.start()
