"""Every Prometheus metric of the platform: its name, unit, labels and help, in one place."""

from __future__ import annotations

from typing import Final

from agent_executor.serving.metrics import (
    CounterDefinition,
    DurationDefinition,
    GaugeDefinition,
)

RPC_REQUESTS: Final = CounterDefinition(
    "agent_executor_rpc_requests",
    "Calls that ended, refused ones included, by gRPC method and status code.",
    ("method", "code"),
)
RPC_DURATION: Final = DurationDefinition(
    "agent_executor_rpc_duration_seconds",
    "How long calls took in the service, in seconds.",
    ("method",),
)
RUNS: Final = CounterDefinition(
    "agent_executor_runs", "Runs that ended, by the state they ended in.", ("state",)
)
RUN_DURATION: Final = DurationDefinition(
    "agent_executor_run_duration_seconds",
    "How long runs took from their creation to their end, in seconds.",
    ("state",),
)
RUNS_ACTIVE: Final = GaugeDefinition(
    "agent_executor_runs_active", "Runs that this executor drives at present."
)
MODEL_CALLS: Final = CounterDefinition(
    "agent_executor_model_calls",
    'Model calls that ended, by provider, model and error reason, which is "OK" for an answer.',
    ("provider", "model", "code"),
)
MODEL_CALL_DURATION: Final = DurationDefinition(
    "agent_executor_model_call_duration_seconds",
    "How long model calls took, in seconds.",
    ("provider", "model"),
)
MODEL_TOKENS: Final = CounterDefinition(
    "agent_executor_model_tokens",
    "Tokens of model calls, by model and kind as the usage entry names it.",
    ("model", "kind"),
)
UNHELD_MODEL_CALLS: Final = CounterDefinition(
    "agent_executor_unheld_model_calls",
    "Model calls made while the ledger was away, for which no money was held, by model.",
    ("model",),
)
RESPONSE_CACHE_LOOKUPS: Final = CounterDefinition(
    "agent_executor_response_cache_lookups",
    'Requests whose agents share answers, by model and result: "hit" if no model was asked.',
    ("model", "result"),
)
WEBHOOK_DELIVERIES: Final = CounterDefinition(
    "agent_executor_webhook_deliveries",
    'Attempts to tell a run\'s end, by outcome: "delivered", "retried" later, or "failed" for good.',
    ("outcome",),
)
WEBHOOK_DELIVERY_DELAY: Final = DurationDefinition(
    "agent_executor_webhook_delivery_delay_seconds",
    "How long after a run's end its webhook was told, in seconds.",
)
TOOL_CALLS: Final = CounterDefinition(
    "agent_executor_tool_calls",
    'Tool calls that ended, by tool and error reason, which is "OK" for a result.',
    ("tool", "code"),
)
TOOL_CALL_DURATION: Final = DurationDefinition(
    "agent_executor_tool_call_duration_seconds",
    "How long dispatched tool calls took, in seconds.",
    ("tool",),
)
SANDBOX_AVAILABLE: Final = GaugeDefinition(
    "agent_executor_sandbox_available",
    "Whether custom tools can be isolated, and are run: 1 or 0.",
)
RESERVATIONS: Final = CounterDefinition(
    "agent_executor_reservations",
    'Requests to hold money, by outcome: "admitted", "reduced" to less output, or "refused".',
    ("outcome",),
)
USAGE_COST: Final = CounterDefinition(
    "agent_executor_usage_cost_nano_usd",
    "Cost of the usage entries recorded, in nano-US-dollars, by model.",
    ("model",),
)
USAGE_CREDIT: Final = CounterDefinition(
    "agent_executor_usage_credit_nano_usd",
    "What corrections and adjustments gave back, in nano-US-dollars, by model.",
    ("model",),
)
USAGE_ENTRIES: Final = CounterDefinition(
    "agent_executor_usage_entries",
    'Usage entries recorded, by model and by how they found their reservation: "open", or late.',
    ("model", "reservation"),
)
USAGE_TOKENS: Final = CounterDefinition(
    "agent_executor_usage_tokens",
    "Tokens of the usage entries recorded, by model and kind as the entry names it.",
    ("model", "kind"),
)
BUDGET_OVERRUNS: Final = CounterDefinition(
    "agent_executor_budget_overruns",
    "Times a budget was left over its limit, by a late or underestimated call or a lower limit.",
)
UNPRICED_MODELS: Final = CounterDefinition(
    "agent_executor_unpriced_models",
    "Models that have no price and are recorded at zero since; each process counts one once.",
)
BUDGET_THRESHOLDS: Final = CounterDefinition(
    "agent_executor_budget_thresholds",
    "Times that spending reached a part of a budget's limit that is to raise an alert.",
)
DATABASE_COMMITS: Final = CounterDefinition(
    "agent_executor_database_commits", "Transactions that the group-commit writer ended."
)
DATABASE_OPERATIONS: Final = CounterDefinition(
    "agent_executor_database_operations", "Operations in those transactions."
)
STREAM_MESSAGES: Final = CounterDefinition(
    "agent_executor_stream_messages",
    "Messages sent on the multiplexed stream to a peer.",
    ("peer",),
)
STREAM_FRAMES: Final = CounterDefinition(
    "agent_executor_stream_frames",
    "Calls and cancellations in those messages; more per message are cheaper ones.",
    ("peer",),
)

WEB_REQUESTS: Final = CounterDefinition(
    "agent_executor_web_requests",
    'Requests that the web process answered, by room, as "docs", and HTTP status.',
    ("room", "status"),
)
WEB_REQUEST_DURATION: Final = DurationDefinition(
    "agent_executor_web_request_duration_seconds",
    "How long requests of the web process took until their last byte, in seconds, by room.",
    ("room",),
)

REDIS_UP: Final = GaugeDefinition(
    "agent_executor_redis_up",
    'Whether Redis answers: 1 or 0, by use: "limits", "results", "telling", "changes".',
    ("use",),
)
REDIS_ERRORS: Final = CounterDefinition(
    "agent_executor_redis_errors",
    'Failures of Redis, by use and reason: "connection", "timeout", "authentication", "refused".',
    ("use", "reason"),
)
REDIS_DURATION: Final = DurationDefinition(
    "agent_executor_redis_duration_seconds",
    "How long round trips to Redis took, each with many commands, in seconds, by use.",
    ("use",),
)
CALLS_LIMITED_ALONE: Final = CounterDefinition(
    "agent_executor_rate_limits_without_redis",
    "Calls counted by one process alone while Redis was away, by outcome: "
    '"admitted", "refused", or "unavailable" if they were not let through uncounted.',
    ("outcome",),
)
