"""The use cases of tools, policy, credentials and MCP servers, built together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from agent_executor.storage.encryption import Encryption
from agent_executor.storage.statements import StatementRunner
from agent_executor.tool_runner.credentials.credentials import Credentials
from agent_executor.tool_runner.credentials.store_sql import SqlCredentialStore
from agent_executor.tool_runner.custom.custom_tools import CustomTools
from agent_executor.tool_runner.custom.store_sql import SqlCustomToolStore
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.mcp.client import McpClient
from agent_executor.tool_runner.mcp.mcp_servers import McpServers
from agent_executor.tool_runner.mcp.mcp_tools import McpTools
from agent_executor.tool_runner.mcp.store_sql import SqlMcpServerStore
from agent_executor.tool_runner.policy.policies import Policies
from agent_executor.tool_runner.policy.store_sql import SqlPolicyStore
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_program import SourceInspector


@dataclass(frozen=True, slots=True)
class Resources:
    """What the tool-runner keeps for organizations.

    Attributes:
        tools: Finds tools for calls.
        policies: Has the policy of each organization for calls.
        credentials: The vault of tools that send something.
        custom_tools: Registers and retires tools.
        mcp_servers: Registers and retires MCP servers.
        mcp_tools: Finds the tools of MCP servers.
    """

    tools: Tools
    policies: Policies
    credentials: Credentials
    custom_tools: CustomTools
    mcp_servers: McpServers
    mcp_tools: McpTools

    @classmethod
    def in_database(
        cls,
        runner: StatementRunner,
        registry: ToolRegistry,
        encryption: Encryption,
        inspector: SourceInspector,
        mcp_client: McpClient,
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Returns those of a database.

        Args:
            runner: Runs statements in it.
            registry: The tools of this process.
            encryption: Of the secrets of credentials.
            inspector: Loads the sources of custom tools.
            mcp_client: Talks with MCP servers.
            now_ms: The time, in milliseconds since 1970-01-01 UTC.
            clock: Monotonic, in seconds.
        """
        mcp_store = SqlMcpServerStore(runner)
        mcp_tools = McpTools(mcp_store, mcp_client, clock=clock)
        tools = Tools(registry, SqlCustomToolStore(runner), external=mcp_tools, clock=clock)
        policies = Policies(SqlPolicyStore(runner), now_ms, clock=clock)
        credentials = Credentials(SqlCredentialStore(runner), encryption, now_ms)
        return cls(
            tools=tools,
            policies=policies,
            credentials=credentials,
            custom_tools=CustomTools(tools, inspector, now_ms),
            mcp_tools=mcp_tools,
            mcp_servers=McpServers(
                mcp_store,
                mcp_client,
                mcp_tools,
                policies=policies,
                credentials=credentials,
                is_taken=tools.is_taken,
                now_ms=now_ms,
            ),
        )
