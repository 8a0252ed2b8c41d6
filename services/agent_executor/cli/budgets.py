"""`agent-executor budgets`: limits on spending."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from agent_executor.cli.as_json import as_json as to_json
from agent_executor.cli.budgets_report import show_budgets, show_events
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
from agent_executor.cli.figures import output_console
from agent_executor.cli.pages import PAGE_ROWS, rows_of

MAX_BUDGETS = 10_000

app = typer.Typer(help="Shows and sets limits on spending.", no_args_is_help=True)


class Window(StrEnum):
    """For how long a limit holds before it begins anew."""

    TOTAL = "total"
    DAY = "day"
    MONTH = "month"


@app.callback()
def budgets() -> None:
    """Show and set limits on spending."""


@app.command("list")
def list_budgets(
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show every budget: what is spent of it, what calls under way may cost, and what is left.

    For example:

        agent-executor budgets list
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        found = rows_of(client.budgets.list(page_size=PAGE_ROWS), MAX_BUDGETS)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_budgets(found, output_console())


@app.command("set")
def set_budget(  # noqa: PLR0913, PLR0917 -- a command's options are its parameters
    budget_id: Annotated[str, typer.Argument(help="Its id: lower-case letters, digits, - and _.")],
    limit: Annotated[float, typer.Option(min=0, help="The limit in US dollars; 0 stops all.")],
    window: Annotated[Window, typer.Option(help="When it begins anew.")] = Window.TOTAL,
    user: Annotated[str, typer.Option(help="Only this user's spending.")] = "",
    agent: Annotated[str, typer.Option(help="Only this agent's spending.")] = "",
    run: Annotated[str, typer.Option(help="Only this run's spending.")] = "",
    time_zone: Annotated[
        str, typer.Option(help="Whose days and months are meant, as Europe/Berlin.")
    ] = "UTC",
    alert: Annotated[
        list[int] | None,
        typer.Option(min=1, max=100, help="Tell at so many percent of the limit; repeatable."),
    ] = None,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Make a budget, or change the limit and the alerts of one. What was spent stays counted.

    For example:

        agent-executor budgets set everyone --limit 50 --window month --alert 50 --alert 90

        agent-executor budgets set ada --user ada --limit 2 --window day --time-zone Europe/Berlin
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        stored = client.budgets.put(
            budget_id=budget_id,
            limit_usd=limit,
            window=window.value,
            user_id=user,
            agent_id=agent,
            run_id=run,
            time_zone=time_zone,
            alert_percents=sorted(set(alert or [])),
        )
    show_budgets([to_json(stored)], output_console())


@app.command()
def delete(
    budget_id: Annotated[str, typer.Argument(help="The budget.")],
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Delete a budget. What was spent stays recorded.

    For example:

        agent-executor budgets delete everyone
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        client.budgets.delete(budget_id=budget_id)
    typer.echo(f"{budget_id} is deleted.")


@app.command()
def events(
    budget: Annotated[str, typer.Option(help="Only this budget's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show which thresholds were reached and which budgets were overrun, newest first.

    For example:

        agent-executor budgets events --budget everyone
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        found = rows_of(client.budgets.list_events(budget_id=budget, page_size=limit), limit)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_events(found, output_console())
