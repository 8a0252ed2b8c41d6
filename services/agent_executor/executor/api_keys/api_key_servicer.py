"""ApiKeyService over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.executor.v1 import api_key_service_pb2, api_key_service_pb2_grpc
from agent_executor.executor.api_keys.api_keys import ApiKeys, KeyRequest
from agent_executor.executor.api_keys.convert import NOT_STORED, key_to_proto
from agent_executor.executor.paging import decode_page_token, encode_page_token, page_size_of
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context


class ApiKeyServicer(api_key_service_pb2_grpc.ApiKeyServiceServicer):
    """See ``protos/agent_executor/api/executor/v1/api_key_service.proto``."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys

    async def CreateApiKey(  # noqa: N802 -- the contract's name
        self, request: api_key_service_pb2.CreateApiKeyRequest, context: Context
    ) -> api_key_service_pb2.CreateApiKeyResponse:
        """Creates a key and shows it, this once."""
        wanted = KeyRequest(
            name=request.name,
            permissions=tuple(request.permissions),
            ttl_seconds=request.ttl_seconds,
            user_id=request.user_id,
        )
        new = await self._api_keys.create(wanted, current_security_context.get())
        await context.send_initial_metadata(NOT_STORED)
        return api_key_service_pb2.CreateApiKeyResponse(
            api_key=key_to_proto(new.key, self._api_keys.now_ms()),
            key=new.secret.get_secret_value(),
        )

    async def ListApiKeys(  # noqa: N802 -- the contract's name
        self, request: api_key_service_pb2.ListApiKeysRequest, context: Context
    ) -> api_key_service_pb2.ListApiKeysResponse:
        """Lists keys, the newest first."""
        del context
        size = page_size_of(request.page_size)
        found = await self._api_keys.list_keys(
            current_security_context.get(),
            size + 1,
            before=decode_page_token(request.page_token),
            user_id=request.user_id,
            state=request.state,
        )
        page, now_ms = found[:size], self._api_keys.now_ms()
        return api_key_service_pb2.ListApiKeysResponse(
            api_keys=[key_to_proto(key, now_ms) for key in page],
            next_page_token=encode_page_token(page[-1].key_id) if len(found) > size else "",
        )

    async def GetApiKey(  # noqa: N802 -- the contract's name
        self, request: api_key_service_pb2.GetApiKeyRequest, context: Context
    ) -> api_key_service_pb2.ApiKey:
        """Returns a key."""
        del context
        key = await self._api_keys.get(request.api_key_id, current_security_context.get())
        return key_to_proto(key, self._api_keys.now_ms())

    async def RevokeApiKey(  # noqa: N802 -- the contract's name
        self, request: api_key_service_pb2.RevokeApiKeyRequest, context: Context
    ) -> api_key_service_pb2.ApiKey:
        """Revokes a key for good."""
        del context
        key = await self._api_keys.revoke(request.api_key_id, current_security_context.get())
        return key_to_proto(key, self._api_keys.now_ms())
