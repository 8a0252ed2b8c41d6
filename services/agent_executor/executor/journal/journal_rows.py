"""Rows of runs and events, as both databases keep them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from agent_executor.executor.journal.journal import RunFilter, RunRecord
from agent_executor.executor.log.run_event import RunEvent, decode_payload, encode_payload

RUN_NAMES: Final = RunRecord.__struct_fields__
RUN_COLUMNS: Final = ", ".join(RUN_NAMES)
# What an append changes of a run, in the order of ``summary_of``.
SUMMARY_NAMES: Final = (
    "state",
    "ended_at_ms",
    "response",
    "error",
    "code",
    "tokens_used",
    "cost_nano_usd",
    "last_sequence",
    "owner",
    "wake_at_ms",
)

# What each field of a filter asks of a run. What is repeated lets the index of those that have one
# be used, since a value that is bound is not known to be one.
_CONDITIONS: Final = {
    "agent_id": "agent_id = {}",
    "state": "state = {}",
    "user_id": "user_id = {}",
    "conversation_id": "conversation_id = {} AND conversation_id <> ''",
    "parent_run_id": "parent_run_id = {} AND parent_run_id <> ''",
    "start_ms": "created_at_ms >= {}",
    "end_ms": "created_at_ms < {}",
}


def filter_sql(run_filter: RunFilter, place: Callable[[int], str]) -> tuple[str, list[Any]]:
    """Returns what a filter adds to a condition on runs, and the values that are bound in it.

    Args:
        run_filter: Which runs are meant.
        place: Returns where the value of a number is bound, from 1.
    """
    condition, values = "", list[Any]()
    for name, value in msgspec.structs.asdict(run_filter).items():
        if value not in ("", None):
            values.append(value)
            condition += " AND " + _CONDITIONS[name].format(place(len(values)))
    return condition, values


def row_of(run: RunRecord) -> tuple[Any, ...]:
    """Returns the values of ``RUN_NAMES``."""
    values = list(msgspec.structs.astuple(run))
    values[RUN_NAMES.index("permissions")] = msgspec.json.encode(run.permissions).decode()
    return tuple(values)


def record_of(row: Sequence[Any]) -> RunRecord:
    """Returns the run of a row of ``RUN_COLUMNS``."""
    values = dict(zip(RUN_NAMES, row, strict=True))
    values["permissions"] = msgspec.json.decode(str(values["permissions"]))
    return msgspec.convert(values, RunRecord, strict=False)


def summary_of(run: RunRecord) -> tuple[Any, ...]:
    """Returns the values of ``SUMMARY_NAMES``."""
    return tuple(getattr(run, name) for name in SUMMARY_NAMES)


def summary_sql(places: Iterable[str]) -> str:
    """Returns what an append sets ``SUMMARY_NAMES`` to, given the places of ``summary_of``.

    A run that is to end is parked for no time, so that whoever looks for runs takes it at once.
    """
    *others, wake_at_ms = places
    until = f"CASE WHEN cancel_requested_at_ms = 0 THEN CAST({wake_at_ms} AS bigint) ELSE 0 END"
    return ", ".join((*others, until))


def event_rows(run_id: str, events: Sequence[RunEvent]) -> list[tuple[str, int, int, bytes]]:
    """Returns a row of run, sequence, time and payload for each event."""
    return [
        (run_id, event.sequence, event.created_at_ms, encode_payload(event.payload))
        for event in events
    ]


def event_of(row: Sequence[Any]) -> RunEvent:
    """Returns the event of a row of sequence, time and payload."""
    return RunEvent(row[0], row[1], decode_payload(row[2]))


def in_turns(runs: Iterable[RunRecord], driven: Mapping[str, int]) -> list[RunRecord]:
    """Returns runs in the order in which they are claimed; see ``Journal.claim``."""
    places = Counter(driven)
    placed: list[tuple[int, str, RunRecord]] = []
    for run in sorted(runs, key=lambda run: run.run_id):
        places[run.organization_id] += 1
        placed.append((places[run.organization_id], run.run_id, run))
    return [run for _, _, run in sorted(placed, key=lambda each: each[:2])]
