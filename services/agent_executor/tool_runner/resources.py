"""The use cases of tools, policy and credentials, built together."""

from __future__ import annotations

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
    """

    tools: Tools
    policies: Policies
    credentials: Credentials
    custom_tools: CustomTools

    @classmethod
    def in_database(
        cls,
        runner: StatementRunner,
        registry: ToolRegistry,
        encryption: Encryption,
        inspector: SourceInspector,
        now_ms: Callable[[], int],
    ) -> Self:
        """Returns those of a database.

        Args:
            runner: Runs statements in it.
            registry: The tools of this process.
            encryption: Of the secrets of credentials.
            inspector: Loads the sources of custom tools.
            now_ms: The time, in milliseconds since 1970-01-01 UTC.
        """
        tools = Tools(registry, SqlCustomToolStore(runner))
        return cls(
            tools=tools,
            policies=Policies(SqlPolicyStore(runner), now_ms),
            credentials=Credentials(SqlCredentialStore(runner), encryption, now_ms),
            custom_tools=CustomTools(tools, inspector, now_ms),
        )
