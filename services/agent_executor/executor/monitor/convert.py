"""What those who watch are told, as messages of the contract."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

from agent_executor.api.executor.v1 import monitor_service_pb2, run_event_pb2
from agent_executor.executor.convert import event_to_proto
from agent_executor.executor.monitor.activity import Activity, ActivityFilter, RunActivity
from agent_executor.serving.timestamp_convert import ceil_to_ms, set_timestamp

# Those who watch the same organization are told the same events at about the same time.
MAX_KEPT_EVENTS: Final = 64
MAX_KEPT_EVENT_BYTES: Final = 64 * 1024

# What people, models and tools have written, by the event that it is in.
_CONTENT: Final = {
    "run_started": ("input",),
    "model_call_completed": ("content",),
    "tool_call_started": ("arguments_json",),
    "run_finished": ("response",),
    "cancel_requested": ("reason",),
    "approval_requested": ("arguments_json",),
    "approval_resolved": ("reason", "edited_arguments_json"),
    "history_trimmed": ("summary",),
}
_CONTENT_OF_RESULT: Final = ("result", "error")


def filter_of(request: monitor_service_pb2.StreamActivityRequest) -> ActivityFilter:
    """Returns what of an organization is told."""
    return ActivityFilter(request.agent_id, request.run_id, frozenset(request.event_types))


def since_ms_of(request: monitor_service_pb2.StreamActivityRequest) -> int | None:
    """Returns from when on it is told, in milliseconds since 1970-01-01 UTC; None: from now on."""
    return ceil_to_ms(request.since) if request.HasField("since") else None


class ActivityConverter:
    """Makes the messages, and that of an event once for all who are told of it."""

    def __init__(self) -> None:
        self._events: LRUCache[tuple[str, int, bool], run_event_pb2.RunEvent] = LRUCache(
            MAX_KEPT_EVENTS
        )

    def to_proto(
        self, activity: Activity, *, without_content: bool
    ) -> monitor_service_pb2.Activity:
        """Returns what a caller is told, with or without what people and models wrote."""
        message = monitor_service_pb2.Activity()
        set_timestamp(message.told_at, activity.told_at_ms)
        happened = activity.happened
        if happened is None:
            return message
        run = happened.run
        message.event.CopyFrom(self._event(happened, without_content))
        message.agent_id, message.agent_version = run.agent_id, run.agent_version
        message.model, message.user_id = run.model, run.user_id
        message.tokens_used, message.cost_nano_usd = happened.sums
        return message

    def _event(self, happened: RunActivity, without_content: bool) -> run_event_pb2.RunEvent:
        key = (happened.run.run_id, happened.event.sequence, without_content)
        event: run_event_pb2.RunEvent | None = self._events.get(key)
        if event is None:
            event = event_to_proto(happened.run.run_id, happened.event)
            if without_content:
                leave_out_content(event)
            if event.ByteSize() <= MAX_KEPT_EVENT_BYTES:
                self._events[key] = event
        return event


def leave_out_content(event: run_event_pb2.RunEvent) -> None:
    """Empties what people, models and tools have written; codes and the platform's words stay."""
    if event.type == "tool_call_completed":
        for name in _CONTENT_OF_RESULT:
            event.tool_call_completed.tool_result.ClearField(name)
        return
    for name in _CONTENT.get(event.type, ()):
        getattr(event, event.type).ClearField(name)
