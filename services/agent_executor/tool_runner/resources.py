"""The use cases of tools, policy and credentials, built together and served together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import grpc

from agent_executor.api.tool_runner.v1 import (
    credential_service_pb2,
    credential_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.storage.encryption import Encryption
from agent_executor.storage.statements import StatementRunner
from agent_executor.tool_runner.credential_servicer import CredentialServicer
from agent_executor.tool_runner.credential_store_sql import SqlCredentialStore
from agent_executor.tool_runner.credentials import Credentials
from agent_executor.tool_runner.custom_tool_store_sql import SqlCustomToolStore
from agent_executor.tool_runner.custom_tools import CustomTools
from agent_executor.tool_runner.organization_catalog import OrganizationCatalog
from agent_executor.tool_runner.policies import Policies
from agent_executor.tool_runner.policy_servicer import PolicyServicer
from agent_executor.tool_runner.policy_store_sql import SqlPolicyStore
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.sandbox_status import SandboxReporter
from agent_executor.tool_runner.tool_program import SourceInspector
from agent_executor.tool_runner.tool_servicer import ToolServicer
from agent_executor.tool_runner.tools import Tools


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


def register_resource_services(
    server: grpc.aio.Server, resources: Resources, sandbox: SandboxReporter
) -> tuple[str, ...]:
    """Adds the services of tools, policy and credentials, and returns their full names."""
    tool_service_pb2_grpc.add_ToolServiceServicer_to_server(
        ToolServicer(OrganizationCatalog(resources.tools), resources.custom_tools, sandbox), server
    )
    policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(
        PolicyServicer(resources.policies), server
    )
    credential_service_pb2_grpc.add_CredentialServiceServicer_to_server(
        CredentialServicer(resources.credentials), server
    )
    return (
        tool_service_pb2.DESCRIPTOR.services_by_name["ToolService"].full_name,
        policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
        credential_service_pb2.DESCRIPTOR.services_by_name["CredentialService"].full_name,
    )
