"""Errors of the provider say what a person can do about them, and nothing that is secret."""

from __future__ import annotations

import pytest

from agent_executor.errors import AgentExecutorError, ContextLengthExceededError, ModelError
from agent_executor.executor.models.anthropic.errors import status_error
from agent_executor.executor.models.model import delivered_usage

KEY = "an-opaque-key"


def error_of(
    status_code: int, error_type: str, message: str = "", **headers: str
) -> AgentExecutorError:
    body = {"type": "error", "error": {"type": error_type, "message": message}}
    return status_error(
        status_code, body, {name.replace("_", "-"): value for name, value in headers.items()}, KEY
    )


@pytest.mark.parametrize(
    ("status_code", "error_type", "is_retried"),
    [
        (400, "invalid_request_error", False),
        (401, "authentication_error", False),
        (402, "billing_error", False),
        (403, "permission_error", False),
        (404, "not_found_error", False),
        (408, "timeout_error", True),
        (409, "conflict_error", True),
        (413, "request_too_large", False),
        (422, "invalid_request_error", False),
        (429, "rate_limit_error", True),
        (500, "api_error", True),
        (502, "api_error", True),
        (504, "timeout_error", True),
        (529, "overloaded_error", True),
    ],
)
def test_which_errors_may_be_tried_again(
    status_code: int, error_type: str, is_retried: bool
) -> None:
    error = error_of(status_code, error_type, request_id="req_1")
    assert isinstance(error, ModelError)
    assert error.retry_after_seconds == (1.0 if is_retried else None)
    assert error.metadata == {
        "provider": "anthropic",
        "error_type": error_type,
        "status_code": str(status_code),
        "request_id": "req_1",
    }
    assert delivered_usage(error) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "90", "retry_after_ms": "250"}, 0.25),
        (
            {
                "retry_after": "Fri, 27 Nov 2026 10:00:30 GMT",
                "date": "Fri, 27 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"retry_after": "soon"}, 1.0),
        ({"retry_after": "-5"}, 1.0),
        ({"retry_after": "nan"}, 1.0),
        ({"retry_after": "inf"}, 1.0),
        ({}, 1.0),
        ({"retry_after": "12", "x_should_retry": "false"}, None),
    ],
)
def test_the_providers_own_figure_is_used(headers: dict[str, str], seconds: float | None) -> None:
    assert error_of(429, "rate_limit_error", **headers).retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", "210000"),
        (
            (
                "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, "
                "decrease input length or `max_tokens` and try again"
            ),
            "190000",
        ),
    ],
)
def test_a_prompt_that_does_not_fit_is_told_with_its_numbers(message: str, tokens: str) -> None:
    error = error_of(400, "invalid_request_error", message)
    assert isinstance(error, ContextLengthExceededError)
    assert error.metadata == {"input_tokens": tokens, "context_window_tokens": "200000"}


def test_what_is_wrong_with_the_request_is_said() -> None:
    error = error_of(400, "invalid_request_error", "max_tokens: 9 > 8.")
    assert "(invalid_request_error): max_tokens: 9 > 8." in error.message


@pytest.mark.parametrize(
    "message",
    [
        f"the key {KEY} is bad",
        "the key sk-ant-api03-abcdefgh is bad",
        f"sk-ant-api03-{'x' * 500}",
    ],
)
def test_a_key_that_is_echoed_is_not_shown(message: str) -> None:
    error = error_of(400, "invalid_request_error", message)
    assert KEY not in error.message
    assert "sk-ant" not in error.message


@pytest.mark.parametrize("status_code", [401, 403, 429, 500])
def test_the_insides_of_the_provider_are_not_shown(status_code: int) -> None:
    error = error_of(status_code, "api_error", "pod-17 at 10.0.0.3 ran out of memory")
    assert "pod" not in f"{error!r}{error.metadata}"


@pytest.mark.parametrize(
    "body", [None, "<html>", [], {}, {"error": None}, {"error": "x"}, {"error": {"type": 7}}]
)
def test_a_body_that_is_no_error_of_the_api(body: object) -> None:
    error = status_error(502, body, {"request-id": "<script>"}, "")
    assert error.metadata["error_type"] == "unknown_error"
    assert "request_id" not in error.metadata
    assert error.retry_after_seconds == 1.0
