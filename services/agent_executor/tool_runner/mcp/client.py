"""The client of MCP servers: each call is a conversation of its own, through the egress policy.

A conversation keeps nothing between calls: no session that could expire or be mixed up, no
connection to an address that was checked long ago.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from agent_executor.egress.exchange import AttachedHeader
from agent_executor.egress.policy import EgressPolicy
from agent_executor.egress.urls import Target, parse_url
from agent_executor.errors import DeadlineExceededError, PermissionDeniedError
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.credentials.credential import Credential
from agent_executor.tool_runner.credentials.scrubbing import scrub_value
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.mcp.listing import OfferedTool
from agent_executor.tool_runner.mcp.mcp_server import McpServer, McpTool
from agent_executor.tool_runner.mcp.results import as_result

T = TypeVar("T")

LISTING_TIMEOUT_SECONDS: Final = 20.0
# How long a server is given to take note that a conversation is over, or a call cancelled.
GOODBYE_SECONDS: Final = 2.0

PolicyOf: TypeAlias = Callable[[frozenset[str]], EgressPolicy]
"""Returns what may be reached where these domains are allowed."""


class Listing(NamedTuple):
    """What a server said when it was asked for its tools."""

    server_title: str
    protocol_version: str
    tools: tuple[OfferedTool, ...]


class McpClient:
    """Talks with MCP servers over streamable HTTP.

    Args:
        policy_of: The operator's egress policy.
        ssl_context: The certificates that are accepted. Default: the system's.
    """

    def __init__(self, policy_of: PolicyOf, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._policy_of = policy_of
        self._given_ssl_context = ssl_context
        self._conversations: set[asyncio.Task[None]] = set()

    async def list_tools(self, server: McpServer, context: CallContext) -> Listing:
        """Asks a server for its tools.

        Args:
            server: Whom to ask.
            context: On whose behalf, and what may be reached.

        Raises:
            InvalidArgumentError: The URL is none.
            PermissionDeniedError: The server or the credential may not be used.
            CredentialNotFoundError: There is no such credential.
            AgentExecutorError: As ``call_tool``.
        """
        sdk = await self._loaded()
        # It is asked how it wants to be spoken to, whatever it spoke last.
        anew = msgspec.structs.replace(server, protocol_version="")
        try:
            async with asyncio.timeout(LISTING_TIMEOUT_SECONDS):
                said, secrets = await self._converse(anew, context, sdk.list_tools)
        except TimeoutError:
            raise DeadlineExceededError(
                f"The MCP server did not list its tools within {LISTING_TIMEOUT_SECONDS:g} s."
            ) from None
        title, version, offered = said
        return Listing(
            scrub_value(title, secrets),
            version,
            tuple(_scrubbed(each, secrets) for each in offered),
        )

    async def call_tool(
        self,
        server: McpServer,
        tool: McpTool,
        arguments: dict[str, Any],
        context: CallContext,
    ) -> dict[str, Any]:
        """Calls a tool. Cancelled, it tells the server, which nobody waits for.

        Returns:
            As ``as_result``.

        Raises:
            PermissionDeniedError: The server or the credential may not be used any more.
            CredentialNotFoundError: There is no such credential any more.
            ToolExecutionError: The tool failed, or the server could not be reached or understood.
            OutcomeUnknownError: The tool is unsafe, and was called, and there is no answer.
            LimitExceededError: The answer is too large.
        """
        sdk = await self._loaded()
        schema = msgspec.json.decode(tool.input_schema_json)
        answer, secrets = await self._converse(
            server,
            context,
            lambda client: sdk.call_tool(client, tool.server_tool_name, arguments),
            headers=sdk.argument_headers(schema, arguments),
            is_unsafe=tool.effect == "unsafe",
        )
        return as_result(answer, secrets)

    async def close(self) -> None:
        """Ends the conversations that are under way."""
        conversations = list(self._conversations)
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)

    async def _converse(
        self,
        server: McpServer,
        context: CallContext,
        talk: Callable[[Any], Awaitable[T]],
        *,
        headers: Mapping[str, str] = {},
        is_unsafe: bool = False,
    ) -> tuple[T, tuple[Secret, ...]]:
        """Returns what came of a talk, and the secrets that its words may hold."""
        from agent_executor.tool_runner.mcp.failures import as_failure

        sdk = await self._loaded()
        policy = self._checked_policy(server, context)
        credential = await _open(server, context, parse_url(server.url))
        secrets = () if credential is None else (credential.secret,)
        transport = self._transport_to(server, policy, credential, sdk.ANSWER_BYTES_MAX)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        has_begun = False

        async def begin(client: Any) -> T:
            nonlocal has_begun
            has_begun = True
            return await talk(client)

        conversation = sdk.converse(
            answer,
            server.url,
            transport,
            begin,
            mode=sdk.mode_of(server.protocol_version),
            headers=headers,
        )
        try:
            return await self._answered(answer, conversation), secrets
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 -- a group may hold anything
            raise as_failure(
                error, transport, secrets, may_have_acted=is_unsafe and has_begun
            ) from None

    def _checked_policy(self, server: McpServer, context: CallContext) -> EgressPolicy:
        policy = self._policy_of(context.allowed_domains)
        try:
            policy.check_target(parse_url(server.url))
        except PermissionDeniedError as error:
            raise _explained(error) from None
        return policy

    def _transport_to(
        self,
        server: McpServer,
        policy: EgressPolicy,
        credential: Credential | None,
        answer_bytes_max: int,
    ) -> Any:
        # Loaded with the first conversation, as the SDK is.
        from agent_executor.egress.kept_transport import KeptEgressTransport
        from agent_executor.tool_runner.mcp.transport import ConversationTransport

        egress = KeptEgressTransport(
            server.url, policy, body_bytes_max=answer_bytes_max, ssl_context=self._ssl_context
        )
        return ConversationTransport(egress, None if credential is None else _header_of(credential))

    async def _answered(self, answer: asyncio.Future[T], conversation: Any) -> T:
        """Waits for the answer of a conversation, and not for its end."""
        loop = asyncio.get_running_loop()
        # In an empty context, so that the SDK tells the server nothing of our traces.
        task = loop.create_task(conversation, context=contextvars.Context())
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)
        # Nothing comes of one that was cancelled, maybe before it began.
        task.add_done_callback(lambda _: answer.cancel())
        try:
            return await answer
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            loop.call_later(GOODBYE_SECONDS, task.cancel)

    async def _loaded(self) -> Any:
        name = "agent_executor.tool_runner.mcp.conversation"
        return await asyncio.to_thread(importlib.import_module, name)

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        import httpcore2

        # Made once: to read the certificates takes longer than a conversation.
        return self._given_ssl_context or httpcore2.default_ssl_context()


async def _open(server: McpServer, context: CallContext, target: Target) -> Credential | None:
    """Returns the credential of a server if it may be sent there; None if it has none."""
    if not server.credential_name:
        return None
    if context.credentials is None:
        raise PermissionDeniedError("There are no credentials here.")
    credential = await context.credentials.open(context.organization_id, server.credential_name)
    if target.origin not in credential.allowed_origins:
        raise PermissionDeniedError(
            f'The credential "{credential.name}" is not for the origin "{target.origin}".',
            metadata={"rule": "credential", "host": target.host},
        )
    if credential.tools and server.name not in credential.tools:
        raise PermissionDeniedError(
            f'The credential "{credential.name}" is for certain tools, and the MCP server '
            f'"{server.name}" is not among them.',
            metadata={"rule": "credential", "host": target.host},
        )
    return credential


def _header_of(credential: Credential) -> AttachedHeader:
    return AttachedHeader(
        name=credential.header_name.lower(),
        value=lambda: credential.header_prefix + credential.secret.reveal(),
        origins=credential.allowed_origins,
    )


def _scrubbed(tool: OfferedTool, secrets: tuple[Secret, ...]) -> OfferedTool:
    if not secrets:
        return tool
    return OfferedTool(
        name=scrub_value(tool.name, secrets),
        description=scrub_value(tool.description, secrets),
        input_schema=scrub_value(tool.input_schema, secrets),
        read_only=tool.read_only,
        idempotent=tool.idempotent,
    )


def _explained(error: PermissionDeniedError) -> PermissionDeniedError:
    if error.metadata.get("rule") != "domain":
        return error
    return PermissionDeniedError(
        f'The host "{error.metadata["host"]}" is not an allowed domain; add it with '
        "POST /api/v1/allowed-domains.",
        metadata=error.metadata,
    )
