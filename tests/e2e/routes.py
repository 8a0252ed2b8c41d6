"""Every REST route, with what it takes to be called well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.e2e.ledger_resources import CORRECTION, RATE_CARD, RECORDED
from tests.e2e.tool_runner_resources import MCP_SERVER, TOOL


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the API.

    Attributes:
        method: The HTTP method.
        path: The path, with the names of what it needs in braces.
        permission: What the caller must hold; empty if a token is enough.
        body: A good body; None if the route takes none.
        missing: The code of the error that there is no such resource; empty if it needs none.
        streams: Whether it answers server-sent events.
        is_open: Whether it needs no token.
    """

    method: str
    path: str
    permission: str
    body: dict[str, Any] | None = None
    missing: str = ""
    streams: bool = False
    is_open: bool = False

    def __str__(self) -> str:
        """Names it in a test's id."""
        return f"{self.method} {self.path}"


ROUTES = [
    Route("POST", "/api/v1/agents", "agent:write", {"name": "Ada"}),
    Route("GET", "/api/v1/agents", "agent:read"),
    Route("GET", "/api/v1/agents/{agent_id}", "agent:read", missing="AGENT_NOT_FOUND"),
    Route(
        *("PATCH", "/api/v1/agents/{agent_id}", "agent:write"),
        body={"name": "Bea"},
        missing="AGENT_NOT_FOUND",
    ),
    Route("DELETE", "/api/v1/agents/{agent_id}", "agent:write", missing="AGENT_NOT_FOUND"),
    *(
        Route(
            *("POST", f"/api/v1/agents/{{agent_id}}/{action}", "run:execute"),
            body={"input": "Hello!"},
            missing="AGENT_NOT_FOUND",
        )
        for action in ("execute", "test", "runs")
    ),
    Route("GET", "/api/v1/agents/{agent_id}/tools", "agent:read", missing="AGENT_NOT_FOUND"),
    Route("GET", "/api/v1/runs", "run:read"),
    Route("GET", "/api/v1/runs/{run_id}", "run:read", missing="RUN_NOT_FOUND"),
    Route(
        *("GET", "/api/v1/runs/{run_id}/events", "run:read"),
        missing="RUN_NOT_FOUND",
        streams=True,
    ),
    Route(
        *("POST", "/api/v1/agents/{agent_id}/execute/stream", "run:execute"),
        body={"input": "Hello!"},
        missing="AGENT_NOT_FOUND",
        streams=True,
    ),
    Route(
        *("POST", "/api/v1/agents/{agent_id}/execute/batch", "run:execute"),
        body={"inputs": ["Hello!"]},
        missing="AGENT_NOT_FOUND",
    ),
    Route(
        *("POST", "/api/v1/agents/{agent_id}/runs/batch", "run:execute"),
        body={"inputs": ["Hello!"]},
        missing="AGENT_NOT_FOUND",
    ),
    Route("POST", "/api/v1/runs/{run_id}/cancel", "run:execute", {}, missing="RUN_NOT_FOUND"),
    Route("GET", "/api/v1/conversations", "run:read"),
    Route(
        *("GET", "/api/v1/conversations/{conversation_id}", "run:read"),
        missing="CONVERSATION_NOT_FOUND",
    ),
    Route(
        *("DELETE", "/api/v1/conversations/{conversation_id}", "run:execute"),
        missing="CONVERSATION_NOT_FOUND",
    ),
    Route("GET", "/api/v1/approvals", "run:read"),
    Route(
        *("POST", "/api/v1/runs/{run_id}/approvals/{tool_call_id}", "run:approve"),
        body={"decision": "approve"},
        missing="RUN_NOT_FOUND",
    ),
    Route("POST", "/api/v1/tools", "tool:write", TOOL),
    Route("GET", "/api/v1/tools", "tool:read"),
    Route("GET", "/api/v1/tools/{tool_name}", "tool:read"),
    Route("DELETE", "/api/v1/tools/{tool_name}", "tool:write"),
    Route("GET", "/api/v1/sandbox", "tool:read"),
    Route(
        *("PUT", "/api/v1/tools/{tool_name}/rate-limit", "policy:admin"),
        body={"max_calls": 5, "window_seconds": 60},
    ),
    Route(*("DELETE", "/api/v1/tools/{tool_name}/rate-limit", "policy:admin"), missing="NOT_FOUND"),
    Route("GET", "/api/v1/rate-limits", "policy:admin"),
    Route("POST", "/api/v1/allowed-domains", "policy:admin", {"domain": "api.example.com"}),
    Route("GET", "/api/v1/allowed-domains", "policy:admin"),
    Route("DELETE", "/api/v1/allowed-domains/{domain}", "policy:admin", missing="NOT_FOUND"),
    Route("PUT", "/api/v1/credentials/{name}", "credential:admin", {"secret": "s3cret"}),
    Route("GET", "/api/v1/credentials", "credential:admin"),
    Route(
        "DELETE", "/api/v1/credentials/{name}", "credential:admin", missing="CREDENTIAL_NOT_FOUND"
    ),
    Route("PUT", "/api/v1/mcp-servers/{name}", "policy:admin", MCP_SERVER),
    Route("GET", "/api/v1/mcp-servers", "tool:read"),
    Route("GET", "/api/v1/mcp-servers/{name}", "tool:read", missing="MCP_SERVER_NOT_FOUND"),
    Route(
        *("POST", "/api/v1/mcp-servers/{name}/refresh", "policy:admin", {}),
        missing="MCP_SERVER_NOT_FOUND",
    ),
    Route("DELETE", "/api/v1/mcp-servers/{name}", "policy:admin", missing="MCP_SERVER_NOT_FOUND"),
    Route("GET", "/api/v1/audit-events", "policy:admin"),
    Route("GET", "/api/v1/usage", "ledger:read"),
    Route("GET", "/api/v1/usage/entries", "ledger:read"),
    Route("POST", "/api/v1/usage/entries", "ledger:write", {"entries": [RECORDED]}),
    Route("POST", "/api/v1/usage/corrections", "ledger:write", CORRECTION),
    Route(
        *("POST", "/api/v1/usage/rerate", "ledger:admin"),
        body={"start_time": "2026-01-01T00:00:00Z", "dry_run": True},
    ),
    Route("GET", "/api/v1/usage/runs/{run_id}", "ledger:read", missing="RUN_NOT_FOUND"),
    Route("GET", "/api/v1/usage/export", "ledger:read"),
    Route("GET", "/api/v1/suggestions", "ledger:read"),
    Route("POST", "/api/v1/rate-cards", "ledger:admin", RATE_CARD),
    Route("GET", "/api/v1/rate-cards", "ledger:read"),
    Route("GET", "/api/v1/rate-cards/{rate_card_id}", "ledger:read", missing="RATE_CARD_NOT_FOUND"),
    Route(
        *("DELETE", "/api/v1/rate-cards/{rate_card_id}", "ledger:admin"),
        missing="RATE_CARD_NOT_FOUND",
    ),
    Route("GET", "/api/v1/rate-card?model=claude-sonnet-5", "ledger:read"),
    Route("GET", "/api/v1/budgets", "ledger:read"),
    Route("PUT", "/api/v1/budgets/{budget_id}", "ledger:admin", {"limit_usd": 5}),
    Route("GET", "/api/v1/budgets/{budget_id}", "ledger:read", missing="BUDGET_NOT_FOUND"),
    Route("DELETE", "/api/v1/budgets/{budget_id}", "ledger:admin", missing="BUDGET_NOT_FOUND"),
    Route("GET", "/api/v1/budget-events", "ledger:read"),
    Route("POST", "/api/v1/api-keys", "api_key:write", {"name": "Ada's"}),
    Route("GET", "/api/v1/api-keys", "api_key:read"),
    Route(*("GET", "/api/v1/api-keys/{api_key_id}", "api_key:read"), missing="API_KEY_NOT_FOUND"),
    Route(
        *("DELETE", "/api/v1/api-keys/{api_key_id}", "api_key:write"), missing="API_KEY_NOT_FOUND"
    ),
    Route("POST", "/api/v1/token", "", {"api_key": "aek_unknown"}, is_open=True),
    Route("GET", "/api/v1/caller", ""),
    Route("POST", "/api/v1/session", "", {}),
    Route("DELETE", "/api/v1/session", ""),
]
PATHS = sorted({route.path.partition("?")[0] for route in ROUTES})
PERMISSIONS = sorted({route.permission for route in ROUTES if route.permission})
