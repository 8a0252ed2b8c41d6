"""Reads a run's messages to its end, over connections that may break."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

import typer
from rich.console import Console

from agent_executor.cli.figures import output_console
from agent_executor.cli.rest import RestClient, RestError
from agent_executor.cli.run_display import RunDisplay
from agent_executor.cli.runs_report import show_receipt

# How often in a row a connection may fail before anything came over it.
ATTEMPTS: Final = 20
RETRY_SECONDS: Final = 0.5
INTERRUPTED_EXIT_CODE: Final = 130
_INTERRUPTED: Final = "Its command was interrupted."

Show = Callable[[dict[str, Any]], None]


def display_of(*, as_json: bool) -> tuple[RunDisplay, Show]:
    """Returns what is shown of a run, and what to call with each of its messages."""
    notes = Console(stderr=True)
    if not as_json:
        display = RunDisplay(output_console(), notes)
        return display, display.show
    silent = RunDisplay(Console(quiet=True), notes)

    def print_json(message: dict[str, Any]) -> None:
        typer.echo(json.dumps(message))
        silent.show(message)

    return silent, print_json


def follow(client: RestClient, run_id: str, after_sequence: int, show: Show) -> dict[str, Any]:
    """Shows a run's events after a sequence, to its last one, and returns how it ended.

    Raises:
        RestError: If the answer is an error, and stays one.
        OSError: If there is no connection for some time.
    """
    failures = 0
    while True:
        path = f"/api/v1/runs/{quote(run_id, safe='')}/events?after_sequence={after_sequence}"
        try:
            for event in client.events("GET", path):
                failures = 0
                after_sequence = event["sequence"]
                show(event)
                if event["type"] == "run_finished":
                    return client.get(f"/api/v1/runs/{quote(run_id, safe='')}")
            broken: OSError | RestError = ConnectionError("the gateway broke off the stream")
        except OSError as error:
            broken = error
        except RestError as error:
            if not error.is_passing:
                raise
            broken = error
        failures += 1
        if failures >= ATTEMPTS:
            raise broken
        time.sleep(RETRY_SECONDS)


@contextlib.contextmanager
def interruptible(client: RestClient, display: RunDisplay, *, cancels: bool) -> Iterator[None]:
    """Lets Ctrl-C leave a run, or cancel it, and tells what became of it.

    Raises:
        typer.Exit: It was pressed.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not display.run_id:
            display.note("Interrupted before the run was heard of.")
        elif cancels:
            path = f"/api/v1/runs/{quote(display.run_id, safe='')}/cancel"
            show_receipt(client.post(path, {"reason": _INTERRUPTED}), Console(stderr=True))
        else:
            display.note(
                f"The run goes on. Follow it: agent-executor runs follow {display.run_id}"
                f" --after {display.last_sequence}"
            )
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
