"""`agent-executor demo`: shows a run of an agent, with everything that happened in it."""

from __future__ import annotations

import typer


def demo() -> None:
    """Run an agent on a platform of its own, and show the answer, the timeline and the cost.

    Nothing is left behind: the ports are free ones and the folder is a temporary one.

    For example:

        agent-executor demo
    """
    # Imported here so that the other commands start quickly.
    from agent_executor.cli.demonstration import demonstrate

    raise typer.Exit(demonstrate())
