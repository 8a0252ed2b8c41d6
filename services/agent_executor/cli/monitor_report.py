"""A line for each thing that happens in a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from agent_executor.cli.figures import usd

_GOOD, _BAD, _WAITING, _BEGUN, _PLAIN = "green", "red", "yellow", "cyan", "dim"
_NAME_WIDTH: Final = 21

# What is said of an event, and in which colour.
_Said = tuple[str, str]


def line_of(activity: Mapping[str, Any]) -> Text:
    """Returns what happened, of an activity with an event, as REST shows it."""
    event = activity["event"]
    kind = event["type"]
    said, style = _SAID.get(kind, _nothing)(event.get(kind, {}), activity)
    at = datetime.fromisoformat(event["created_at"]).astimezone()
    return Text.assemble(
        (f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} ", "dim"),
        f"{event['run_id']} ",
        (f"{kind.replace('_', ' '):{_NAME_WIDTH}} ", style),
        (f"{usd(int(activity['cost_nano_usd']))} ", "bold"),
        (f"{int(activity['tokens_used']):>7,} tokens  ", "dim"),
        " ".join(said.split()),
    )


def _nothing(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    del payload, activity
    return "", _PLAIN


def _run_started(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    return f"agent {activity['agent_id']}, {activity['model']}: {payload['input']}", _BEGUN


def _run_finished(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    del activity
    if payload["state"] == "completed":
        return payload["response"], _GOOD
    code, error = payload.get("code", ""), payload.get("error", "")
    return f"{payload['state']}: {code} {error}", _BAD


def _tool_call_completed(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    del activity
    result = payload["tool_result"]
    if result["success"]:
        return f"{result['tool_name']}: {result.get('result', '')}", _GOOD
    return f"{result['tool_name']}: {result['code']} {result['error']}", _BAD


def _model_call_completed(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    cached = ", from the response cache" if payload["from_cache"] else ""
    tokens = f"{payload['input_tokens']:,} in, {payload['output_tokens']:,} out{cached}"
    return f"{activity['model']}: {payload['stop_reason']}, {tokens}", _GOOD


def _model_call_failed(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    del activity
    return f"{payload['code']} {payload['error']}", _BAD


def _model_call_settled(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    del activity
    estimated = ", estimated" if payload["estimated"] else ""
    return f"{usd(int(payload['cost_nano_usd']))}{estimated}", _PLAIN


def _approval_resolved(payload: Mapping[str, Any], activity: Mapping[str, Any]) -> _Said:
    del activity
    style = _GOOD if payload["decision"] == "approved" else _BAD
    return f"{payload['decision']} {payload['user_id']} {payload['reason']}", style


_SAID: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], _Said]]] = {
    "run_started": _run_started,
    "run_finished": _run_finished,
    "run_resumed": lambda payload, _: (f"attempt {payload['attempt']}", _WAITING),
    "run_paused": lambda payload, _: (f"{payload['code']} {payload['error']}", _WAITING),
    "cancel_requested": lambda payload, _: (f"{payload['user_id']} {payload['reason']}", _WAITING),
    "model_selected": lambda payload, _: (f"{payload['model']}: {payload['reason']}", _PLAIN),
    "model_call_started": lambda payload, _: (f"turn {payload['turn']}", _PLAIN),
    "model_call_completed": _model_call_completed,
    "model_call_failed": _model_call_failed,
    "model_call_settled": _model_call_settled,
    "tool_call_started": lambda payload, _: (
        f"{payload['tool_name']} {payload['arguments_json']}",
        _BEGUN,
    ),
    "tool_call_completed": _tool_call_completed,
    "approval_requested": lambda payload, _: (
        f"{payload['tool_name']}: {payload['reason']}",
        _WAITING,
    ),
    "approval_resolved": _approval_resolved,
}
