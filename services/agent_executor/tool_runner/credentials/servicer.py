"""Credentials over gRPC: proto in, proto out, and never a secret out."""

from __future__ import annotations

from agent_executor.api.tool_runner.v1 import credential_service_pb2, credential_service_pb2_grpc
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context
from agent_executor.tool_runner.credentials.credentials import Credentials
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.resource_convert import credential_to_proto


class CredentialServicer(credential_service_pb2_grpc.CredentialServiceServicer):
    """See ``protos/agent_executor/api/tool_runner/v1/credential_service.proto``."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def PutCredential(  # noqa: N802 -- the contract's name
        self, request: credential_service_pb2.PutCredentialRequest, context: Context
    ) -> credential_service_pb2.Credential:
        """Stores a credential."""
        del context
        stored = await self._credentials.put(
            request.name,
            Secret(request.secret),
            current_security_context.get(),
            header_name=request.header_name,
            header_prefix=request.header_prefix if request.HasField("header_prefix") else None,
            allowed_origins=request.allowed_origins,
            tools=request.tools,
        )
        return credential_to_proto(stored)

    async def ListCredentials(  # noqa: N802 -- the contract's name
        self, request: credential_service_pb2.ListCredentialsRequest, context: Context
    ) -> credential_service_pb2.ListCredentialsResponse:
        """Lists the credentials."""
        del context
        page = await self._credentials.list_credentials(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return credential_service_pb2.ListCredentialsResponse(
            credentials=map(credential_to_proto, page.entries),
            next_page_token=page.next_page_token,
        )

    async def DeleteCredential(  # noqa: N802 -- the contract's name
        self, request: credential_service_pb2.DeleteCredentialRequest, context: Context
    ) -> credential_service_pb2.DeleteCredentialResponse:
        """Deletes a credential."""
        del context
        await self._credentials.delete(request.name, current_security_context.get())
        return credential_service_pb2.DeleteCredentialResponse()
