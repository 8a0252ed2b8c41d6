"""Envoy's RateLimitService over gRPC: what the gateways ask about each request."""

from __future__ import annotations

from agent_executor.api.gateway.v1 import rate_limit_service_pb2 as gateway_pb2
from agent_executor.api.gateway.v1 import rate_limit_service_pb2_grpc as gateway_grpc
from agent_executor.serving.interceptors import Context
from agent_executor.tool_runner.policy.gateway_limits import GatewayLimits, GatewayRefusal

_Response = gateway_pb2.RateLimitResponse


class GatewayLimitsServicer(gateway_grpc.RateLimitServiceServicer):
    """See ``protos/agent_executor/api/gateway/v1/rate_limit_service.proto``."""

    def __init__(self, limits: GatewayLimits) -> None:
        self._limits = limits

    async def ShouldRateLimit(  # noqa: N802 -- the contract's name
        self, request: gateway_pb2.RateLimitRequest, context: Context
    ) -> gateway_pb2.RateLimitResponse:
        """Counts a request. A refusal is an answer, not an error."""
        del context
        descriptors = [
            {entry.key: entry.value for entry in descriptor.entries}
            for descriptor in request.descriptors
        ]
        refusal = await self._limits.admit(descriptors, request.hits_addend or 1)
        overall = _Response.OK if refusal is None else _Response.OVER_LIMIT
        statuses = [_status_of(place, refusal) for place in range(len(descriptors))]
        return _Response(overall_code=overall, statuses=statuses)


def _status_of(
    place: int, refusal: GatewayRefusal | None
) -> gateway_pb2.RateLimitResponse.DescriptorStatus:
    if refusal is None or refusal.place != place:
        return _Response.DescriptorStatus(code=_Response.OK)
    status = _Response.DescriptorStatus(code=_Response.OVER_LIMIT)
    if refusal.retry_after_seconds is not None:
        status.duration_until_reset.FromNanoseconds(round(refusal.retry_after_seconds * 1e9))
    return status
