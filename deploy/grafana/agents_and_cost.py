"""What agents do, how well, and what they and their models cost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import (
    COUNT,
    DOLLARS,
    PER_SECOND,
    SECONDS,
    SHARE,
    Query,
    Row,
    bars,
    board,
    choice,
    figure,
    lines,
    quantiles,
    rate,
    stacked,
)

_AGENT: Final = 'agent=~"$agent"'
_MODEL: Final = 'model=~"$model"'


def agents_and_cost() -> models.Dashboard:
    """Makes the dashboard."""
    return board(
        "agents-and-cost",
        "Agent Executor: agents and cost",
        "What agents do, how well, and what they and their models cost.",
        [_agents(), _models(), _money(), _budgets()],
        [
            choice("agent", "Agent", "agent_executor_agent_runs_total"),
            choice("model", "Model", "agent_executor_model_calls_total"),
        ],
    )


def _agents() -> Row:
    ended = stacked(
        "Runs that ended",
        "Per second, by agent.",
        PER_SECOND,
        [Query(rate("agent_executor_agent_runs_total", "agent", _AGENT), "{{agent}}")],
    )
    completed = rate("agent_executor_agent_runs_total", "agent", f'{_AGENT}, state="completed"')
    success = lines(
        "Share that was completed",
        "Of the runs that ended, by agent.",
        SHARE,
        [
            Query(
                f"{completed} / {rate('agent_executor_agent_runs_total', 'agent', _AGENT)}",
                "{{agent}}",
            )
        ],
    )
    took = lines(
        "How long runs took (p95)",
        "By agent; each point is a run with its trace.",
        SECONDS,
        quantiles("agent_executor_agent_run_duration_seconds", _AGENT, "agent"),
    )
    errors = stacked(
        "Runs with an error",
        "Per second, by the error.",
        PER_SECOND,
        [
            Query(
                rate("agent_executor_agent_runs_total", "code", f'{_AGENT}, code!="OK"'), "{{code}}"
            )
        ],
    )
    tokens = stacked(
        "Tokens",
        "Of the runs that ended, per second, by agent.",
        PER_SECOND,
        [Query(rate("agent_executor_agent_tokens_total", "agent", _AGENT), "{{agent}}")],
    )
    costs = bars(
        "Cost of agents",
        "Of the runs that ended in the time that is shown; the twenty dearest.",
        DOLLARS,
        Query(
            "topk(20, sum by (agent) (increase("
            f"agent_executor_agent_cost_nano_usd_total{{{_AGENT}}}[$__range])) / 1e9)",
            "{{agent}}",
        ),
    )
    return Row("Agents", [[ended, success, took], [errors, tokens, costs]])


def _models() -> Row:
    calls = stacked(
        "Model calls",
        "Per second, by provider and model.",
        PER_SECOND,
        [
            Query(
                rate("agent_executor_model_calls_total", "provider, model", _MODEL),
                "{{provider}} {{model}}",
            )
        ],
    )
    took = lines(
        "How long model calls took (p95)",
        "By model; each point is a call with its trace.",
        SECONDS,
        quantiles("agent_executor_model_call_duration_seconds", _MODEL, "model"),
    )
    errors = stacked(
        "Model calls with an error",
        "Per second, by provider and error; those that are tried again included.",
        PER_SECOND,
        [
            Query(
                rate("agent_executor_model_calls_total", "provider, code", f'{_MODEL}, code!="OK"'),
                "{{provider}} {{code}}",
            )
        ],
    )
    tokens = stacked(
        "Tokens",
        "Per second, by kind: what was read from the provider's cache is a kind of its own.",
        PER_SECOND,
        [Query(rate("agent_executor_model_tokens_total", "kind", _MODEL), "{{kind}}")],
    )
    hits = rate("agent_executor_response_cache_lookups_total", "model", f'{_MODEL}, result="hit"')
    cached = lines(
        "Answers from the cache",
        "Share of requests of agents that share answers for which no model was asked, by model.",
        SHARE,
        [
            Query(
                f"{hits} / {rate('agent_executor_response_cache_lookups_total', 'model', _MODEL)}",
                "{{model}}",
            )
        ],
    )
    return Row("Models", [[calls, took, errors], [tokens, cached]])


def _money() -> Row:
    # The ledger's names of models are not the providers', so the choice above does not apply.
    per_hour = stacked(
        "Cost per hour",
        "Of the usage recorded, by model as rate cards call it.",
        DOLLARS,
        [
            Query(
                f"{rate('agent_executor_usage_cost_nano_usd_total', 'model')} / 1e9 * 3600",
                "{{model}}",
            )
        ],
    )
    by_model = bars(
        "Cost of models",
        "In the time that is shown.",
        DOLLARS,
        Query(
            "sum by (model) (increase(agent_executor_usage_cost_nano_usd_total[$__range])) / 1e9",
            "{{model}}",
        ),
    )
    entries = stacked(
        "Usage entries",
        "Per second, by how each found its hold: open, or too late.",
        PER_SECOND,
        [Query(rate("agent_executor_usage_entries_total", "reservation"), "{{reservation}}")],
    )
    given_back = figure(
        "Given back",
        "By corrections and adjustments, in the time that is shown.",
        DOLLARS,
        Query(
            "(sum(increase(agent_executor_usage_credit_nano_usd_total[$__range])) or vector(0))"
            " / 1e9"
        ),
    )
    return Row("Money", [[per_hour, by_model], [entries, given_back]])


def _budgets() -> Row:
    holds = stacked(
        "Requests to hold money",
        "Per second: admitted, reduced to the output that fits, or refused by a budget.",
        PER_SECOND,
        [Query(rate("agent_executor_reservations_total", "outcome"), "{{outcome}}")],
    )
    held = lines(
        "Money held",
        "By all open holds.",
        DOLLARS,
        [Query("max(agent_executor_reserved_nano_usd) / 1e9", "held")],
    )
    lag = lines(
        "Ledger lag",
        "For how long the oldest model call is being settled.",
        SECONDS,
        [Query("max(agent_executor_unsettled_model_calls_oldest_seconds)", "oldest")],
    )
    in_range = "In the time that is shown."
    counts = [
        figure(
            title,
            f"{description} {in_range}",
            COUNT,
            Query(f"sum(increase({counter}[$__range])) or vector(0)"),
            steps=(1, 10),
            decimals=0,
        )
        for title, description, counter in (
            (
                "Budgets overrun",
                "Times a budget was left over its limit.",
                "agent_executor_budget_overruns_total",
            ),
            (
                "Budget alerts",
                "Times spending reached a part of a limit that was to be told.",
                "agent_executor_budget_thresholds_total",
            ),
            (
                "Holds expired",
                "Neither settled nor given back.",
                "agent_executor_reservations_expired_total",
            ),
            (
                "Calls without a hold",
                "Made while the ledger was away.",
                "agent_executor_unheld_model_calls_total",
            ),
            (
                "Models without a price",
                "Recorded at zero since.",
                "agent_executor_unpriced_models_total",
            ),
        )
    ]
    return Row("Budgets", [[holds, held, lag], counts], height=6)
