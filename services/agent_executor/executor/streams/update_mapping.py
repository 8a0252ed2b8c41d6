"""What happens in a run as the library tells it: plain mappings in the shape of the REST API."""

from __future__ import annotations

from typing import Any

import msgspec

from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ModelCallSettled,
    ToolCallCompleted,
    payload_type,
)
from agent_executor.executor.money import usd_of
from agent_executor.executor.runs.result import result_mapping, time_text, tool_result_mapping
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.streams.run_updates import (
    RunUpdate,
    Silence,
    StreamBroken,
    TextWritten,
)


def update_mapping(update: RunUpdate) -> dict[str, Any]:
    """Returns an update: ``run_id``, ``type``, ``sequence``, and what happens under the type's name.

    Of the type ``done`` that is the run, as ``result_mapping`` has it.
    """
    name, content = _content(update)
    return {
        "run_id": update.run_id,
        "type": name,
        "sequence": update.sequence,
        name: content,
    }


def _content(update: RunUpdate) -> tuple[str, dict[str, Any]]:
    match update.change:
        case TextWritten() as written:
            return "text_delta", msgspec.to_builtins(written)
        case RunView() as view:
            return "done", result_mapping(view)
        case StreamBroken() as broken:
            return "error", msgspec.to_builtins(broken)
        case Silence():
            return "heartbeat", {}
        case ToolCallCompleted() as result:
            return "tool_call_completed", {"tool_result": tool_result_mapping(result)}
        case ModelCallSettled() as settled:
            shown = msgspec.structs.asdict(settled)
            return "usage", {**shown, "cost_usd": usd_of(settled.cost_nano_usd)}
        case ApprovalRequested() as asked:
            return "approval_requested", {
                "tool_call_id": asked.tool_call_id,
                "tool_name": asked.tool_name,
                "arguments_json": asked.arguments_json,
                "reason": asked.reason,
                "expires_at": time_text(asked.expires_at_ms),
            }
        case payload:
            shown = msgspec.to_builtins(payload)
            return payload_type(payload), {
                key: value for key, value in shown.items() if key != "type"
            }
