"""`agent-executor usage`: what was used and what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from agent_executor.cli.as_json import as_json as to_json
from agent_executor.cli.connection import (
    DEFAULT_URL,
    AsJson,
    Organization,
    Target,
    Url,
    connect,
    failures_told,
)
from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.download import save, write_out
from agent_executor.cli.figures import output_console
from agent_executor.cli.pages import rows_of
from agent_executor.cli.run_cost_report import show_run_cost
from agent_executor.cli.times import (
    bucket_for,
    buckets_between,
    parse_time,
    parse_time_zone,
    rfc_3339,
)
from agent_executor.cli.usage_report import TIME_GROUPS, CostOverTime, UsageTable, show_usage

if TYPE_CHECKING:
    from agent_executor.client import AgentExecutorClient

MAX_ROWS = 1_000
# Of more groups over time the cheapest are not drawn, which nobody would see.
MAX_PAGES_OVER_TIME = 5

app = typer.Typer(help="Shows what was used and what it cost.", invoke_without_command=True)


class Group(StrEnum):
    """What usage can be grouped by."""

    AGENT = "agent"
    MODEL = "model"
    USER = "user"
    TOOL = "tool"
    RUN = "run"
    KIND = "kind"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class ExportFormat(StrEnum):
    """As what usage can be exported."""

    CSV = "csv"
    FOCUS = "focus"


Since = Annotated[
    str, typer.Option(help="From when on: 24h, 7d, 4w ago, or a date or time as 2026-11-01.")
]
Until = Annotated[str, typer.Option(help="Until before when. Default: now.")]
TimeZone = Annotated[
    str, typer.Option(help="The time zone of hours, days and months, as Europe/Berlin.")
]


@app.callback()
def usage(  # noqa: PLR0913, PLR0917 -- a command's options are its parameters
    context: typer.Context,
    by: Annotated[
        list[Group] | None, typer.Option(help="What to group by; repeatable. Default: agent.")
    ] = None,
    since: Since = "30d",
    until: Until = "",
    time_zone: TimeZone = "UTC",
    agent: Annotated[str, typer.Option(help="Only this agent's usage.")] = "",
    user: Annotated[str, typer.Option(help="Only this user's usage.")] = "",
    model: Annotated[str, typer.Option(help="Only this model's usage.")] = "",
    tool: Annotated[str, typer.Option(help="Only this tool's usage.")] = "",
    limit: Annotated[
        int, typer.Option(min=1, max=MAX_ROWS, help="How many rows to show at most.")
    ] = 20,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show tokens and cost by agent, model, user, tool, run, or over time.

    Beside each row stands how its cost went up and down over the time that is shown. Costs are
    rounded for the eye; with --json they are exact, in nano-dollars.

    For example:

        agent-executor usage

        agent-executor usage --by model --by day --since 7d --time-zone Europe/Berlin

        agent-executor usage run RUN_ID

        agent-executor usage export --format csv --output usage.csv
    """
    if context.invoked_subcommand is not None:
        return
    groups = _groups_of(by)
    times = [group for group in groups if group in TIME_GROUPS]
    query: dict[str, Any] = {
        **_span(since, until, time_zone),
        "time_zone": time_zone or "UTC",
        "agent_id": agent,
        "user_id": user,
        "model": model,
        "tool_name": tool,
    }
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        order_by = "time" if times else "cost"
        found = client.usage.summarize(group_by=groups, order_by=order_by, page_size=limit, **query)
        page = to_json(next(iter(found.pages())))
        if as_json:
            typer.echo(json.dumps(page))
            return
        over_time = None if times else _over_time(client, groups, query)
    show_usage(_table(groups, page, query, over_time), output_console())


@app.command()
def run(
    run_id: Annotated[str, typer.Argument(help="The run.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show what a run cost, step by step: also what failed, was repeated or cancelled.

    For example:

        agent-executor usage run run_0199aa31
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        cost = to_json(client.usage.get_run_cost(run_id=run_id))
    if as_json:
        typer.echo(json.dumps(cost))
    else:
        show_run_cost(cost, output_console())


@app.command()
def export(  # noqa: PLR0913, PLR0917 -- a command's options are its parameters
    output: Annotated[
        Path, typer.Option(help="The file to write; - is standard output.", allow_dash=True)
    ],
    export_format: Annotated[
        ExportFormat,
        typer.Option("--format", help="csv has every field, focus the columns of FOCUS 1.2."),
    ] = ExportFormat.CSV,
    since: Since = "",
    until: Until = "",
    agent: Annotated[str, typer.Option(help="Only this agent's usage.")] = "",
    run_id: Annotated[str, typer.Option("--run", help="Only this run's usage.")] = "",
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Write every entry to a file, oldest first. A file that is there is replaced once all is read.

    For example:

        agent-executor usage export --output usage.csv

        agent-executor usage export --format focus --since 2026-11-01 --output november.csv
    """
    span: dict[str, Any] = {**_span(since, until, "UTC")}
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        file = client.usage.export(
            format=export_format.value, agent_id=agent, run_id=run_id, **span
        )
        pieces = (piece.data for piece in file)
        if str(output) == "-":
            write_out(pieces)
            return
        size_bytes, lines = save(pieces, output, Console(stderr=True))
    entries = max(0, lines - 1)
    noun = "entry" if entries == 1 else "entries"
    typer.echo(f"{output}: {entries:,} {noun}, {size_bytes:,} bytes")


def _span(since: str, until: str, time_zone: str) -> dict[str, datetime]:
    """Returns the span of time that is asked about.

    Raises:
        typer.BadParameter: A time or the zone is none, or the span ends before it begins.
    """
    zone, now = parse_time_zone(time_zone), datetime.now(UTC)
    span = {"end_time": parse_time(until, zone, now, "--until") if until else now}
    if since:
        span["start_time"] = parse_time(since, zone, now, "--since")
        if span["start_time"] >= span["end_time"]:
            raise typer.BadParameter("It must be before --until.", param_hint="--since")
    return span


def _over_time(
    client: AgentExecutorClient, groups: Sequence[str], query: Mapping[str, Any]
) -> CostOverTime:
    """Returns how the cost of each group went over time."""
    start, end = query["start_time"], query["end_time"]
    bucket = bucket_for(start, end)
    zone = parse_time_zone(query["time_zone"])
    found = client.usage.summarize(group_by=(*groups, bucket), page_size=MAX_ROWS, **query)
    rows = rows_of(found, MAX_ROWS * MAX_PAGES_OVER_TIME)
    return CostOverTime(bucket, buckets_between(start, end, bucket, zone), rows)


def _groups_of(by: list[Group] | None) -> tuple[str, ...]:
    groups = tuple(each.value for each in by or [Group.AGENT])
    times = [group for group in groups if group in TIME_GROUPS]
    if len(set(groups)) < len(groups) or len(times) > 1:
        raise typer.BadParameter(
            "Each once, and one of hour, day and month at most.", param_hint="--by"
        )
    return groups


def _table(
    groups: Sequence[str],
    page: Mapping[str, Any],
    query: Mapping[str, Any],
    over_time: CostOverTime | None,
) -> UsageTable:
    return UsageTable(
        groups=groups,
        rows=page["summaries"],
        total=page["total"],
        has_more=bool(page["next_page_token"]),
        start=rfc_3339(query["start_time"]),
        end=rfc_3339(query["end_time"]),
        over_time=over_time,
    )
