from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    InvalidArgumentError,
    LimitExceededError,
    OutcomeUnknownError,
    RateLimitExceededError,
    ToolExecutionError,
)
from agent_executor.tool_runner.isolation.failure import as_payload, from_payload


@pytest.mark.parametrize(
    "error",
    [
        RateLimitExceededError("Later.", metadata={"maxCalls": "3"}, retry_after_seconds=1.5),
        InvalidArgumentError("No.", metadata={"field": "a"}),
        ToolExecutionError("It failed."),
    ],
)
def test_an_error_comes_out_as_it_went_in(error: AgentExecutorError) -> None:
    copy = from_payload(as_payload(error), "lookup")
    assert type(copy) is type(error)
    assert (copy.message, copy.metadata) == (error.message, error.metadata)
    assert copy.retry_after_seconds == error.retry_after_seconds
    assert copy.tool_name == "lookup"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"reason": "NO_SUCH_REASON", "message": "m"},
        {"reason": ["x"], "message": {"a": 1}, "metadata": [1], "retry_after_seconds": "1"},
        {"reason": OutcomeUnknownError.reason, "message": "m"},
        {"reason": "SANDBOX_UNAVAILABLE", "message": "m", "retry_after_seconds": -1},
        {"reason": "LEASE_LOST", "message": "m", "retry_after_seconds": True},
    ],
)
def test_whatever_is_said_a_tool_has_failed_and_no_more(payload: dict[str, Any]) -> None:
    error = from_payload(payload)
    assert type(error) is ToolExecutionError
    assert error.retry_after_seconds is None
    assert all(isinstance(v, str) for entry in error.metadata.items() for v in entry)


@pytest.mark.parametrize("seconds", [86_401, 1e300, 10**400])
def test_a_wait_is_a_day_at_most(seconds: float) -> None:
    assert from_payload({"retry_after_seconds": seconds}).retry_after_seconds == 86_400


def test_texts_are_cut_and_made_unicode() -> None:
    metadata: Any = {f"key{n}": "v" * 1_000 for n in range(100)}
    error = ToolExecutionError("\ud800" * 5_000, metadata=metadata)
    copy = from_payload(as_payload(error))
    assert copy.message == "?" * 2_000
    assert len(copy.metadata) == 16
    assert {len(value) for value in copy.metadata.values()} == {200}


def test_a_class_that_a_tool_defines_is_no_class_of_the_platform() -> None:
    class OwnError(ToolExecutionError):
        reason = "OWN_REASON"

    assert type(from_payload(as_payload(OwnError("m")))) is ToolExecutionError


def test_a_tool_cannot_say_that_it_met_a_limit_of_the_sandbox() -> None:
    error = from_payload(
        {
            "reason": "LIMIT_EXCEEDED",
            "message": "No place.",
            "metadata": {"limit": "queued_calls", "page": "2"},
        }
    )
    assert (type(error), error.metadata) == (LimitExceededError, {"page": "2"})
