"""Registering MCP servers, asking them for their tools, and letting them go."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from agent_executor.egress.urls import parse_url
from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    InvalidArgumentError,
    LimitExceededError,
    McpServerNotFoundError,
    PermissionDeniedError,
    ToolExecutionError,
    UnavailableError,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.credentials.credential import CredentialVault
from agent_executor.tool_runner.mcp.client import McpClient
from agent_executor.tool_runner.mcp.listing import AcceptedTools, OfferedTool, accept, clean
from agent_executor.tool_runner.mcp.mcp_server import (
    SERVERS_MAX,
    McpServer,
    is_server_name,
    platform_name,
)
from agent_executor.tool_runner.mcp.mcp_tools import McpTools
from agent_executor.tool_runner.mcp.store import McpServerStore
from agent_executor.tool_runner.paging import Page, decode_page_token, entries_of_page, page_of
from agent_executor.tool_runner.policy.call_policy import OrganizationPolicies

ADMIN_PERMISSION: Final = "policy:admin"
READ_PERMISSION: Final = "tool:read"
TITLE_CHARACTERS_MAX: Final = 200
_RENEWALS_MAX: Final = 3

_LOGGER: Final = logging.getLogger(__name__)


class McpServers:
    """The MCP servers of organizations.

    Args:
        store: Where they are kept.
        client: Talks with them.
        tools: Where their tools are found afterwards.
        policies: What organizations allow their tools to reach.
        credentials: What may go with the requests.
        is_taken: Tells whether an organization has another tool of a name.
        now_ms: The time, in milliseconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        store: McpServerStore,
        client: McpClient,
        tools: McpTools,
        *,
        policies: OrganizationPolicies,
        credentials: CredentialVault,
        is_taken: Callable[[str, str], Awaitable[bool]],
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._client = client
        self._tools = tools
        self._policies = policies
        self._credentials = credentials
        self._is_taken = is_taken
        self._now_ms = now_ms

    async def put(self, asked: McpServer, security: SecurityContext) -> McpServer:
        """Stores a server, in place of the one of its name, once it has listed its tools.

        Args:
            asked: What is wanted of it; what is found out about it is ignored.
            security: The caller.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            InvalidArgumentError: A value is none, the server or the credential may not be used, or
                a tool that was named cannot be.
            CredentialNotFoundError: There is no such credential.
            LimitExceededError: The organization has 100 servers.
            UnavailableError: The server does not answer, or the storage failed.
        """
        security.require(ADMIN_PERMISSION)
        if not is_server_name(asked.name):
            raise _invalid(
                "name", "A name is 1 to 24 small letters and digits, and begins with a letter."
            )
        try:
            parse_url(asked.url)
        except InvalidArgumentError as error:
            raise _invalid("url", error.message) from None
        server, accepted = await self._asked(asked, security)
        for name in server.allowed_tools:
            if name in accepted.refused:
                raise _invalid(
                    "allowed_tools", f'The tool "{name}" cannot be used: {accepted.refused[name]}'
                )
        organization_id = security.organization_id
        if not await self._store.put(organization_id, server, servers_max=SERVERS_MAX):
            raise LimitExceededError(
                f"The organization has {SERVERS_MAX} MCP servers, which is the limit."
            )
        return await self._written("stored", server.name, security)

    async def refresh(self, name: str, security: SecurityContext) -> McpServer:
        """Asks a server for its tools again.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            McpServerNotFoundError: There is none of that name.
            InvalidArgumentError: The server or the credential may not be used any more.
            CredentialNotFoundError: There is no such credential any more.
            UnavailableError: The server does not answer, or the storage failed.
        """
        security.require(ADMIN_PERMISSION)
        # Whoever stores or renews it meanwhile goes before: then it is read and asked again.
        for _ in range(_RENEWALS_MAX):
            server, _ = await self._asked(await self._found(name, security), security)
            if await self._store.renew(security.organization_id, server):
                return await self._written("refreshed", name, security)
        raise UnavailableError("Others are changing the MCP server; try again.")

    async def delete(self, name: str, security: SecurityContext) -> None:
        """Removes a server and its tools.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            McpServerNotFoundError: There is none of that name.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        organization_id = security.organization_id
        if not is_server_name(name) or not await self._store.delete(organization_id, name):
            raise _not_found(name)
        self._tools.changed(organization_id, name)
        _LOGGER.info(
            "User %s of %s deleted the MCP server %s.", security.user_id, organization_id, name
        )

    async def get(self, name: str, security: SecurityContext) -> McpServer:
        """Returns a server with its tools.

        Raises:
            PermissionDeniedError: The caller lacks ``tool:read``.
            McpServerNotFoundError: There is none of that name.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        return await self._found(name, security)

    async def list_servers(
        self, security: SecurityContext, *, page_size: int = 0, page_token: str = ""
    ) -> Page[McpServer]:
        """Returns a page of the servers with their tools, by name.

        Raises:
            PermissionDeniedError: The caller lacks ``tool:read``.
            InvalidArgumentError: The page's size is out of range, or its token is none.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        entries_max = entries_of_page(page_size)
        after = decode_page_token(page_token, is_server_name)
        found = await self._store.list_servers(security.organization_id, entries_max + 1, after)
        return page_of(found, entries_max, lambda each: each.name)

    async def _found(self, name: str, security: SecurityContext) -> McpServer:
        organization_id = security.organization_id
        server = await self._store.find(organization_id, name) if is_server_name(name) else None
        if server is None:
            raise _not_found(name)
        return server

    async def _asked(
        self, server: McpServer, security: SecurityContext
    ) -> tuple[McpServer, AcceptedTools]:
        """Returns a server as it is now that it has listed its tools."""
        policy = await self._policies.of(security.organization_id)
        context = CallContext(
            organization_id=security.organization_id,
            tool_name="",
            tool_call_id="",
            allowed_domains=policy.allowed_domains,
            credentials=self._credentials,
        )
        try:
            listing = await self._client.list_tools(server, context)
        except (PermissionDeniedError, ToolExecutionError) as error:
            raise _as_refusal(error) from None
        except (DeadlineExceededError, LimitExceededError) as error:
            raise UnavailableError(error.message) from None
        taken = await self._taken(server, listing.tools, security.organization_id)
        now_ms = self._now_ms()
        accepted = accept(server, listing.tools, taken, now_ms)
        renewed = msgspec.structs.replace(
            server,
            server_title=clean(listing.server_title)[:TITLE_CHARACTERS_MAX],
            protocol_version=listing.protocol_version,
            findings=tuple(accepted.findings),
            refreshed_at_ms=now_ms,
            tools=tuple(accepted.tools.values()),
        )
        return renewed, accepted

    async def _taken(
        self, server: McpServer, offered: tuple[OfferedTool, ...], organization_id: str
    ) -> frozenset[str]:
        names = {platform_name(server.name, tool.name) for tool in offered}
        return frozenset([name for name in names if await self._is_taken(organization_id, name)])

    async def _written(self, what: str, name: str, security: SecurityContext) -> McpServer:
        self._tools.changed(security.organization_id, name)
        _LOGGER.info(
            "User %s of %s %s the MCP server %s.",
            security.user_id,
            security.organization_id,
            what,
            name,
        )
        return await self._found(name, security)


def _as_refusal(error: AgentExecutorError) -> AgentExecutorError:
    if isinstance(error, PermissionDeniedError):
        field = "credential_name" if error.metadata.get("rule") == "credential" else "url"
        return _invalid(field, error.message)
    return UnavailableError(error.message)


def _not_found(name: str) -> McpServerNotFoundError:
    return McpServerNotFoundError(f'There is no MCP server named "{name}".')


def _invalid(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, field_violations=((field, message),))
