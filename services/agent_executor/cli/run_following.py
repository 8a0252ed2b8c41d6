"""Shows a run's messages to its end, and what Ctrl-C does meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console

from agent_executor.cli.as_json import as_json
from agent_executor.cli.figures import output_console
from agent_executor.cli.run_display import RunDisplay
from agent_executor.cli.runs_report import show_receipt

if TYPE_CHECKING:
    from agent_executor.client import AgentExecutorClient

# How often in a row a connection may fail before anything came over it: for some ten seconds.
ATTEMPTS: Final = 10
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


def follow(
    client: AgentExecutorClient, run_id: str, after_sequence: int, show: Show
) -> dict[str, Any]:
    """Shows a run's events after a sequence, to its last one, and returns how it ended.

    Raises:
        AgentExecutorError: It cannot be followed, and that stays so for some time.
    """
    lasting = client.with_options(max_attempts=ATTEMPTS)
    for event in lasting.runs.follow(run_id=run_id, after_sequence=after_sequence):
        show(as_json(event))
    return as_json(lasting.runs.get(run_id=run_id))


def events_until(
    client: AgentExecutorClient, run_id: str, last_sequence: int
) -> list[dict[str, Any]]:
    """Returns a run's events from the first to a sequence that it has.

    Raises:
        AgentExecutorError: It cannot be followed, and that stays so for some time.
    """
    lasting = client.with_options(max_attempts=ATTEMPTS)
    events = []
    with contextlib.closing(lasting.runs.follow(run_id=run_id)) as following:
        for event in following:
            events.append(as_json(event))
            if event.sequence >= last_sequence:
                break
    return events


@contextlib.contextmanager
def interruptible(
    client: AgentExecutorClient, display: RunDisplay, *, cancels: bool
) -> Iterator[None]:
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
            receipt = client.runs.cancel(run_id=display.run_id, reason=_INTERRUPTED)
            show_receipt(as_json(receipt), Console(stderr=True))
        else:
            display.note(
                f"The run goes on. Follow it: agent-executor runs follow {display.run_id}"
                f" --after {display.last_sequence}"
            )
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
