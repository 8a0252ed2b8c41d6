"""A run as it stands."""

from __future__ import annotations

from dataclasses import dataclass

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import RunState


@dataclass(frozen=True, slots=True)
class RunView:
    """A run and its folded state."""

    run: RunRecord
    state: RunState
