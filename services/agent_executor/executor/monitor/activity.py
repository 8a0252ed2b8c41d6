"""What those who watch an organization are told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

import msgspec

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import tokens_of
from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    Payload,
    RunEvent,
    payload_type,
)
from agent_executor.executor.monitor.run_news import WatchedRun

EVENT_TYPES = frozenset(str(each.__struct_config__.tag) for each in get_args(Payload))
"""The names of all that can happen in a run."""


class Sums(NamedTuple):
    """What a run has used by some event of its log: tokens of all classes, and money."""

    tokens_used: int = 0
    cost_nano_usd: int = 0

    def after(self, event: RunEvent) -> Sums:
        """Returns them after one more event."""
        used = _used_by(event)
        return Sums(self.tokens_used + used.tokens_used, self.cost_nano_usd + used.cost_nano_usd)

    def before(self, event: RunEvent) -> Sums:
        """Returns them before the event that they are after."""
        used = _used_by(event)
        return Sums(self.tokens_used - used.tokens_used, self.cost_nano_usd - used.cost_nano_usd)


class RunActivity(NamedTuple):
    """One event of a run that is watched, and what the run has used by it."""

    run: WatchedRun
    event: RunEvent
    sums: Sums


class Activity(NamedTuple):
    """What one caller is told: what happened, or that nothing did.

    Attributes:
        told_at_ms: Since when it can be told again without missing anything, in milliseconds since
            1970-01-01 UTC.
        happened: None in a sign of life.
    """

    told_at_ms: int
    happened: RunActivity | None = None


class ActivityFilter(msgspec.Struct, frozen=True):
    """What of an organization is told. What is set must all match.

    Attributes:
        event_types: Names of ``EVENT_TYPES``; empty for all.
    """

    agent_id: str = ""
    run_id: str = ""
    event_types: frozenset[str] = frozenset()

    def takes_run(self, run: WatchedRun) -> bool:
        """Tells whether events of a run can be meant."""
        return self.agent_id in ("", run.agent_id) and self.run_id in ("", run.run_id)

    def takes_event(self, event: RunEvent) -> bool:
        """Tells whether an event of such a run is meant."""
        return not self.event_types or payload_type(event.payload) in self.event_types


def watched_run(run: RunRecord) -> WatchedRun:
    """Returns what those who watch are told of a run."""
    return WatchedRun(
        run_id=run.run_id,
        agent_id=run.agent_id,
        agent_version=run.agent_version,
        model=run.model,
        user_id=run.user_id,
        last_sequence=run.last_sequence,
        tokens_used=run.tokens_used,
        cost_nano_usd=run.cost_nano_usd,
    )


def activities_of(run: WatchedRun, events: Sequence[RunEvent]) -> list[RunActivity]:
    """Returns the last events of a run with what it had used by each.

    Args:
        run: The run after the last of them.
        events: Follow one another.
    """
    activities, sums = list[RunActivity](), Sums(run.tokens_used, run.cost_nano_usd)
    for event in reversed(events):
        activities.append(RunActivity(run, event, sums))
        sums = sums.before(event)
    activities.reverse()
    return activities


def _used_by(event: RunEvent) -> Sums:
    match event.payload:
        case ModelCallCompleted(usage=usage):
            return Sums(tokens_of(usage))
        case ModelCallFailed(usage=usage) if usage is not None:
            return Sums(tokens_of(usage))
        case ModelCallSettled(cost_nano_usd=cost_nano_usd):
            return Sums(0, cost_nano_usd)
    return Sums()
