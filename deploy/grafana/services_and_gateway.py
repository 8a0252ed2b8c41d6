"""How the processes are: calls, event loops, databases, the queue and its leases, and Envoy."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.gateway_rows import gateway_rows
from deploy.grafana.panels import (
    BYTES,
    COUNT,
    PER_SECOND,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    Query,
    Row,
    board,
    choice,
    lines,
    quantiles,
    rate,
    rows,
    stacked,
)

_JOB: Final = 'job=~"$job"'


def services_and_gateway() -> models.Dashboard:
    """Makes the dashboard."""
    return board(
        "services-and-gateway",
        "Agent Executor: services and gateway",
        "How the processes are: calls, event loops, databases, the queue and its leases, and Envoy.",
        [_processes(), _calls(), _queue(), _storage(), _streams(), *gateway_rows()],
        [choice("job", "Service", "agent_executor_build_info")],
    )


def _processes() -> Row:
    up = lines(
        "Processes that answer",
        "By service; below what you run, some are down.",
        COUNT,
        [Query('sum by (job) (up{job!="prometheus"})', "{{job}}")],
    )
    build = rows(
        "What runs",
        "The version of each process, and of its Python.",
        Query("agent_executor_build_info"),
    )
    lag = lines(
        "Event-loop lag (p95)",
        "How late the event loop comes to a timer; above a quarter second callers feel it.",
        SECONDS,
        quantiles("agent_executor_event_loop_lag_seconds", _JOB, "job"),
    )
    cpu = lines(
        "Processor",
        "Cores in use, by process; a process of Python has one at most.",
        COUNT,
        [Query(f"rate(process_cpu_seconds_total{{{_JOB}}}[$__rate_interval])", _INSTANCE)],
    )
    memory = lines(
        "Memory",
        "Resident, by process.",
        BYTES,
        [Query(f"process_resident_memory_bytes{{{_JOB}}}", _INSTANCE)],
    )
    files = lines(
        "File descriptors",
        "Share of what a process may open.",
        SHARE,
        [Query(f"process_open_fds{{{_JOB}}} / process_max_fds", _INSTANCE)],
    )
    collected = lines(
        "Time in Python's cycle collector",
        "Share of the time that a process stood still for it.",
        SHARE,
        [
            Query(
                "sum by (job, instance) (rate(agent_executor_garbage_collection_seconds_total"
                f"{{{_JOB}}}[$__rate_interval]))",
                _INSTANCE,
            )
        ],
    )
    return Row("Processes", [[up, build], [lag, cpu, memory], [files, collected]])


def _calls() -> Row:
    calls = stacked(
        "Calls",
        "Per second, by method; internal ones included.",
        REQUESTS_PER_SECOND,
        [Query(rate("agent_executor_rpc_requests_total", "method", _JOB), "{{method}}")],
    )
    errors = stacked(
        "Calls that were not OK",
        "Per second, by service and code; INTERNAL has its cause in the service's log.",
        REQUESTS_PER_SECOND,
        [
            Query(
                rate("agent_executor_rpc_requests_total", "job, code", f'{_JOB}, code!="OK"'),
                "{{job}} {{code}}",
            )
        ],
    )
    took = lines(
        "How long calls took (p95)",
        "By method; each point is a call with its trace.",
        SECONDS,
        quantiles("agent_executor_rpc_duration_seconds", _JOB, "method"),
    )
    web = stacked(
        "Requests of the web process",
        "Per second, by what it serves and HTTP status.",
        REQUESTS_PER_SECOND,
        [Query(rate("agent_executor_web_requests_total", "room, status"), "{{room}} {{status}}")],
    )
    web_took = lines(
        "How long they took (p95)",
        "Until the last byte, by what it serves.",
        SECONDS,
        quantiles("agent_executor_web_request_duration_seconds", by="room"),
    )
    return Row("Calls", [[calls, errors, took], [web, web_took]])


def _queue() -> Row:
    runs = lines(
        "Runs",
        "At work and waiting for a place.",
        COUNT,
        [
            Query("sum(agent_executor_runs_active)", "at work"),
            Query("sum(agent_executor_runs_active_max)", "places"),
            Query("max(agent_executor_runs_waiting)", "waiting"),
        ],
    )
    owned = lines(
        "Runs by executor",
        "Unfinished ones that each has by its lease.",
        COUNT,
        [Query("agent_executor_runs_owned", "{{instance}}")],
    )
    leases = lines(
        "Leases",
        "Renewals per second by outcome, and runs that were taken over or lost.",
        PER_SECOND,
        [
            Query(rate("agent_executor_lease_renewals_total", "outcome"), "{{outcome}}"),
            Query(rate("agent_executor_runs_taken_over_total", "reason"), "taken: {{reason}}"),
            Query(rate("agent_executor_runs_lost_total"), "lost"),
        ],
    )
    recovered = lines(
        "How long recovery took",
        "From the claim of a run that was left until it went on.",
        SECONDS,
        quantiles("agent_executor_run_recovery_duration_seconds"),
    )
    webhooks = lines(
        "Webhooks",
        "Attempts per second by outcome, and how many are still to be told.",
        COUNT,
        [
            Query(rate("agent_executor_webhook_deliveries_total", "outcome"), "{{outcome}}"),
            Query("max(agent_executor_webhooks_waiting)", "waiting"),
        ],
    )
    told = lines(
        "How long after its end a run was told",
        "By webhook.",
        SECONDS,
        quantiles("agent_executor_webhook_delivery_delay_seconds"),
    )
    return Row("Queue, leases and webhooks", [[runs, owned, leases], [recovered, webhooks, told]])


def _storage() -> Row:
    commits = lines(
        "Commits",
        "Transactions of the group-commit writer per second, by service.",
        PER_SECOND,
        [Query(rate("agent_executor_database_commits_total", "job"), "{{job}}")],
    )
    shared = lines(
        "Operations in each",
        "More of them in one are cheaper; 1 while there is little to do.",
        COUNT,
        [
            Query(
                f"{rate('agent_executor_database_operations_total', 'job')}"
                f" / {rate('agent_executor_database_commits_total', 'job')}",
                "{{job}}",
            )
        ],
    )
    took = lines(
        "How long commits took (p95)",
        "By service.",
        SECONDS,
        quantiles("agent_executor_database_commit_duration_seconds", by="job"),
    )
    connections = stacked(
        "Connections to PostgreSQL",
        "By service and use; none with SQLite.",
        COUNT,
        [
            Query(
                "sum by (job, use) (agent_executor_database_connections) or vector(0)",
                "{{job}} {{use}}",
            )
        ],
    )
    redis = lines(
        "How long Redis took (p95)",
        "A round trip, by what it is for; nothing without `REDIS_URL`.",
        SECONDS,
        quantiles("agent_executor_redis_duration_seconds", by="use"),
    )
    redis_errors = stacked(
        "Errors of Redis",
        "Per second, by what it is for and reason; processes go on without it.",
        PER_SECOND,
        [Query(rate("agent_executor_redis_errors_total", "use, reason"), "{{use}} {{reason}}")],
    )
    return Row("Databases", [[commits, shared], [took, connections], [redis, redis_errors]])


def _streams() -> Row:
    connected = lines(
        "Streams between the services",
        "That are connected, by executor and peer; at 0 none of the peer's processes answers.",
        COUNT,
        [Query("agent_executor_streams_connected", "{{instance}} {{peer}}")],
    )
    together = lines(
        "Calls in each message",
        "More of them in one are cheaper.",
        COUNT,
        [
            Query(
                f"{rate('agent_executor_stream_frames_total', 'peer')}"
                f" / {rate('agent_executor_stream_messages_total', 'peer')}",
                "{{peer}}",
            )
        ],
    )
    readers = lines(
        "Readers of runs",
        "Callers that follow a run's events now.",
        COUNT,
        [Query("sum(agent_executor_event_streams_open)", "readers")],
    )
    unsettled = lines(
        "Model calls being settled",
        "Whose cost the ledger has not confirmed.",
        COUNT,
        [Query("sum(agent_executor_unsettled_model_calls)", "unsettled")],
    )
    return Row("Streams", [[connected, together, readers, unsettled]])


_INSTANCE: Final = "{{job}} {{instance}}"
