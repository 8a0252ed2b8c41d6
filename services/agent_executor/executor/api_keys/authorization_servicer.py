"""Envoy's Authorization over gRPC: what the gateway asks about requests with a key or a session."""

from __future__ import annotations

from agent_executor.api.gateway.v1 import external_authorization_service_pb2 as gateway_pb2
from agent_executor.api.gateway.v1 import external_authorization_service_pb2_grpc as gateway_grpc
from agent_executor.errors import AgentExecutorError
from agent_executor.executor.api_keys.convert import (
    CLIENT_HEADER,
    admitted_to_proto,
    denied_to_proto,
    shown_request,
)
from agent_executor.executor.api_keys.gateway_requests import GatewayRequests
from agent_executor.serving.interceptors import Context


class AuthorizationServicer(gateway_grpc.AuthorizationServicer):
    """See ``protos/agent_executor/api/gateway/v1/external_authorization_service.proto``."""

    def __init__(self, requests: GatewayRequests) -> None:
        self._requests = requests

    async def Check(  # noqa: N802 -- the contract's name
        self, request: gateway_pb2.CheckRequest, context: Context
    ) -> gateway_pb2.CheckResponse:
        """Exchanges what a request shows for a token. A denial is an answer, not an error."""
        del context
        shown = shown_request(request)
        client = shown.headers.get(CLIENT_HEADER, "")
        try:
            return admitted_to_proto(await self._requests.token_for(shown, client))
        except AgentExecutorError as error:
            return denied_to_proto(error)
