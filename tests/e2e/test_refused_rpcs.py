"""The same refusals over native gRPC, through the gateway and straight at the services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agent_executor.api.error.v1 import error_pb2
from agent_executor.serving.interceptors import OPEN_METHODS
from tests.e2e.agents_and_runs import begun_conversation, create_agent
from tests.e2e.api_keys import create_api_key
from tests.e2e.approving import decided_run
from tests.e2e.bad_tokens import BAD_TOKENS
from tests.e2e.ledger_resources import (
    LEDGER_NAMES,
    RATE_CARD,
    RECORDED,
    create_ledger_resources,
)
from tests.e2e.rpc import (
    METHODS,
    TIMEOUT_SECONDS,
    Method,
    assert_refused,
    call,
    channel_to,
    refusal,
)
from tests.e2e.tool_runner_resources import (
    MCP_SERVER,
    NAMES,
    TOOL,
    create_mcp_server,
    create_tool_runner_resources,
)
from tests.platforms import Client, RunningPlatform

USAGE = {"input_tokens": 1, "output_tokens": 1}


@dataclass(frozen=True)
class Rpc:
    """A method with a good request for it."""

    name: str
    # Empty if a token is enough.
    permission: str
    fields: dict[str, Any] = field(default_factory=dict)
    # The code and reason for something that there is not; empty if it needs nothing.
    missing: str = ""

    def __str__(self) -> str:
        """Names it in a test's id."""
        return self.name

    @property
    def method(self) -> Method:
        return METHODS[self.name]

    def request(self, **names: str) -> Any:
        """Makes the request; `$name` in a field is replaced by the name of what it needs."""
        fields = {
            key: names[value[1:]] if isinstance(value, str) and value.startswith("$") else value
            for key, value in self.fields.items()
        }
        return self.method.request(**fields)


AGENT = {"agent_id": "$agent_id"}
RUN = {"run_id": "$run_id"}
CONVERSATION = {"conversation_id": "$conversation_id"}
API_KEY = {"api_key_id": "$api_key_id"}
CARD = {"rate_card_id": "$rate_card_id"}
MCP_NAME = {"name": "$name"}
MODEL_CALL = {"agent_id": "a", "run_id": "r", "model": "claude-sonnet-4-20250514"}
RPCS = [
    Rpc("AgentService/CreateAgent", "agent:write", {"name": "Ada"}),
    Rpc("AgentService/GetAgent", "agent:read", AGENT, "AGENT_NOT_FOUND"),
    Rpc("AgentService/ListAgents", "agent:read"),
    Rpc("AgentService/UpdateAgent", "agent:write", {**AGENT, "name": "Bea"}, "AGENT_NOT_FOUND"),
    Rpc("AgentService/DeleteAgent", "agent:write", AGENT, "AGENT_NOT_FOUND"),
    Rpc("AgentService/ListAgentTools", "agent:read", AGENT, "AGENT_NOT_FOUND"),
    Rpc("RunService/ExecuteAgent", "run:execute", {**AGENT, "input": "Hi"}, "AGENT_NOT_FOUND"),
    Rpc("RunService/TestAgent", "run:execute", {**AGENT, "input": "Hi"}, "AGENT_NOT_FOUND"),
    Rpc("RunService/StartRun", "run:execute", {**AGENT, "input": "Hi"}, "AGENT_NOT_FOUND"),
    Rpc("RunService/StreamAgent", "run:execute", {**AGENT, "input": "Hi"}, "AGENT_NOT_FOUND"),
    Rpc(
        *("RunService/ExecuteAgentBatch", "run:execute"),
        {**AGENT, "inputs": ["Hi"]},
        "AGENT_NOT_FOUND",
    ),
    Rpc(
        *("RunService/StartRunBatch", "run:execute"),
        {**AGENT, "inputs": ["Hi"]},
        "AGENT_NOT_FOUND",
    ),
    Rpc("RunService/CancelRun", "run:execute", RUN, "RUN_NOT_FOUND"),
    Rpc("ConversationService/ListConversations", "run:read"),
    Rpc(
        *("ConversationService/GetConversation", "run:read", CONVERSATION),
        "CONVERSATION_NOT_FOUND",
    ),
    Rpc(
        *("ConversationService/DeleteConversation", "run:execute", CONVERSATION),
        "CONVERSATION_NOT_FOUND",
    ),
    Rpc("RunService/GetRun", "run:read", RUN, "RUN_NOT_FOUND"),
    Rpc("RunService/ListRuns", "run:read"),
    Rpc("RunService/StreamRunEvents", "run:read", RUN, "RUN_NOT_FOUND"),
    Rpc("RunService/ListApprovals", "run:read"),
    Rpc(
        "RunService/ResolveApproval",
        "run:approve",
        {**RUN, "tool_call_id": "$tool_call_id", "decision": "approve"},
        "RUN_NOT_FOUND",
    ),
    Rpc("ToolService/ListTools", "tool:read"),
    Rpc("ToolService/GetTool", "tool:read", {"tool_name": "calculator"}),
    Rpc("ToolService/DescribeTools", "tool:read", {"tool_names": ["calculator"]}),
    Rpc("ToolService/CreateTool", "tool:write", TOOL),
    Rpc("ToolService/DeleteTool", "tool:write", {"tool_name": "$tool_name"}, "TOOL_NOT_FOUND"),
    Rpc("ToolService/GetSandbox", "tool:read"),
    Rpc(
        *("PolicyService/SetRateLimit", "policy:admin"),
        {"tool_name": "calculator", "max_calls": 5, "window_seconds": 60.0},
    ),
    Rpc("PolicyService/ListRateLimits", "policy:admin"),
    Rpc(
        *("PolicyService/DeleteRateLimit", "policy:admin", {"tool_name": "$tool_name"}),
        "NOT_FOUND",
    ),
    Rpc("PolicyService/AddAllowedDomain", "policy:admin", {"domain": "api.example.com"}),
    Rpc("PolicyService/ListAllowedDomains", "policy:admin"),
    Rpc(
        *("PolicyService/RemoveAllowedDomain", "policy:admin", {"domain": "$domain"}),
        "NOT_FOUND",
    ),
    Rpc(
        *("CredentialService/PutCredential", "credential:admin"),
        {"name": "new", "secret": "s3cret"},
    ),
    Rpc("CredentialService/ListCredentials", "credential:admin"),
    Rpc(
        *("CredentialService/DeleteCredential", "credential:admin", {"name": "$name"}),
        "CREDENTIAL_NOT_FOUND",
    ),
    Rpc("McpServerService/PutMcpServer", "policy:admin", {"name": "new", **MCP_SERVER}),
    Rpc("McpServerService/ListMcpServers", "tool:read"),
    *(
        Rpc(f"McpServerService/{verb}McpServer", permission, MCP_NAME, "MCP_SERVER_NOT_FOUND")
        for verb, permission in (
            *(("Get", "tool:read"), ("Refresh", "policy:admin")),
            ("Delete", "policy:admin"),
        )
    ),
    Rpc("AuditService/ListAuditEvents", "policy:admin"),
    Rpc(
        *("UsageService/ReserveUsage", "ledger:write"),
        {**MODEL_CALL, "reservation_id": "r", "max_input_tokens": 1, "max_output_tokens": 1},
    ),
    Rpc(
        *("UsageService/SettleUsage", "ledger:write"),
        {**MODEL_CALL, "entry_id": "e", "usage": USAGE},
    ),
    Rpc(
        *("UsageService/GetReservation", "ledger:write", {"reservation_id": "$reservation_id"}),
        "RESERVATION_NOT_FOUND",
    ),
    Rpc(
        *("UsageService/VoidReservation", "ledger:write", {"reservation_id": "$reservation_id"}),
        "RESERVATION_NOT_FOUND",
    ),
    Rpc(
        *("UsageService/ReserveAmount", "ledger:write"),
        {"agent_id": "a", "run_id": "r", "reservation_id": "amount", "amount_nano_usd": 1},
    ),
    Rpc(
        *("UsageService/RenewReservation", "ledger:write"),
        {"reservation_id": "$reservation_id", "ttl_seconds": 60},
        "RESERVATION_NOT_FOUND",
    ),
    Rpc(
        *("ToolCallService/StopToolCall", "tool:calculator"),
        {"tool_call_id": "never-begun", "tool_name": "calculator", "arguments_json": "{}"},
    ),
    Rpc("UsageService/RecordUsage", "ledger:write", {"entries": [RECORDED]}),
    Rpc(
        *("UsageService/CorrectUsage", "ledger:write"),
        {"entry_id": "correction", "corrects_entry_id": "$entry_id", "usage": USAGE},
        "USAGE_ENTRY_NOT_FOUND",
    ),
    Rpc("UsageService/RerateUsage", "ledger:admin", {"start_time": {"seconds": 1}}),
    Rpc("UsageService/GetRunCost", "ledger:read", RUN, "RUN_NOT_FOUND"),
    Rpc("UsageService/ExportUsage", "ledger:read"),
    Rpc("UsageService/ListUsageEntries", "ledger:read"),
    Rpc("UsageService/SummarizeUsage", "ledger:read"),
    Rpc("BudgetService/PutBudget", "ledger:admin", {"budget_id": "new", "limit_usd": 5.0}),
    Rpc("BudgetService/GetBudget", "ledger:read", {"budget_id": "$budget_id"}, "BUDGET_NOT_FOUND"),
    Rpc("BudgetService/ListBudgets", "ledger:read"),
    Rpc("BudgetService/ListBudgetEvents", "ledger:read"),
    Rpc(
        *("BudgetService/DeleteBudget", "ledger:admin", {"budget_id": "$budget_id"}),
        "BUDGET_NOT_FOUND",
    ),
    Rpc("RateCardService/CreateRateCard", "ledger:admin", RATE_CARD),
    Rpc("RateCardService/ListRateCards", "ledger:read"),
    Rpc("RateCardService/GetRateCard", "ledger:read", CARD, "RATE_CARD_NOT_FOUND"),
    Rpc("RateCardService/WithdrawRateCard", "ledger:admin", CARD, "RATE_CARD_NOT_FOUND"),
    Rpc("RateCardService/ResolveRateCard", "ledger:read", {"model": "claude-sonnet-5"}),
    Rpc("SuggestionService/ListSuggestions", "ledger:read"),
    Rpc("ApiKeyService/CreateApiKey", "api_key:write", {"name": "Ada's"}),
    Rpc("ApiKeyService/ListApiKeys", "api_key:read"),
    Rpc("ApiKeyService/GetApiKey", "api_key:read", API_KEY, "API_KEY_NOT_FOUND"),
    Rpc("ApiKeyService/RevokeApiKey", "api_key:write", API_KEY, "API_KEY_NOT_FOUND"),
    Rpc("TokenService/GetCaller", ""),
    Rpc("TokenService/CreateSession", ""),
    Rpc("TokenService/DeleteSession", ""),
]
# It needs no token, since it gives one.
OPEN = ("TokenService/ExchangeApiKey",)
# It admits any caller, and answers with a result what it refuses; see below.
EXECUTE_TOOL_CALL = METHODS["ToolCallService/ExecuteToolCall"]
STREAMS = ("ToolCallService/StreamToolCalls", "UsageService/StreamUsage")
UNKNOWN = dict.fromkeys(
    (
        *("agent_id", "run_id", "tool_call_id", "conversation_id", "reservation_id", "entry_id"),
        "api_key_id",
        *LEDGER_NAMES,
        *NAMES,
    ),
    "unknown",
)

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
def names(
    client: Client, platform: RunningPlatform, request: pytest.FixtureRequest
) -> dict[str, str]:
    """The names of one resource of each kind."""
    agent_id = create_agent(client)
    run_id, tool_call_id = decided_run(client)
    reserve = METHODS["UsageService/ReserveUsage"]
    held = {"reservation_id": "held", "max_input_tokens": 1, "max_output_tokens": 1}
    with channel_to(platform, "ledger") as channel:
        call(channel, reserve, reserve.request(**MODEL_CALL, **held), client.token)
    create_tool_runner_resources(client)
    if "Mcp" in request.node.name:
        create_mcp_server(client)
    return {
        "agent_id": agent_id,
        "run_id": run_id,
        "tool_call_id": tool_call_id,
        "conversation_id": begun_conversation(client, agent_id),
        "reservation_id": "held",
        "entry_id": RECORDED["id"],
        "api_key_id": create_api_key(client).key_id,
        **create_ledger_resources(client),
        **NAMES,
    }


def test_the_table_has_every_method() -> None:
    named = {rpc.name for rpc in RPCS} | {EXECUTE_TOOL_CALL.name, *STREAMS, *OPEN}
    assert named == METHODS.keys()


def test_what_is_open_to_all_is_what_the_services_say() -> None:
    gateways_own = {"/envoy.service.auth.v3.Authorization/Check"}
    assert {METHODS[name].path for name in OPEN} | gateways_own == OPEN_METHODS


@pytest.mark.parametrize("rpc", RPCS, ids=str)
def test_a_bad_token_is_refused(
    platform: RunningPlatform, connect: Callable[[str], grpc.Channel], way: str, rpc: Rpc
) -> None:
    request = rpc.request(**UNKNOWN)
    for kind, (make_token, _, code) in BAD_TOKENS.items():
        refused = refusal(connect(rpc.method.process), rpc.method, request, make_token(platform))
        if way == "direct":
            assert_refused(refused, "UNAUTHENTICATED", "UNAUTHENTICATED")
        else:
            # The gateway's own refusal is a plain gRPC status, with its code.
            assert refused.code == code, kind


@pytest.mark.parametrize("rpc", RPCS, ids=str)
def test_permissions_are_needed_and_are_all_that_is(
    platform: RunningPlatform,
    organization: str,
    connect: Callable[[str], grpc.Channel],
    names: dict[str, str],
    rpc: Rpc,
) -> None:
    channel, request = connect(rpc.method.process), rpc.request(**names)
    needed = {rpc.permission} - {""}
    others = sorted({other.permission for other in RPCS} - needed - {""})
    for permissions in ([], others) if needed else ():
        token = platform.token(organization, permissions=permissions)
        refused = refusal(channel, rpc.method, request, token)
        assert_refused(refused, "PERMISSION_DENIED", "PERMISSION_DENIED")
    token = platform.token(organization, permissions=sorted(needed))
    assert call(channel, rpc.method, request, token)


@pytest.mark.parametrize("rpc", [rpc for rpc in RPCS if rpc.missing], ids=str)
def test_what_is_another_organizations_is_not_there(
    platform: RunningPlatform,
    organization: str,
    connect: Callable[[str], grpc.Channel],
    names: dict[str, str],
    rpc: Rpc,
) -> None:
    channel = connect(rpc.method.process)
    stranger = platform.token(f"{organization}-other")
    theirs = refusal(channel, rpc.method, rpc.request(**names), stranger)
    assert_refused(theirs, "NOT_FOUND", rpc.missing)
    own = platform.token(organization)
    unknown = refusal(channel, rpc.method, rpc.request(**UNKNOWN), own)
    assert_refused(unknown, "NOT_FOUND", rpc.missing)


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
