"""What clients of streams have seen, and whether it is the run's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agent_executor.api.executor.v1 import run_event_pb2, run_service_pb2
from agent_executor.executor.streams.run_updates import TOLD_EVENTS


@dataclass
class History:
    """The events of one run, as one client has seen them over all its connections.

    Attributes:
        started_at: The sequence after which it began to read.
        events: The events, in the order in which they came.
        connections: How often it has connected.
    """

    started_at: int = 0
    events: list[run_event_pb2.RunEvent] = field(default_factory=list)
    connections: int = 0

    @property
    def last_sequence(self) -> int:
        """The sequence to resume after."""
        return self.events[-1].sequence if self.events else self.started_at

    @property
    def is_complete(self) -> bool:
        """Whether the last event is the run's last."""
        return bool(self.events) and self.events[-1].HasField("run_finished")


def faults_of(history: History, log: Sequence[run_event_pb2.RunEvent]) -> list[str]:
    """Returns in what a client's history differs from the run's log."""
    faults = []
    for place, event in enumerate(history.events):
        wanted = history.started_at + 1 + place
        if event.sequence != wanted:
            faults.append(f"event {event.sequence} came where {wanted} is next")
        elif wanted > len(log) or event != log[wanted - 1]:
            faults.append(f"event {wanted} is another one in the log")
    if history.started_at + len(history.events) != len(log) and not faults:
        faults.append(f"{len(history.events)} events came of {len(log) - history.started_at}")
    if not history.is_complete:
        faults.append("the end did not come")
    return faults


def update_faults_of(
    updates: Sequence[run_service_pb2.RunUpdate], log: Sequence[run_event_pb2.RunEvent]
) -> list[str]:
    """Returns in what the updates of a stream, cut or not, differ from the run's log."""
    last = updates[-1]
    faults = [
        f"{later.type} {later.sequence} came after {earlier.sequence}"
        for earlier, later in pairwise(updates)
        if later.sequence < earlier.sequence
    ]
    told = [
        (update.sequence, update.type.replace("usage", "model_call_settled"))
        for update in updates
        if update.type not in ("done", "error", "text_delta")
    ]
    wanted = [
        (event.sequence, event.type)
        for event in log
        if event.type in TOLD_EVENTS and event.sequence <= last.sequence
    ]
    if told != wanted:
        faults.append(f"{told} were told of {wanted}")
    if last.type == "done" and last.sequence != len(log):
        faults.append("the end is not the log's")
    return faults + _text_faults(updates, log)


def _text_faults(
    updates: Sequence[run_service_pb2.RunUpdate], log: Sequence[run_event_pb2.RunEvent]
) -> list[str]:
    """Returns which texts were not told as they are recorded; those of failed calls are void."""
    told: dict[str, str] = {}
    for update in updates:
        if update.type == "text_delta":
            call = update.text_delta.model_call_id
            told[call] = told.get(call, "") + update.text_delta.text
    faults = []
    for event in log:
        if event.type != "model_call_completed":
            continue
        answer = event.model_call_completed
        recorded = "".join(block.text for block in answer.content if block.type == "text")
        text = told.get(answer.model_call_id, "")
        if not recorded.startswith(text):
            faults.append(f"the text of {answer.model_call_id} is another one")
        elif event.sequence <= updates[-1].sequence and text != recorded:
            faults.append(f"the text of {answer.model_call_id} is not whole")
    return faults
