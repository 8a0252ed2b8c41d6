"""The port to what has happened lately in an organization's runs, whoever drives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from agent_executor.executor.log.run_event import RunEvent


class WatchedRun(msgspec.Struct, frozen=True):
    """What those who watch are told of a run.

    Attributes:
        last_sequence, tokens_used, cost_nano_usd: As of the last event of its log at that time.
    """

    run_id: str
    agent_id: str
    agent_version: int
    model: str
    user_id: str
    last_sequence: int
    tokens_used: int
    cost_nano_usd: int


class RunTail(msgspec.Struct, frozen=True):
    """A run and the last events of its log, in order, all of one moment."""

    run: WatchedRun
    events: list[RunEvent]


class RunChange(msgspec.Struct, frozen=True):
    """A run, and the first event of its log that was made at or after some time."""

    run: WatchedRun
    first_sequence: int


class RunNews(Protocol):
    """Says which runs have gone on. What is durable is seen by every later call."""

    async def last_sequences(self, organization_id: str, ended_since_ms: int) -> dict[str, int]:
        """Returns the sequence of the last event of each run that is under way or ended lately.

        Args:
            organization_id: Whose runs.
            ended_since_ms: Since when a run that is told has ended, in milliseconds since
                1970-01-01 UTC; more than 0.
        """
        ...

    async def tails(self, organization_id: str, after: Mapping[str, int]) -> list[RunTail]:
        """Returns the events after a sequence of each of these runs; none of those without any."""
        ...

    async def changed_since(
        self,
        organization_id: str,
        since_ms: int,
        limit: int,
        *,
        agent_id: str = "",
        run_id: str = "",
    ) -> list[RunChange]:
        """Returns the runs that have an event of some time or later, oldest run first.

        Args:
            organization_id: Whose runs.
            since_ms: The time, in milliseconds since 1970-01-01 UTC; more than 0.
            limit: How many at most.
            agent_id: Only runs of this agent; empty for any.
            run_id: Only this run; empty for any.
        """
        ...
