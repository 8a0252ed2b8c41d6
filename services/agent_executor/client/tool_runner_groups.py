"""The methods of the tool-runner, each written once; see ``methods`` for what they become.

What each does and which errors it has stands at its RPC in ``protos/agent_executor/api/tool_runner``.
"""

from __future__ import annotations

from typing import TypeVar

from agent_executor.api.tool_runner.v1 import (
    audit_service_pb2,
    credential_service_pb2,
    mcp_server_service_pb2,
    policy_service_pb2,
    tool_call_service_pb2,
    tool_pb2,
    tool_service_pb2,
)
from agent_executor.client.call_options import Repeat
from agent_executor.client.methods import Group, Paged, Unary

CallerT = TypeVar("CallerT")


class Tools(Group[CallerT]):
    """Tools, built in and custom."""

    create = Unary(
        "tool_runner.v1.ToolService/CreateTool",
        tool_service_pb2.CreateToolRequest,
        tool_pb2.Tool,
    )
    get = Unary(
        "tool_runner.v1.ToolService/GetTool",
        tool_service_pb2.GetToolRequest,
        tool_pb2.Tool,
        Repeat.HARMLESS,
    )
    list = Paged(
        "tool_runner.v1.ToolService/ListTools",
        tool_service_pb2.ListToolsRequest,
        tool_service_pb2.ListToolsResponse,
        lambda page: page.tools,
    )
    delete = Unary(
        "tool_runner.v1.ToolService/DeleteTool",
        tool_service_pb2.DeleteToolRequest,
        tool_service_pb2.DeleteToolResponse,
    )
    get_sandbox = Unary(
        "tool_runner.v1.ToolService/GetSandbox",
        tool_service_pb2.GetSandboxRequest,
        tool_service_pb2.Sandbox,
        Repeat.HARMLESS,
    )
    # The platform knows a repeat by the id that the caller gives the tool call.
    execute = Unary(
        "tool_runner.v1.ToolCallService/ExecuteToolCall",
        tool_call_service_pb2.ExecuteToolCallRequest,
        tool_call_service_pb2.ExecuteToolCallResponse,
        Repeat.HARMLESS,
        is_execution=True,
    )
    stop = Unary(
        "tool_runner.v1.ToolCallService/StopToolCall",
        tool_call_service_pb2.StopToolCallRequest,
        tool_call_service_pb2.StopToolCallResponse,
        Repeat.HARMLESS,
    )


class Policy(Group[CallerT]):
    """What tools may do, and how often."""

    set_rate_limit = Unary(
        "tool_runner.v1.PolicyService/SetRateLimit",
        policy_service_pb2.SetRateLimitRequest,
        policy_service_pb2.RateLimit,
    )
    list_rate_limits = Paged(
        "tool_runner.v1.PolicyService/ListRateLimits",
        policy_service_pb2.ListRateLimitsRequest,
        policy_service_pb2.ListRateLimitsResponse,
        lambda page: page.rate_limits,
    )
    delete_rate_limit = Unary(
        "tool_runner.v1.PolicyService/DeleteRateLimit",
        policy_service_pb2.DeleteRateLimitRequest,
        policy_service_pb2.DeleteRateLimitResponse,
    )
    add_allowed_domain = Unary(
        "tool_runner.v1.PolicyService/AddAllowedDomain",
        policy_service_pb2.AddAllowedDomainRequest,
        policy_service_pb2.AllowedDomain,
    )
    list_allowed_domains = Paged(
        "tool_runner.v1.PolicyService/ListAllowedDomains",
        policy_service_pb2.ListAllowedDomainsRequest,
        policy_service_pb2.ListAllowedDomainsResponse,
        lambda page: page.allowed_domains,
    )
    remove_allowed_domain = Unary(
        "tool_runner.v1.PolicyService/RemoveAllowedDomain",
        policy_service_pb2.RemoveAllowedDomainRequest,
        policy_service_pb2.RemoveAllowedDomainResponse,
    )


class Audit(Group[CallerT]):
    """What tools were asked to do."""

    list = Paged(
        "tool_runner.v1.AuditService/ListAuditEvents",
        audit_service_pb2.ListAuditEventsRequest,
        audit_service_pb2.ListAuditEventsResponse,
        lambda page: page.audit_events,
    )


class Credentials(Group[CallerT]):
    """Secrets for tools; nobody can read them."""

    put = Unary(
        "tool_runner.v1.CredentialService/PutCredential",
        credential_service_pb2.PutCredentialRequest,
        credential_service_pb2.Credential,
    )
    list = Paged(
        "tool_runner.v1.CredentialService/ListCredentials",
        credential_service_pb2.ListCredentialsRequest,
        credential_service_pb2.ListCredentialsResponse,
        lambda page: page.credentials,
    )
    delete = Unary(
        "tool_runner.v1.CredentialService/DeleteCredential",
        credential_service_pb2.DeleteCredentialRequest,
        credential_service_pb2.DeleteCredentialResponse,
    )


class McpServers(Group[CallerT]):
    """Servers whose tools agents may use."""

    put = Unary(
        "tool_runner.v1.McpServerService/PutMcpServer",
        mcp_server_service_pb2.PutMcpServerRequest,
        mcp_server_service_pb2.McpServer,
    )
    get = Unary(
        "tool_runner.v1.McpServerService/GetMcpServer",
        mcp_server_service_pb2.GetMcpServerRequest,
        mcp_server_service_pb2.McpServer,
        Repeat.HARMLESS,
    )
    list = Paged(
        "tool_runner.v1.McpServerService/ListMcpServers",
        mcp_server_service_pb2.ListMcpServersRequest,
        mcp_server_service_pb2.ListMcpServersResponse,
        lambda page: page.mcp_servers,
    )
    refresh = Unary(
        "tool_runner.v1.McpServerService/RefreshMcpServer",
        mcp_server_service_pb2.RefreshMcpServerRequest,
        mcp_server_service_pb2.McpServer,
    )
    delete = Unary(
        "tool_runner.v1.McpServerService/DeleteMcpServer",
        mcp_server_service_pb2.DeleteMcpServerRequest,
        mcp_server_service_pb2.DeleteMcpServerResponse,
    )
