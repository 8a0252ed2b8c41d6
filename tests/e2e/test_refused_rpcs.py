"""The same refusals over native gRPC, through the gateway and straight at the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agent_executor.api.error.v1 import error_pb2
from agent_executor.serving.interceptors import OPEN_METHODS
from tests.e2e.agents_and_runs import create_agent
from tests.e2e.bad_credentials import BAD_CREDENTIALS, ESSENTIAL
from tests.e2e.resources import UNKNOWN, create_resources, held_reservation
from tests.e2e.rpc import (
    METHODS,
    TIMEOUT_SECONDS,
    assert_refused,
    call,
    channel_to,
    refusal,
)
from tests.e2e.rpcs import (
    OTHERWISE,
    PERMISSIONS,
    RPCS,
    Rpc,
    destroys,
    hold_for_each,
    one_of_each_service,
)
from tests.e2e.tool_runner_resources import MCP_SERVER, TOOL
from tests.platforms import Client, RunningPlatform

USAGE = {"input_tokens": 1, "output_tokens": 1}
MODEL_CALL = {"agent_id": "a", "run_id": "r", "model": "claude-sonnet-4-20250514"}
ORDERED = sorted(RPCS, key=destroys)
INVALID = [
    ("AgentService/CreateAgent", {}, "name"),
    ("AgentService/CreateAgent", {"name": "x" * 201}, "name"),
    ("AgentService/CreateAgent", {"name": "x", "max_model_turns": -1}, "max_model_turns"),
    ("AgentService/GetAgent", {}, "agent_id"),
    ("AgentService/ListAgents", {"page_size": 1001}, "page_size"),
    ("AgentService/ListAgents", {"page_token": "?"}, "page_token"),
    ("RunService/ExecuteAgent", {"agent_id": "a"}, "input"),
    ("RunService/ExecuteAgent", {"agent_id": "a", "input": "x" * (2**19 + 1)}, "input"),
    ("RunService/ExecuteAgent", {"input": "x"}, "agent_id"),
    ("RunService/StreamRunEvents", {"run_id": "r", "after_sequence": -1}, "after_sequence"),
    ("RunService/ListRuns", {"state": "resting"}, "state"),
    ("MonitorService/StreamActivity", {"event_types": ["coffee"]}, "event_types"),
    ("MonitorService/StreamActivity", {"since": {"seconds": 1}}, "since"),
    ("MonitorService/StreamActivity", {"run_id": "x" * 129}, "run_id"),
    ("ToolService/DescribeTools", {}, "tool_names"),
    ("ToolService/GetTool", {}, "tool_name"),
    ("ToolService/CreateTool", {**TOOL, "name": "Upper"}, "name"),
    ("ToolService/CreateTool", {**TOOL, "source": ""}, "source"),
    ("ToolService/CreateTool", {**TOOL, "effect": "harmless"}, "effect"),
    ("ToolService/CreateTool", {**TOOL, "timeout_seconds": float("nan")}, "timeout_seconds"),
    ("ToolService/CreateTool", {**TOOL, "allowed_origins": ["https://a.b/c"]}, "allowed_origins"),
    ("ToolService/DeleteTool", {}, "tool_name"),
    ("PolicyService/SetRateLimit", {"tool_name": "t", "window_seconds": 1.0}, "max_calls"),
    ("PolicyService/SetRateLimit", {"tool_name": "t", "max_calls": 1}, "window_seconds"),
    ("PolicyService/ListRateLimits", {"page_token": "?"}, "page_token"),
    ("PolicyService/ListAllowedDomains", {"page_token": "?"}, "page_token"),
    ("CredentialService/PutCredential", {"name": "n"}, "secret"),
    ("CredentialService/PutCredential", {"name": "n", "secret": "a\nb"}, "secret"),
    ("CredentialService/PutCredential", {"name": "N", "secret": "s"}, "name"),
    (
        "CredentialService/PutCredential",
        {"name": "n", "secret": "s", "header_name": "host"},
        "header_name",
    ),
    ("CredentialService/ListCredentials", {"page_token": "?"}, "page_token"),
    ("McpServerService/PutMcpServer", {**MCP_SERVER, "name": "a_b"}, "name"),
    ("McpServerService/PutMcpServer", {"name": "new", "url": "not-a-url"}, "url"),
    ("McpServerService/PutMcpServer", {"name": "new", "url": "https://else.example.com"}, "url"),
    ("McpServerService/PutMcpServer", {**MCP_SERVER, "name": "n", "effect": "mild"}, "effect"),
    ("McpServerService/ListMcpServers", {"page_token": "?"}, "page_token"),
    ("ToolCallService/ExecuteToolCall", {"tool_name": "calculator"}, "tool_call_id"),
    ("UsageService/ReserveUsage", {**MODEL_CALL, "reservation_id": "r"}, "max_output_tokens"),
    ("UsageService/SettleUsage", {**MODEL_CALL, "entry_id": "e"}, "usage"),
    ("UsageService/SummarizeUsage", {"group_by": ["weather"]}, "group_by[0]"),
    ("UsageService/ReserveAmount", {"agent_id": "a", "run_id": "r"}, "reservation_id"),
    ("UsageService/RecordUsage", {"entries": [{"id": "e"}]}, "entries[0].cost_nano_usd"),
    ("UsageService/RerateUsage", {}, "start_time"),
    ("RateCardService/CreateRateCard", {"tool_name": "t", "fee_usd": 1001.0}, "fee_usd"),
    ("RateCardService/GetRateCard", {}, "rate_card_id"),
    ("SuggestionService/ListSuggestions", {"days": 91}, "days"),
    ("ApiKeyService/CreateApiKey", {}, "name"),
    ("ApiKeyService/CreateApiKey", {"name": "n", "ttl_seconds": 31_536_001}, "ttl_seconds"),
    ("ApiKeyService/CreateApiKey", {"name": "n", "permissions": [" "]}, "permissions"),
    ("ApiKeyService/CreateApiKey", {"name": "n", "user_id": " "}, "user_id"),
    ("ApiKeyService/ListApiKeys", {"state": "lost"}, "state"),
    ("ApiKeyService/ListApiKeys", {"page_token": "?"}, "page_token"),
    ("TokenService/ExchangeApiKey", {}, "api_key"),
    ("BudgetService/PutBudget", {"budget_id": "b"}, "limit_usd"),
    ("BudgetService/PutBudget", {"budget_id": "B", "limit_usd": 1.0}, "budget_id"),
    ("BudgetService/PutBudget", {"budget_id": "b", "limit_usd": float("nan")}, "limit_usd"),
]


@pytest.fixture
def names(client: Client, platform: RunningPlatform) -> dict[str, str]:
    """The names of one resource of each kind."""
    held = held_reservation(platform, client)
    return {**create_resources(client), "reservation_id": held}


def test_the_table_has_every_method() -> None:
    assert {rpc.name for rpc in RPCS} | OTHERWISE.keys() == METHODS.keys()


@pytest.mark.parametrize("kind", BAD_CREDENTIALS)
def test_bad_credentials_are_refused_by_every_method(
    platform: RunningPlatform, connect: Callable[[str], grpc.Channel], way: str, kind: str
) -> None:
    bad = BAD_CREDENTIALS[kind]
    shown = bad.make(platform)

    def check(rpc: Rpc) -> None:
        channel, request = connect(rpc.method.process), rpc.request(**UNKNOWN)
        refused = refusal(channel, rpc.method, request, metadata=shown)
        if way == "direct":
            assert_refused(refused, "UNAUTHENTICATED", "UNAUTHENTICATED")
        else:
            # The gateway's own refusal is a plain gRPC status, with its code.
            assert refused.code == bad.code

    hold_for_each(RPCS if kind in ESSENTIAL else one_of_each_service(RPCS), check)


def test_permissions_are_needed(
    platform: RunningPlatform,
    organization: str,
    connect: Callable[[str], grpc.Channel],
    names: dict[str, str],
) -> None:
    def check(rpc: Rpc) -> None:
        channel, request = connect(rpc.method.process), rpc.request(**names)
        others = [permission for permission in PERMISSIONS if permission != rpc.permission]
        for permissions in ([], others):
            token = platform.token(organization, permissions=permissions)
            refused = refusal(channel, rpc.method, request, token)
            assert_refused(refused, "PERMISSION_DENIED", "PERMISSION_DENIED")

    hold_for_each((rpc for rpc in RPCS if rpc.permission), check)


def test_permissions_are_all_that_is_needed(
    platform: RunningPlatform,
    organization: str,
    connect: Callable[[str], grpc.Channel],
    names: dict[str, str],
) -> None:
    def check(rpc: Rpc) -> None:
        channel, request = connect(rpc.method.process), rpc.request(**names)
        permissions = [rpc.permission] if rpc.permission else []
        token = platform.token(organization, permissions=permissions)
        assert call(channel, rpc.method, request, token)

    hold_for_each(ORDERED, check)


def test_what_is_another_organizations_is_not_there(
    platform: RunningPlatform,
    organization: str,
    connect: Callable[[str], grpc.Channel],
    names: dict[str, str],
) -> None:
    stranger, own = platform.token(f"{organization}-other"), platform.token(organization)

    def check(rpc: Rpc) -> None:
        channel = connect(rpc.method.process)
        for token, request in ((stranger, rpc.request(**names)), (own, rpc.request(**UNKNOWN))):
            refused = refusal(channel, rpc.method, request, token)
            assert_refused(refused, "NOT_FOUND", rpc.missing)

    hold_for_each((rpc for rpc in RPCS if rpc.missing), check)


def test_what_is_open_to_all_is_what_the_services_say() -> None:
    opened = (
        *("TokenService/ExchangeApiKey", "Authorization/Check"),
        "RateLimitService/ShouldRateLimit",
    )
    assert {METHODS[name].path for name in opened} == OPEN_METHODS


@pytest.mark.parametrize("name", ["Authorization/Check", "RateLimitService/ShouldRateLimit"])
def test_nobody_outside_reaches_what_the_gateway_asks(platform: RunningPlatform, name: str) -> None:
    method = METHODS[name]
    with channel_to(platform) as channel:
        for token in ("", platform.token()):
            refused = refusal(channel, method, method.request(), token)
            assert refused.code in {"UNAUTHENTICATED", "UNIMPLEMENTED"}


@pytest.mark.parametrize(("name", "fields", "violated"), INVALID)
def test_what_breaks_a_rule_is_named(
    client: Client,
    connect: Callable[[str], grpc.Channel],
    name: str,
    fields: dict[str, Any],
    violated: str,
) -> None:
    method = METHODS[name]
    request = method.request(**fields)
    refused = refusal(connect(method.process), method, request, client.token)
    assert_refused(refused, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert violated in refused.fields


@pytest.mark.parametrize("process", ["executor", "tool-runner", "ledger"])
def test_what_is_no_message_is_refused(
    client: Client, connect: Callable[[str], grpc.Channel], process: str
) -> None:
    rpc = next(rpc for rpc in RPCS if rpc.method.process == process)
    unary: Any = connect(process).unary_unary(rpc.method.path)
    metadata = (("authorization", f"Bearer {client.token}"),)
    with pytest.raises(grpc.RpcError) as caught:
        unary(b"\xff\xff\xff", metadata=metadata, timeout=TIMEOUT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "path",
    [
        "/agent_executor.api.executor.v1.AgentService/Nothing",
        "/agent_executor.api.tool_runner.v1.Nothing/ListTools",
        "/agent_executor.api.ledger.v1.UsageService/nothing",
    ],
)
def test_a_method_that_there_is_not_is_unimplemented(
    client: Client, connect: Callable[[str], grpc.Channel], path: str
) -> None:
    unary: Any = connect(path.split(".")[2].replace("_", "-")).unary_unary(path)
    metadata = (("authorization", f"Bearer {client.token}"),)
    with pytest.raises(grpc.RpcError) as caught:
        unary(b"", metadata=metadata, timeout=TIMEOUT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_agent_that_cannot_run_is_refused(
    client: Client, connect: Callable[[str], grpc.Channel]
) -> None:
    execute_agent = METHODS["RunService/ExecuteAgent"]
    inactive = create_agent(client, is_active=False)
    request = execute_agent.request(agent_id=inactive, input="Hi")
    refused = refusal(connect("executor"), execute_agent, request, client.token)
    assert_refused(refused, "FAILED_PRECONDITION", "AGENT_INACTIVE")

    without_tool = create_agent(client, tools={"telescope": True})
    request = execute_agent.request(agent_id=without_tool, input="Hi")
    refused = refusal(connect("executor"), execute_agent, request, client.token)
    assert_refused(refused, "NOT_FOUND", "TOOL_NOT_FOUND")
    assert refused.detail(error_pb2.ErrorBody()).tool_name == "telescope"


class TestLedger:
    def test_an_id_counts_once(
        self, client: Client, connect: Callable[[str], grpc.Channel]
    ) -> None:
        settle = METHODS["UsageService/SettleUsage"]
        channel = connect("ledger")
        request = settle.request(**MODEL_CALL, entry_id="e", usage=USAGE)
        first, second = (call(channel, settle, request, client.token) for _ in range(2))
        assert first == second
        other = settle.request(**MODEL_CALL, entry_id="e", usage={**USAGE, "input_tokens": 2})
        refused = refusal(channel, settle, other, client.token)
        assert_refused(refused, "ALREADY_EXISTS", "ENTRY_CONFLICT")
        assert len(client.get("/api/v1/usage/entries").body["entries"]) == 1

    def test_a_model_without_a_price_is_refused(
        self, client: Client, connect: Callable[[str], grpc.Channel]
    ) -> None:
        settle = METHODS["UsageService/SettleUsage"]
        request = settle.request(**{**MODEL_CALL, "model": "unheard"}, entry_id="e", usage=USAGE)
        refused = refusal(connect("ledger"), settle, request, client.token)
        assert_refused(refused, "INVALID_ARGUMENT", "UNKNOWN_MODEL")

    def test_what_a_budget_does_not_cover_is_refused(
        self, client: Client, connect: Callable[[str], grpc.Channel]
    ) -> None:
        client.put("/api/v1/budgets/none", {"limit_usd": 0})
        reserve = METHODS["UsageService/ReserveUsage"]
        request = reserve.request(
            **MODEL_CALL, reservation_id="r", max_input_tokens=1, max_output_tokens=1
        )
        refused = refusal(connect("ledger"), reserve, request, client.token)
        assert_refused(refused, "RESOURCE_EXHAUSTED", "BUDGET_EXCEEDED")


def test_health_and_reflection_need_no_token(connect: Callable[[str], grpc.Channel]) -> None:
    for process in ("executor", "tool-runner", "ledger"):
        channel = connect(process)
        health = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS
        )
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]),
            timeout=TIMEOUT_SECONDS,
        )
        services = {service.name for service in next(answers).list_services_response.service}
        assert any(name.startswith("agent_executor.api.") for name in services)
