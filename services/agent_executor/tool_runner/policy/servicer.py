"""The policy of organizations over gRPC: proto in, proto out."""

from __future__ import annotations

from typing import cast

from agent_executor.api.tool_runner.v1 import policy_service_pb2, policy_service_pb2_grpc
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context
from agent_executor.tool_runner.policy.organization_policy import PolicyScope
from agent_executor.tool_runner.policy.policies import Policies
from agent_executor.tool_runner.resource_convert import (
    allowed_domain_to_proto,
    rate_limit_to_proto,
)


class PolicyServicer(policy_service_pb2_grpc.PolicyServiceServicer):
    """See ``protos/agent_executor/api/tool_runner/v1/policy_service.proto``."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    async def SetRateLimit(  # noqa: N802 -- the contract's name
        self, request: policy_service_pb2.SetRateLimitRequest, context: Context
    ) -> policy_service_pb2.RateLimit:
        """Limits the calls of a tool."""
        del context
        rule = await self._policies.set_rate_limit(
            request.tool_name,
            request.max_calls,
            request.window_seconds,
            current_security_context.get(),
            # The contract lets no other in.
            scope=cast("PolicyScope", request.scope),
        )
        return rate_limit_to_proto(rule)

    async def ListRateLimits(  # noqa: N802 -- the contract's name
        self, request: policy_service_pb2.ListRateLimitsRequest, context: Context
    ) -> policy_service_pb2.ListRateLimitsResponse:
        """Lists the rate limits."""
        del context
        page = await self._policies.list_rate_limits(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return policy_service_pb2.ListRateLimitsResponse(
            rate_limits=map(rate_limit_to_proto, page.entries),
            next_page_token=page.next_page_token,
        )

    async def DeleteRateLimit(  # noqa: N802 -- the contract's name
        self, request: policy_service_pb2.DeleteRateLimitRequest, context: Context
    ) -> policy_service_pb2.DeleteRateLimitResponse:
        """Removes the rate limits of a tool."""
        del context
        await self._policies.delete_rate_limit(request.tool_name, current_security_context.get())
        return policy_service_pb2.DeleteRateLimitResponse()

    async def AddAllowedDomain(  # noqa: N802 -- the contract's name
        self, request: policy_service_pb2.AddAllowedDomainRequest, context: Context
    ) -> policy_service_pb2.AllowedDomain:
        """Lets tools reach a host."""
        del context
        domain = await self._policies.add_allowed_domain(
            request.domain, current_security_context.get()
        )
        return allowed_domain_to_proto(domain)

    async def ListAllowedDomains(  # noqa: N802 -- the contract's name
        self, request: policy_service_pb2.ListAllowedDomainsRequest, context: Context
    ) -> policy_service_pb2.ListAllowedDomainsResponse:
        """Lists the allowed domains."""
        del context
        page = await self._policies.list_allowed_domains(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return policy_service_pb2.ListAllowedDomainsResponse(
            allowed_domains=map(allowed_domain_to_proto, page.entries),
            next_page_token=page.next_page_token,
        )

    async def RemoveAllowedDomain(  # noqa: N802 -- the contract's name
        self, request: policy_service_pb2.RemoveAllowedDomainRequest, context: Context
    ) -> policy_service_pb2.RemoveAllowedDomainResponse:
        """Takes a domain from the list."""
        del context
        await self._policies.remove_allowed_domain(request.domain, current_security_context.get())
        return policy_service_pb2.RemoveAllowedDomainResponse()
