"""The first dashboard to look at: are the objectives kept, how much goes on, what does it cost?"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import (
    COUNT,
    DOLLARS,
    PER_SECOND,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    Query,
    Row,
    board,
    figure,
    lines,
    quantiles,
    rate,
    stacked,
)

# The objectives of deploy/prometheus/rules/alerts.yaml: what may fail or be slow in 30 days.
_ALLOWED: Final = {
    "gateway:request_errors:ratio_rate": ("Requests answered", "0.001"),
    "gateway:slow_requests:ratio_rate": ("Calls within a second", "0.01"),
    "executor:run_failures:ratio_rate": ("Runs that do not fail", "0.01"),
    "executor:slow_runs:ratio_rate": ("Runs within a minute", "0.05"),
}


def overview() -> models.Dashboard:
    """Makes the dashboard."""
    return board(
        "overview",
        "Agent Executor: overview",
        "Are the objectives kept, how much goes on, and what does it cost?",
        [_objectives(), _now(), _runs(), _requests()],
    )


def _objectives() -> Row:
    shares = [
        figure(
            title,
            f"Over the last 30 days; the objective is {1 - float(allowed):.1%}.",
            SHARE,
            Query(f"1 - {record}_30d"),
            steps=(1 - float(allowed) / 2, 1 - float(allowed)),
            decimals=3,
        )
        for record, (title, allowed) in _ALLOWED.items()
    ]
    left = lines(
        "Error budgets left",
        "Of what may go wrong in 30 days, the part that is left; below 0 the objective is missed.",
        SHARE,
        [
            Query(f"1 - {record}_30d / {allowed}", title)
            for record, (title, allowed) in _ALLOWED.items()
        ],
    )
    burning = lines(
        "How fast they are used up",
        "1 is just as fast as 30 days allow; an alert pages at 14.4 in an hour, or 6 in six.",
        COUNT,
        [Query(f"{record}_1h / {allowed}", title) for record, (title, allowed) in _ALLOWED.items()],
    )
    # A budget that is overdrawn is below the axis.
    return Row("Objectives over 30 days", [shares, [left.min(-1).max(1), burning]], height=6)


def _now() -> Row:
    firing = figure(
        "Alerts",
        "How many fire; the runbook of each is in deploy/docs/runbooks.md.",
        COUNT,
        Query('count(ALERTS{alertstate="firing"}) or vector(0)'),
        steps=(1, 2),
    )
    active = figure(
        "Runs at work", "Of all executors.", COUNT, Query("sum(agent_executor_runs_active)")
    )
    full = figure(
        "Places taken",
        "Runs at work, of those that all executors may drive at once.",
        SHARE,
        Query("sum(agent_executor_runs_active) / sum(agent_executor_runs_active_max)"),
        steps=(0.7, 0.9),
    )
    waiting = figure(
        "Runs waiting",
        "For a place at any executor.",
        COUNT,
        Query("max(agent_executor_runs_waiting)"),
        steps=(10, 100),
    )
    oldest = figure(
        "Oldest waiting",
        "How long it has waited for a place.",
        SECONDS,
        Query("max(agent_executor_runs_waiting_oldest_seconds)"),
        steps=(60, 300),
    )
    approvals = figure(
        "Approvals waiting",
        "Tool calls that a person has to decide on.",
        COUNT,
        Query("max(agent_executor_approvals_waiting)"),
    )
    spent = figure(
        "Spent",
        "Cost of the usage recorded in the time that is shown, less what was given back.",
        DOLLARS,
        Query(
            "(sum(increase(agent_executor_usage_cost_nano_usd_total[$__range]))"
            " - (sum(increase(agent_executor_usage_credit_nano_usd_total[$__range])) or vector(0)))"
            " / 1e9"
        ),
    )
    held = figure(
        "Held",
        "Money held for model calls under way.",
        DOLLARS,
        Query("max(agent_executor_reserved_nano_usd) / 1e9"),
    )
    return Row("Now", [[firing, active, full, waiting, oldest, approvals, spent, held]], height=4)


def _runs() -> Row:
    ended = stacked(
        "Runs that ended",
        "Per second, by the state they ended in.",
        PER_SECOND,
        [Query(rate("agent_executor_runs_total", "state"), "{{state}}")],
    )
    took = lines(
        "How long runs took",
        "From creation to end, waiting included; each point is a run with its trace.",
        SECONDS,
        quantiles("agent_executor_run_duration_seconds"),
    )
    costs = stacked(
        "Cost per hour",
        "Of the usage recorded, by model, at the rate of the moment.",
        DOLLARS,
        [
            Query(
                f"{rate('agent_executor_usage_cost_nano_usd_total', 'model')} / 1e9 * 3600",
                "{{model}}",
            )
        ],
    )
    return Row("Runs", [[ended, took, costs]])


def _requests() -> Row:
    gateway = 'envoy_http_conn_manager_prefix="gateway"'
    answers = stacked(
        "Requests at the gateway",
        "Per second, by class of the HTTP status; streams and probes included.",
        REQUESTS_PER_SECOND,
        [
            Query(
                rate("envoy_http_downstream_rq_xx", "envoy_response_code_class", gateway),
                "{{envoy_response_code_class}}xx",
            )
        ],
    )
    # Envoy counts in milliseconds.
    timed = 'envoy_vhost_vcluster_upstream_rq_time_bucket{envoy_virtual_cluster="other"}'
    took = lines(
        "How long calls took at the gateway",
        "Those that wait for no run.",
        "ms",
        [
            Query(
                f"histogram_quantile({share}, sum by (le) (rate({timed}[$__rate_interval])))", name
            )
            for name, share in (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99"))
        ],
    )
    refused = stacked(
        "Calls that were not OK",
        "Per second, by the status code that the services gave them.",
        PER_SECOND,
        [Query(rate("agent_executor_rpc_requests_total", "code", 'code!="OK"'), "{{code}}")],
    )
    return Row("Requests", [[answers, took, refused]])
