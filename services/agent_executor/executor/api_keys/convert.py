"""Between keys and their contracts. Pure; decides nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from google.rpc import status_pb2

from agent_executor.api.executor.v1 import api_key_service_pb2
from agent_executor.api.gateway.v1 import external_authorization_service_pb2 as gateway_pb2
from agent_executor.error_status import to_status
from agent_executor.errors import AgentExecutorError
from agent_executor.executor.api_keys.api_key import ApiKey
from agent_executor.executor.api_keys.browser_session import ShownRequest
from agent_executor.serving.timestamp_convert import timestamp

if TYPE_CHECKING:
    from agent_executor.serving.interceptors import Context

CLIENT_HEADER: Final = "x-envoy-external-address"
# The gateway makes a header of it, so that no cache between keeps a secret.
NOT_STORED: Final = (("cache-control", "no-store"),)
_OVERWRITE: Final = 2
_HTTP_STATUSES: Final = {"UNAUTHENTICATED": 401, "RESOURCE_EXHAUSTED": 429}
_UNAVAILABLE: Final = 503


def key_to_proto(key: ApiKey, now_ms: int) -> api_key_service_pb2.ApiKey:
    """Returns a key as people see it."""
    return api_key_service_pb2.ApiKey(
        id=key.key_id,
        name=key.name,
        hint=key.hint,
        user_id=key.user_id,
        permissions=key.permissions,
        state=key.state(now_ms),
        kind=key.kind,
        created_by=key.created_by,
        created_at=timestamp(key.created_at_ms),
        expires_at=timestamp(key.expires_at_ms),
        last_used_at=timestamp(key.last_used_at_ms) if key.last_used_at_ms else None,
        revoked_at=timestamp(key.revoked_at_ms) if key.revoked_at_ms else None,
    )


def shown_request(request: gateway_pb2.CheckRequest) -> ShownRequest:
    """Returns the request that the gateway asks about."""
    http = request.attributes.request.http
    return ShownRequest(method=http.method, host=http.host, headers=dict(http.headers))


def admitted_to_proto(token: str) -> gateway_pb2.CheckResponse:
    """Returns that a request goes on with a token, whatever it came with."""
    header = gateway_pb2.HeaderValue(key="authorization", value=f"Bearer {token}")
    option = gateway_pb2.HeaderValueOption(header=header, append_action=_OVERWRITE)
    return gateway_pb2.CheckResponse(
        status=status_pb2.Status(),
        ok_response=gateway_pb2.OkHttpResponse(headers=[option]),
    )


def denied_to_proto(error: AgentExecutorError) -> gateway_pb2.CheckResponse:
    """Returns that a request is refused. The gateway gives the text its shape."""
    status = gateway_pb2.HttpStatus(code=_HTTP_STATUSES.get(error.code, _UNAVAILABLE))
    denied = gateway_pb2.DeniedHttpResponse(status=status, body=error.message)
    if error.retry_after_seconds is not None:
        seconds = str(max(1, math.ceil(error.retry_after_seconds)))
        header = gateway_pb2.HeaderValue(key="retry-after", value=seconds)
        denied.headers.add(header=header, append_action=_OVERWRITE)
    return gateway_pb2.CheckResponse(status=to_status(error), denied_response=denied)


def client_of(context: Context) -> str:
    """Returns who calls: the address that the gateway saw, or that of the connection.

    Whoever calls the executor itself can claim any, and has then so many clients' limits.
    """
    for name, value in context.invocation_metadata() or ():
        if name == CLIENT_HEADER:
            return str(value)
    # As "ipv4:192.0.2.1:50000" or "ipv6:%5B2001:db8::1%5D:50000".
    address = str(context.peer()).partition(":")[2].rpartition(":")[0]
    return address.replace("%5B", "").replace("%5D", "").strip("[]")


def is_https(context: Context) -> bool:
    """Whether the request came to the gateway by https, as it says."""
    shown = (
        value for name, value in context.invocation_metadata() or () if name == "x-forwarded-proto"
    )
    return next(shown, "") == "https"
