"""Every RPC of the contracts, with a good request for it and what its caller must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from tests.e2e.ledger_resources import RATE_CARD, RECORDED
from tests.e2e.rpc import METHODS, Method
from tests.e2e.tool_runner_resources import MCP_SERVER, TOOL

USAGE = {"input_tokens": 1, "output_tokens": 1}


@dataclass(frozen=True)
class Rpc:
    """A method with a good request for it."""

    name: str
    # What the caller must hold; empty if any caller may.
    permission: str
    fields: dict[str, Any] = field(default_factory=dict)
    # The reason for something that there is not; empty if it needs nothing.
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
CARD = {"rate_card_id": "$rate_card_id"}
API_KEY = {"api_key_id": "$api_key_id"}
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
    Rpc("MonitorService/StreamActivity", "run:read"),
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
    Rpc("ApiKeyService/CreateApiKey", "api_key:write", {"name": "new"}),
    Rpc("ApiKeyService/ListApiKeys", "api_key:read"),
    Rpc("ApiKeyService/GetApiKey", "api_key:read", API_KEY, "API_KEY_NOT_FOUND"),
    Rpc("ApiKeyService/RevokeApiKey", "api_key:write", API_KEY, "API_KEY_NOT_FOUND"),
    Rpc("TokenService/GetCaller", ""),
    Rpc("TokenService/CreateSession", ""),
    Rpc("TokenService/DeleteSession", ""),
    Rpc("McpServerService/PutMcpServer", "policy:admin", {"name": "new", **MCP_SERVER}),
    Rpc("McpServerService/ListMcpServers", "tool:read"),
    *(
        Rpc(f"McpServerService/{verb}McpServer", permission, MCP_NAME, "MCP_SERVER_NOT_FOUND")
        for verb, permission in (
            *(("Get", "tool:read"), ("Refresh", "policy:admin")),
            ("Delete", "policy:admin"),
        )
    ),
]

ItemT = TypeVar("ItemT")

# Methods that are refused in other ways, and why.
OTHERWISE = {
    "Authorization/Check": "only the gateway calls it: what it denies is an answer",
    "RateLimitService/ShouldRateLimit": "only the gateway calls it: what it refuses is an answer",
    "TokenService/ExchangeApiKey": "who calls it has no token yet",
    "ToolCallService/ExecuteToolCall": "what a call is refused for is its result",
    "ToolCallService/StreamToolCalls": "its frames are refused one by one",
    "UsageService/StreamUsage": "its frames are refused one by one",
}
PERMISSIONS = sorted({rpc.permission for rpc in RPCS} - {""})
# What takes something away comes last where all are called one after the other.
_LAST = ("Delete", "Remove", "Revoke", "Withdraw", "Void")


def destroys(rpc: Rpc) -> bool:
    """Tells whether a method takes something away that others need."""
    return str(rpc.method.descriptor.name).startswith(_LAST)


def one_of_each_service(rpcs: Iterable[Rpc]) -> list[Rpc]:
    """Returns the first method of each service of the contracts."""
    first: dict[str, Rpc] = {}
    for rpc in rpcs:
        first.setdefault(rpc.name.partition("/")[0], rpc)
    return list(first.values())


def hold_for_each(items: Iterable[ItemT], check: Callable[[ItemT], None]) -> None:
    """Makes a check for each item, and says for which of them it fails."""
    wrong = []
    for item in items:
        try:
            check(item)
        except (AssertionError, pytest.fail.Exception) as error:
            wrong.append(f"{item}: {error}")
    assert not wrong, "\n".join(wrong)
