"""Serves tools, policy, credentials and MCP servers."""

from __future__ import annotations

import grpc

from agent_executor.api.tool_runner.v1 import (
    credential_service_pb2,
    credential_service_pb2_grpc,
    mcp_server_service_pb2,
    mcp_server_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.tool_runner.credentials.servicer import CredentialServicer
from agent_executor.tool_runner.custom.catalog import ToolCatalog
from agent_executor.tool_runner.custom.servicer import ToolServicer
from agent_executor.tool_runner.mcp.servicer import McpServerServicer
from agent_executor.tool_runner.policy.servicer import PolicyServicer
from agent_executor.tool_runner.resources import Resources
from agent_executor.tool_runner.sandbox_status import SandboxReporter


def register_resource_services(
    server: grpc.aio.Server, resources: Resources, sandbox: SandboxReporter
) -> tuple[str, ...]:
    """Adds the services of what organizations keep here, and returns their full names."""
    tool_service_pb2_grpc.add_ToolServiceServicer_to_server(
        ToolServicer(ToolCatalog(resources.tools), resources.custom_tools, sandbox), server
    )
    policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(
        PolicyServicer(resources.policies), server
    )
    credential_service_pb2_grpc.add_CredentialServiceServicer_to_server(
        CredentialServicer(resources.credentials), server
    )
    mcp_server_service_pb2_grpc.add_McpServerServiceServicer_to_server(
        McpServerServicer(resources.mcp_servers), server
    )
    return (
        tool_service_pb2.DESCRIPTOR.services_by_name["ToolService"].full_name,
        policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
        credential_service_pb2.DESCRIPTOR.services_by_name["CredentialService"].full_name,
        mcp_server_service_pb2.DESCRIPTOR.services_by_name["McpServerService"].full_name,
    )
