"""What tool-runners share by Redis: the counts of rate limits, results, and word of changes."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Self

from agent_executor.serving.metric_names import CALLS_LIMITED_ALONE
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.redis_metrics import RedisMetrics
from agent_executor.storage.encryption import Encryption
from agent_executor.storage.redis_changes import MCP_SERVER, POLICY, TOOL, RedisChanges, channel_of
from agent_executor.storage.redis_client import RedisClient
from agent_executor.tool_runner.calls.result_cache_redis import RedisResults
from agent_executor.tool_runner.policy.rate_limit_redis import RedisRateLimiter
from agent_executor.tool_runner.resources import Resources
from agent_executor.tool_runner.settings import ToolRunnerSettings


@dataclass(frozen=True, slots=True)
class SharedState:
    """What a tool-runner has in common with others.

    Attributes:
        limits: Counts calls of tools.
        gateway_limits: Counts the requests of gateways, which know what to do while Redis is away.
        results: Has the results of tools that only read.
        changes: Tells and hears what is written.
    """

    limits: RedisRateLimiter
    gateway_limits: RedisRateLimiter
    results: RedisResults
    changes: RedisChanges

    @classmethod
    async def of(
        cls,
        settings: ToolRunnerSettings,
        metrics: Metrics,
        encryption: Encryption,
        opened: AsyncExitStack,
    ) -> Self:
        """Returns that of the settings, which name a Redis; connected if it is there."""
        url = settings.redis_url
        clients = {}
        for use in ("limits", "results"):
            client = clients[use] = RedisClient(
                url,
                use=use,
                timeout_seconds=settings.redis_timeout_seconds,
                # Every tool-runner, and nobody else, hears of policies.
                heartbeat=("PUBSUB", "NUMSUB", channel_of(POLICY)),
                observer=RedisMetrics(metrics, use),
            )
            opened.push_async_callback(client.close)
            await client.start()
        changes = RedisChanges(
            url,
            clients["results"],
            timeout_seconds=settings.redis_timeout_seconds,
            observer=RedisMetrics(metrics, "changes"),
        )
        opened.push_async_callback(changes.close)
        limiter = partial(
            RedisRateLimiter,
            clients["limits"],
            processes=lambda: _listeners(clients["limits"]),
            clock_ns=time.monotonic_ns,
        )
        return cls(
            limiter(
                on_unavailable=settings.on_redis_unavailable,
                on_counted_alone=partial(metrics.increment, CALLS_LIMITED_ALONE),
            ),
            limiter(on_unavailable="refuse"),
            RedisResults(clients["results"], encryption),
            changes,
        )

    async def share_changes(self, resources: Resources) -> None:
        """Begins to tell others of changes, and to hear of theirs."""
        policies, tools, mcp_tools = resources.policies, resources.tools, resources.mcp_tools
        self.changes.watch(POLICY, policies.forget, policies.forget_all)
        self.changes.watch(TOOL, tools.forget, tools.forget_all)
        self.changes.watch(MCP_SERVER, mcp_tools.forget, mcp_tools.forget_all)
        policies.on_change = partial(self.changes.tell, POLICY)
        tools.on_change = partial(self.changes.tell, TOOL)
        mcp_tools.on_change = partial(self.changes.tell, MCP_SERVER)
        await self.changes.start()


def _listeners(client: RedisClient) -> int:
    """Returns how many tool-runners heard of changes when Redis was last asked."""
    reply = client.last_heartbeat
    return int(reply[1]) if reply else 1
