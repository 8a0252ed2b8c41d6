"""What tools do, why calls are refused, and how the sandbox of custom tools keeps up."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import (
    COUNT,
    PER_SECOND,
    SECONDS,
    SHARE,
    Query,
    Row,
    board,
    choice,
    figure,
    lines,
    quantiles,
    rate,
    stacked,
)

_TOOL: Final = 'tool=~"$tool"'


def tools_and_sandbox() -> models.Dashboard:
    """Makes the dashboard."""
    return board(
        "tools-and-sandbox",
        "Agent Executor: tools and sandbox",
        "What tools do, why calls are refused, and how the sandbox of custom tools keeps up.",
        [_calls(), _refusals(), _sandbox()],
        [choice("tool", "Tool", "agent_executor_tool_calls_total")],
    )


def _calls() -> Row:
    calls = stacked(
        "Tool calls",
        "Per second, by tool.",
        PER_SECOND,
        [Query(rate("agent_executor_tool_calls_total", "tool", _TOOL), "{{tool}}")],
    )
    succeeded = rate("agent_executor_tool_calls_total", "tool", f'{_TOOL}, code="OK"')
    success = lines(
        "Share with a result",
        "Of the calls that ended, by tool; refused ones count as ended.",
        SHARE,
        [
            Query(
                f"{succeeded} / {rate('agent_executor_tool_calls_total', 'tool', _TOOL)}",
                "{{tool}}",
            )
        ],
    )
    took = lines(
        "How long calls took (p95)",
        "By tool; each point is a call with its trace.",
        SECONDS,
        quantiles("agent_executor_tool_call_duration_seconds", _TOOL, "tool"),
    )
    errors = stacked(
        "Tool calls with an error",
        "Per second, by tool and error.",
        PER_SECOND,
        [
            Query(
                rate("agent_executor_tool_calls_total", "tool, code", f'{_TOOL}, code!="OK"'),
                "{{tool}} {{code}}",
            )
        ],
    )
    hits = rate("agent_executor_result_cache_lookups_total", selector='result="hit"')
    cached = lines(
        "Results from the cache",
        "Share of the calls of tools that keep results for which the tool was not run.",
        SHARE,
        [Query(f"{hits} / {rate('agent_executor_result_cache_lookups_total')}", "hits")],
    )
    approvals = lines(
        "Oldest approval",
        "How long it has waited for a person.",
        SECONDS,
        [Query("max(agent_executor_approvals_waiting_oldest_seconds)", "oldest")],
    )
    return Row("Calls", [[calls, success, took], [errors, cached, approvals]])


def _refusals() -> Row:
    rules = stacked(
        "Refused by rule",
        "Calls per second that were refused before they ran, by the rule that the audit log names.",
        PER_SECOND,
        [Query(rate("agent_executor_tool_call_refusals_total", "rule"), "{{rule}}")],
    )
    limits = stacked(
        "Refused by rate limit",
        "Calls per second that came too early, by whose limit it was.",
        PER_SECOND,
        [Query(rate("agent_executor_rate_limit_refusals_total", "scope"), "{{scope}}")],
    )
    return Row("Refusals", [[rules, limits]])


def _sandbox() -> Row:
    available = figure(
        "Tool-runners that run custom tools",
        "Share of those whose sandbox works; the others refuse custom tools.",
        SHARE,
        Query("avg(agent_executor_sandbox_available)"),
        steps=(0.99, 0.5),
    )
    workers = stacked(
        "Workers",
        "Processes of the sandbox, by what they do.",
        COUNT,
        [Query("sum by (state) (agent_executor_sandbox_workers)", "{{state}}")],
    )
    waiting = lines(
        "Calls that wait for a worker",
        "Of all tool-runners.",
        COUNT,
        [Query("sum(agent_executor_sandbox_calls_waiting)", "waiting")],
    )
    waited = lines(
        "How long they waited",
        "Until a worker took the call.",
        SECONDS,
        quantiles("agent_executor_sandbox_wait_duration_seconds"),
    )
    lives = lines(
        "Workers started and lost",
        "Per second; each worker does one call. Lost are those that ended without a result.",
        PER_SECOND,
        [
            Query(rate("agent_executor_sandbox_worker_starts_total"), "started"),
            Query(rate("agent_executor_sandbox_worker_deaths_total", "reason"), "lost: {{reason}}"),
        ],
    )
    refusals = stacked(
        "Calls without a worker",
        "Calls per second that got none, by reason.",
        PER_SECOND,
        [Query(rate("agent_executor_sandbox_refusals_total", "reason"), "{{reason}}")],
    )
    return Row("Sandbox", [[available, workers, waiting], [waited, lives, refusals]])
