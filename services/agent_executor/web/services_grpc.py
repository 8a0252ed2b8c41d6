"""The services as the web process calls them: over gRPC, on behalf of whoever called it.

It holds no credential of its own. What a caller may do is decided by the services, from the same
token that the gateway has let in.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import grpc

from agent_executor.serving.tls import peer_channel
from agent_executor.web.settings import WebSettings

# Who calls, in which trace, under which key and id: what a service must know of a request.
_PASSED_ON: Final = (
    "authorization",
    "traceparent",
    "tracestate",
    "idempotency-key",
    "x-request-id",
)
_KEEPALIVE_MILLISECONDS: Final = 30_000
# A name may stand for several replicas.
_SERVICE_CONFIG: Final = '{"loadBalancingConfig": [{"round_robin": {}}]}'


@dataclass(frozen=True, slots=True)
class Services:
    """One channel to each service."""

    executor: grpc.aio.Channel
    tool_runner: grpc.aio.Channel
    ledger: grpc.aio.Channel

    @classmethod
    async def connect(cls, settings: WebSettings, resources: AsyncExitStack) -> Services:
        """Opens the channels, which connect at the first call and are closed with the resources.

        Args:
            settings: Where the services are.
            resources: What the channels are closed with.

        Raises:
            StartupError: A file of TLS cannot be used.
        """
        options = [
            ("grpc.service_config", _SERVICE_CONFIG),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MILLISECONDS),
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
        ]

        async def channel(address: str, tls_name: str) -> grpc.aio.Channel:
            opened = peer_channel(address, settings.tls_files, tls_name, options)
            return await resources.enter_async_context(opened)

        return cls(
            executor=await channel(settings.executor_address, settings.executor_tls_name),
            tool_runner=await channel(settings.tool_runner_address, settings.tool_runner_tls_name),
            ledger=await channel(settings.ledger_address, settings.ledger_tls_name),
        )


def call_metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Returns the metadata by which a service knows whose call it serves.

    Args:
        headers: The headers of the request, with names in lower case or without regard to it.
    """
    return tuple((name, headers[name]) for name in _PASSED_ON if name in headers)
