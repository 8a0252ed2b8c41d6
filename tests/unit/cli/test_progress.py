from __future__ import annotations

import io

import pytest
from rich.console import Console

from agent_executor.cli.progress import Progress
from agent_executor.cli.supervisor import ChildEvent, ChildState


@pytest.mark.parametrize("is_terminal", [False, True])
def test_every_change_is_told(is_terminal: bool) -> None:
    output = io.StringIO()
    progress = Progress(Console(file=output, force_terminal=is_terminal, width=80))
    progress.on_event(ChildEvent("ledger", ChildState.STARTING))
    progress.on_waiting("too early to be told")
    progress.on_event(ChildEvent("ledger", ChildState.HEALTHY))
    progress.ready()
    progress.on_event(ChildEvent("ledger", ChildState.DEAD, "was killed by SIGKILL"))
    progress.stopping()
    progress.close()
    told = output.getvalue()
    for expected in (
        "ledger is starting",
        "ledger is healthy",
        "ready",
        "ledger was killed by SIGKILL; starting it again",
        "stopping",
    ):
        assert expected in told
    assert "too early" not in told
    assert ("\x1b[" in told) is is_terminal


def test_a_reason_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_executor.cli.progress.QUIET_SECONDS", 0.0)
    output = io.StringIO()
    progress = Progress(Console(file=output, force_terminal=False))
    progress.on_waiting("GET /api/v1/agents was answered 500")
    assert "waiting: GET /api/v1/agents was answered 500" in output.getvalue()
