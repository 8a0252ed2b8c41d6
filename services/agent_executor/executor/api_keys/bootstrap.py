"""Serves API keys and sessions, and what the gateway asks about them."""

from __future__ import annotations

from collections.abc import Callable

from agent_executor.api.executor.v1 import api_key_service_pb2_grpc, token_service_pb2_grpc
from agent_executor.api.gateway.v1 import external_authorization_service_pb2_grpc
from agent_executor.executor.api_keys.api_key_servicer import ApiKeyServicer
from agent_executor.executor.api_keys.api_keys import ApiKeys
from agent_executor.executor.api_keys.authorization_servicer import AuthorizationServicer
from agent_executor.executor.api_keys.exchange import KeyExchange
from agent_executor.executor.api_keys.gateway_requests import GatewayRequests
from agent_executor.executor.api_keys.store import ApiKeyStore
from agent_executor.executor.api_keys.token_servicer import TokenServicer
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.serving.server import ServiceRuntime
from agent_executor.serving.token_signing import TokenSigner


def serve_api_keys(
    runtime: ServiceRuntime[ExecutorSettings], store: ApiKeyStore, now_ms: Callable[[], int]
) -> KeyExchange:
    """Adds the services, and returns what knows for some seconds which keys hold."""
    settings = runtime.settings
    signer = TokenSigner.from_file(settings.token_signing_key_file)
    exchange = KeyExchange(store, signer, now_ms)
    api_keys = ApiKeys(store, exchange, now_ms, settings.session_seconds)
    api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server(
        ApiKeyServicer(api_keys), runtime.server
    )
    token_service_pb2_grpc.add_TokenServiceServicer_to_server(
        TokenServicer(api_keys, exchange, is_secure=settings.session_secure), runtime.server
    )
    external_authorization_service_pb2_grpc.add_AuthorizationServicer_to_server(
        AuthorizationServicer(GatewayRequests(exchange, settings.session_origins)), runtime.server
    )
    return exchange
