"""What the model is given of a tool call that has its result."""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.executor.context.tool_results import given_content
from agent_executor.executor.log.run_event import ToolCallCompleted, ToolCallStarted
from agent_executor.executor.log.run_waiting import EDITED_NOTE, edited_result_json
from agent_executor.executor.models.model import ToolResultBlock

_ENCODER: Final = msgspec.json.Encoder()


def result_block(
    call: ToolCallStarted, done: ToolCallCompleted, max_bytes: int = 0
) -> ToolResultBlock:
    """Returns what the model is given of a result; above ``max_bytes``, if not 0, its beginning."""
    is_edited = call.approval == "edited"
    if done.success:
        content = edited_result_json(call, done.result_json) if is_edited else done.result_json
    else:
        shape = {
            "success": False,
            "error": f"{done.error} {EDITED_NOTE}" if is_edited else done.error,
            "tool_name": done.tool_name,
            "code": done.code,
        }
        content = _ENCODER.encode(shape).decode()
    return ToolResultBlock(
        tool_use_id=call.tool_use_id,
        content=given_content(content, done.tool_call_id, max_bytes),
        is_error=not done.success,
    )
