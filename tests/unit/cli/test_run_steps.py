"""A run's steps out of its log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.cli.run_steps import steps_of

CALL = {"tool_call_id": "t1", "tool_name": "calculator"}


def log(*happened: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a log with an event per second."""
    return [
        {
            "sequence": number,
            "type": kind,
            "created_at": f"2026-11-28T10:00:{number:02}Z",
            kind: payload,
        }
        for number, (kind, payload) in enumerate(happened)
    ]


def answered(call_id: str) -> tuple[str, dict[str, Any]]:
    return "model_call_completed", {
        "model_call_id": call_id,
        "stop_reason": "tool_use",
        "input_tokens": 1_200,
        "output_tokens": 30,
        "from_cache": False,
    }


def result(**fields: Any) -> tuple[str, dict[str, Any]]:
    whole = {"tool_call_id": "t1", "success": True, "code": "", "error": "", **fields}
    return "tool_call_completed", {"tool_result": whole}


def test_calls_begin_and_end() -> None:
    steps = steps_of(
        log(
            ("run_started", {}),
            ("model_call_started", {"model_call_id": "m1", "turn": 1}),
            answered("m1"),
            ("model_call_settled", {"model_call_id": "m1", "cost_nano_usd": "2010000"}),
            ("tool_call_started", CALL),
            result(),
            ("run_finished", {"state": "completed"}),
        )
    )
    assert [(step.name, step.outcome, step.cost_nano_usd) for step in steps] == [
        ("model call 1", "tool_use, 1,200 in, 30 out", 2_010_000),
        ("tool calculator", "done", 0),
    ]
    assert [(step.ended_at or 0) - step.begun_at for step in steps] == [1, 1]
    assert not any(step.has_failed for step in steps)


def test_what_failed_says_why() -> None:
    model, tool = steps_of(
        log(
            ("model_call_started", {"model_call_id": "m1", "turn": 1}),
            (
                "model_call_failed",
                {"model_call_id": "m1", "code": "MODEL_ERROR", "error": "No.", "will_retry": True},
            ),
            ("tool_call_started", CALL),
            result(success=False, code="RATE_LIMIT_EXCEEDED", error="Too many calls."),
        )
    )
    assert model.outcome == "MODEL_ERROR: No. It was tried again."
    assert tool.outcome == "RATE_LIMIT_EXCEEDED: Too many calls."
    assert model.has_failed
    assert tool.has_failed


def test_what_goes_on_has_no_end_and_ends_with_the_run() -> None:
    begun: list[tuple[str, dict[str, Any]]] = [
        ("tool_call_started", CALL),
        ("cancel_requested", {"reason": "too slow"}),
    ]
    call, asked = steps_of(log(*begun))
    assert call.ended_at is None
    assert (asked.name, asked.ended_at) == ("asked to stop: too slow", asked.begun_at)
    call, _ = steps_of(log(*begun, ("run_finished", {"state": "cancelled"})))
    assert call.outcome == "ended with the run"


@pytest.mark.parametrize(("decision", "has_failed"), [("approved", False), ("denied", True)])
def test_waits_are_steps(decision: str, has_failed: bool) -> None:
    pauses: list[tuple[str, dict[str, Any]]] = [
        ("run_paused", {"error": "The budget is spent."}),
        ("run_continued", {"turn": 2}),
    ]
    *paused, approval = steps_of(
        log(
            *pauses,
            *pauses,
            ("approval_requested", CALL),
            ("approval_resolved", {**CALL, "decision": decision, "reason": "because"}),
        )
    )
    assert [step.name for step in paused] == ["waiting for money"] * 2
    assert (approval.name, approval.outcome) == ("approval of calculator", f"{decision} because")
    assert approval.has_failed is has_failed


EVENTS = st.sampled_from(
    [
        ("run_resumed", {"attempt": 2}),
        ("model_call_started", {"model_call_id": "m1", "turn": 1}),
        answered("m1"),
        ("model_call_settled", {"model_call_id": "m1", "cost_nano_usd": "5"}),
        ("tool_call_started", CALL),
        result(),
        ("approval_resolved", {**CALL, "decision": "expired", "reason": ""}),
        ("run_continued", {"turn": 2}),
        ("history_trimmed", {"message_count": 2}),
        ("run_finished", {"state": "failed"}),
    ]
)


@given(st.lists(EVENTS, max_size=50))
def test_no_log_is_too_odd(happened: list[tuple[str, dict[str, Any]]]) -> None:
    steps = steps_of(log(*happened))
    assert [step.begun_at for step in steps] == sorted(step.begun_at for step in steps)
    assert all(step.ended_at is None or step.begun_at <= step.ended_at for step in steps)
