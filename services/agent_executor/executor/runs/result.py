"""A run as the library answers it: plain mappings in the shape of the REST API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from agent_executor.executor.log.run import RunState, response_text, results_of
from agent_executor.executor.log.run_event import ToolCallCompleted
from agent_executor.executor.money import usd_of
from agent_executor.executor.runs.run_view import RunView


def result_mapping(view: RunView) -> dict[str, Any]:
    """Returns what a run gave.

    ``response``, ``tool_results``, ``conversation_history`` (in the shape of the Messages API),
    ``tokens_used``, ``cost_usd`` and ``state``; beside them ``task_id``, the exact
    ``cost_nano_usd``, and ``error`` and ``code``, which are empty if the run completed.
    """
    run, state = view.run, view.state
    finished = state.finished
    return {
        "response": finished.response if finished else response_text(state.messages),
        "tool_results": [tool_result_mapping(result) for result in results_of(state)],
        "conversation_history": msgspec.json.decode(msgspec.json.encode(tuple(state.messages))),
        "tokens_used": state.tokens_used,
        "cost_usd": usd_of(state.cost_nano_usd),
        "state": state.state,
        "task_id": run.run_id,
        "cost_nano_usd": state.cost_nano_usd,
        "error": finished.error if finished else "",
        "code": finished.code if finished else "",
    }


def is_success(state: RunState) -> bool:
    """Returns whether a run completed and none of its tool results is a failure."""
    return state.state == "completed" and all(result.success for result in results_of(state))


def tool_result_mapping(result: ToolCallCompleted) -> dict[str, Any]:
    """Returns what a tool call gave."""
    return {
        "tool_call_id": result.tool_call_id,
        "tool_name": result.tool_name,
        "success": result.success,
        "result": msgspec.json.decode(result.result_json),
        "error": result.error,
        "code": result.code,
        "timestamp": time_text(result.timestamp_ms),
    }


def time_text(milliseconds: int) -> str:
    """Returns a time, in milliseconds since 1970-01-01 UTC, as JSON shows it."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
