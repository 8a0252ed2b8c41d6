"""What streams send, as messages of the contract."""

from __future__ import annotations

from typing import Final

from agent_executor.api.executor.v1 import run_event_pb2, run_service_pb2
from agent_executor.executor.convert import execution_to_proto, payload_to_proto
from agent_executor.executor.log.run_event import ModelCallSettled, payload_type
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.streams.run_updates import (
    RunUpdate,
    Silence,
    StreamBroken,
    TextWritten,
)

# The type of a message without content, which only those get who asked for it; see stream_metadata.
HEARTBEAT: Final = "heartbeat"


def update_to_proto(update: RunUpdate) -> run_service_pb2.RunUpdate:
    """Returns what happens in a run, as StreamAgent tells it."""
    message = run_service_pb2.RunUpdate(run_id=update.run_id, sequence=update.sequence)
    match update.change:
        case TextWritten(model_call_id, text, is_thinking):
            message.type = "text_delta"
            delta = message.text_delta
            delta.model_call_id, delta.text, delta.is_thinking = model_call_id, text, is_thinking
        case Silence():
            message.type = HEARTBEAT
        case RunView() as view:
            message.type = "done"
            message.done.CopyFrom(execution_to_proto(view))
        case StreamBroken(error, code):
            message.type = "error"
            message.error.error, message.error.code = error, code
        case payload:
            is_usage = isinstance(payload, ModelCallSettled)
            message.type = "usage" if is_usage else payload_type(payload)
            getattr(message, message.type).CopyFrom(payload_to_proto(payload))
    return message


def heartbeat_event(run_id: str, last_sequence: int) -> run_event_pb2.RunEvent:
    """Returns what tells a follower of a run that nothing has happened since the last event."""
    return run_event_pb2.RunEvent(run_id=run_id, sequence=last_sequence, type=HEARTBEAT)
