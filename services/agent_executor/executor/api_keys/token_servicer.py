"""TokenService over gRPC: proto in, proto out."""

from __future__ import annotations

from pydantic import SecretStr

from agent_executor.api.executor.v1 import token_service_pb2, token_service_pb2_grpc
from agent_executor.executor.api_keys.api_key import KEY
from agent_executor.executor.api_keys.api_keys import ApiKeys
from agent_executor.executor.api_keys.browser_session import session_cookie
from agent_executor.executor.api_keys.convert import NOT_STORED, client_of, is_https
from agent_executor.executor.api_keys.exchange import KeyExchange
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context
from agent_executor.serving.timestamp_convert import timestamp


class TokenServicer(token_service_pb2_grpc.TokenServiceServicer):
    """See ``protos/agent_executor/api/executor/v1/token_service.proto``.

    Args:
        api_keys: Makes and ends sessions.
        exchange: Exchanges keys.
        is_secure: Whether cookies are for https alone, also where the gateway sees plain HTTP.
    """

    def __init__(self, api_keys: ApiKeys, exchange: KeyExchange, *, is_secure: bool) -> None:
        self._api_keys = api_keys
        self._exchange = exchange
        self._is_secure = is_secure

    async def ExchangeApiKey(  # noqa: N802 -- the contract's name
        self, request: token_service_pb2.ExchangeApiKeyRequest, context: Context
    ) -> token_service_pb2.ExchangeApiKeyResponse:
        """Exchanges a key for a token of a few seconds."""
        secret = SecretStr(request.api_key)
        token = await self._exchange.exchange(secret, KEY, client_of(context))
        await context.send_initial_metadata(NOT_STORED)
        remaining_seconds = token.expires_at - self._api_keys.now_ms() / 1000
        return token_service_pb2.ExchangeApiKeyResponse(
            access_token=token.token,
            token_type="Bearer",  # noqa: S106 -- what kind of token it is
            expires_in_seconds=max(0, int(remaining_seconds)),
        )

    async def GetCaller(  # noqa: N802 -- the contract's name
        self, request: token_service_pb2.GetCallerRequest, context: Context
    ) -> token_service_pb2.Caller:
        """Returns who the caller is."""
        del request, context
        security = current_security_context.get()
        return token_service_pb2.Caller(
            organization_id=security.organization_id,
            user_id=security.user_id,
            permissions=sorted(security.permissions),
            api_key_id=security.api_key_id,
        )

    async def CreateSession(  # noqa: N802 -- the contract's name
        self, request: token_service_pb2.CreateSessionRequest, context: Context
    ) -> token_service_pb2.Session:
        """Signs a browser in."""
        del request
        new = await self._api_keys.begin_session(current_security_context.get())
        age_seconds = (new.key.expires_at_ms - self._api_keys.now_ms()) // 1000
        await self._set_cookie(context, new.secret.get_secret_value(), max(1, age_seconds))
        return token_service_pb2.Session(
            user_id=new.key.user_id,
            organization_id=new.key.organization_id,
            permissions=new.key.permissions,
            expires_at=timestamp(new.key.expires_at_ms),
        )

    async def DeleteSession(  # noqa: N802 -- the contract's name
        self, request: token_service_pb2.DeleteSessionRequest, context: Context
    ) -> token_service_pb2.DeleteSessionResponse:
        """Signs a browser out."""
        del request
        await self._api_keys.end_session(current_security_context.get())
        await self._set_cookie(context, "", 0)
        return token_service_pb2.DeleteSessionResponse()

    async def _set_cookie(self, context: Context, secret: str, age_seconds: int) -> None:
        is_secure = self._is_secure or is_https(context)
        cookie = session_cookie(secret, age_seconds, is_secure=is_secure)
        await context.send_initial_metadata((("set-cookie", cookie), *NOT_STORED))
