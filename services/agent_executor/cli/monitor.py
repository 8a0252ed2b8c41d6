"""`agent-executor monitor`: what happens in an organization's runs, as it happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from agent_executor.cli.as_json import as_json as shown
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
from agent_executor.cli.monitor_report import line_of
from agent_executor.cli.run_following import ATTEMPTS
from agent_executor.cli.times import parse_time
from agent_executor.errors import UnauthenticatedError

if TYPE_CHECKING:
    from agent_executor.api.executor.v1 import monitor_service_pb2

_LINE_WIDTH: Final = 240


def monitor(
    agent: Annotated[str, typer.Option(help="Only runs of this agent.")] = "",
    run: Annotated[str, typer.Option(help="Only this run.")] = "",
    event_type: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only events of this type; may be given more than once."),
    ] = None,
    since: Annotated[
        str, typer.Option(help="Also what has happened since then, for example 10m; at most 60m.")
    ] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show what happens in runs as it happens, one line per event, until Ctrl-C.

    For example, what is refused and what fails:

        agent-executor monitor --type model_call_failed --type run_paused --type run_finished
    """
    fields: dict[str, Any] = {
        "agent_id": agent,
        "run_id": run,
        "event_types": event_type or [],
    }
    if since:
        fields["since"] = parse_time(since, ZoneInfo("UTC"), datetime.now(UTC), "--since")
    show = _json_printer() if as_json else _line_printer()
    target = Target(url=url, data_dir=data_dir, organization=organization)
    with failures_told():
        try:
            for activity in _activities(target, fields):
                show(shown(activity))
        except KeyboardInterrupt:
            return


def _activities(target: Target, fields: dict[str, Any]) -> Iterator[monitor_service_pb2.Activity]:
    """Yields activities; when the token ends, it goes on with the next, if there is one.

    Raises:
        ConnectionFaultError: There is no token.
        AgentExecutorError: They cannot be told, and that stays so for some time.
    """
    # Imported here so that commands which call no platform start quickly.
    from agent_executor.api.executor.v1 import monitor_service_pb2
    from agent_executor.client.told_activities import ToldActivities

    told = ToldActivities(monitor_service_pb2.StreamActivityRequest(**fields))
    while True:
        is_let_in = False
        try:
            with connect(target) as client:
                request = told.request()
                if request.HasField("since"):
                    fields["since"] = request.since
                for activity in client.with_options(max_attempts=ATTEMPTS).monitor.stream(**fields):
                    is_let_in = True
                    new = told.new(activity)
                    if new is not None and new.HasField("event"):
                        yield new
        except UnauthenticatedError:
            if not is_let_in:
                raise


def _json_printer() -> Callable[[dict[str, Any]], None]:
    return lambda activity: typer.echo(json.dumps(activity))


def _line_printer() -> Callable[[dict[str, Any]], None]:
    console = output_console()

    def show(activity: dict[str, Any]) -> None:
        line = line_of(activity)
        # What is said comes last, and would not be seen in a usual terminal: it wraps the line.
        line.truncate(max(console.width, _LINE_WIDTH), overflow="ellipsis")
        console.print(line, soft_wrap=True)

    return show
