"""Holds runs that survived deaths against the model's count, the witness and the ledger."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent_executor.api.executor.v1 import run_event_pb2, run_pb2
from tests.e2e.crash.executors import Executor, Fleet
from tests.e2e.crash.peers import TOOLS

UNKNOWN = "OUTCOME_UNKNOWN"
LOST = "LEASE_LOST"


@dataclass
class Report:
    """What a test came to.

    Attributes:
        calls_in_flight: Model calls that were made again since they were in flight at a death.
        repeated_effects: Effects of idempotent and read-only tools that were seen more than once.
        unknown_outcomes: Unsafe calls that were reported as such.
        resume_seconds: From the death of a run's owner to its next life, for each next life.
    """

    runs: int = 0
    deaths: int = 0
    calls_needed: int = 0
    calls_in_flight: int = 0
    repeated_effects: int = 0
    unknown_outcomes: int = 0
    resume_seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        times = sorted(self.resume_seconds)
        quantiles = "none"
        if times:
            p99 = times[int(len(times) * 0.99)]
            quantiles = (
                f"median {statistics.median(times):.2f} s, p99 {p99:.2f} s, max {times[-1]:.2f} s"
            )
        return (
            f"{self.runs} runs, {self.deaths} deaths, {len(times)} next lives after {quantiles}; "
            f"{self.calls_needed} model calls needed, {self.calls_in_flight} more in flight at a "
            f"death; {self.repeated_effects} safe effects repeated, {self.unknown_outcomes} unsafe "
            "outcomes unknown"
        )


@dataclass
class Checker:
    """Checks runs of a fleet whose executors died.

    Args:
        fleet: The fleet.
        allows_unknown: Whether a tool-runner died too, so that nobody may know an outcome.
    """

    fleet: Fleet
    allows_unknown: bool = False
    report: Report = field(default_factory=Report)

    async def check(self, reader: Executor, run_id: str) -> list[run_event_pb2.RunEvent]:
        """Waits for the end of a run, which must be a good one, and checks it whole."""
        events = await self.fleet.events(reader, run_id)
        run = await self.fleet.get_run(reader, run_id)
        self._check_log(run, events)
        self._check_model_calls(run, events)
        self._check_effects(run, events)
        await self._check_ledger(run, events)
        self.report.runs += 1
        self._note_next_lives(events)
        return events

    async def check_organization(self, reader: Executor) -> None:
        """Checks that nothing goes on, nothing is held and the ledger's sums are right."""
        runs = await self.fleet.list_runs(reader)
        assert {run.state for run in runs} <= {"completed", "cancelled"}
        assert await self.fleet.organization.reserved_nano_usd() == 0
        await asyncio.to_thread(self.fleet.organization.verify_ledger)
        self.report.deaths = sum(len(one.deaths) for one in self.fleet.executors)

    def _check_log(self, run: run_pb2.Run, events: Sequence[run_event_pb2.RunEvent]) -> None:
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        ends = [event for event in events if event.type == "run_finished"]
        assert ends == [events[-1]]
        assert run.state == "completed", (run, events)
        assert (
            run.output.response == f"{name_of(run)} is done after {len(turns_of(run)) + 1} turns."
        )
        for kind in ("tool_call_started", "tool_call_completed"):
            assert _count(events, kind) == sum(map(len, turns_of(run))), (kind, events)

    def _check_model_calls(
        self, run: run_pb2.Run, events: Sequence[run_event_pb2.RunEvent]
    ) -> None:
        """No recorded answer is paid again; what was in flight at a death was made once more."""
        needed = len(turns_of(run)) + 1
        turns = {
            event.model_call_started.model_call_id: event.model_call_started.turn
            for event in events
            if event.type == "model_call_started"
        }
        answered_at: dict[int, float] = {}
        for event in events:
            if event.type == "model_call_completed":
                turn = turns[event.model_call_completed.model_call_id]
                assert turn not in answered_at, events
                answered_at[turn] = event.created_at.ToMicroseconds() / 1e6
        assert sorted(answered_at) == list(range(1, needed + 1))
        asked = self.fleet.organization.peers.claude.asked(name_of(run))
        # The log's times are of whole milliseconds.
        repaid = [one for one in asked if one.at_seconds > answered_at[one.turn] + 0.001]
        assert repaid == [], (repaid, events)
        lost = sum(
            event.type == "model_call_failed" and event.model_call_failed.code == LOST
            for event in events
        )
        assert len(asked) - needed <= lost, (asked, events)
        self.report.calls_needed += needed
        self.report.calls_in_flight += len(asked) - needed

    def _check_effects(self, run: run_pb2.Run, events: Sequence[run_event_pb2.RunEvent]) -> None:
        requests = self.fleet.organization.peers.witness.requests
        seen = Counter(request.path for request in requests)
        results = {
            event.tool_call_completed.tool_result.tool_call_id: (
                event.tool_call_completed.tool_result
            )
            for event in events
            if event.type == "tool_call_completed"
        }
        for turn, names in enumerate(turns_of(run), start=1):
            for index, tool in enumerate(names):
                path = f"/{name_of(run)}-{turn}-{index}"
                result = results[f"{run.id}_{turn}_{index}"]
                if result.success:
                    assert seen[path] >= 1, (path, result)
                else:
                    assert self.allows_unknown, result
                    assert (result.code, TOOLS[tool][0]) == (UNKNOWN, "unsafe"), result
                    self.report.unknown_outcomes += 1
                if TOOLS[tool][0] == "unsafe":
                    assert seen[path] <= 1, (path, result)
                self.report.repeated_effects += max(0, seen[path] - 1)
                keys = {
                    request.headers["idempotency-key"]
                    for request in requests
                    if request.path == path and request.method == "PUT"
                }
                assert len(keys) <= 1, keys

    async def _check_ledger(
        self, run: run_pb2.Run, events: Sequence[run_event_pb2.RunEvent]
    ) -> None:
        entries = await self.fleet.organization.entries(run.id)
        settled = [
            event.model_call_settled for event in events if event.type == "model_call_settled"
        ]
        # Entries of tool calls hang on the settlement of the model call that was given them.
        calls = [entry for entry in entries if entry.kind == "model_call"]
        assert sorted(entry.id for entry in calls) == sorted(one.usage_entry_id for one in settled)
        assert sum(entry.cost_nano_usd for entry in entries) == run.cost_nano_usd
        estimated = {entry.id for entry in calls if entry.estimated}
        assert estimated == {one.usage_entry_id for one in settled if one.estimated}
        answered = {
            event.model_call_completed.model_call_id
            for event in events
            if event.type == "model_call_completed"
        }
        assert answered == {entry.id for entry in calls} - estimated

    def _note_next_lives(self, events: Sequence[run_event_pb2.RunEvent]) -> None:
        deaths = sorted(death for one in self.fleet.executors for death in one.deaths)
        # Nobody drives a run while all that is left of it waits.
        asked: set[str] = set()
        is_paused = False
        for event in events:
            if event.type == "approval_requested":
                asked.add(event.approval_requested.tool_call_id)
            elif event.type == "approval_resolved":
                asked.discard(event.approval_resolved.tool_call_id)
            elif event.type in {"run_paused", "run_continued"}:
                is_paused = event.type == "run_paused"
            elif event.type == "run_resumed" and not asked and not is_paused:
                at_seconds = event.created_at.ToMicroseconds() / 1e6
                before = [death for death in deaths if death <= at_seconds + 0.001]
                self.report.resume_seconds.append(max(0.0, at_seconds - before[-1]))


def name_of(run: run_pb2.Run) -> str:
    """Returns what the script calls a run."""
    return run.input.partition(" ")[0]


def turns_of(run: run_pb2.Run) -> list[list[str]]:
    """Returns the tools of a run's script, by turn."""
    script = run.input.partition(" ")[2]
    return [part.split(",") for part in script.split("/") if part]


def _count(events: Sequence[run_event_pb2.RunEvent], kind: str) -> int:
    return sum(event.type == kind for event in events)
