"""Every Prometheus metric of the platform: its name, unit, labels and help, in one place.

The values of the labels "agent", "model" and "tool" are names that users choose, so each process
tells only so many of them apart; see ``metrics``. Every other label has few values by itself.
``deploy/docs/metrics.md`` says which process shows each, and how those of several are put together.
"""

from __future__ import annotations

from typing import Final

from agent_executor.serving.metrics import (
    CounterDefinition,
    DurationDefinition,
    GaugeDefinition,
    SizeDefinition,
)

# A commit takes a tenth of a millisecond on a fast disk, and seconds on one that is overloaded.
_INSTANTS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0),
)
_MODEL_CALLS: Final = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
# From a run that the mock answers to one that waits for people.
_RUNS: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0),
    *(3600.0, 14400.0),
)
# Fewer, since each agent has all of them.
_RUNS_OF_AN_AGENT: Final = (0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_DELAYS: Final = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

BUILD_INFO: Final = GaugeDefinition(
    "agent_executor_build_info",
    "Always 1; what runs here: the version, that of Python, and the process.",
    ("version", "python", "process"),
)
EVENT_LOOP_LAG: Final = DurationDefinition(
    "agent_executor_event_loop_lag_seconds",
    "How late the event loop came to a timer, sampled twice a second, in seconds.",
)
GARBAGE_COLLECTIONS: Final = CounterDefinition(
    "agent_executor_garbage_collections",
    "Runs of Python's cycle collector, by generation.",
    ("generation",),
)
GARBAGE_COLLECTION_SECONDS: Final = CounterDefinition(
    "agent_executor_garbage_collection_seconds",
    "How long the process stood still for Python's cycle collector, in seconds, by generation.",
    ("generation",),
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
    buckets=_RUNS,
)
RUNS_ACTIVE: Final = GaugeDefinition(
    "agent_executor_runs_active", "Runs that this executor drives at present."
)
RUNS_ACTIVE_MAX: Final = GaugeDefinition(
    "agent_executor_runs_active_max", "Runs that this executor drives at most, as it is set."
)
AGENT_RUNS: Final = CounterDefinition(
    "agent_executor_agent_runs",
    'Runs that ended, by agent, the state they ended in and the error, which is "OK" for none.',
    ("agent", "state", "code"),
)
AGENT_RUN_DURATION: Final = DurationDefinition(
    "agent_executor_agent_run_duration_seconds",
    "How long runs took from their creation to their end, in seconds, by agent.",
    ("agent",),
    buckets=_RUNS_OF_AN_AGENT,
)
AGENT_TOKENS: Final = CounterDefinition(
    "agent_executor_agent_tokens",
    "Tokens of all kinds of the runs that ended, by agent.",
    ("agent",),
)
AGENT_COST: Final = CounterDefinition(
    "agent_executor_agent_cost_nano_usd",
    "Cost of the runs that ended, in nano-US-dollars, by agent.",
    ("agent",),
)
RUNS_WAITING: Final = GaugeDefinition(
    "agent_executor_runs_waiting",
    "Runs in the journal that wait for a place at any executor; each shows the same.",
)
RUNS_WAITING_OLDEST: Final = GaugeDefinition(
    "agent_executor_runs_waiting_oldest_seconds",
    "How long the oldest of the runs that wait for a place has waited, in seconds; 0 if none does.",
)
RUNS_OWNED: Final = GaugeDefinition(
    "agent_executor_runs_owned",
    "Unfinished runs that this executor has by its lease, those that are paused included.",
)
RUNS_TAKEN_OVER: Final = CounterDefinition(
    "agent_executor_runs_taken_over",
    "Runs that this executor went on with after another attempt, by why that one had left them.",
    ("reason",),
)
RUN_RECOVERY_DURATION: Final = DurationDefinition(
    "agent_executor_run_recovery_duration_seconds",
    "How long it took from the claim of such a run until it went on, in seconds.",
    buckets=_INSTANTS,
)
RUNS_LOST: Final = CounterDefinition(
    "agent_executor_runs_lost",
    "Runs that this executor drove until it found that another one had taken them over.",
)
LEASE_RENEWALS: Final = CounterDefinition(
    "agent_executor_lease_renewals",
    'Renewals of this executor\'s lease, by outcome: "renewed" or "failed".',
    ("outcome",),
)
APPROVALS_WAITING: Final = GaugeDefinition(
    "agent_executor_approvals_waiting",
    "Approvals in the database that a person can decide now; each executor shows the same.",
)
APPROVALS_WAITING_OLDEST: Final = GaugeDefinition(
    "agent_executor_approvals_waiting_oldest_seconds",
    "How long the oldest of them has waited, in seconds; 0 if there is none.",
)
EVENT_STREAMS_OPEN: Final = GaugeDefinition(
    "agent_executor_event_streams_open", "Readers that follow runs at this executor at present."
)
UNSETTLED_MODEL_CALLS: Final = GaugeDefinition(
    "agent_executor_unsettled_model_calls",
    "Model calls of runs driven here whose settlement the ledger has not confirmed.",
)
UNSETTLED_MODEL_CALLS_OLDEST: Final = GaugeDefinition(
    "agent_executor_unsettled_model_calls_oldest_seconds",
    "For how long the oldest of them is being settled, in seconds; 0 if there is none.",
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
    buckets=_MODEL_CALLS,
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
    buckets=_DELAYS,
)
WEBHOOKS_WAITING: Final = GaugeDefinition(
    "agent_executor_webhooks_waiting",
    "Ends of runs in the database that are still to be told; each executor shows the same.",
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
TOOL_CALL_REFUSALS: Final = CounterDefinition(
    "agent_executor_tool_call_refusals",
    'Tool calls that were refused before they ran, by rule, for example "permission".',
    ("rule",),
)
RATE_LIMIT_REFUSALS: Final = CounterDefinition(
    "agent_executor_rate_limit_refusals",
    "Tool calls that came too early, by whose limit: organization, user, tool or caller.",
    ("scope",),
)
RESULT_CACHE_LOOKUPS: Final = CounterDefinition(
    "agent_executor_result_cache_lookups",
    'Calls of tools that keep results, by result: "hit" if the tool was not run.',
    ("result",),
)
SANDBOX_AVAILABLE: Final = GaugeDefinition(
    "agent_executor_sandbox_available",
    "Whether custom tools can be isolated, and are run: 1 or 0.",
)
SANDBOX_WORKERS: Final = GaugeDefinition(
    "agent_executor_sandbox_workers",
    'Worker processes of the sandbox, by state: "starting", "idle" or "busy".',
    ("state",),
)
SANDBOX_CALLS_WAITING: Final = GaugeDefinition(
    "agent_executor_sandbox_calls_waiting", "Calls of custom tools that wait for a worker."
)
SANDBOX_WAIT_DURATION: Final = DurationDefinition(
    "agent_executor_sandbox_wait_duration_seconds",
    "How long calls of custom tools waited for a worker, in seconds.",
    buckets=_INSTANTS,
)
SANDBOX_WORKER_STARTS: Final = CounterDefinition(
    "agent_executor_sandbox_worker_starts", "Workers that became ready for their one call."
)
SANDBOX_WORKER_DEATHS: Final = CounterDefinition(
    "agent_executor_sandbox_worker_deaths",
    'Workers that ended before their call had its result, by reason: "idle" without a call, '
    "the limit that the call came to, or the error.",
    ("reason",),
)
SANDBOX_REFUSALS: Final = CounterDefinition(
    "agent_executor_sandbox_refusals",
    'Calls of custom tools that got no worker, by reason: "unavailable", "queued_calls" or '
    '"deadline".',
    ("reason",),
)
RESERVATIONS: Final = CounterDefinition(
    "agent_executor_reservations",
    'Requests to hold money, by outcome: "admitted", "reduced" to less output, or "refused".',
    ("outcome",),
)
RESERVATIONS_EXPIRED: Final = CounterDefinition(
    "agent_executor_reservations_expired",
    "Holds that ended by their time, neither settled nor given back.",
)
RESERVATIONS_OPEN: Final = GaugeDefinition(
    "agent_executor_reservations_open",
    "Holds in the database that are open; each ledger shows the same.",
)
RESERVED_MONEY: Final = GaugeDefinition(
    "agent_executor_reserved_nano_usd",
    "Money that they hold, in nano-US-dollars; each ledger shows the same.",
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
DATABASE_COMMIT_OPERATIONS: Final = SizeDefinition(
    "agent_executor_database_commit_operations",
    "How many operations shared each of those transactions.",
    buckets=_SIZES,
)
DATABASE_COMMIT_DURATION: Final = DurationDefinition(
    "agent_executor_database_commit_duration_seconds",
    "How long each of those transactions took with its commit, in seconds.",
    buckets=_INSTANTS,
)
DATABASE_CONNECTIONS: Final = GaugeDefinition(
    "agent_executor_database_connections",
    'Connections to PostgreSQL, by use: "writing", "reading" or "idle"; none with SQLite.',
    ("use",),
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
STREAMS_CONNECTED: Final = GaugeDefinition(
    "agent_executor_streams_connected",
    "Multiplexed streams to a peer that are connected; 0: none of the peer's processes answers.",
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
